"""A table of a paper made again: what is missing is trained, all is collected, the paper's layout is rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.table_plan import TablePlan, plan_table
from dfad_bench.api.table_runs import TableRun, coinciding, table_protocol, table_runs, trainable
from dfad_bench.api.table_settings import TableSettings
from dfad_bench.api.training import train
from dfad_bench.core.errors import ConfigError, MissingDependencyError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.record import read_record
from dfad_bench.core.run_folder import RunFolder, SeedsFolder
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import locked
from dfad_bench.engine.profile import profile_model
from dfad_bench.report.figures.heads import draw_heads
from dfad_bench.report.outline import OUTLINE, outline_table
from dfad_bench.report.paper_items import full_name, measurable_table, not_measurable
from dfad_bench.report.paper_table import paper_table, shown_columns
from dfad_bench.report.reported import ReportedTable
from dfad_bench.report.table import Table
from dfad_bench.report.table_check import MeasuredRun, refuse_unlike

__all__ = ["ReproducedTable", "TablePlan", "TableSettings", "plan_table", "reproduce_table"]

ReportLine = Callable[[str], None]


@dataclass(frozen=True)
class ReproducedTable:
    """A table in its paper's layout, the runs behind its rows, and of a figure the files it was drawn to."""

    table: Table
    runs: tuple[MeasuredRun, ...] = field(default=(), repr=False)
    figures: tuple[Path, ...] = ()


def reproduce_table(
    name: str,
    manifests: Sequence[Path | str | Manifest] = (),
    out: Path | str = "tables",
    settings: TableSettings = TableSettings(),  # noqa: B008  frozen
    *,
    collect: bool = False,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
    report: ReportLine = lambda line: None,
) -> ReproducedTable:
    """Make a table of a paper: train and test what is missing, and set it beside what was printed.

    Each row has a folder under `out` with a run a seed; rows that several tables share are trained once. Called again
    after it was interrupted or killed, it goes on; what is finished is left as it is. A difference to a printed value
    is shown only where protocol, size, recipe, weights and estimator are the paper's.

    Args:
        name: of `dfad list tables`, or as the paper counts it ("IV", "bmrl-4"). GazeCLIP's Table I is rendered from the
            protocols, with the faces of `manifests` beside.
        manifests: one a dataset of the protocol.
        out: folder of the runs.
        settings: protocol, size, recipe, seeds, device, ...
        collect: train nothing, render what is there; no manifests are needed.
        progress: shows decoding, training and predicting.
        report: called with each line a reader should see at once: which run is trained, warnings.

    Raises:
        UnknownNameError: no such table, protocol or model.
        ConfigError: the table has no measured numbers, no row of it can be trained, or runs differ in more than what
            the rows are about.
        IntegrityError: a folder under `out` holds a run of other settings.
        DFADError: what is wrong with faces, weights or losses; another process works in `out`.
    """
    name, out = full_name(name), Path(out)
    if name == OUTLINE:
        return ReproducedTable(outline_table([load_protocol(p) for p in _OUTLINED], _counts(manifests)))
    table = measurable_table(name)
    if table is None:
        raise not_measurable(name)
    runs, protocol = table_runs(table, settings, out), table_protocol(table, settings)
    lost = {} if collect else _train(table, runs, manifests, protocol, out, progress, report)
    measured = [_collected(run, lost.get(run.folder)) for run in runs]
    if collect and not any(run.records for run in measured):
        raise ConfigError(f"{table.name}: {out} holds no finished run of this table; leave --collect out to train")
    refuse_unlike(table, measured)
    finished = next((record for run in measured for record in run.records), None)
    if collect and finished is not None and settings.protocol is None and finished.protocol.name != protocol.name:
        protocol = load_protocol(finished.protocol.name)
    costs = _costs(table, runs, settings) if any(c.task == "efficiency" for c in table.columns) else {}
    made = paper_table(table, measured, protocol, costs, coinciding(runs))
    drawn = draw_heads(made, shown_columns(table, protocol), out, table.name) if table.is_figure else []
    for path in drawn:
        report(f"figure: {path}")
    return ReproducedTable(made, tuple(measured), tuple(drawn))


_OUTLINED = ("gazeclip-df40", "gazeclip-celebdfpp", "gazeclip-recent")  # whose groups GazeCLIP's Table I lists


def _train(
    table: ReportedTable,
    runs: Sequence[TableRun],
    manifests: Sequence[Path | str | Manifest],
    protocol: Protocol,
    out: Path,
    progress: Progress,
    report: ReportLine,
) -> dict[Path, str]:
    """Train what is missing, one row after another; why a row could not be, by its folder.

    A package is asked for where a view is made: a row whose values are stored needs none.

    Raises:
        MissingDependencyError: no row could be trained.
    """
    able = {run.folder: run for run in trainable(table, runs)}  # rows that are the same run: once
    if not manifests:
        datasets = ", ".join(dict.fromkeys(group.dataset for group in protocol.all_groups))
        raise ConfigError(f"{table.name}: needs --manifest: faces of {datasets}; --plan says what is lacking")
    opened = open_manifests(manifests)
    for run in runs:
        if run.lacks is not None:
            report(f"{run.name}: not trained: {run.lacks}")
    lost: dict[Path, str] = {}
    with locked(out):
        for place, run in enumerate(able.values(), 1):
            assert run.settings is not None
            report(f"{place} of {len(able)}: {run.name} ({run.folder})")
            try:
                train(run.settings, opened, run.folder, progress=progress, report=report)
            except MissingDependencyError as error:
                lost[run.folder] = str(error)
                if len(lost) == len(able):
                    raise
                report(f"{run.name}: not trained: {error}")
    return lost


def _collected(run: TableRun, lost: str | None) -> MeasuredRun:
    """The records of a run that are there; `lost` is why it could not be trained just now."""
    seeds = run.settings.seeds if run.settings is not None else ()
    paths = [RunFolder(SeedsFolder(run.folder).run(seed)).record for seed in seeds]
    records = tuple(read_record(path) for path in paths if path.is_file())
    note = None if records else lost or run.lacks or "no finished run"
    return MeasuredRun(run.row, run.name, run.heads, str(run.folder), records, note)


def _costs(
    table: ReportedTable, runs: Sequence[TableRun], settings: TableSettings
) -> dict[str, dict[str, float | None]]:
    """Parameters, operations and seconds of each row's model, counted as the printed ones were."""
    timed = any(column.metric == "inference_s" for column in table.columns)
    found: dict[str, dict[str, float | None]] = {}
    for run in runs:
        if run.settings is None or run.name in found:
            continue
        about: dict[str, Any] = {"size": settings.size, "options": run.row.options}
        one = profile_model(run.row.model, **about, latency=timed, device=settings.device)
        found[run.name] = {
            "params_m": one.convention_params_m,
            "flops_g": one.convention_flops_g,
            "inference_s": one.seconds,
        }
    return found


def _counts(manifests: Sequence[Path | str | Manifest]) -> Mapping[str, Mapping[str, int]]:
    """Faces of each `dataset/generator` by split."""
    from dfad_bench.ingest.check import check_manifest

    facts = [check_manifest(manifest.folder) for manifest in open_manifests(manifests)]
    return {f"{one.dataset}/{generator}": dict(splits) for one in facts for generator, splits in one.splits.items()}
