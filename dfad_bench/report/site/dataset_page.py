"""The page of a dataset: licence, where it is obtained, what a complete copy holds, and which protocols use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dfad_bench.report.site.board_plots import downloads_of
from dfad_bench.report.site.environment import page
from dfad_bench.report.site.facts import SiteFacts
from dfad_bench.report.site.html_table import Dress, html_table
from dfad_bench.report.site.links import file_stem, page_of, web_address
from dfad_bench.report.table import Column, Table, render

_TEXTS = {"licence": "Licence", "obtain": "How to obtain it", "citation": "Citation", "crop": "Crops, unless told"}


def dataset_files(facts: SiteFacts) -> Iterator[tuple[str, str]]:
    """The page of each dataset of a protocol, by file name."""
    groups = [(board.name, group) for board in facts.boards for group in board.protocol.all_groups]
    for name in dict.fromkeys(group.dataset for _, group in groups):
        about, stem = facts.datasets.get(name, {}), file_stem("dataset", name)
        counts = counts_table(name, about)
        uses: dict[str, dict[str, str]] = {}
        for protocol, group in groups:
            if group.dataset == name:
                uses.setdefault(protocol, {})[page_of("generator", group.generator)] = group.taxon.display
        dress = Dress(links=lambda row, key: [(row["generator"], row["page"])] if row["page"] and key != "n" else ())
        values = {
            "facts": facts, "name": name, "title": about.get("title") or name, "known": bool(about),
            "texts": {title: str(about[key]) for key, title in _TEXTS.items() if about.get(key)},
            "homepage": web_address(about.get("homepage")), "lists": _lists(about),
            "counts": html_table(_linked(facts, counts), "counts", dress=dress, downloads=downloads_of(stem)),
            "uses": [(protocol, page_of("protocol", protocol), found) for protocol, found in uses.items()],
        }  # fmt: skip
        if counts.rows:
            yield f"{stem}.csv", render(counts, "csv")
            yield f"{stem}.tex", render(counts, "latex")
        yield page_of("dataset", name), page("dataset.html.j2", values)


def counts_table(name: str, about: Mapping[str, Any]) -> Table:
    """How many of each generator a complete copy of the release holds, in all, by the dataset's file."""
    rows = []
    for generator, counted in (about.get("expected") or {}).items():
        total = counted.get("all", sum(counted.values())) if isinstance(counted, Mapping) else counted
        rows.append({"generator": str(generator), "n": total})
    what = str(about.get("expected_of") or "images")
    columns = (Column("generator", "Generator", "text"), Column("n", what.capitalize(), "count"))
    return Table(f"{name}: {what} of each generator in a complete copy", columns, rows)


def _linked(facts: SiteFacts, table: Table) -> Table:
    """The same with the page of each generator that has one."""
    shown = {group.generator for board in facts.boards for group in board.protocol.groups}
    rows = [
        {**row, "page": page_of("generator", row["generator"]) if row["generator"] in shown else ""}
        for row in table.rows
    ]
    return Table(table.title, table.columns, rows)


def _lists(about: Mapping[str, Any]) -> dict[str, list[str]]:
    """Notes, what could not be learnt of the release, and where its real faces are."""
    reals = [f"{name}: {what}" for name, what in (about.get("reals_in") or {}).items()]
    found = {"Real faces": reals, "Notes": about.get("notes") or (), "Not known": about.get("unknown") or ()}
    return {title: [str(text) for text in texts] for title, texts in found.items() if texts}
