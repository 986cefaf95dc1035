"""The attacks of `benchmarks/attacks.py`, a few of each, and that the suite notices what comes through."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
from helpers import attacks, hostile_outputs, outside
from helpers.hostile_outputs import through_every_format
from helpers.outside import change_all, change_weights_and_checkpoints
from helpers.scripts import benchmark
from helpers.swapped_pixels import use_forged

from dfad_bench.cli.main import dfad
from dfad_bench.core import escape, run_facts, weights
from dfad_bench.data import card
from dfad_bench.data.images import decode_crop
from dfad_bench.data.stored_crop import StoredCrop

SUITES = ("signals", "stopped", "stream_bits", "archives", "lists", "documents", "links")
SUITES += ("pixels", "names", "outside_files", "weights")


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    return benchmark("attacks")


@pytest.mark.heavy
@pytest.mark.parametrize("name", SUITES)
def test_no_attack_comes_through(suite: ModuleType, tmp_path: Path, name: str):
    assert set(suite.SUITES) == set(SUITES)
    row = suite.SUITES[name][1](tmp_path, 0.02)
    assert row["tried"] > 0
    assert (row["crashes"], row["lost"], row.get("wrong", 0)) == (0, 0, 0), row


def _raise() -> None:
    raise RuntimeError("not foreseen")


def _say(text: str, code: int) -> None:
    click.echo(text, err=True)
    raise SystemExit(code)


ENDINGS = {
    "RuntimeError: not foreseen": _raise,
    "exit code 7": lambda: _say("", 7),
    "0 lines of error|3 lines": lambda: _say("a\nb\nc", 1),
    "control characters": lambda: _say("Error: \x1b[2J", 1),
    "characters of error": lambda: _say("Error: " + "x" * 3000, 1),
}


@pytest.mark.parametrize("fault", ENDINGS)
def test_the_suite_notices_how_a_command_ended(monkeypatch: pytest.MonkeyPatch, fault: str):
    monkeypatch.setattr(dfad, "get_command", lambda ctx, name: click.Command(name, callback=ENDINGS[fault]))
    found = attacks.answers(["doctor"])
    assert found is not None
    assert any(part in found for part in fault.split("|")), found


def test_the_suite_takes_one_line_of_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        dfad, "get_command", lambda ctx, name: click.Command(name, callback=lambda: _say("Error: a", 1))
    )
    assert attacks.answers(["doctor"]) is None


def _as_written(self: StoredCrop) -> np.ndarray:
    return decode_crop(self.encoded(), max_pixels=1 << 22)


@pytest.mark.heavy
def test_the_suite_notices_pixels_that_nobody_compares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(StoredCrop, "pixels", _as_written)
    tried, faults = use_forged(tmp_path, 1, ["one bit of one pixel"])
    assert tried == len(faults) == 7
    assert "one bit of one pixel: check-manifest --deep: accepted" in faults


PLANTED = {
    "one_line": ("\x1b[2J", {"rich"}),
    "latex": ("\\input{x}", {"latex", "latex line"}),
    "markdown": ("![x](http://x)", {"markdown", "card", "markdown line"}),
    "csv_cell": ("=1+1", {"csv"}),
    "html": ("<b>", {"html"}),
    "yaml_scalar": ("- a: b", {"card", "yaml"}),
}


@pytest.mark.parametrize("escape_of", PLANTED)
def test_the_suite_notices_names_that_are_not_escaped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, escape_of: str):
    name, kinds = PLANTED[escape_of]
    monkeypatch.setattr(hostile_outputs, "FILES", {})
    assert through_every_format(tmp_path, (name,)) == (len(hostile_outputs.TEXTS), [])
    for module in (escape, card):
        monkeypatch.setattr(module, escape_of, lambda text: text, raising=False)
    _, faults = through_every_format(tmp_path / "planted", (name,))
    assert {fault.partition(":")[0] for fault in faults} >= kinds


@pytest.mark.heavy
def test_the_suite_notices_structure_that_is_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(run_facts, "from_mapping", lambda cls, raw, what: raw)
    monkeypatch.setattr(outside, "READERS", {})
    monkeypatch.setattr(outside, "CHANGES", {"facts": outside.change_facts})
    tried, faults = change_all(tmp_path, 120)  # most of the many values that run.json holds are not looked at
    assert tried == 120
    assert faults


@pytest.mark.heavy
def test_the_suite_notices_weights_that_are_cast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(weights, "other_kinds", lambda state, own: [])
    _, faults = change_weights_and_checkpoints(tmp_path, 120)
    assert any("complex" in fault for fault in faults), faults
