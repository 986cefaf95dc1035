"""Training under bad luck: damaged checkpoints, kills, Ctrl-C, no memory, no disk, folders that cannot be written."""

from __future__ import annotations

import os
import pickle
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from helpers.toy import RECIPE, Toy, ToyConfig, toy_manifests, toy_protocol, toys_registered
from helpers.train_faults import Forked, damaged_checkpoints, differing, forked, kill_training, starved_apart, train
from helpers.training import run_training

from dfad_bench.core.errors import DFADError, IntegrityError
from dfad_bench.core.files import read_json, sha256_file, write_json
from dfad_bench.core.strict import from_mapping
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine import checkpoint
from dfad_bench.engine.checkpoint import MODEL, OPTIMISER, Position

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.skipif(os.name == "nt", reason="needs fork")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifests")
    toy_manifests(folder)
    return folder


@pytest.fixture(scope="module")
def whole(root: Path) -> Path:
    """The run nothing happened to."""
    train(root, root / "whole", 0.02)
    return root / "whole"


@pytest.mark.parametrize("name", [MODEL, OPTIMISER])
def test_damaged_checkpoints_are_refused(tmp_path: Path, name: str) -> None:
    counts = damaged_checkpoints(tmp_path, name, 120, seed=1)
    assert counts["refused"] + counts["identical"] == counts["tried"] == 120
    assert (counts["accepted"], counts["crashes"]) == (0, 0)


@pytest.mark.parametrize("name", [MODEL, OPTIMISER])
def test_code_in_a_checkpoint_never_runs(tmp_path: Path, name: str) -> None:
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    model = Toy(3, ToyConfig())
    checkpoint.save(tmp_path, model, torch.optim.SGD(model.parameters(), 0.1), Position(0, step=1), "config")
    place = tmp_path / "step-00000001"
    (place / name).write_bytes(pickle.dumps(Payload(), protocol=2))
    state = from_mapping(checkpoint._State, read_json(place / "state.json"), "state")
    state = replace(state, files={**state.files, name: sha256_file(place / name)})
    write_json(place / "state.json", asdict(replace(state, sha256=state.content)))  # hashes that fit do not help
    with pytest.raises(IntegrityError, match="not a whole safetensors file"):
        checkpoint.load_latest(tmp_path, "config")
    assert not (tmp_path / "ran").exists()


def survive_kills(root: Path, out: Path, kills: int, writes: int) -> None:
    hit, halves = kill_training(lambda die_at: forked(root, out, 0.02, die_at, 6), out, kills, writes, seed=kills)
    assert hit >= kills // 2 + 1
    assert halves >= writes // 2
    train(root, out, 0.02, 6)
    train(root, out.parent / "unhurt", 0.02, 6)
    assert differing(out.parent / "unhurt", out) == []
    assert not list(out.rglob(".*.tmp*"))
    assert len(list((out / "checkpoint").glob("step-*"))) == 1  # what the run can be trained on from


@pytest.mark.heavy
def test_a_killed_run_ends_with_the_same_bits(root: Path, tmp_path: Path) -> None:
    survive_kills(root, tmp_path / "run", kills=3, writes=2)


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_with_the_same_bits(root: Path, tmp_path: Path) -> None:
    survive_kills(root, tmp_path / "run", kills=10, writes=5)


@pytest.mark.heavy
def test_a_run_killed_while_it_predicts_does_not_train_again(
    root: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        monkeypatch.setattr(
            "dfad_bench.engine.job.predict_outputs", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        )
        train(root, tmp_path / "run", 0.02)

    assert Forked(die).wait(60) == -signal.SIGKILL
    monkeypatch.setattr(Toy, "losses", None)  # a step would call it
    train(root, tmp_path / "run", 0.02)
    assert differing(whole, tmp_path / "run") == []


@pytest.mark.heavy
def test_an_interrupt_ends_after_the_step_with_a_checkpoint(root: Path, whole: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "run", tmp_path / "words"

    def act() -> None:
        try:
            train(root, out, 0.1)
        except DFADError as error:
            words.write_text(str(error))
            os._exit(error.exit_code)

    process, deadline = Forked(act), time.monotonic() + 60
    while not list((out / "checkpoint").glob("step-*/state.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    step = max(int(path.name[5:]) for path in (out / "checkpoint").glob("step-*"))
    assert f"interrupted after step {step} of " in words.read_text()
    assert "the same command goes on from there" in words.read_text()
    train(root, out, 0.1)
    assert [name for name in differing(whole, out) if name != "config.yaml"] == []  # the delay is a setting


@pytest.mark.heavy
@pytest.mark.parametrize(
    "cases", [[(20, 512)], pytest.param([(10, 64), (100, 2048)], marks=pytest.mark.slow)], ids=["one", "others"]
)
def test_too_little_memory_is_one_line(root: Path, tmp_path: Path, cases: list[tuple[int, int]]) -> None:
    """Under a limit of the address space, at several places of a run."""
    for code, words in starved_apart(root, tmp_path, cases):
        assert code == 1, words
        assert words.startswith("out of memory ")
        assert words.count("\n") == 1
        assert ("lower batch_size" in words) or ("smaller protocol" in words)


def test_out_of_gpu_memory_names_the_batch_and_what_to_lower(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(Toy, "losses", full)
    with pytest.raises(DFADError, match=r"out of GPU memory with \d+ faces a step at fp32; lower batch_size .*bf16"):
        train(root, tmp_path / "run", 0.0)


def test_a_folder_that_cannot_be_written_is_one_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DFADError, match=r"file.*: cannot be written \(.*\); use another --out"):
        train(root, tmp_path / "file" / "run", 0.0)


def test_a_folder_that_stops_being_writable_is_one_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "run" / "trace.csv"))

    monkeypatch.setattr("dfad_bench.engine.trace.atomic_write", refused)
    with pytest.raises(DFADError, match=r"trace.csv: cannot be written \(Permission denied\)"):
        train(root, tmp_path / "run", 0.0)


@pytest.mark.heavy
@pytest.mark.parametrize("full_after", [1, 4])
def test_a_full_disk_ends_with_one_line_and_the_run_goes_on_later(
    root: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_after: int
) -> None:
    """The disk is full at some checkpoint; with room again, the run ends with the same bits."""
    import safetensors.torch

    write, count = safetensors.torch.save_file, 0

    def full(tensors, path, metadata=None) -> None:
        nonlocal count
        count += 1
        if count > full_after:
            raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")
        write(tensors, path, metadata)

    with monkeypatch.context() as patched:
        patched.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(DFADError, match=r"safetensors: not written .*Free some space and run again"):
            train(root, tmp_path / "run", 0.02)
    train(root, tmp_path / "run", 0.02)
    assert differing(whole, tmp_path / "run") == []


def test_logs_never_end_a_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dfad_bench.engine import loggers

    class Bad:
        def __init__(self, out: Path, step: int, settings: object) -> None:
            raise OSError("no room for events")

    monkeypatch.setitem(loggers.LOGGERS, "tensorboard", (Bad, "torch"))
    manifests = [Manifest.open(root / name) for name in ("synthetic", "synthetic-outdoor")]
    with toys_registered():
        result = run_training(
            "toy", toy_protocol(), manifests, tmp_path / "run", recipe=replace(RECIPE, epochs=1), device="cpu",
            logs=("tensorboard",),
        )  # fmt: skip
    assert result.status == "complete"
    assert result.warnings == ("the tensorboard log ended (OSError: no room for events)",)
