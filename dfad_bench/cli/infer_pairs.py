"""`dfad infer-pairs`: find the real face each forged one was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_json, echo_table

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.report.table import Table


@click.command(
    "infer-pairs",
    epilog="Example: dfad infer-pairs --manifest manifests/synthetic",
)
@click.option(
    "--manifest",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Manifest folder with the forged faces; the pairs are stored in it.",
)
@click.option(
    "--real",
    "real_folders",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    help="Manifest folder with real faces; repeat for several (default: the same manifest).",
)
@click.option(
    "--dataset", type=options.DATASET, default=None, help="Your own YAML file, where the manifest was built by one."
)
@options.as_json
@options.quiet
def command(folder: Path, real_folders: tuple[Path, ...], dataset: str | None, as_json: bool, quiet: bool) -> None:
    """Find the real face each forged one was made from.

    Targets given by file names are looked up; where a name allows two candidates, the surroundings of the forged face
    are compared with both. The result is a table beside the manifest that `dfad gaze-fid` reads.
    """
    from dfad_bench.api.pairs import infer_pairs
    from dfad_bench.cli.progress import make_progress

    found = infer_pairs(folder, real_folders, dataset=dataset, progress=make_progress(quiet))
    name, without = found.manifest.name, found.unpaired
    if as_json:
        value = {
            "manifest": name,
            "pairs": len(found.pairs),
            "rows": found.rows,
            "unpaired": without.to_dict("records"),
        }
        echo_json(value)
        return
    echo_table(_table(name, found.rows, without))


def _table(name: str, rows: Sequence[dict[str, Any]], without: pd.DataFrame) -> Table:
    from dfad_bench.ingest.unpaired import FROM_NOTHING, NO_RULE, NOT_AT_HAND
    from dfad_bench.report.table import Column, Table

    reasons = {(row.generator, row.reason): row.faces for row in without.itertuples()}
    shown = [reason for reason in (NOT_AT_HAND, NO_RULE, FROM_NOTHING) if (without["reason"] == reason).any()]
    full = [{**row, **{reason: reasons.get((row["generator"], reason), 0) for reason in shown}} for row in rows]
    counts = [Column(key, key, "count") for key in ("faces", "pairs", "name", "key", "compared", *shown)]
    columns = (Column("generator", "generator", "text"), *counts, Column("confidence", "mean confidence"))
    notes = ["name: by file name; key: by file name, found by its source key; compared: the better of two candidates"]
    if NOT_AT_HAND in shown:
        notes.append(f"{NOT_AT_HAND}: give the manifest with the real faces by --real; {_missing_text(without)}")
    if NO_RULE in shown:
        notes.append(f"{NO_RULE}: neither file names nor the dataset file give a target; see `candidates` there")
    return Table(f"{name}: pairs of forged and real faces", columns, full, tuple(notes))


def _missing_text(without: pd.DataFrame) -> str:
    from dfad_bench.cli.check_manifest import shorten

    names = sorted({name for row in without["wanted"] for name in row})
    return f"missing: {shorten(names)}" if names else "the faces (or frames) that file names give are missing"
