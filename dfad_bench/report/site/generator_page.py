"""The page of a generator: family, month of release, and how each model does on its faces where they are unseen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dfad_bench.core.protocol import Group
from dfad_bench.core.taxonomy import Generator
from dfad_bench.report.board_order import section_ranges
from dfad_bench.report.site.board_page import row_links, row_note
from dfad_bench.report.site.board_plots import downloads_of
from dfad_bench.report.site.environment import page
from dfad_bench.report.site.facts import SiteBoard, SiteFacts
from dfad_bench.report.site.html_table import Dress, Link, html_table
from dfad_bench.report.site.links import file_stem, page_of
from dfad_bench.report.table import Column, Table, render

_WHERE = (Column("protocol", "Protocol", "text"), Column("group", "Faces", "text"))
_COLUMNS = (
    Column("model", "Model", "text"), Column("oscr", "OSCR here", "percent"), Column("auc", "AUC here", "percent"),
    Column("unseen_acc", "Unseen ACC here", "percent"), Column("fails", "Fails", "text"),
)  # fmt: skip
FAILS = (
    "Fails: OSCR here not above that of the best trivial row (constant answers, predictors that see no pixel), or AUC"
    " here not above 50 %. Worst first."
)


def generator_files(facts: SiteFacts) -> Iterator[tuple[str, str]]:
    """The page of each generator of a protocol, by file name."""
    taxa = {group.generator: group.taxon for board in facts.boards for group in board.protocol.groups}
    for key, taxon in taxa.items():
        stem = file_stem("generator", key)
        rows: list[Mapping[str, Any]] = []
        sections: dict[int, str] = {}
        for board in facts.boards:
            for heading, found in _blocks(board, key):
                sections[len(rows)] = heading
                rows += found
        table = Table(f"{taxon.display}: models on its faces where they are unseen", _COLUMNS, rows, (FAILS,), sections)
        dress = Dress(links=lambda row, key: row_links(facts, row, key), note=row_note)
        shown = html_table(table, "models", dress=dress, downloads=downloads_of(stem, ("csv",)))
        values = {
            "facts": facts, "taxon": taxon, "about": _about(taxon), "table": shown, "fails": FAILS,
            "parent": (taxon.parent, page_of("generator", taxon.parent)) if taxon.parent in taxa else None,
            "seen": _under(facts, key, seen=True), "unseen": _under(facts, key, seen=False),
        }  # fmt: skip
        if rows:
            yield f"{stem}.csv", render(replace(table, columns=(*_WHERE, *_COLUMNS)), "csv")
        yield page_of("generator", key), page("generator.html.j2", values)


def _blocks(board: SiteBoard, key: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """For each section of a board and each unseen group of a generator a heading, and the rows, the worst first."""
    for group in (group for group in board.protocol.unseen if group.generator == key):
        for block in section_ranges(board.table):
            section = [board.table.rows[place] for place in block]
            known = [row["oscr"] for row in section if row.get("kind") == "trivial" and row.get("oscr")]
            of_models = [row for row in section if row.get("kind") in ("measured", "imported")]
            rows = [_row(board.name, row, group, max(known, default=0.0)) for row in of_models]
            found = [row for row in rows if row is not None]
            found.sort(key=lambda row: (row["oscr"] is None, row["oscr"] or 0.0, row["unseen_acc"] or 0.0))
            if found:
                yield f"{board.name}, {group.key}: {board.table.sections.get(block.start, '')}", found


def _row(protocol: str, row: Mapping[str, Any], group: Group, constant: float) -> dict[str, Any] | None:
    """How one row of a board does on one group; None where the board has no number of it."""
    numbers = row.get("by_generator", {})
    oscr, auc = numbers.get("oscr", {}).get(group.key), numbers.get("detection_auc", {}).get(group.key)
    unseen = row.get(f"unseen_acc:{group.key}")
    if oscr is None and auc is None and unseen is None:
        return None
    fails = (oscr is not None and oscr <= constant) or (auc is not None and auc <= 0.5)
    here = {"protocol": protocol, "group": group.key, "oscr": oscr, "auc": auc, "unseen_acc": unseen}
    return {**row, **here, "fails": "fails" if fails else ""}


def _under(facts: SiteFacts, key: str, *, seen: bool) -> list[Link]:
    """The protocols in which a generator is seen, or unseen."""
    found = []
    for board in facts.boards:
        side = board.protocol.seen if seen else board.protocol.unseen
        if any(group.generator == key for group in side):
            found.append((board.name, page_of("protocol", board.name)))
    return found


def _about(taxon: Generator) -> dict[str, str]:
    """What the taxonomy says; a month with what came out then and how that is known."""
    month = None if taxon.released is None else f"{taxon.released} ({taxon.released_of})"
    facts = {
        "Key": taxon.key,
        "Family": taxon.family.value,
        "Forgery": "processed real face" if taxon.processed else taxon.forgery.value,
        "Released": month or "not known",
        "Known by": taxon.released_source,
        "Version of": taxon.parent,
        "Also called": ", ".join(taxon.aliases),
        "Reference": taxon.reference,
    }
    return {title: str(value) for title, value in facts.items() if value}
