"""`dfad quickstart`: the commands a user would type, one after the other, on synthetic faces."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import click

from dfad_bench.cli import options


@dataclass(frozen=True)
class Scale:
    """How much of everything: enough to beat the trivial rows, or just enough to see each command run."""

    per_group: int
    epochs: int
    models: tuple[str, ...]


FULL = Scale(per_group=150, epochs=12, models=("xception", "gazeclip"))
SMALL = Scale(per_group=16, epochs=1, models=("xception", "gazeclip"))


def commands(out: Path, scale: Scale, seed: int) -> list[list[str]]:
    """The command lines of the chain, without the leading `dfad`."""
    faces, manifests, runs = out / "faces", out / "manifests", out / "runs"
    sources = ["synthetic", "synthetic-outdoor"]
    both = [arg for name in sources for arg in ("--manifest", str(manifests / name))]
    chain = [["synthesize", "--out", faces, "--per-group", scale.per_group, "--seed", seed]]
    chain += [["build-manifest", "--dataset", name, "--root", faces, "--out", manifests / name] for name in sources]
    chain += [["check-manifest", *both, "--protocol", "synthetic", "--contact-sheet", out / "contact-sheet.png"]]
    for model in scale.models:
        line = ["train", "--model", model, "--size", "tiny", "--recipe", "quick", "--epochs", scale.epochs]
        chain += [[*line, "--protocol", "synthetic", *both, "--seed", seed, "--out", runs / model]]
    chain += [["gaze-fid", *both, "--estimator", "geometric", "--seed", seed, "--out", out / "gaze"]]
    chain += [["leaderboard", "--protocol", "synthetic", "--runs", runs]]
    return [[str(argument) for argument in line] for line in chain]


@click.command("quickstart", epilog="Example: dfad quickstart --out quickstart")
@options.out("Folder for faces, manifests, runs and tables.", required=False)
@click.option("--small", is_flag=True, help="A few faces and one epoch: shows that everything runs, learns little.")
@options.seed
@options.quiet
def command(out: Path | None, small: bool, seed: int, quiet: bool) -> None:
    """Run the whole chain on synthetic faces, on a CPU, in minutes.

    Draws faces with a known gaze, crops them into manifests, trains two tiny models, compares gaze and prints
    the leaderboard. Each step is the command a user would type; run it again and it goes on where it stopped.
    """
    from dfad_bench.cli.main import dfad

    out = out or Path("quickstart")
    began = time.perf_counter()
    for line in commands(out, SMALL if small else FULL, seed):
        click.echo(f"\n$ dfad {shlex.join(line)}", err=True)
        dfad.main([*line, *(["--quiet"] if quiet and _takes_quiet(line[0]) else [])], standalone_mode=False)
    click.echo("Synthetic faces show that the chain works; they say nothing about real generators.\n")
    for label, path in _results(out):
        click.echo(f"{label:14}{path}")
    click.echo(f"Done in {time.perf_counter() - began:.0f} s.", err=True)


def _takes_quiet(name: str) -> bool:
    from dfad_bench.cli.main import dfad

    command = dfad.get_command(click.Context(dfad), name)
    return command is not None and any("--quiet" in parameter.opts for parameter in command.params)


def _results(out: Path) -> list[tuple[str, Path]]:
    return [
        ("faces", out / "faces"),
        ("manifests", out / "manifests"),
        ("contact sheet", out / "contact-sheet.png"),
        ("gaze", out / "gaze"),
        ("runs", out / "runs"),
    ]
