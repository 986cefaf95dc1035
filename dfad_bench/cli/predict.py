"""`dfad predict`: what finished runs say of the faces in pictures and videos."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo
from dfad_bench.cli.predicted_lines import CsvLines, JsonLines, Printer, TextLines
from dfad_bench.core.errors import RefusedInputsError
from dfad_bench.engine.settings import EvaluateSettings
from dfad_bench.inference.settings import PredictSettings

if TYPE_CHECKING:
    from dfad_bench.api.predict import Predictions
    from dfad_bench.api.predict_onnx import FilePredictions

_setting = partial(options.setting, PredictSettings)


@click.command("predict", epilog="Example: dfad predict quickstart/faces/test --run quickstart/runs/gazeclip")
@click.argument("inputs", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--run", "runs", type=options.RUN, multiple=True,
    help="Folder of a finished run; repeat to ask several about the same faces.",
)  # fmt: skip
@click.option(
    "--onnx", type=click.Path(path_type=Path, dir_okay=False),
    help="In place of --run: a file of `dfad export`. Pictures are taken for ready-made crops; torch is not needed.",
)  # fmt: skip
@_setting("frames")
@_setting("stride")
@_setting("top")
@_setting("most_faces")
@_setting("stability")
@_setting("gallery", multiple=True)
@_setting("annotate", type=click.Path(path_type=Path, file_okay=False))
@_setting("heat_maps")
@_setting("plot", type=click.Path(path_type=Path, file_okay=False))
@_setting("crop")
@_setting("estimator")
@_setting("skip")
@_setting("device")
@options.setting(EvaluateSettings, "views", multiple=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line: about, a line a face, end.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a line a face; what the runs cannot know on stderr.")
@options.quiet
def command(
    inputs: tuple[str, ...], runs: tuple[Path, ...], onnx: Path | None, views: tuple[str, ...], as_json: bool,
    as_csv: bool, quiet: bool, **asked: Any,
) -> None:  # fmt: skip
    """Say of the faces in pictures and videos whether they are forged, and by which generator.

    PATH is a picture, a folder, a pattern, a video or an archive of pictures; - reads names from stdin. Faces are found
    and cropped as those the run learnt from. A verdict is fake, real or unsure, by thresholds that the run's validation
    faces give; what the run cannot know is said behind it.
    """
    from dfad_bench.cli.progress import make_progress

    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
    if asked["frames"] is not None and asked["stride"] is not None:
        raise click.UsageError("Give --frames or --stride, not both.")
    if asked["heat_maps"] and asked["annotate"] is None:
        raise click.UsageError("--heat-maps are drawn into pictures: give --annotate DIR.")
    # on a terminal the lines show how far it is, and a bar would cut through them
    progress = make_progress(quiet or sys.stdout.isatty())
    if bool(runs) == (onnx is not None):
        raise click.UsageError("Give --run or --onnx, one of the two.")
    if onnx is not None and (unused := _for_runs_only(asked, views)):
        raise click.UsageError(f"--{unused} is for --run; a file of --onnx takes ready-made crops as they are.")
    found: Predictions | FilePredictions
    if onnx is not None:
        from dfad_bench.api.predict_onnx import predict_onnx

        found = predict_onnx(inputs, onnx, top=asked["top"], skip=asked["skip"], progress=progress)
    else:
        from dfad_bench.api.predict import predict
        from dfad_bench.views.options import view_settings

        found = predict(inputs, runs, PredictSettings(**asked), views=view_settings(views), progress=progress)
    printer = (JsonLines if as_json else CsvLines if as_csv else TextLines)(found)
    _print_rows(found, printer, asked["skip"])
    if found.inputs_refused:
        raise RefusedInputsError(
            f"{found.inputs_refused} of {found.inputs_done} inputs could not be used, or not wholly"
        )


def _for_runs_only(asked: Mapping[str, Any], views: tuple[str, ...]) -> str:
    """The first setting that a file cannot follow, as its option is spelt; empty where none is given."""
    usual = PredictSettings()
    given = [name for name, value in asked.items() if value != getattr(usual, name, None)]
    of_runs = [name.replace("_", "-") for name in given if name not in ("top", "skip")] + ["view"] * bool(views)
    return of_runs[0] if of_runs else ""


def _print_rows(found: Predictions | FilePredictions, printer: Printer, skipped: int) -> None:
    try:
        for row in found:
            printer.print_row(row)
    except KeyboardInterrupt:
        echo(f"{found.inputs_done} inputs are done; --skip {skipped + found.inputs_done} goes on behind them", err=True)
        raise
    printer.print_end(found)
    for line in found.remarks:
        echo(f"Warning: {line}", err=True)
    for why, count in sorted(found.left_out.items()):
        echo(f"Left out: {count} {why}", err=True)
