"""The runs a table consists of: a row of the layout, and settings, to what `dfad train` is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfad_bench.api.table_settings import TableSettings
from dfad_bench.api.training import parse_weights
from dfad_bench.core.added_loss import split_options
from dfad_bench.core.errors import ConfigError, DFADError, UnknownNameError, listed
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.core.settings import Heads, Size
from dfad_bench.core.weights import find_weights
from dfad_bench.data.prompts import class_prompts, load_prompts
from dfad_bench.engine.needs import Needs, needs_of
from dfad_bench.engine.settings import TrainSettings
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.report.reported import ReportedRow, ReportedTable

# settings that make the views as the papers do (`table_check.PAPER_VIEWS`)
_PAPER_SETTINGS = {"gaze": {"estimator": "eth_xgaze"}, "parsing": {"weights": "bisenet_face_parsing"}}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.]+")


@dataclass(frozen=True)
class TableRun:
    """One row's run (of every seed): what it is trained with and where, or why it cannot be.

    `key` is equal for runs that are the same model, views and experts at the size asked for.
    """

    row: ReportedRow
    heads: Heads
    folder: Path
    settings: TrainSettings | None = None
    needs: Needs | None = None
    lacks: str | None = None
    key: str = ""

    @property
    def name(self) -> str:
        """The row as its paper calls it, with the setting of an ablation."""
        return row_name(self.row)


def row_name(row: ReportedRow) -> str:
    """A row as printed, with its variant where the printed name alone does not tell rows apart."""
    marks = not any(letter.isalpha() for letter in row.printed)
    variant = row.variant or ""
    if marks:
        return f"{row.printed} ({variant})" if variant else row.printed
    told = not variant or any(part in row.printed for part in re.split(r"[=;]\s*", variant)[1::2] or [variant])
    return row.printed if told else f"{row.printed}, {variant}"


def table_protocol(table: ReportedTable, settings: TableSettings) -> Protocol:
    """The protocol the runs are made under: the one asked for, or the table's."""
    asked = settings.protocol
    return asked if isinstance(asked, Protocol) else load_protocol(asked or table.protocol)


def table_runs(table: ReportedTable, settings: TableSettings, out: Path) -> list[TableRun]:
    """Every run of a table, row by row.

    Raises:
        UnknownNameError: a model of `settings` that no row has.
        DFADError: what is wrong with settings.
    """
    rows = [*table.rows, *table.added]
    models = dict.fromkeys(row.model for row in rows)
    for name in (*settings.models, *settings.weights):
        if name not in models:
            raise UnknownNameError(f"model in {table.name}", name, models)
    chosen = [row for row in rows if not settings.models or row.model in settings.models]
    heads = list(dict.fromkeys(column.heads for column in table.columns if column.task != "efficiency"))
    protocol = table_protocol(table, settings)
    return [_run(row, each, protocol, settings, out) for row in chosen for each in heads]


def _run(row: ReportedRow, heads: Heads, protocol: Protocol, settings: TableSettings, out: Path) -> TableRun:
    folder = out / folder_name(row, heads)
    if row.lacks or row.model not in model_names():
        return TableRun(row, heads, folder, lacks=row.lacks or f"{row.model} is not a model here yet")
    prompts = class_prompts(protocol, load_prompts())
    needs = needs_of(row.model, protocol.num_generators, settings.size, row.options, prompts)
    views = _views(row, needs, settings)
    asked = TrainSettings(
        model=row.model,
        protocol=settings.protocol or protocol.name,
        size=settings.size,
        recipe=settings.recipe,
        epochs=settings.epochs,
        seeds=settings.seeds or protocol.seeds or (0,),
        device=settings.device,
        cache=settings.cache,
        precision=settings.precision,
        force_precision=settings.force_precision,
        heads=heads,
        options=row.options,
        views=views,
        weights=_weights(row.model, needs, settings),
        allow_partial=settings.allow_partial,
        leak_check=settings.leak_check,
        max_steps=settings.max_steps,
        max_minutes=settings.max_minutes,
        logs=settings.logs,
    )
    key = f"{row.model} {heads} {built_from(row.model, settings.size, row.options)} {sorted(views.items())}"
    return TableRun(row, heads, folder, asked, needs, _lacking(asked, needs), key)


def folder_name(row: ReportedRow, heads: Heads) -> str:
    """The folder of a row: its model, and in what it differs from the full one, so that tables share runs.

    >>> folder_name(ReportedRow("gazeclip", "w/o GI", options={"variant": "no_gi"}), "both")
    'gazeclip-no_gi'
    """
    parts = [row.model]
    parts += [str(value) if key == "variant" else f"{key}-{value}" for key, value in row.options.items()]
    parts += [str(value) for view in row.views.values() for value in view.values()]
    parts += [] if heads == "both" else [f"{heads}-only"]
    return "-".join(_NOT_IN_NAMES.sub("-", part) for part in parts)


