"""`quickstart`: each step is what the command that it shows does, and the whole chain runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import dfad_bench as dfad
from dfad_bench.api.quickstart import FULL, SMALL, Step, steps
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.progress import NoProgress
from dfad_bench.core.protocol import load_protocol

FUNCTIONS = {
    "synthesize": "dfad_bench.synthetic.layout.synthesize",
    "build-manifest": "dfad_bench.ingest.build.build_manifest",
    "check-manifest": "dfad_bench.api.checks.check_manifests",
    "train": "dfad_bench.api.training.train",
    "gaze-fid": "dfad_bench.api.gaze.gaze_study",
    "leaderboard": "dfad_bench.api.runs.board",
}
STEPS = list(steps(Path("quickstart"), FULL, 3, NoProgress(), lambda line: None))


@contextmanager
def recorded(name: str) -> Iterator[list[dict[str, Any]]]:
    """Arguments of the calls of a step's function by name, which ends at once."""
    import inspect
    from importlib import import_module

    module, _, attribute = FUNCTIONS[name].rpartition(".")
    calls: list[dict[str, Any]] = []
    parameters = inspect.signature(getattr(import_module(module), attribute))

    def record(*given: Any, **named: Any) -> Any:
        bound = parameters.bind(*given, **named)
        bound.apply_defaults()
        calls.append({key: plain(value) for key, value in bound.arguments.items() if key not in ("progress", "report")})
        raise ConfigError("recorded")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FUNCTIONS[name], record)
        yield calls


def plain(value: Any) -> Any:
    """Values without the difference of lists and tuples, paths and text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: plain(asdict(value))}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def ended(call: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="recorded"):
        call()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.words[0]}-{step.words[-1].rpartition('/')[2]}")
def test_a_step_does_what_the_command_it_shows_does(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart/runs").mkdir(parents=True)
    with recorded(step.words[0]) as calls:
        ended(step.run)
        result = CliRunner().invoke(command, list(step.words))
        assert "recorded" in result.output
    assert len(calls) == 2
    assert calls[0] == calls[1]


def test_the_small_chain_differs_in_size_only() -> None:
    small = list(steps(Path("quickstart"), SMALL, 3, NoProgress(), lambda line: None))
    assert [step.words[0] for step in small] == [step.words[0] for step in STEPS]
    odd = {
        (a, b)
        for one, other in zip(small, STEPS, strict=True)
        for a, b in zip(one.words, other.words, strict=True)
        if a != b
    }
    assert odd == {("16", "136"), ("2", "12"), ("1", "12")}
    assert load_protocol("synthetic").synthetic


def test_steps_are_told_before_and_shown_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, object]] = []
    for number, name in enumerate(FUNCTIONS.values()):
        monkeypatch.setattr(name, lambda *given, number=number, **named: number)
    (tmp_path / "runs").mkdir()
    made = dfad.quickstart(
        tmp_path,
        begin=lambda step: said.append(("begin", step.words[0])),
        done=lambda step, result: said.append((step.words[0], result)),
    )
    assert said[:2] == [("begin", "synthesize"), ("synthesize", 0)]
    assert said[-1] == ("leaderboard", 5)
    assert made.board == 5
    assert made.places["contact sheet"] == tmp_path / "contact-sheet.png"


def test_a_mistake_ends_the_chain(tmp_path: Path) -> None:
    done: list[str] = []
    with recorded("build-manifest"), recorded("synthesize"):
        ended(lambda: dfad.quickstart(tmp_path, done=lambda step, result: done.append(step.words[0])))
    assert done == []


@pytest.mark.heavy
def test_the_command_shows_every_step_and_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = type(SMALL)(per_group=6, unseen=1, epochs=1, models=("xception",))
    monkeypatch.setattr("dfad_bench.api.quickstart.SMALL", small)
    result = CliRunner().invoke(command, ["quickstart", "--small", "--quiet", "--out", str(tmp_path / "q")])
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("$ dfad ")]
    assert [line.split()[2] for line in lines] == [
        "synthesize", "synthesize", "build-manifest", "build-manifest", "build-manifest", "check-manifest", "train",
        "gaze-fid", "leaderboard",
    ]  # fmt: skip
    for part in ("Synthetic faces", "synthetic-outdoor", "nothing is missing", "contact sheet", "always fake"):
        assert part in result.stdout
    assert all(path.exists() for path in (tmp_path / "q").iterdir())
    assert {path.name for path in (tmp_path / "q").iterdir()} == {
        "faces",
        "unseen-faces",
        "manifests",
        "contact-sheet.png",
        "gaze",
        "runs",
    }
