"""The page of a protocol: its board, the intervals of its models, and every unseen group."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_columns import board_columns, other_thresholds
from dfad_bench.report.board_order import marked_board
from dfad_bench.report.site.board_plots import downloads_of, section_plots
from dfad_bench.report.site.definitions import column_definitions
from dfad_bench.report.site.environment import page
from dfad_bench.report.site.facts import SiteBoard, SiteFacts
from dfad_bench.report.site.heat import legend, shade_of
from dfad_bench.report.site.html_table import Dress, HtmlTable, Link, html_table
from dfad_bench.report.site.links import file_stem, page_of, run_stem
from dfad_bench.report.table import Column, Table, render

STAND_IN = "‡"
_MOST_LINES = 20
_SIZES = {"below 10 million": 10_000_000, "10 to 100 million": 100_000_000}
_SOURCE = Column("source", "Printed in", "text")
_GROUP = re.compile(r"(unseen_acc(@[\d.]+)?|false_alarms):")
_VENUE = re.compile(r"([A-Z][A-Za-z&/ -]{1,20}) (?:19|20)[0-9]{2}\b")
FILTERS = {"kind": "Rows", "task": "Made for", "venue": "Venue", "start": "Start", "params": "Parameters"}


def board_files(facts: SiteFacts) -> Iterator[tuple[str, str]]:
    """The page of each board and what can be downloaded from it, by file name."""
    for board in facts.boards:
        stem = file_stem("protocol", board.name)
        groups = group_table(board)
        yield f"{stem}.csv", render(replace(board.table, columns=_all_columns(board)), "csv")
        yield f"{stem}.tex", render(replace(board.table, columns=_shown_columns(board)), "latex")
        yield f"{stem}-groups.csv", render(groups, "csv")
        yield f"{stem}-groups.tex", render(groups, "latex")
        plots = section_plots(facts, board, stem)
        for some in plots.values():
            for plot in some:
                yield from plot.files
        values = {
            "facts": facts, "board": board, "table": _board_table(facts, board, stem), "plots": plots,
            "filters": _filters(facts, board), "groups": _groups(facts, board, groups, stem), "legend": legend(),
            "stand_in": STAND_IN, "followed": any(plots[kind] for kind in ("sweeps", "risk", "robustness")),
            "unread": unread(facts, board),
            "generators": generator_links(board), "datasets": dataset_links(board),
        }  # fmt: skip
        yield page_of("protocol", board.name), page("protocol.html.j2", values)


def unread(facts: SiteFacts, board: SiteBoard) -> list[str]:
    """What is wrong with files beside records of a board, a line each, as many as are read."""
    lines: dict[str, None] = {}
    for record in (record for row in board.table.rows for record in facts.records_of(row)):
        who = f"{record.model.display or record.model.name}, seed {record.run.seed_text}"
        lines |= dict.fromkeys(f"{who}: {text}" for text in facts.curves_of(record).problems)
    return list(lines)[:_MOST_LINES]


def row_links(facts: SiteFacts, row: Mapping[str, Any], key: str) -> Sequence[Link]:
    """Links of a row: its name to the model's page, its seeds to those of the runs."""
    records = facts.records_of(row)
    if key == "model" and records:
        return [(str(row["model"]), page_of("model", records[0].model.name))]
    if key == "seeds_shown" and records:
        return [(record.run.seed_text, f"{run_stem(record.record_id)}.html") for record in _by_seed(records)]
    return ()


def generator_links(board: SiteBoard) -> list[Link]:
    """The pages of the generators of a protocol."""
    found = {group.generator: group.taxon.display for group in board.protocol.groups}
    return [(display, page_of("generator", key)) for key, display in found.items()]


def dataset_links(board: SiteBoard) -> list[Link]:
    """The pages of the datasets of a protocol."""
    return [(name, page_of("dataset", name)) for name in dict.fromkeys(g.dataset for g in board.protocol.all_groups)]


def row_note(row: Mapping[str, Any]) -> str:
    """A mark behind the name of a row whose views were stand-ins."""
    return STAND_IN if row.get("substitutes") else ""


