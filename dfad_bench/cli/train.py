"""`dfad train`: a model, a protocol, manifests; a run folder with its record."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_table
from dfad_bench.core.errors import quoted
from dfad_bench.engine.settings import TrainSettings

if TYPE_CHECKING:
    from dfad_bench.api.training import Training
    from dfad_bench.core.record import ResultRecord
    from dfad_bench.report.table import Table

_setting = partial(options.setting, TrainSettings)


@click.command(
    "train",
    epilog="Example: dfad train --model xception --size tiny --recipe quick --protocol synthetic"
    " --manifest quickstart/manifests/synthetic --manifest quickstart/manifests/synthetic-outdoor"
    " --manifest quickstart/manifests/synthetic-unseen --out runs/xception",
)
@_setting("model")
@_setting("protocol")
@options.manifest()
@options.out("Run folder; an unfinished run in it goes on.")
@_setting("size")
@_setting("recipe")
@_setting("prompts")
@_setting("epochs")
@_setting("seed")
@_setting("seeds", callback=options.parse_seeds)
@_setting("device")
@_setting("cache")
@_setting("precision")
@_setting("force_precision")
@_setting("heads")
@_setting("compiled")
@_setting("channels_last")
@_setting("checkpointing")
@_setting("processes")
@_setting("wandb")
@_setting("weights")
@_setting("finetune_from", type=options.RUN)
@_setting("options", multiple=True)
@_setting("views", multiple=True)
@options.view_estimator
@options.view_weights
@_setting("allow_partial")
@_setting("leak_check")
@_setting("outputs")
@_setting("max_steps")
@_setting("max_minutes")
@_setting("resume")
@_setting("extend")
@options.quiet
@options.as_json
def command(manifests: tuple[Path, ...], out: Path, quiet: bool, as_json: bool, **asked: Any) -> None:
    """Train a model under a protocol, predict its test faces, score them, write the record.

    A killed run goes on where it was when the same command is given again; a finished one is left as it is. Several
    machines: `torchrun ... -m dfad_bench train ...` with the same options on each; batches keep the recipe's size.
    """
    from dfad_bench.api.training import TeamError, parse_weights, train
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.views.options import view_settings

    if asked["seeds"] and _is_given("seed"):
        raise click.UsageError("--seed and --seeds: give one of them.")
    asked["options"] = parse_settings(asked["options"])
    asked["views"] = view_settings(asked["views"], estimator=asked["estimator"], gaze_weights=asked["gaze_weights"])
    asked["weights"] = parse_weights(asked["weights"]) if asked["weights"] else None
    settings = TrainSettings(**options.settings_in(asked, TrainSettings))
    try:
        made = train(settings, manifests, out, progress=make_progress(quiet), report=partial(echo, err=True))
    except TeamError as error:  # its processes have printed the error
        raise SystemExit(error.exit_code) from error
    if made.lead:
        show(made, as_json=as_json)


def show(made: Training, *, as_json: bool = False) -> None:
    """Print the record, or mean and spread over seeds."""
    from dfad_bench.core.run_folder import RunFolder, SeedsFolder

    assert made.table is not None
    if made.full_table is None:
        show_record(made.records[0], made.table, as_json=as_json)
        place = f"Record: {RunFolder(made.out).record}"
    else:
        echo_table(*(made.full_table, "json") if as_json else (made.table, "rich"))
        files = SeedsFolder(made.out)
        place = f"Records: {files.records}; means: {files.summary}"
    if not made.printed and not (as_json and made.full_table is None):
        echo(place, err=True)


def show_record(record: ResultRecord, table: Table, *, as_json: bool) -> None:
    """Print a record beside the constant models, or whole as JSON."""
    from dfad_bench.core.record import plain

    if as_json:
        echo_json(plain(record), sort_keys=True)
    else:
        echo_table(table)


def _is_given(name: str) -> bool:
    """Whether an option is on the command line."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """`key=value` pairs; values are JSON where they can be, else text.

    >>> parse_settings(("levels=2", "query=patch", "gaze=false"))
    {'levels': 2, 'query': 'patch', 'gaze': False}
    """
    import json

    values: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{quoted(text)} is not KEY=VALUE", param_hint="--set")
        try:
            values[key] = json.loads(value)
        except json.JSONDecodeError:
            values[key] = value
    return values
