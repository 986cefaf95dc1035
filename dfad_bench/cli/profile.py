"""`dfad profile`: parameters and operations of models, beside the published figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_table
from dfad_bench.engine.settings import TrainSettings

if TYPE_CHECKING:
    from dfad_bench.engine.profile import Profile
    from dfad_bench.engine.shares import PartShare
    from dfad_bench.report.table import Table

_CONVENTION = (
    "Convention: parameters and FLOPs counted as the published ones were (leaderboards/reported/efficiency.yaml);"
    " their FLOPs are multiply-adds, attention products left out."
)

_FACES = 8  # of a step whose shares are asked for


@click.command("profile", epilog="Example: dfad profile --model xception --model gazeclip --size tiny")
@click.option("--model", "models", type=options.MODEL, multiple=True, help="Model name; repeat for several.")
@click.option("--all", "everything", is_flag=True, help="Every registered model.")
@options.setting(TrainSettings, "size")
@options.setting(TrainSettings, "options", multiple=True)
@click.option("--latency", is_flag=True, help="Also time one image and 32, with their memory, on --device.")
@click.option(
    "--minutes", type=click.FloatRange(min=0, max=1440, min_open=True), help="With --latency: at most, of each model."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file that keeps each profile at once; those in it are not made again.",
)
@click.option("--shares", is_flag=True, help="Instead, the share of each module in a training step, on --device.")
@click.option("--batch", type=click.IntRange(1, 4096), help="With --shares: faces a step; default 8.")
@options.device
@options.setting(TrainSettings, "precision")
@options.setting(TrainSettings, "force_precision")
@options.as_json
@options.quiet
def command(
    models: tuple[str, ...],
    everything: bool,
    size: Any,
    options: tuple[str, ...],
    latency: bool,
    minutes: float | None,
    out: Path | None,
    shares: bool,
    batch: int | None,
    as_json: bool,
    quiet: bool,
    **timed: Any,
) -> None:
    """Count parameters and multiply-adds of one image, beside the published figures.

    Counts are made with 11 generators, both experts and random weights. Deviations from a published figure are
    explained below the table. With --latency each model is timed in a process of its own: one that takes too long or
    does not fit says so below. With --shares: where the time of a training step goes, module by module.
    """
    if everything == bool(models):
        raise click.UsageError("give --model NAME (repeatable) or --all")
    if options and len(models) != 1:
        raise click.UsageError("--set goes with exactly one --model")
    if shares and latency:
        raise click.UsageError("--latency is of forward passes, --shares of training steps; give one")
    if batch is not None and not shares:
        raise click.UsageError("--batch goes with --shares")
    if minutes is not None and not latency:
        raise click.UsageError("--minutes goes with --latency")
    if out is not None and shares:
        raise click.UsageError("--out keeps profiles, and --shares makes none")
    from dfad_bench.api.models import profile_models, profile_shares
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.cli.train import parse_settings

    about: dict[str, Any] = {"size": size, "options": parse_settings(options), **timed}
    names = None if everything else models
    if shares:
        table = shares_table(profile_shares(names, batch=batch or _FACES, **about), batch or _FACES)
    else:
        about |= {"minutes": minutes, "out": out, "progress": make_progress(quiet)}
        table = profile_table(profile_models(names, latency=latency, **about))
    echo_table(table, "json" if as_json else "rich")


def profile_table(profiles: list[Profile]) -> Table:
    """One row per model; counts in millions and 10^9, latency in milliseconds if it was measured."""
    from dfad_bench.report.table import Column, Table

    columns = [
        Column("display", "Model", "text"),
        Column("side", "Side", "count"),
        Column("params_m", "Params M"),
        Column("trainable_m", "trained M"),
        Column("inference_m", "at test M"),
        Column("gmacs", "GMACs"),
        Column("convention_params_m", "Convention: params M"),
        Column("published_params_m", "published"),
        Column("params_deviation", "dev."),
        Column("convention_flops_g", "FLOPs G"),
        Column("published_flops_g", "published"),
        Column("flops_deviation", "dev."),
    ]
    timed = [profile for profile in profiles if profile.seconds is not None]
    for count in sorted({cost.batch for profile in timed for cost in profile.batches}):
        columns.append(Column(f"milliseconds_{count}", f"ms, batch {count}"))
        if any(cost.batch == count and cost.processor_seconds for profile in timed for cost in profile.batches):
            columns.append(Column(f"processor_ms_{count}", "processor"))
        columns.append(Column(f"mib_{count}", "MiB", digits=0))
    notes = [_CONVENTION, *(f"{profile.display}: {note}" for profile in profiles for note in profile.notes)]
    if timed:
        first = timed[0]
        notes.append(
            f"Latency: median of a batch's passes, on {first.device} in {first.precision} ({first.precision_why});"
            " processor: of all threads, which other work on the machine does not lengthen; MiB: weights, images and"
            " the pass, at most."
        )
    title = "What models cost" + (", tiny" if profiles and profiles[0].size == "tiny" else "")
    return Table(title, tuple(columns), [_row(profile) for profile in profiles], tuple(notes))


def shares_table(shares: list[tuple[str, list[PartShare]]], faces: int) -> Table:
    """A row a part of a step, in milliseconds; a model in which nothing learns is named below."""
    from dfad_bench.report.table import Column, Table

    columns = (
        Column("model", "Model", "text"),
        Column("part", "Part", "text"),
        Column("forward_ms", "Forward ms"),
        Column("backward_ms", "backward ms"),
        Column("share", "Share %", "percent", digits=1),
    )
    rows = [
        {
            "model": name,
            "part": part.part,
            "forward_ms": part.forward * 1000,
            "backward_ms": None if part.backward is None else part.backward * 1000,
            "share": part.share,
        }
        for name, parts in shares
        for part in parts
    ]
    notes = [
        f"A training step of {faces} faces, medians of three after one to warm up; the optimiser is Adam.",
        "A backward pass is a module's from the moment the gradient of its result is there until another's is.",
        *(f"{name}: nothing learns" for name, parts in shares if not parts),
    ]
    return Table("Where a training step goes", columns, rows, tuple(notes), names=2)


def _row(profile: Profile) -> dict[str, Any]:
    costs: dict[str, Any] = {}
    for cost in profile.batches:
        costs[f"milliseconds_{cost.batch}"] = cost.seconds * 1000
        processor = cost.processor_seconds
        costs[f"processor_ms_{cost.batch}"] = None if processor is None else processor * 1000
        costs[f"mib_{cost.batch}"] = None if cost.memory is None else cost.memory / 2**20
    return {
        **profile.row(),
        "params_m": profile.params_total / 1e6,
        "trainable_m": profile.params_trainable / 1e6,
        "inference_m": profile.params_inference / 1e6,
        "gmacs": profile.macs / 1e9,
        **costs,
    }
