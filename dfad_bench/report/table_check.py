"""Whether the runs of a table may stand side by side, and beside what its paper printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfad_bench.core.errors import ConfigError, listed
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.registry import model_class
from dfad_bench.core.settings import Heads
from dfad_bench.core.shipped_files import recipe_provenance
from dfad_bench.core.weights import weight_files
from dfad_bench.report.reported import ReportedRow, ReportedTable
from dfad_bench.report.run_record import protocol_of, settings_but_seed

# what the papers' own views are made by: GazeCLIP III-C, BMRL 3.4 and Table 5
PAPER_VIEWS: Mapping[str, Mapping[str, Any]] = {"gaze": {"estimator": "eth_xgaze"}, "parsing": {"parser": "BiSeNet"}}
_OF_A_MODEL = ("init", "implied")  # alike in all rows of one model, others in rows of another
_OF_A_ROW = ("model", "options", "heads", "views", "prompts")
_PAPER_RECIPE = "default"


@dataclass(frozen=True)
class MeasuredRun:
    """The records of one row, a seed each; `where` is their folder. None: not measured, `note` says why."""

    row: ReportedRow
    name: str
    heads: Heads
    where: str
    records: tuple[ResultRecord, ...] = field(default=(), repr=False)
    note: str | None = None


def refuse_unlike(table: ReportedTable, runs: Sequence[MeasuredRun]) -> None:
    """Refuse runs that differ by more than what their rows are about.

    Each must have the model, options, views and experts of its row; all else is the same in every run, but for what
    belongs to a model (its weights, and views another model does not have).

    Raises:
        ConfigError: names the run, the one it is compared with, and the settings.
    """
    whole = [(run, record, settings_but_seed(record)) for run in runs for record in run.records]
    for run, record, settings in whole:
        if wrong := _not_of_row(run, settings):
            seed = f"seed {record.run.seed_text}"
            raise ConfigError(f"{table.name}: {run.where} ({seed}) is not the run of {run.name!r}: {listed(wrong)}")
    for run, _, settings in whole:
        first, _, expected = whole[0]
        of_model, _, same_model = next(one for one in whole if one[0].row.model == run.row.model)
        keys = [key for key in {**expected, **settings} if key not in (*_OF_A_ROW, *_OF_A_MODEL)]
        of_all = [key for key in keys if settings.get(key) != expected.get(key)]
        of_one = _other_of_model(run.row.model, settings, same_model)
        for other, others, odd in ((first, expected, of_all), (of_model, same_model, of_one)):
            odd += _odd_views(settings, others, run.row, other.row)
            if odd:
                more = f"in more than what the rows are about ({listed(odd)})"
                raise ConfigError(f"{table.name}: {run.where} differs from {other.where} {more}; train them alike")


def _not_of_row(run: MeasuredRun, settings: Mapping[str, Any]) -> list[str]:
    """In what a run is not that of its row."""
    wanted = {"model": run.row.model, "options": dict(run.row.options), "heads": run.heads}
    wrong = [f"{key} {settings.get(key)}" for key, value in wanted.items() if settings.get(key) != value]
    for name, asked in run.row.views.items():
        used = _views_of(settings).get(name, {})
        wrong += [f"{name}.{key} {used.get(key)}" for key, value in asked.items() if used.get(key) != value]
    return wrong


def _other_of_model(model: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Of `_OF_A_MODEL`, what differs in two runs of a model, apart from a file that one of the two rows alone has."""
    kind = model_class(model)
    mine, theirs = (_files_of(settings.get("init") or {}, kind.weight_names) for settings in (a, b))
    names = {*(kind.weight_names[:1] or ("",)), *(mine.keys() & theirs.keys())}
    odd = ["init"] if any(mine.get(name) != theirs.get(name) for name in names) else []
    mine, theirs = (settings.get("implied") or {} for settings in (a, b))
    names = {*kind.options_before(a.get("size", "paper")), *(mine.keys() & theirs.keys())}
    return odd + (["implied"] if any(mine.get(name) != theirs.get(name) for name in names) else [])