def built_from(model: str, size: Size, options: Mapping[str, Any]) -> str:
    """Every setting a model of these options is built from, as text that is equal for equal models."""
    kind = model_class(model)
    own, centres = split_options(kind.expanded(options), kind.Config, kind.added, kind.card.display)
    return f"{kind.configure(size, own)} {centres if centres.centre_loss != 'none' else ''}"


def coinciding(runs: Sequence[TableRun]) -> list[str]:
    """A line for each group of rows that are the same model at the size asked for."""
    alike: dict[str, list[str]] = {}
    for run in runs:
        if run.key:
            alike.setdefault(run.key, []).append(run.name)
    size = next((run.settings.size for run in runs if run.settings), "")
    return [f"At size {size} these rows are one model: {'; '.join(names)}." for names in alike.values() if names[1:]]


def _views(row: ReportedRow, needs: Needs, settings: TableSettings) -> dict[str, dict[str, Any]]:
    """Settings of the views a row needs: the row's own, then those asked for, then the paper's."""
    found: dict[str, dict[str, Any]] = {}
    for name in needs.all_views:
        paper = dict(_PAPER_SETTINGS.get(name, {})) if settings.size == "paper" else {}
        asked, own = dict(settings.views.get(name, {})), dict(row.views.get(name, {}))
        if "{parser}" in str(asked.get("folder", "")) and "parser" not in own:
            asked = {}  # a row of the paper's own parser
        if own and any(asked.get(key) != value for key, value in own.items()):
            asked.pop("weights", None)  # those of another estimator or parser
        merged = {**({} if asked or own else paper), **asked, **own}
        found |= {name: {key: _filled(value, own) for key, value in merged.items()}} if merged else {}
    return found


def _filled(value: Any, own: Mapping[str, Any]) -> Any:
    """A setting in which `{parser}` stands for the row's own parser, so that each row has its folder."""
    return value.replace("{parser}", str(own["parser"])) if isinstance(value, str) and "parser" in own else value


def _weights(model: str, needs: Needs, settings: TableSettings) -> str | dict[str, str] | None:
    """The file, or files by name, that a row's run starts from: those given, else its paper's."""
    if (given := settings.weights.get(model)) is not None:
        return None if given == "none" else _files_of_row(parse_weights(given), needs)
    if settings.size == "tiny" or not needs.weights:
        return None
    found = {name: _first_at_hand(rows) for name, rows in (needs.named_weights or {"": needs.weights}).items()}
    return found if len(found) > 1 else next(iter(found.values()))


def _files_of_row(given: str | dict[str, str], needs: Needs) -> str | dict[str, str] | None:
    """Of files by name those that this row has; the first alone goes without a name, as in rows that have no other."""
    if isinstance(given, str) or not needs.named_weights:
        return given if needs.weights else None
    taken = {name: file for name, file in given.items() if name in needs.named_weights}
    first = next(iter(needs.named_weights))
    return taken[first] if list(taken) == [first] else taken or None


def _first_at_hand(rows: Sequence[str]) -> str:
    return next((name for name in rows if _is_there(name)), rows[0])


def _is_there(name: str) -> bool:
    try:
        return find_weights(name).is_file()
    except DFADError:
        return False


def _lacking(asked: TrainSettings, needs: Needs) -> str | None:
    """What a row's run lacks on this machine, beside faces."""
    try:
        for file in (asked.weights or {}).values() if not isinstance(asked.weights, str) else (asked.weights,):
            find_weights(file)
        gaze = asked.views.get("gaze", {})
        if "gaze" in needs.all_views and "estimator" in gaze:
            build_estimator(gaze["estimator"], gaze.get("weights"))
        parsing = asked.views.get("parsing", {})
        if "weights" in parsing:
            find_weights(parsing["weights"])
        given = "folder" in parsing or "weights" in parsing or parsing.get("parser") == "stand-in"
        if "parsing" in needs.all_views and not given:
            raise ConfigError("label maps of a face parser (--view parsing.folder=DIR; {parser} in it is the row's)")
        if "folder" in parsing and not Path(parsing["folder"]).is_dir():
            raise ConfigError(f"label maps in {parsing['folder']}: no such folder")
    except DFADError as error:
        return str(error)
    return None


def trainable(table: ReportedTable, runs: Sequence[TableRun]) -> list[TableRun]:
    """The runs that can be trained here.

    Raises:
        ConfigError: there is none; says why.
    """
    found = [run for run in runs if run.lacks is None]
    if not found:
        reasons = listed(list(dict.fromkeys(run.lacks or "" for run in runs)), 3, "; ")
        raise ConfigError(f"{table.name}: no row can be trained here: {reasons}")
    return found
