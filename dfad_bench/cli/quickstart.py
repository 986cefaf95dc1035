"""`dfad quickstart`: the commands a user would type, one after the other, on synthetic faces."""

from __future__ import annotations

import shlex
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_table

if TYPE_CHECKING:
    from dfad_bench.api.quickstart import Step


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
    from dfad_bench.api.quickstart import quickstart
    from dfad_bench.cli.progress import make_progress

    began = time.perf_counter()
    made = quickstart(
        out or Path("quickstart"),
        small=small,
        seed=seed,
        progress=make_progress(quiet),
        report=partial(echo, err=True),
        begin=lambda step: echo(f"\n$ dfad {shlex.join(step.words)}", err=True),
        done=partial(_show, quiet=quiet),
    )
    echo("Synthetic faces show that the chain works; they say nothing about real generators.\n")
    for label, path in made.places.items():
        echo(f"{label:14}{path}")
    echo(f"Done in {time.perf_counter() - began:.0f} s.", err=True)


def _show(step: Step, result: Any, *, quiet: bool) -> None:
    """Print what the command of a step prints."""
    from dfad_bench.cli import build_manifest, check_manifest, gaze_fid, synthesize, train

    name, out = step.words[0], Path(step.words[-1])  # all but check-manifest and leaderboard end with their folder
    if name == "synthesize":
        synthesize.show(result, out)
    elif name == "build-manifest":
        build_manifest.show(result)
    elif name == "check-manifest":
        check_manifest.show(result)
    elif name == "train":
        train.show(result)
    elif name == "gaze-fid":
        gaze_fid.show(result, out, quiet=quiet)
    else:
        echo_table(result)