def group_table(board: SiteBoard) -> Table:
    """A row a model, a column an unseen group: of the same rows as the board, best and second best marked as there.

    At thresholds beside the headline's only where papers printed groups at them; the board's CSV has them anyway.
    """
    every = _all_columns(board)
    printed = {key for row in board.table.rows if row.get("kind") == "reported" for key in row}
    chosen = [c for c in every if _GROUP.match(c.key) and ("@" not in c.key or c.key in printed)]
    table = replace(board.table, title=f"{board.table.title}: by group", columns=(every[0], *chosen), notes=())
    return marked_board(table)


def venue_of(card: Mapping[str, Any]) -> str:
    """Where a model's paper appeared, of its citation; "" where that does not end in a venue and a year.

    >>> venue_of({"paper": "F. Chollet, Xception, CVPR 2017"}), venue_of({"paper": "none"})
    ('CVPR', '')
    """
    found = _VENUE.search(str(card.get("paper", "")).rpartition(",")[2])
    return found[1].strip() if found else ""


def _board_table(facts: SiteFacts, board: SiteBoard, stem: str) -> HtmlTable:
    extra = {column.key for column in board.table.columns} - board.shown
    table = board.table
    if any(row.get("source") for row in table.rows):
        table = replace(table, columns=(*table.columns, _SOURCE))
    dress = Dress(
        definitions=column_definitions(table, board.protocol),
        extra=frozenset(extra),
        links=lambda row, key: row_links(facts, row, key),
        data=lambda row: {**row_data(facts, row), "row": board.row_key(row)},
        note=row_note,
    )
    downloads = downloads_of(stem)
    return html_table(table, "board", dress=dress, sortable=True, downloads=downloads)


def _groups(facts: SiteFacts, board: SiteBoard, table: Table, stem: str) -> HtmlTable:
    """The heat table."""

    def heat(column: Column, value: Any) -> int | None:
        return shade_of(value) if column.kind == "percent" and isinstance(value, int | float) else None

    dress = Dress(
        links=lambda row, key: row_links(facts, row, key),
        heat=heat,
        data=lambda row: {"kind": str(row.get("kind", ""))},
        note=row_note,
    )
    shown = [t for t in other_thresholds(board.protocol) if any(f"@{t:g}:" in column.key for column in table.columns)]
    at = f"{board.protocol.attribution.headline:g}" + "".join(f", then at {t:g} (@{t:g})" for t in shown)
    caption = f"Unseen ACC of each unseen group at {at}, in percent"
    downloads = downloads_of(f"{stem}-groups")
    return html_table(table, "groups", caption, dress=dress, sortable=True, downloads=downloads)


def row_data(facts: SiteFacts, row: Mapping[str, Any]) -> dict[str, str]:
    """What a row can be filtered by."""
    records = facts.records_of(row)
    found = dict.fromkeys(FILTERS, "") | {"kind": str(row.get("kind", "")), "start": str(row.get("init_short") or "")}
    if records:
        card = facts.cards.get(records[0].model.name, {})
        found |= {"task": records[0].model.task or "", "venue": venue_of(card)}
        found["params"] = size_class(records[0].model.params_total)
    return found


def size_class(parameters: int | None) -> str:
    """A class of size that models are filtered by; "" where nobody says it.

    >>> size_class(23_500_000), size_class(None)
    ('10 to 100 million', '')
    """
    if parameters is None:
        return ""
    return next((words for words, most in _SIZES.items() if parameters < most), "100 million and more")


def _filters(facts: SiteFacts, board: SiteBoard) -> list[tuple[str, str, list[str]]]:
    """Name, title and values of each filter that tells rows of this board apart; but for kinds, rows of models."""
    values: dict[str, dict[str, None]] = {name: {} for name in FILTERS}
    for row in board.table.rows:
        for name, value in row_data(facts, row).items():
            if name == "kind" or facts.records_of(row):
                values[name][value] = None
    useful = {name: sorted(filter(None, found)) for name, found in values.items() if len(found) > 1}
    return [(name, FILTERS[name], found) for name, found in useful.items() if found]


def _all_columns(board: SiteBoard) -> tuple[Column, ...]:
    """The columns that CSV has elsewhere, too."""
    here = {column.key for column in board.table.columns}
    return board_columns(board.protocol, printed="unseen_printed" in here, per_group=True, costs=here)


def _shown_columns(board: SiteBoard) -> tuple[Column, ...]:
    return tuple(column for column in board.table.columns if column.key in board.shown)


def _by_seed(records: Sequence[ResultRecord]) -> list[ResultRecord]:
    return sorted(records, key=lambda record: -1 if record.run.seed is None else record.run.seed)
