"""`dfad import-predictions`: score predictions that were made elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo
from dfad_bench.intake.settings import ImportSettings

_setting = partial(options.setting, ImportSettings)
_FILE = click.Path(path_type=Path, dir_okay=False)


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    if bad := [text for text in values if "" in text.partition("=")]:
        raise click.BadParameter(f"{bad[0]!r}: expected {parameter.metavar}", context, parameter)
    return {name: value for name, _, value in (text.partition("=") for text in values)}


@click.command(
    "import-predictions",
    epilog="Example: dfad import-predictions quickstart/runs/xception/predictions.parquet --out runs/copy"
    " --protocol synthetic --manifest quickstart/manifests/synthetic --manifest"
    " quickstart/manifests/synthetic-outdoor --manifest quickstart/manifests/synthetic-unseen",
)
@click.argument("file", type=_FILE)
@options.out("Folder of the new run.")
@_setting("protocol")
@options.manifest(required=False)
@_setting("model_card", type=_FILE)
@_setting("name")
@_setting("set_name")
@_setting("layout")
@_setting("models", type=str, callback=options.split_names)
@_setting("model_column")
@_setting("columns", type=str, multiple=True, callback=_pairs)
@_setting("only", type=str, multiple=True, callback=_pairs)
@_setting("keep", type=str, callback=options.split_names)
@_setting("labels", type=str, multiple=True, callback=options.label_names)
@_setting("heads")
@_setting("max_unmatched")
@_setting("max_missing")
@_setting("allow_partial")
@options.as_json
def command(file: Path, out: Path, manifests: tuple[Path, ...], as_json: bool, **asked: Any) -> None:
    """Score predictions that were made elsewhere, and write them as a run.

    FILE is CSV, JSON lines or Parquet. With --protocol and --manifest its rows are matched with the test faces by
    sample_id or file name. Without, its own columns serve: file, label (real or fake, by name), generator, source,
    split or seen, p_fake, and p_<class> for each generator the model tells apart; what is unseen is what they say. The
    run folder is read by scores, compare, leaderboard and verify-record. Boards show it in a block of its own. Of a
    table of several models (--models, --model-column) each becomes a run in a folder of its name.
    """
    from dfad_bench.api.imports import import_models, import_predictions
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.cli.train import show_record
    from dfad_bench.core.run_folder import RunFolder

    settings = ImportSettings(**options.settings_in(asked, ImportSettings))
    if settings.models or settings.model_column:
        made = import_models(file, out, settings, manifests, progress=make_progress(False))
    else:
        made = (import_predictions(file, out, settings, manifests),)
    for warning in dict.fromkeys(warning for found in made for warning in found.warnings):
        echo(f"Warning: {warning}", err=True)
    for found in made:
        show_record(found.record, found.table, as_json=as_json)
        echo(f"Record: {RunFolder(found.folder).record}", err=True)
