from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.toy import RECIPE, toy_protocol
from helpers.training import run_training

from dfad_bench.core.files import read_json, write_json
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.checkpoint import _content
from dfad_bench.engine.fit import Limits
from dfad_bench.engine.job import RunResult
from dfad_bench.engine.sessions import Session, begin_session, session_changes
from dfad_bench.report.run_record import build_record
from dfad_bench.report.verify import verify_record

ONE = Session(0, 1, 1, "2.9")


def train(manifests: list[Manifest], out: Path, steps: int | None = None) -> RunResult:
    limits = Limits(max_steps=steps)
    recipe = replace(RECIPE, epochs=2)
    return run_training("toy", toy_protocol(), manifests, out, recipe=recipe, device="cpu", limits=limits)


def sessions(out: Path) -> list[dict]:
    return read_json(out / "run.json")["run"]["sessions"]


def test_sessions_alike_are_one() -> None:
    torch.set_num_threads(1)
    first = begin_session((), 0, 1)
    assert begin_session(first, 7, 1) == first
    assert [session.step for session in begin_session(first, 7, 2)] == [0, 7]


@pytest.mark.parametrize(
    ("later", "device", "words"),
    [
        (replace(ONE, step=5, threads=4), "cpu", "after step 5 with other means (threads 1, then 4)"),
        (replace(ONE, step=5, threads=4), "cuda", None),
        (replace(ONE, step=5, processes=2), "cuda", "processes 1, then 2"),
        (replace(ONE, step=5, torch="3.0"), "cuda", "torch 2.9, then 3.0"),
    ],
)
def test_what_moves_the_last_bits_is_said(later: Session, device: str, words: str | None) -> None:
    lines = session_changes((ONE, later), device)
    assert len(lines) == (words is not None)
    assert words is None or words in lines[0]
    assert session_changes((ONE,), device) == []


@pytest.mark.heavy
def test_a_run_that_goes_on_with_more_threads_says_so_in_warning_and_record(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    train(manifests, tmp_path / "run", steps=3)
    assert not any("other means" in line for line in train(manifests, tmp_path / "run", steps=5).warnings)
    torch.set_num_threads(2)
    try:
        result = train(manifests, tmp_path / "run")
    finally:
        torch.set_num_threads(1)
    assert [line for line in result.warnings if "after step 5 with other means (threads 1, then 2)" in line]
    assert [(found["step"], found["threads"]) for found in sessions(tmp_path / "run")] == [(0, 1), (5, 2)]
    record = build_record(tmp_path / "run", resamples=0)
    assert [found["threads"] for found in record.run.sessions] == [1, 2]
    assert any("other means" in line for line in record.warnings)
    assert verify_record(tmp_path / "run").differences == ()


def test_checkpoints_of_earlier_versions_go_on_and_their_beginning_is_not_made_up(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    train(manifests, tmp_path / "run", steps=3)
    for path in tmp_path.rglob("state.json"):
        state = read_json(path)
        del state["position"]["sessions"]
        write_json(path, {**state, "sha256": _content(state)})
    train(manifests, tmp_path / "run")
    assert [found["step"] for found in sessions(tmp_path / "run")] == [3]
