"""`dfad scores`: all numbers of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_table

TABLES = ("metrics", "groups", "sweep", "confusion")
OPEN_WORLD = (  # of all runs in one table
    "open-set", "operating-points", "alarms", "sets", "face-sets", "risk", "calibration", "reliability", "kin",
    "retrieval", "months",
)  # fmt: skip
FORMATS = ("rich", "markdown", "csv", "json", "latex")


@click.command("scores", epilog="Example: dfad scores --run quickstart/runs/xception --table confusion")
@click.option(
    "--run",
    "runs",
    type=options.RUN,
    multiple=True,
    required=True,
    help="Folder of a finished run, or of several seeds; repeatable.",
)
@click.option(
    "--table",
    type=click.Choice((*TABLES, *OPEN_WORLD)),
    default="groups",
    show_default=True,
    help="What is shown. Of all runs side by side: open-set (scores for unseen faces), operating-points (thresholds"
    " from validation faces), alarms (those of detection), sets (of generators, with a promise), face-sets (by face),"
    " risk (against coverage), calibration, reliability, kin (what unseen generators are called), retrieval, months"
    " (accuracy by release month of the generator).",
)
@click.option("--format", "format_", type=click.Choice(FORMATS), default="rich", show_default=True)
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the sweep of all runs here (.png, .svg); with --table risk, --table months or --enrol, those.",
)
@click.option(
    "--mistakes",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="OUT",
    help="Write the mistaken faces of attribution and of detection into this folder as CSV, the most confident first,"
    " and with --manifest as contact sheets.",
)
@click.option(
    "--enrol",
    metavar="K,K,...",
    callback=options.parse_levels,
    help="Show how well unseen generators are named once K faces of each are enrolled, of all runs side by side,"
    " in place of --table.",
)
@click.option(
    "--classifier",
    type=click.Choice(("both", "prototype", "knn")),
    default="both",
    show_default=True,
    help="With --enrol: faces are named by the nearest mean (prototype), or by most of the nearest faces (knn).",
)
@click.option(
    "--by",
    metavar="COLUMN",
    help="Show detection and attribution for each value of this column of the faces, worst first, in place of --table.",
)
@click.option(
    "--facts",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --by: CSV, JSON lines or Parquet with sample_id and the column; else the run's own, or --manifest.",
)
@options.manifest(required=False)
@click.option(
    "--faces",
    type=click.IntRange(1, 1000),
    default=48,
    show_default=True,
    help="With --mistakes: the most faces on a sheet.",
)
@options.as_json
def command(
    runs: tuple[Path, ...],
    table: Any,
    format_: str,
    figure: Path | None,
    mistakes: Path | None,
    enrol: tuple[int, ...],
    classifier: Any,
    by: str | None,
    facts: Path | None,
    manifests: tuple[Path, ...],
    faces: int,
    as_json: bool,
) -> None:
    """Show the numbers of a run: all of them, by group, over thresholds, or the confusion matrix.

    Of a folder that `train --seeds` made, those of every seed and their mean.
    """
    from dfad_bench.api.by_value import scores_by
    from dfad_bench.api.open_world import enrolment, open_world
    from dfad_bench.api.runs import scores

    format_ = "json" if as_json else format_
    if len(set(runs)) < len(runs):
        raise click.UsageError("a --run is given twice")
    together = bool(enrol) or table in OPEN_WORLD
    if format_ in ("csv", "json") and len(runs) > 1 and not together:
        raise click.UsageError(f"{format_} holds one run; give one --run")
    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise click.UsageError(f"--figure {figure}: the name must end in .png, .svg or .pdf")
    classifiers: Any = ("prototype", "knn") if classifier == "both" else (classifier,)
    _refuse_unused(mistakes, manifests, runs, by)
    if by is not None:
        echo_table(scores_by(runs[0], by, manifests=manifests, facts=facts), format_)
    elif together:
        made = enrolment(list(runs), enrol, classifiers=classifiers) if enrol else open_world(list(runs), table)
        echo_table(made, format_)
    else:
        for shown in [scores(run, table) for run in runs]:
            echo_table(shown, format_)
    if figure is not None:
        _draw(runs, figure, table, enrol, classifiers)
    if mistakes is not None:
        _write_mistakes(runs[0], manifests, mistakes, faces)


def _draw(runs: tuple[Path, ...], figure: Path, table: Any, enrol: tuple[int, ...], classifiers: Any) -> None:
    """Draw the enrolment, the risk, the months, or else the sweep of all runs."""
    from dfad_bench.api.open_world import draw_open_world
    from dfad_bench.api.runs import draw_sweeps

    if enrol or table in ("risk", "months"):
        drawn: Any = "risk" if enrol else table
        draw_open_world(list(runs), figure, enrol or (), table=drawn, classifiers=classifiers)
    else:
        for line in draw_sweeps(runs, figure):
            echo(f"Warning: {line}", err=True)
    echo(f"{figure}", err=True)


def _refuse_unused(mistakes: Path | None, manifests: tuple[Path, ...], runs: tuple[Path, ...], by: str | None) -> None:
    """Refuse options that would change nothing, and several runs where one is meant."""
    context = click.get_current_context()
    faces_given = context.get_parameter_source("faces") is click.core.ParameterSource.COMMANDLINE
    for given, name in ((bool(manifests) and by is None, "--manifest"), (faces_given, "--faces")):
        if given and mistakes is None:
            raise click.UsageError(f"{name} needs --mistakes" + (" or --by" if name == "--manifest" else ""))
    if context.params["classifier"] != "both" and not context.params["enrol"]:
        raise click.UsageError("--classifier needs --enrol")
    if context.params["facts"] is not None and by is None:
        raise click.UsageError("--facts needs --by")
    if by is not None and (len(runs) > 1 or mistakes is not None):
        raise click.UsageError("--by is of one run, without --mistakes")
    if faces_given and not manifests:
        raise click.UsageError("--faces needs --manifest: there are no pictures without")
    if mistakes is not None and len(runs) > 1:
        raise click.UsageError("--mistakes is of one run; give one --run")


def _write_mistakes(run: Path, manifests: tuple[Path, ...], out: Path, faces: int) -> None:
    from dfad_bench.api.mistakes import mistakes

    found = mistakes(run, manifests, out, faces=faces)
    for one in found.seeds or (found,):
        name = f"{one.folder.name}: " if found.seeds else ""
        for task in ("attribution", "detection"):
            echo(f"{name}{task}: {getattr(one, task).notes[0]}", err=True)
    for path in found.files:
        echo(f"{path}", err=True)
    for note in found.notes:
        echo(f"Warning: {note}", err=True)
    if not manifests:
        echo("Without --manifest there are no pictures and no names of files.", err=True)
