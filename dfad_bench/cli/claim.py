"""`dfad claim`: a paper's claim about training, tested on runs."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_json, echo_tables
from dfad_bench.core import bounds


def _claims() -> list[str]:
    from dfad_bench.report.claims_of_papers import CLAIMS

    return list(CLAIMS)


@click.command(
    "claim",
    epilog="Example: dfad claim dfacc-lifts --run runs/clip --run runs/clip-dfacc --run runs/vit --run runs/vit-dfacc",
)
@click.argument("name", type=options.NameType("claim", _claims))
@click.option(
    "--run",
    "runs",
    type=options.RUN,
    multiple=True,
    required=True,
    help="Folder of a finished run, or of several seeds; repeat for all of both sides.",
)
@click.option(
    "--resamples",
    type=click.IntRange(100, bounds.RESAMPLES),
    default=2000,
    show_default=True,
    help="Bootstrap resamples.",
)
@options.seed
@options.as_json
def command(name: str, runs: tuple[Path, ...], resamples: int, seed: int, as_json: bool) -> None:
    """Test a claim of a paper on your runs: dfacc-over-vcc, dfacc-lifts or classes-ease-detection.

    Runs that differ in the claim's setting alone (--set centre_loss, --heads) are paired by model; the mean difference
    over models, and each model's, is tested two-sided on the same faces, over sources and seeds, with Holm's correction
    over the table: as claimed, opposite of what is claimed, undecided, or not testable. What the paper's own table
    says stands below.
    """
    from dataclasses import asdict

    from dfad_bench.api.claims import check_claim

    found = check_claim(name, runs, resamples=resamples, seed=seed)
    if as_json:
        echo_json(asdict(found.result))
    else:
        echo_tables(found.tables)
