"""The attacks of `benchmarks/attacks.py`, a few of each, and that the suite notices what comes through."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import click
import pytest
from helpers import attacks
from helpers.scripts import benchmark

from dfad_bench.cli.main import dfad

SUITES = ("signals", "stopped", "stream_bits", "archives", "lists", "documents", "links")


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
