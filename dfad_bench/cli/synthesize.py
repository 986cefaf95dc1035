"""`dfad synthesize`: draw faces with a known gaze, in the layout of a source dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_table

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.report.table import Table


@click.command("synthesize", epilog="Example: dfad synthesize --out faces --per-group 24")
@options.out("Folder for the faces and their ground truth.")
@click.option("--per-group", type=int, default=60, show_default=True, help="Faces of each source and generator.")
@click.option(
    "--test-share",
    type=options.Real(0, 1),
    default=0.25,
    show_default=True,
    help="Fraction of them held out for testing.",
)
@click.option("--unseen", is_flag=True, help="Draw the twelve stand-ins that are only ever tested, instead.")
@options.seed
@options.quiet
@options.as_json
def command(out: Path, per_group: int, test_share: float, unseen: bool, seed: int, quiet: bool, as_json: bool) -> None:
    """Draw synthetic faces with a known gaze: two real sources and nine stand-in generators.

    Each generator leaves its own trace and preserves the gaze of its target to its own degree. The folder is read by
    the datasets `synthetic` and `synthetic-outdoor`, one drawn with --unseen by `synthetic-unseen`;
    `ground_truth.parquet` beside the faces holds gaze, head pose and targets. After an interruption, the same command
    continues where it stopped.
    """
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.synthetic.layout import synthesize

    progress = make_progress(quiet)
    truth = synthesize(out, per_group=per_group, test_share=test_share, seed=seed, unseen=unseen, progress=progress)
    show(truth, out, as_json=as_json)


def show(truth: pd.DataFrame, out: Path, *, as_json: bool = False) -> None:
    """Print the generators that were drawn."""
    echo_table(_summary(truth, out), "json" if as_json else "rich")


def _summary(truth: pd.DataFrame, out: Path) -> Table:
    from dfad_bench.report.table import Column, Table
    from dfad_bench.synthetic import ALL_GENERATORS

    rows: list[Mapping[str, Any]] = []
    for name, faces in truth.groupby("generator", sort=False):
        stand_in = ALL_GENERATORS.get(str(name))
        splits = faces["split"].value_counts()
        rows.append(
            {
                "generator": name,
                "role": "real" if stand_in is None else "seen" if stand_in.seen else "unseen",
                "forgery": stand_in.forgery.value if stand_in else None,
                "family": stand_in.family.value if stand_in else None,
                "train": int(splits.get("train", 0)),
                "test": int(splits.get("test", 0)),
                "identities": int(faces["identity"].nunique()),
                "gaze_noise_deg": math.degrees(stand_in.noise_rad) if stand_in else 0.0,
                "gaze_kept": float(faces["gaze_kept"].iloc[0]),
            }
        )
    columns = (
        Column("generator", "Generator", "text"),
        Column("role", "Role", "text"),
        Column("forgery", "Forgery", "text"),
        Column("family", "Family", "text"),
        Column("train", "Train", "count"),
        Column("test", "Test", "count"),
        Column("identities", "Identities", "count"),
        Column("gaze_noise_deg", "Gaze noise (deg)", digits=1),
        Column("gaze_kept", "Gaze kept (%)", "percent", digits=1),
    )
    return Table("Synthetic faces", columns, rows, notes=(f"Faces and ground_truth.parquet: {out}",))
