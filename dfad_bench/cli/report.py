"""`dfad report`: figures of finished runs, and a page that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json
from dfad_bench.report.run_figures.registry import FIGURES


@click.command(
    "report",
    epilog="Example: dfad report --run quickstart/runs/xception --run quickstart/runs/gazeclip --manifest"
    " quickstart/manifests/synthetic --manifest quickstart/manifests/synthetic-outdoor --manifest"
    " quickstart/manifests/synthetic-unseen --out report",
)
@click.option(
    "--run", "runs", type=options.RUN, multiple=True, required=True,
    help="Folder of a finished run, or of runs of several seeds; repeatable.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the page, the figures and their numbers."
)
@options.manifest(required=False)
@click.option(
    "--figure", "figures", multiple=True, metavar="NAME",
    help=f"This figure only; repeatable. {', '.join(FIGURES)}.",
)  # fmt: skip
@click.option(
    "--style", type=click.Choice(["screen", "paper"]), default="screen", show_default=True,
    help="Sizes: paper is the columns of a two-column paper, with 8-point text.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of t-SNE and of bands."
)
@click.option(
    "--faces-per-group",
    type=click.IntRange(1, 1_000_000),
    default=500,
    show_default=True,
    help="Most embeddings of a group in the map.",
)
@click.option(
    "--heat-faces",
    type=click.IntRange(1, 1_000_000),
    default=8,
    show_default=True,
    help="Faces of a group behind each mean heat-map.",
)
@click.option(
    "--device", default="cpu", show_default=True, help="Where heat-maps are computed: auto, cpu, cuda, cuda:N."
)
@options.quiet
@options.as_json
def command(runs: tuple[Path, ...], manifests: tuple[Path, ...], out: Path, **asked: Any) -> None:
    """Draw the figures of finished runs: confusion, curves, embeddings, heat-maps, errors, and a page with all.

    Each figure is written as PNG, SVG and PDF, with the numbers behind it as CSV. Faces are shown only where the file
    of their dataset allows it. What a run has not the data for is said on the page.
    """
    from dfad_bench.api.run_report import run_report
    from dfad_bench.api.run_report_settings import RunReportSettings
    from dfad_bench.cli.progress import make_progress

    settings = RunReportSettings(**options.settings_in(asked, RunReportSettings))
    found = run_report(runs, out, manifests, settings, progress=make_progress(asked["quiet"]))
    if asked["as_json"]:
        echo_json(found.plain())
        return
    for absent in found.absent:
        of = f" of {absent.of}" if absent.of else ""
        echo(f"Not shown: {absent.name}{of}: {absent.reason}", err=True)
    for one in found.figures:
        echo(f"{one.files['png']}")
    echo(f"{found.page}")
