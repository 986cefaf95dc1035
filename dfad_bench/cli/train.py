"""`dfad train`: a model, a protocol, manifests; a run folder with its record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dfad_bench.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfad_bench.engine.run import RunResult


def _seeds(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        seeds = tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of whole numbers with commas between") from error
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise click.BadParameter(f"{text!r}: seeds are 0 or more, each once")
    return seeds


@click.command(
    "train",
    epilog="Example: dfad train --model xception --size tiny --recipe quick --protocol synthetic"
    " --manifest quickstart/manifests/synthetic --manifest quickstart/manifests/synthetic-outdoor --out runs/xception",
)
@click.option("--model", type=options.MODEL, required=True, help="See `dfad list models`.")
@options.protocol()
@options.manifest()
@options.out("Run folder; an unfinished run in it goes on.")
@click.option(
    "--size", type=click.Choice(["paper", "tiny"]), default="paper", show_default=True, help="Published or toy widths."
)
@click.option(
    "--recipe", type=options.RECIPE, default="default", show_default=True, help="Recipe name, or your own YAML file."
)
@click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's; no stage is longer.")
@options.seed
@click.option("--seeds", metavar="N,N,...", callback=_seeds, help="Several runs, in OUT/seed-N, and their mean.")
@options.device
@click.option(
    "--cache",
    type=click.Choice(["disk", "ram", "gpu", "none"]),
    default="disk",
    show_default=True,
    help="Where the crops lie: decoded on disk, in memory, on the GPU; none decodes batch by batch.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Of the forward pass.",
)
@click.option(
    "--heads",
    type=click.Choice(["both", "attribution", "detection"]),
    default="both",
    show_default=True,
    help="Experts that learn.",
)
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile; without a compiler, train as ever.")
@click.option(
    "--channels-last/--contiguous",
    default=None,
    help="Memory layout of images and convolutions.  [default: as suits the device]",
)
@click.option("--processes", type=click.IntRange(1), default=1, help="Train on so many GPUs (or CPU processes) here.")
@click.option("--wandb", metavar="PROJECT", help="Log to this project of Weights & Biases, too.")
@click.option("--weights", help="Pre-trained weights to start from (a name or a path); random without.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="A setting of the model; repeatable.")
@options.view
@options.view_estimator
@options.view_weights
@click.option("--allow-partial", is_flag=True, help="Go on with missing or short groups; the record says so.")
@click.option("--max-steps", type=click.IntRange(1), help="Stop after so many steps; the run is partial and can go on.")
@click.option("--max-minutes", type=click.FloatRange(0, min_open=True), help="Stop after so many minutes of training.")
@click.option(
    "--resume/--no-resume", default=True, show_default=True, help="Go on, or forget what is there and start again."
)
@options.quiet
@options.as_json
def command(
    model: str, protocol: str, manifests: tuple[Path, ...], out: Path, size: Any, recipe: str, epochs: int | None,
    seed: int, device: str, precision: str, heads: Any, weights: str | None, settings: tuple[str, ...],
    view_settings: tuple[str, ...], estimator: str | None, gaze_weights: str | None, allow_partial: bool,
    max_steps: int | None, max_minutes: float | None, resume: bool,
    quiet: bool, as_json: bool, compiled: bool, channels_last: bool | None, processes: int, wandb: str | None,
    seeds: tuple[int, ...], cache: Any,
) -> None:  # fmt: skip
    """Train a model under a protocol, predict its test faces, score them, write the record.

    A killed run goes on where it was when the same command is given again; a finished one is left as it is. Several
    machines: `torchrun ... -m dfad_bench train ...` with the same options on each; batches keep the recipe's size.
    """
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.engine import distributed, loggers
    from dfad_bench.engine.fit import Limits
    from dfad_bench.engine.launch import end_with_launcher
    from dfad_bench.engine.run import run_training
    from dfad_bench.views.options import view_settings as view_options
    from dfad_bench.views.provider import ViewProvider

    if seeds and _given("seed"):
        raise click.UsageError("--seed and --seeds: give one of them.")
    opened, (rank, world, _) = [Manifest.open(folder) for folder in manifests], distributed.processes()
    if processes > 1 and world == 1:
        raise SystemExit(_launch(model, protocol, recipe, device, precision, processes))
    if world > 1 and processes not in (1, world):
        raise click.UsageError(f"--processes {processes}: torchrun has started {world}; leave it out.")
    if world > 1:
        end_with_launcher()
    given = view_options(view_settings, estimator=estimator, gaze_weights=gaze_weights)
    logs = ("tensorboard", *(["wandb"] if wandb else []))
    if rank == 0:
        for line in loggers.lacking(logs):
            click.echo(line, err=True)
        for line in _unused(model, given):
            click.echo(line, err=True)
    progress = make_progress(quiet or rank > 0)
    views = ViewProvider(opened, given, device=device, progress=progress)

    def run(seed: int, folder: Path) -> bool:
        result = run_training(
            model, protocol, opened, folder, size=size, recipe=recipe, epochs=epochs, seed=seed, device=device,
            precision=precision, heads=heads, weights=weights, options=parse_settings(settings), views=views,
            allow_partial=allow_partial,
            limits=Limits(max_steps, max_minutes), resume=resume, progress=progress, compiled=compiled,
            channels_last=channels_last, cache=cache, logs=logs, wandb_project=wandb or "",
        )  # fmt: skip
        if result.lead:
            _report(result, folder)
        return result.lead and result.fresh

    if not seeds:
        fresh = run(seed, out)
        if rank == 0:
            show_record(out, fresh=fresh, as_json=as_json)
        return
    ran = {number: run(number, out / f"seed-{number}") for number in seeds}
    if rank == 0:
        show_seeds(out, {out / f"seed-{number}": fresh for number, fresh in ran.items()}, as_json=as_json)


def _given(name: str) -> bool:
    """Whether an option is on the command line."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _unused(model: str, given: Mapping[str, Any]) -> list[str]:
    """A line for each given option of a view that this model makes no use of."""
    from dfad_bench.core.registry import model_class
    from dfad_bench.engine.run import needs
    from dfad_bench.views.options import option_of

    idle = {name: settings for name, settings in given.items() if name not in needs(model_class(model))}
    return [
        f"{option_of(name, key)} is not used: {model} reads no {name}"
        for name, settings in idle.items()
        for key in settings
    ]


