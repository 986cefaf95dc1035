"""What the two papers show, item by item: tables that can be measured again, figures, and what cannot be had."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.resources import per_include, shipped
from dfad_bench.core.strict import read_dataclass
from dfad_bench.report.reported import ReportedTable, load_table, reported_tables

_FILE = "figures.yaml"
_PAPERS = ("gazeclip", "bmrl")
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII")
_SHORT = re.compile(r"(?:(gazeclip|bmrl)[ -]?)?(table|figure|fig\.?)?[ -]?([ivx]+|\d{1,2})", re.IGNORECASE)


@dataclass(frozen=True)
class PaperItem:
    """A table or figure. `command`: what makes it here; `lacks`: why there is none, or what of it cannot be had."""

    name: str
    paper: str
    item: str  # as the paper counts it: "Table IV", "Fig. 9"
    title: str
    needs: str = ""
    command: str | None = None
    lacks: str | None = None

    def __post_init__(self) -> None:
        if self.command is None and self.lacks is None:
            raise ValueError(f"{self.name} needs a command, or a reason why there is none")


@dataclass(frozen=True)
class PaperItems:
    """The file `leaderboards/figures.yaml`."""

    items: tuple[PaperItem, ...]


@per_include
def other_items() -> dict[str, PaperItem]:
    """Figures, and the tables without measured numbers, by name."""
    return {item.name: item for item in read_dataclass(PaperItems, shipped("leaderboards") / _FILE).items}


@per_include
def item_names() -> list[str]:
    """Every table and figure, paper by paper: tables, then figures; tables of included folders last."""
    names = [*(table.name for table in reported_tables()), *other_items()]

    def place(name: str) -> tuple[int, bool, str]:
        paper, _, rest = name.partition("-")
        return (
            (_PAPERS.index(paper), rest.startswith("figure"), rest) if paper in _PAPERS else (len(_PAPERS), False, "")
        )

    return sorted(names, key=place)


def full_name(asked: str) -> str:
    """The name of a table or figure, also from what papers call it; a Roman number alone is GazeCLIP's.

    >>> full_name("IV"), full_name("bmrl-4"), full_name("gazeclip fig. 9")
    ('gazeclip-table-04', 'bmrl-table-04', 'gazeclip-figure-09')

    Raises:
        UnknownNameError: no such table; the nearest names are offered.
    """
    names = item_names()
    if asked in names:
        return asked
    if (found := _SHORT.fullmatch(asked.strip())) is not None:
        paper, kind, number = found[1], found[2] or "table", found[3].upper()
        roman = number in _ROMAN
        count = _ROMAN.index(number) + 1 if roman else int(number) if number.isdecimal() else 0
        kind = "table" if kind.lower() == "table" else "figure"
        name = f"{(paper or ('gazeclip' if roman else '')).lower()}-{kind}-{count:02d}"
        if name in names:
            return name
    raise UnknownNameError("table", asked, names)


def measurable_table(name: str) -> ReportedTable | None:
    """The layout of a table that runs can fill; None for figures and outlines."""
    return None if name in other_items() else load_table(name)


def not_measurable(name: str) -> ConfigError:
    """The error of asking for runs of a figure or an outline: what makes it instead, or why nothing does."""
    item = other_items()[name]
    ways = f"use `{item.command}`" if item.command else str(item.lacks)
    return ConfigError(f"{item.paper}, {item.item} consists of no runs of its own: {ways}")
