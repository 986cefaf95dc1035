"""`dfad reproduce`: a table of a paper, from faces to its layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.api.table_settings import TableSettings
from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_table

if TYPE_CHECKING:
    from dfad_bench.api.table_plan import PlannedRun, TablePlan

_FORMATS = ("rich", "markdown", "csv", "json", "latex")
_setting = partial(options.setting, TableSettings)


def _weights(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if bad := [value for value, (model, _, file) in zip(values, pairs, strict=True) if not (model and file)]:
        raise click.BadParameter(f"{bad[0]!r} is not MODEL=FILE", context, parameter)
    return {model: file for model, _, file in pairs}


@click.command(
    "reproduce",
    epilog="Example: dfad reproduce IV --size tiny --recipe quick --epochs 1 --protocol synthetic --out tables"
    " --manifest quickstart/manifests/synthetic --manifest quickstart/manifests/synthetic-outdoor"
    " --manifest quickstart/manifests/synthetic-unseen",
)
@click.argument("table", type=options.TABLE)
@options.manifest(required=False)
@options.out("Folder of the runs: one a row, which tables share.", required=False)
@_setting("protocol")
@_setting("size")
@_setting("recipe")
@_setting("epochs")
@_setting("seeds", callback=options.parse_seeds, type=str)
@_setting("device")
@_setting("cache")
@_setting("precision")
@_setting("force_precision")
@_setting("weights", multiple=True, callback=_weights)
@_setting("views", multiple=True)
@options.view_estimator
@options.view_weights
@_setting("models", multiple=True, type=options.MODEL)
@_setting("allow_partial")
@_setting("leak_check")
@_setting("max_steps")
@_setting("max_minutes")
@click.option("--plan", "planned", is_flag=True, help="Train nothing: print each run's command, and what it takes.")
@click.option(
    "--measure/--no-measure", default=True, show_default=True, help="With --plan: run a few steps of each model."
)
@click.option("--collect", is_flag=True, help="Train nothing: render the runs that are there.")
@click.option(
    "--format", "format_", type=click.Choice(_FORMATS), default="rich", show_default=True, help="Format of the table."
)
@options.quiet
@options.as_json
def command(table: str, manifests: tuple[Path, ...], out: Path | None, **asked: Any) -> None:
    """Make a table of GazeCLIP or BMRL: train and test what is missing, render the paper's layout.

    TABLE is a name of `dfad list tables`, or what the paper calls it: IV, bmrl-4, gazeclip-fig-9. Interrupted or
    killed, the same command goes on. Printed values stand in a block of their own; a difference to them is shown only
    under the paper's protocol, size, recipe and weights. At paper size models start from the weights their cards name,
    and gaze is ETH-XGaze's. To try a table: --size tiny --recipe quick --protocol synthetic.
    """
    from dfad_bench.api.reproduce import plan_table, reproduce_table
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.views.options import view_settings

    asked["views"] = view_settings(asked["views"], estimator=asked["estimator"], gaze_weights=asked["gaze_weights"])
    settings = TableSettings(**options.settings_in(asked, TableSettings))
    progress = make_progress(asked["quiet"])
    if asked["planned"]:
        plan = plan_table(
            table, manifests, settings, out=out or Path("tables"), measure=asked["measure"], progress=progress
        )
        echo_json(plan.plain()) if asked["as_json"] else show_plan(plan)
        return
    made = reproduce_table(
        table,
        manifests,
        out or Path("tables"),
        settings,
        collect=asked["collect"],
        progress=progress,
        report=partial(echo, err=True),
    )
    echo_table(made.table, "json" if asked["as_json"] else asked["format_"])


def show_plan(plan: TablePlan) -> None:
    """Print a command a line, as a shell takes it; all else is comments."""
    echo(f"# {plan.table.paper}, {plan.table.table}: {plan.table.title}; protocol {plan.protocol.name}")
    for one in plan.runs:
        echo(f"{one.command}  # {cost_words(one)}")
    for run in plan.absent:
        echo(f"# not trained: {run.name}: {run.lacks}")
    for line in lacking_lines(plan):
        echo(f"# {line}")
    for note in plan.notes:
        echo(f"# {note}")


def lacking_lines(plan: TablePlan) -> list[str]:
    """A line for each dataset of which groups lack faces, with where to get it."""
    found: dict[str, list[str]] = {}
    obtain: dict[str, str] = {}
    for need in plan.lacking:
        dataset, _, generator = need.group.partition("/")
        few = need.train + need.test + need.unsplit
        words = f"{generator} ({need.missing:,} faces too few)" if few else generator
        found.setdefault(dataset, [])
        found[dataset] += [words] if words not in found[dataset] else []
        obtain[dataset] = need.obtain
    return [f"lacks faces of {dataset}: {', '.join(names)}; {obtain[dataset]}" for dataset, names in found.items()]


def cost_words(one: PlannedRun) -> str:
    """Faces, steps, memory and time of a run in a few words."""
    assert one.run.settings is not None
    seeds = len(one.run.settings.seeds)
    words = [one.run.name, f"{one.faces:,} faces", f"{one.steps:,} steps" + (f" x {seeds} seeds" if seeds > 1 else "")]
    if one.memory_bytes is not None and one.seconds is not None:
        words += [f"{one.memory_bytes / 2**30:.1f} GiB", f"about {duration(one.seconds)}"]
    words += [f"{one.done} of {seeds} done"] if one.done else []
    words += [one.note] if one.note else []
    return ", ".join(words)


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it.

    >>> duration(90), duration(7200), duration(400000)
    ('2 min', '2.0 h', '4.6 days')
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
