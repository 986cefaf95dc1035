"""`dfad infer-pairs`: find the real face each forged one was made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.manifest import Manifest
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
    import json

    from dfad_bench.cli.progress import make_progress
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.data.pair_table import write_pairs
    from dfad_bench.ingest.pairs import infer_pairs
    from dfad_bench.ingest.sources.spec import load_dataset_spec
    from dfad_bench.ingest.unpaired import count_unpaired
    from dfad_bench.report.table import render

    manifest = Manifest.open(folder)
    reals = [Manifest.open(real) for real in real_folders] or [manifest]
    spec = load_dataset_spec(dataset) if dataset else None
    pairs = infer_pairs(manifest, reals, spec=spec, progress=make_progress(quiet))
    write_pairs(manifest, pairs, reals)
    rows = _rows(manifest, pairs)
    without = count_unpaired(manifest, pairs, reals, spec=spec)
    if as_json:
        value = {"manifest": manifest.name, "pairs": len(pairs), "rows": rows, "unpaired": without.to_dict("records")}
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    click.echo(render(_table(manifest.name, rows, without), "rich"), nl=False)


def _rows(manifest: Manifest, pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per forged generator: faces, pairs by method, mean confidence."""
    faces = manifest.frame(["sample_id", "generator", "detection_label"])
    faces = faces[faces["detection_label"] == 1].merge(pairs, on="sample_id", how="left")
    rows = []
    for generator, group in faces.groupby("generator", observed=True):
        methods = group["method"].value_counts()
        found = int(group["target_id"].notna().sum())
        row: dict[str, Any] = {"generator": str(generator), "faces": len(group), "pairs": found}
        row |= {name: int(methods.get(name, 0)) for name in ("name", "key", "compared")}
        row["confidence"] = round(float(group["pair_confidence"].mean()), 4) if found else None
        rows.append(row)
    return rows


def _table(name: str, rows: list[dict[str, Any]], without: pd.DataFrame) -> Table:
    from dfad_bench.ingest.unpaired import FROM_NOTHING, NO_RULE, NOT_AT_HAND
    from dfad_bench.report.table import Column, Table

    reasons = {(row.generator, row.reason): row.faces for row in without.itertuples()}
    shown = [reason for reason in (NOT_AT_HAND, NO_RULE, FROM_NOTHING) if (without["reason"] == reason).any()]
    full = [{**row, **{reason: reasons.get((row["generator"], reason), 0) for reason in shown}} for row in rows]
    counts = [Column(key, key, "count") for key in ("faces", "pairs", "name", "key", "compared", *shown)]
    columns = (Column("generator", "generator", "text"), *counts, Column("confidence", "mean confidence"))
    notes = ["name: by file name; key: by file name, found by its source key; compared: the better of two candidates"]
    if NOT_AT_HAND in shown:
        notes.append(f"{NOT_AT_HAND}: give the manifest with the real faces by --real; {_missing(without)}")
    if NO_RULE in shown:
        notes.append(f"{NO_RULE}: neither file names nor the dataset file give a target; see `candidates` there")
    return Table(f"{name}: pairs of forged and real faces", columns, full, tuple(notes))


def _missing(without: pd.DataFrame) -> str:
    from dfad_bench.cli.check_manifest import shorten

    names = sorted({name for row in without["wanted"] for name in row})
    return f"missing: {shorten(names)}" if names else "the faces (or frames) that file names give are missing"
