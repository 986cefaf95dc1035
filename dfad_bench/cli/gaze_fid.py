"""`dfad gaze-fid`: compare the gaze of real and forged faces by generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options

if TYPE_CHECKING:
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.gaze.study import GazeStudy
    from dfad_bench.report.table import Table

RESAMPLES = 1000


@click.command(
    "gaze-fid", epilog="Example: dfad gaze-fid --manifest quickstart/manifests/synthetic --estimator geometric"
)
@options.manifest()
@options.estimators
@options.each_weights
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    default=10_000,
    show_default=True,
    help="Most real and most forged faces per generator, and most pairs.",
)
@click.option(
    "--equal-n/--no-equal-n",
    default=True,
    show_default=True,
    help="The same number of faces for all generators, or all faces of each.",
)
@click.option(
    "--fid-backend",
    type=click.Choice(["closed-form", "pytorch-fid"]),
    default="closed-form",
    show_default=True,
    help="The closed form in two dimensions, or pytorch-fid's function: equal values, slower.",
)
@options.device
@options.seed
@options.as_json
@options.out("Folder for gaze.json, gaze.csv, gaze.md and the figures.", required=False)
@options.quiet
def command(
    manifests: tuple[Path, ...],
    estimators: tuple[str, ...],
    weights: tuple[str, ...],
    samples: int,
    equal_n: bool,
    fid_backend: str,
    device: str,
    seed: int,
    as_json: bool,
    out: Path | None,
    quiet: bool,
) -> None:
    """Compare the gaze of real and forged faces: FID and paired cosine by generator.

    Distances have a 95 % interval and a floor (the distance of real faces from real faces), and are averaged by
    forgery type and by family. The claim that diffusion is nearer to real than GAN is tested by permutation. Gaze
    that is not stored yet is estimated first. Several estimators are compared side by side.
    """
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.errors import DFADError
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.gaze.study import study_gaze
    from dfad_bench.report.table import render

    opened = [Manifest.open(folder) for folder in manifests]
    settings: dict[str, Any] = {"samples": samples, "seed": seed, "resamples": RESAMPLES, "equal_n": equal_n}
    study = study_gaze(
        opened,
        options.weights_of_each(weights, estimators),
        device=device,
        progress=make_progress(quiet),
        backend=fid_backend,
        **settings,
    )
    facts = {**settings, "fid_backend": fid_backend, "manifests": {m.name: m.sha256 for m in opened}, **_facts(study)}
    tables = _tables(facts)
    written = _write(out, facts, tables, study, opened, seed) if out is not None else []
    if as_json:
        import json

        click.echo(json.dumps(facts, indent=2, allow_nan=False, ensure_ascii=False))
    else:
        click.echo("\n".join(render(table, "rich") for table in tables), nl=False)
    if written and not quiet:
        from dfad_bench.report.figures.gaze import figure_notes

        for line in (f"Written to {out}: {', '.join(path.name for path in written)}", *figure_notes(study.reports)):
            click.echo(line, err=True)
    if study.failed:
        raise DFADError("; ".join(f"estimator {name} left out: {why}" for name, why in study.failed.items()))


def _facts(study: GazeStudy) -> dict[str, Any]:
    """All results of a study as plain values; with several estimators each entry of a list names its own."""
    from dfad_bench.gaze.compare import rank_agreement
    from dfad_bench.report.gaze.published import published_gaze

    def each(values: Any) -> list[dict[str, Any]]:
        return [
            {"estimator": name, **vars(value)} for name, report in study.reports.items() for value in values(report)
        ]

    estimators = {
        name: {
            "fingerprint": built.fingerprint,
            "limits": built.card.limits,
            "remarks": list(study.remarks[name]),
            "notes": list(study.reports[name].notes),
            "published": published_gaze(name),
        }
        for name, built in study.estimators.items()
    }
    return {
        "estimators": estimators,
        "failed": study.failed,
        "rows": [{"estimator": name, **row} for name, report in study.reports.items() for row in report.flat()],
        "groups": each(lambda report: report.groups),
        "claims": each(lambda report: report.claims),
        "agreement": [vars(agreement) for agreement in rank_agreement(study.reports)],
    }


def _tables(facts: dict[str, Any]) -> list[Table]:
    from dfad_bench.report.gaze.estimators import claim_table, group_table, side_by_side_table
    from dfad_bench.report.gaze.published import published_table
    from dfad_bench.report.gaze.tables import fid_table, pair_table

    def of(key: str, name: str) -> list[dict[str, Any]]:
        return [entry for entry in facts[key] if entry["estimator"] == name]

    tables = []
    for name, about in facts["estimators"].items():
        notes = [*about["notes"], *about["remarks"]]
        tables += [fid_table(of("rows", name), name, notes), pair_table(of("rows", name), name)]
        tables += [group_table(of("groups", name), name), claim_table(of("claims", name), name)]
    rows = {name: of("rows", name) for name in facts["estimators"]}
    if len(rows) > 1:
        tables.append(side_by_side_table(rows, facts["agreement"]))
    published = published_table(rows)
    return [*tables, published] if published else tables


def _write(
    out: Path, facts: dict[str, Any], tables: list[Table], study: GazeStudy, manifests: list[Manifest], seed: int
) -> list[Path]:
    from dfad_bench.core.files import write_json, write_text
    from dfad_bench.report.figures.gaze import save_gaze_figures
    from dfad_bench.report.gaze.tables import flat_table
    from dfad_bench.report.table import render

    write_json(out / "gaze.json", facts)
    write_text(out / "gaze.csv", render(flat_table(facts["rows"], "Gaze"), "csv"))
    write_text(out / "gaze.md", "\n".join(render(table, "markdown") for table in tables))
    drawn = save_gaze_figures(study.reports, study.frames, manifests, out, seed=seed)
    return [out / name for name in ("gaze.json", "gaze.csv", "gaze.md")] + drawn
