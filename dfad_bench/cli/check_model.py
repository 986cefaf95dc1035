"""`dfad check-model`: run the contract test on one model, which may come from another distribution."""

from __future__ import annotations

from collections.abc import Callable

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_table
from dfad_bench.engine.settings import TrainSettings


@click.command("check-model", epilog="Example: dfad check-model xception")
@click.argument("name", type=options.MODEL)
@options.setting(TrainSettings, "options", multiple=True)
@options.as_json
def command(name: str, options: tuple[str, ...], as_json: bool) -> None:
    """Run the contract checks on the model NAME: tiny, random weights, on the CPU, in seconds.

    Checks shapes, losses, gradients, frozen parts, independence of the batch, and building offline. Exit code 1 if
    one fails. A model of another distribution is found through its entry point `dfad_bench.models`.
    """
    from dfad_bench.cli.train import parse_settings
    from dfad_bench.core.errors import DFADError
    from dfad_bench.engine.model_contract import CHECKS, check_model
    from dfad_bench.report.table import Column, Table

    results = check_model(name, parse_settings(options))
    rows = [
        {
            "check": result.check,
            "result": "ok" if result.ok else "FAILED",
            "detail": result.detail or _summary(CHECKS[result.check]),
        }
        for result in results
    ]
    columns = (Column("check", "Check", "text"), Column("result", "Result", "text"), Column("detail", "What", "text"))
    echo_table(Table(f"Contract of {name}", columns, rows), "json" if as_json else "rich")
    failed = [result.check for result in results if not result.ok]
    if failed:
        raise DFADError(f"{name} breaks the contract: {', '.join(failed)}")


def _summary(check: Callable[..., object]) -> str:
    """The first paragraph of its docstring, on one line."""
    return " ".join((check.__doc__ or "").strip().split("\n\n")[0].split())