def _report(result: RunResult, out: Path) -> None:
    """What a reader must know beside the numbers, on stderr."""
    if not result.fresh:
        click.echo(f"{out}: finished before with the same settings; nothing to do (--no-resume starts again)", err=True)
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if result.status == "partial":
        click.echo(f"Partial: {result.stopped}; the record is not ranked", err=True)


def show_seeds(out: Path, runs: Mapping[Path, bool], *, as_json: bool) -> None:
    """Write the records that are new and `seeds.json`, and print mean and spread over the seeds.

    Args:
        out: folder of all runs.
        runs: folder of each run -> whether it is new.
        as_json: print JSON.
    """
    from dfad_bench.core.files import write_json
    from dfad_bench.core.record import FILE, read_record
    from dfad_bench.report.aggregate import seeds_table
    from dfad_bench.report.run_record import build_record
    from dfad_bench.report.table import render

    records = [
        build_record(run) if fresh or not (run / FILE).is_file() else read_record(run / FILE)
        for run, fresh in runs.items()
    ]
    whole = seeds_table(records, every=True)
    write_json(out / "seeds.json", {"title": whole.title, "rows": [dict(row) for row in whole.rows]})
    click.echo(render(whole, "json") if as_json else render(seeds_table(records), "rich"), nl=False)
    click.echo(f"Records: {out / 'seed-*' / FILE}; means: {out / 'seeds.json'}", err=True)


def _launch(model: str, protocol: str, recipe: str, device: str, precision: str, processes: int) -> int:
    """This command again, as several processes, once the names in it have been found right."""
    import sys

    from dfad_bench.core.protocol import load_protocol
    from dfad_bench.core.recipe import load_recipe
    from dfad_bench.core.registry import model_class
    from dfad_bench.engine.devices import gpus, place
    from dfad_bench.engine.launch import launch

    for check, name in ((model_class, model), (load_protocol, protocol), (load_recipe, recipe)):
        check(name)
    on_gpus = place(device, precision).device.type == "cuda"
    return launch(sys.argv[1:], processes, cuda_devices=gpus() if on_gpus else None)


def show_record(out: Path, *, fresh: bool, as_json: bool) -> None:
    """Write the record where it is new, and print it beside the trivial rows."""
    import json

    from dfad_bench.core.record import FILE, plain, read_record
    from dfad_bench.report.leaderboard import board
    from dfad_bench.report.run_record import build_record, protocol_of
    from dfad_bench.report.table import render

    record = build_record(out) if fresh or not (out / FILE).is_file() else read_record(out / FILE)
    if as_json:
        click.echo(json.dumps(plain(record), indent=2, sort_keys=True, ensure_ascii=False))
        return
    protocol = protocol_of({"protocol": {"config": record.protocol.config}}, str(out / FILE))
    click.echo(render(board(protocol, [record]), "rich"), nl=False)
    click.echo(f"Record: {out / FILE}", err=True)


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
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--set")
        try:
            values[key] = json.loads(value)
        except json.JSONDecodeError:
            values[key] = value
    return values