def _files_of(init: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What a run started from, by name; a single file of a model that takes several is the first."""
    if names and "files" in init:
        return dict(init["files"])
    if names and init.get("kind") in ("random", "local_file"):
        about = {key: init[key] for key in ("id", "sha256") if key in init}
        return {names[0]: about} if about else {}
    return {names[0] if names else "": dict(init)}


def _odd_views(a: Mapping[str, Any], b: Mapping[str, Any], row: ReportedRow, other: ReportedRow) -> list[str]:
    """Views and prompts that two runs both have and that are not the same."""
    mine, theirs = _views_of(a), _views_of(b)
    ablated = {*row.views, *other.views}
    odd = [f"view {name}" for name in mine.keys() & theirs.keys() - ablated if mine[name] != theirs[name]]
    prompts = a.get("prompts"), b.get("prompts")
    return odd + (["prompts"] if row.model == other.model and all(prompts) and prompts[0] != prompts[1] else [])


def unlike_the_paper(table: ReportedTable, runs: Sequence[MeasuredRun]) -> list[str]:
    """Why printed and measured values are not to be subtracted; nothing where they may be."""
    records = [record for run in runs for record in run.records]
    if not records:
        return ["nothing is measured"]
    found: dict[str, None] = {}
    for record in records:
        protocol = protocol_of({"protocol": {"config": record.protocol.config}}, record.record_id)
        config, name = record.run.config, record.model.display or record.model.name
        if protocol.name != table.protocol:
            found[f"protocol {protocol.name}, the table's is {table.protocol}"] = None
        elif protocol.sha256 != load_protocol(table.protocol).sha256:
            found[f"an edited protocol {protocol.name}"] = None
        if record.model.size != "paper":
            found[f"size {record.model.size}"] = None
        if (stated := config.get("recipe") or {}).get("name") != _PAPER_RECIPE or config.get("epochs") is not None:
            found[f"recipe {stated.get('name')}" + ("" if config.get("epochs") is None else ", other epochs")] = None
        elif recipe_provenance(stated, None).origin != "shipped":
            found["an edited recipe"] = None
        if record.status != "complete" or record.protocol.deviations:
            found[f"{name} is partial"] = None
        if reason := _other_start(record):
            found[f"{name} starts from {reason}"] = None
    by_line: dict[str, list[str]] = {}
    for run in runs:
        for line in dict.fromkeys(line for record in run.records for line in _other_views(run.row, record)):
            by_line.setdefault(line, []).append(run.name)
    whose = {line: "; ".join(names) if len(names) < 3 else f"{len(names)} rows" for line, names in by_line.items()}
    return [*found, *(f"{names}: {line}" for line, names in whose.items())]


def _other_start(record: ResultRecord) -> str | None:
    """What a model started from where that is not what its card names."""
    kind, init, known = model_class(record.model.name), record.model.init, weight_files()
    for name, file in (init.get("files") or {"": init}).items():
        rows = [known[row] for row in kind.weight_rows.get(name, kind.card.weights)]
        if any(file.get("id") == row.file and row.sha256 in (None, file.get("sha256")) for row in rows):
            continue
        if file.get("kind") == "random":
            return "random weights" if rows else None
        return str(file.get("id", init.get("kind")))
    return f"random weights named {listed(init['random'])}" if init.get("random") else None


def _other_views(row: ReportedRow, record: ResultRecord) -> list[str]:
    used = _views_of(record.run.config)
    lines = []
    for name, paper in PAPER_VIEWS.items():
        if (given := used.get(name)) is not None and name not in row.views:
            lines += [f"{name} by {given.get(k)}, the paper's is {v}" for k, v in paper.items() if given.get(k) != v]
    return lines


def _views_of(settings: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """How each view was made; runs that have gaze alone keep its settings without the name."""
    kept = settings.get("views") or {}
    return {"gaze": kept} if kept and not all(isinstance(value, Mapping) for value in kept.values()) else dict(kept)
