"""The whole chain on synthetic faces: drawn, cropped, checked, trained on, compared, ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.report.table import Table

SOURCES = {"synthetic": "faces", "synthetic-outdoor": "faces", "synthetic-unseen": "unseen-faces"}  # name -> folder
PROTOCOL = "synthetic"


@dataclass(frozen=True)
class Scale:
    """How much of everything: enough to beat the trivial rows, or just enough to see each command run."""

    per_group: int
    unseen: int  # faces of each stand-in that is only tested
    epochs: int
    models: tuple[str, ...] = ("xception", "gazeclip")


FULL = Scale(per_group=136, unseen=12, epochs=12)
SMALL = Scale(per_group=16, unseen=2, epochs=1)


@dataclass(frozen=True)
class Step:
    """One step: the command a user would type for it (without `dfad`), and the call that does the same."""

    words: tuple[str, ...]
    run: Callable[[], Any] = field(repr=False)


@dataclass(frozen=True)
class Quickstart:
    """What `quickstart` made: the leaderboard, and the files and folders by what they hold."""

    out: Path
    board: Table = field(repr=False)

    @property
    def places(self) -> dict[str, Path]:
        """Where everything lies."""
        folders = ("faces", "unseen-faces", "manifests", "gaze", "runs")
        return {**{name: self.out / name for name in folders}, "contact sheet": self.out / "contact-sheet.png"}


def quickstart(
    out: Path | str = "quickstart",
    *,
    small: bool = False,
    seed: int = 0,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
    report: Callable[[str], None] = lambda line: None,
    begin: Callable[[Step], None] = lambda step: None,
    done: Callable[[Step, Any], None] = lambda step, result: None,
) -> Quickstart:
    """Run the whole chain on synthetic faces, on a CPU, in minutes.

    Draws faces with a known gaze, crops them into manifests, trains two tiny models, compares gaze and ranks the
    models. Called again, it goes on where it stopped. Synthetic faces prove that the chain works; they say nothing
    about real generators.

    Args:
        out: folder for everything.
        small: a few faces and one epoch: shows that everything runs, learns little.
        seed: of the faces, of training and of the gaze study.
        progress: shows the progress of each step.
        report: called with each line a reader should see at once.
        begin: called before each step.
        done: called after each step with what its function returned.

    Returns:
        The leaderboard, and where everything lies.

    Raises:
        DFADError: what a step raises, as where the folder holds faces of another seed.
    """
    result: Any = None
    for step in steps(Path(out), SMALL if small else FULL, seed, progress, report):
        begin(step)
        result = step.run()
        done(step, result)
    return Quickstart(Path(out), result)


def steps(out: Path, scale: Scale, seed: int, progress: Progress, report: Callable[[str], None]) -> Iterator[Step]:
    """The steps in their order; the last one gives the leaderboard."""
    manifests, runs = out / "manifests", out / "runs"
    folders = [manifests / name for name in SOURCES]
    given = [word for folder in folders for word in ("--manifest", folder)]

    def step(words: list[Any], call: Callable[..., Any], *given: Any, **named: Any) -> Step:
        return Step(tuple(map(str, words)), partial(call, *given, **named))

    for unseen, count in ((False, scale.per_group), (True, scale.unseen)):
        faces = out / ("unseen-faces" if unseen else "faces")
        words = ["synthesize", *(["--unseen"] if unseen else []), "--per-group", count, "--seed", seed, "--out", faces]
        yield step(words, _synthesize, faces, per_group=count, unseen=unseen, seed=seed, progress=progress)
    for (name, root), folder in zip(SOURCES.items(), folders, strict=True):
        words = ["build-manifest", "--dataset", name, "--root", out / root, "--out", folder]
        yield step(words, _build, name, out / root, folder, progress=progress)
    sheet = out / "contact-sheet.png"
    words = ["check-manifest", *given, "--protocol", PROTOCOL, "--contact-sheet", sheet]
    yield step(words, _check, folders, PROTOCOL, contact_sheet=sheet, progress=progress)
    for model in scale.models:
        words = ["train", "--model", model, "--size", "tiny", "--recipe", "quick", "--epochs", scale.epochs]
        words += ["--protocol", PROTOCOL, *given, "--seed", seed, "--out", runs / model]
        yield step(words, _train, model, scale.epochs, seed, folders, runs / model, progress=progress, report=report)
    many = folders[:2]  # a distance of distributions needs more faces than the unseen stand-ins have
    words = ["gaze-fid", *given[:4], "--estimator", "geometric", "--seed", seed, "--out", out / "gaze"]
    yield step(words, _gaze, many, {"geometric": None}, seed, out=out / "gaze", progress=progress)
    yield step(["leaderboard", "--protocol", PROTOCOL, "--runs", runs], _board, runs)


def _synthesize(out: Path, **named: Any) -> Any:
    from dfad_bench.synthetic.layout import synthesize

    return synthesize(out, **named)


def _build(dataset: str, root: Path, out: Path, *, progress: Progress) -> Any:
    from dfad_bench.ingest.build import build_manifest
    from dfad_bench.ingest.settings import BuildSettings

    return build_manifest(dataset, root, out, BuildSettings(), progress=progress)


def _check(folders: list[Path], protocol: str, **named: Any) -> Any:
    from dfad_bench.api.checks import check_manifests

    return check_manifests(folders, protocol, **named)


def _train(model: str, epochs: int, seed: int, folders: list[Path], out: Path, **named: Any) -> Any:
    from dfad_bench.api.training import train
    from dfad_bench.engine.settings import TrainSettings

    settings = TrainSettings(model=model, protocol=PROTOCOL, size="tiny", recipe="quick", epochs=epochs, seed=seed)
    return train(settings, folders, out, **named)


def _gaze(folders: list[Path], estimators: dict[str, str | None], seed: int, **named: Any) -> Any:
    from dfad_bench.api.gaze import gaze_study
    from dfad_bench.gaze.settings import GazeSettings

    return gaze_study(folders, estimators, GazeSettings(seed=seed), **named)


def _board(runs: Path) -> Table:
    from dfad_bench.api.runs import leaderboard

    return leaderboard(PROTOCOL, [runs])
