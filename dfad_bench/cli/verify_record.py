"""`dfad verify-record`: compute every number of a record again, and on request every prediction."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_table
from dfad_bench.engine.settings import EvaluateSettings

if TYPE_CHECKING:
    from dfad_bench.report.verify import Verification

_setting = partial(options.setting, EvaluateSettings)


@click.command(
    "verify-record",
    epilog="Example: dfad verify-record --run quickstart/runs/xception --repredict --manifest"
    " quickstart/manifests/synthetic --manifest quickstart/manifests/synthetic-outdoor"
    " --manifest quickstart/manifests/synthetic-unseen",
)
@click.option("--run", type=options.RUN, help="Folder of a finished run, or of several seeds.")
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="A record beside its predictions.")
@click.option("--repredict", is_flag=True, help="Predict the faces of --manifest again from the checkpoint, too.")
@options.manifest(required=False)
@_setting("device")
@_setting("views", multiple=True)
@click.option("--strict", is_flag=True, help="Exit with code 4 where something could not be checked, too.")
@options.quiet
@options.as_json
def command(run: Path | None, record: Path | None, strict: bool, as_json: bool, **asked: Any) -> None:
    """Compute every number of a record again from its predictions, and compare every hash.

    Names what differs and ends with exit code 4, or says how many numbers and hashes agree. What the folder does not
    hold (a checkpoint that was not kept, say) cannot be checked, and is said; --strict refuses it. With --repredict the
    checkpoint predicts the faces of the given manifests again, chosen anew by the protocol, and the predictions are
    compared: equal to the bit with equal device, threads and versions, else within a stated tolerance. Boards show
    what was checked here. How the weights came about cannot be checked: for that, train again.
    """
    from dfad_bench.api.runs import verify_record
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.errors import IntegrityError, listed
    from dfad_bench.views.options import view_settings

    if (run is None) == (record is None):
        raise click.UsageError("give --run or --record, one of the two")
    if asked["repredict"] != bool(asked["manifests"]):
        raise click.UsageError("--repredict and --manifest need each other")

    found = verify_record(
        run or record or Path(),
        repredict=asked["manifests"],
        device=asked["device"],
        views=view_settings(asked["views"]),
        progress=make_progress(asked["quiet"]),
    )
    _show(found, as_json)
    if found.differences:
        differences = listed(found.differences, 3, "; ")
        raise IntegrityError(f"{found.record}: {_verdict(found)}: {differences}")
    if strict and found.unchecked:
        raise IntegrityError(f"{found.record}: not all could be checked: {'; '.join(found.unchecked)}")


def _verdict(found: Verification) -> str:
    """What the differences show: predictions that were made again and differ tell more than the stored ones."""
    differs = any(one.differences for one in found.repredicted)
    return "not what its checkpoint predicts" if differs else "does not follow from its predictions"


def _show(found: Verification, as_json: bool) -> None:
    """Print what was found."""
    from dataclasses import asdict

    from dfad_bench.report.table import Column, Table

    if as_json:
        values = {"record": str(found.record), "compared": found.compared, "notes": list(found.notes)}
        values["unchecked"] = list(found.unchecked)
        values["differences"] = [asdict(difference) for difference in found.differences]
        values["repredicted"] = [asdict(one) for one in found.repredicted]
        values["not_shown"] = found.not_shown
        echo_json(values)
        return
    new_lines = [str(one) for one in found.repredicted]
    if found.differences:
        columns = (
            Column("name", "Differs", "text"),
            Column("stated", "Stated", "text"),
            Column("found", "Found", "text"),
        )
        rows = [{"name": d.name, "stated": d.stated, "found": d.found} for d in found.differences]
        echo_table(Table(str(found.record), columns, rows, (*new_lines, *found.notes)))
        return
    echo(f"{found.record}: all {found.compared} numbers and hashes agree")
    for line in (*new_lines, *found.notes, found.not_shown):
        echo(f"  {line}")
