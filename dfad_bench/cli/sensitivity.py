"""`dfad sensitivity`: one run on test faces cropped in several ways, and corrupted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_table
from dfad_bench.engine.settings import RobustnessSettings

_FORMATS = ("rich", "markdown", "csv", "json", "latex")
_setting = partial(options.setting, RobustnessSettings)


def _names(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    return () if value == "none" else options.split_names(context, parameter, value)


@click.command(
    "sensitivity",
    epilog="Example: dfad sensitivity --run quickstart/runs/xception --manifest quickstart/manifests/synthetic"
    " --manifest quickstart/manifests/synthetic-outdoor --manifest quickstart/manifests/synthetic-unseen"
    " --corruptions jpeg --severities 3",
)
@click.option("--run", type=options.RUN, required=True, help="Folder of a finished run.")
@options.manifest()
@_setting(
    "corruptions",
    type=str,
    default="jpeg,pixelation",
    show_default=True,
    callback=_names,
    help="Corruptions that stand for quality and size, separated by commas; none: crops only.",
)
@_setting(
    "severities",
    type=str,
    default="1,3,5",
    show_default=True,
    callback=options.parse_levels,
    help="Their severities, separated by commas.",
)
@_setting("corruptions_file", type=click.Path(path_type=Path, dir_okay=False))
@_setting("corrupt_at")
@_setting("workers")
@_setting("device")
@_setting("views", multiple=True)
@options.view_estimator
@options.view_weights
@_setting("allow_partial")
@click.option(
    "--format", "format_", type=click.Choice(_FORMATS), default="rich", show_default=True, help="Format of the table."
)
@options.quiet
@options.as_json
def command(run: Path, manifests: tuple[Path, ...], **asked: Any) -> None:
    """Compare a run's numbers on faces cropped as it learnt them with other margins, sizes and qualities.

    Give the manifests of the profile the run learnt from, and those of the same datasets built by other crop profiles
    (`dfad build-manifest --crop`): the model predicts the test faces of each, and those of its own profile under
    corruptions. All are compared on the faces they have in common; changes are paired by source. The record
    (`sensitivity-<hash>.json` in the run) is computed again by `dfad verify-record --record`.
    """
    from dfad_bench.api.sensitivity import sensitivity
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.record import plain
    from dfad_bench.views.options import view_settings

    asked["views"] = view_settings(asked["views"], estimator=asked["estimator"], gaze_weights=asked["gaze_weights"])
    settings = RobustnessSettings(**options.settings_in(asked, RobustnessSettings))
    found = sensitivity(run, manifests, settings, progress=make_progress(asked["quiet"]))
    for one in found:
        for warning in one.warnings:
            echo(f"Warning: {warning}", err=True)
        if asked["as_json"]:
            echo_json({"path": str(one.path), **plain(one.record)})
        else:
            echo_table(one.table, asked["format_"])
        echo(f"Record: {one.path}", err=True)
