"""The front page: what this is, and of each protocol its best models and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfad_bench.report.board_order import section_ranges
from dfad_bench.report.site.environment import page
from dfad_bench.report.site.facts import SiteBoard, SiteFacts
from dfad_bench.report.site.interval_plot import RANK_TITLES, ranked_column
from dfad_bench.report.site.links import page_of

_NAMED = 4


@dataclass(frozen=True)
class Lead:
    """Of one section of a board: who leads, and who may. `sure` says how much of it holds."""

    heading: str
    best: str
    value: str
    sure: str


@dataclass(frozen=True)
class Entry:
    """One protocol on the front page."""

    title: str
    name: str
    address: str
    synthetic: bool
    measured: int
    imported: int
    reported: int
    seen: int
    unseen: int
    leads: Sequence[Lead]


def front_files(facts: SiteFacts) -> Iterator[tuple[str, str]]:
    """The front page, by file name."""
    yield "index.html", page("front.html.j2", {"facts": facts, "entries": [_entry(board) for board in facts.boards]})


def _entry(board: SiteBoard) -> Entry:
    kinds = [row.get("kind") for row in board.table.rows]
    blocks = [[board.table.rows[place] for place in block] for block in section_ranges(board.table)]
    headings = [board.table.sections.get(block.start, "") for block in section_ranges(board.table)]
    leads = [lead for heading, rows in zip(headings, blocks, strict=True) if (lead := lead_of(heading, rows))]
    return Entry(
        board.protocol.title, board.name, page_of("protocol", board.name), board.protocol.synthetic,
        kinds.count("measured"), kinds.count("imported"), kinds.count("reported"),
        len(board.protocol.seen), len(board.protocol.unseen), leads,
    )  # fmt: skip


def lead_of(heading: str, rows: Sequence[Mapping[str, Any]]) -> Lead | None:
    """Who leads a section and who may, by the places that the board states; None where nobody is ranked."""
    column, ranked = ranked_column(rows)
    if not ranked:
        return None
    first = min(ranked, key=lambda row: int(row["rank"]))
    may_lead = [str(row["model"]) for row in ranked if row is not first and row.get("rank_best") == 1]
    over = [str(row["model"]) for row in ranked if str(row.get("ranks_generators") or "").split("-")[0] == "1"]
    return Lead(
        heading,
        str(first["model"]),
        f"{RANK_TITLES[column]} {100 * first[column]:.2f} %",
        _certainty(first, ranked, may_lead, over),
    )


def _certainty(
    first: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]], may_lead: Sequence[str], over: Sequence[str]
) -> str:
    if len(ranked) == 1:
        return "It is the only ranked model."
    if first.get("rank_best") is None:
        faces = "It has no interval over faces, so nothing says how sure its place is."
    elif may_lead:
        faces = f"On other faces {_listed(may_lead)} may lead as well."
    else:
        faces = "On other faces of these generators it leads, too."
    if first.get("ranks_generators") is None:
        return f"{faces} Whether that holds for other generators cannot be said: too few, or not of all rows."
    if over == [str(first["model"])]:
        return f"{faces} It leads over other generators of this kind, too."
    return f"{faces} Over other generators {_listed(over)} share the first place."


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:_NAMED], *([f"{len(names) - _NAMED} more"] if len(names) > _NAMED else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
