"""The page of a model: its card, its paper, what deviates from it, and its rows over all protocols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dfad_bench.core.record import ResultRecord
from dfad_bench.report.site.board_page import row_links, row_note
from dfad_bench.report.site.environment import page
from dfad_bench.report.site.facts import SiteFacts
from dfad_bench.report.site.html_table import Download, Dress, Link, html_table
from dfad_bench.report.site.links import file_stem, page_of, web_address
from dfad_bench.report.site.training_plot import training_plot
from dfad_bench.report.table import Column, Table, render

_COLUMNS = (
    Column("protocol", "Protocol", "text"), Column("model", "Row", "text"), Column("ranks", "#", "text"),
    Column("ranks_generators", "# gen.", "text"), Column("seeds_shown", "Seeds", "text"),
    Column("seen_acc", "Seen ACC", "percent"), Column("unseen_acc", "Unseen ACC", "percent"),
    Column("unseen_range", "95 % faces", "text"), Column("unseen_generators_range", "95 % generators", "text"),
    Column("oscr", "OSCR", "percent"), Column("balanced_acc", "Balanced", "percent"),
    Column("detection_auc", "AUC", "percent"), Column("params", "Parameters", "count"),
    Column("wall_s", "Training, s", "count"), Column("device", "Device", "text"),
    Column("init_short", "Start", "text"), Column("checked_short", "Checked", "text"),
)  # fmt: skip
_SHOWN = {
    "idea": "Idea", "paper": "Paper", "year": "Year", "task": "Made for", "added": "Added by the benchmark",
    "deviations": "Deviates from its paper", "notes": "In training",
    "reference_licence": "Licence of its authors' code",
}  # fmt: skip


def model_files(facts: SiteFacts) -> Iterator[tuple[str, str]]:
    """The page of each model with a row on a board, by file name."""
    names = dict.fromkeys(record.model.name for record in facts.records)
    found = {name: list[Mapping[str, Any]]() for name in names}
    for board in facts.boards:
        for row in board.table.rows:
            if records := facts.records_of(row):
                costs = {"params": records[0].model.params_total, "wall_s": _mean_time(records)}
                made = {**row, **costs, "protocol": board.name, "device": records[0].environment.device}
                found[records[0].model.name].append(made)
    for name, rows in found.items():
        stem = file_stem("model", name)
        table = Table(f"{name}: rows over protocols", _COLUMNS, rows)
        dress = Dress(links=lambda row, key: _links(facts, row, key), note=row_note)
        card = facts.cards.get(name, {})
        downloads = [Download(f"{stem}.csv", "CSV"), Download(f"{stem}.tex", "LaTeX")]
        plot, losses, no_curve = training_plot(facts, [one for one in facts.records if one.model.name == name])
        if plot is not None:
            yield f"{stem}-training.csv", render(losses, "csv")
            yield f"{stem}-training.svg", plot.file.file()
        of_losses = [Download(f"{stem}-training.csv", "CSV"), Download(f"{stem}-training.svg", "SVG")]
        values = {
            "training": plot and plot.inline.inline(), "about": plot and plot.inline.about, "no_curve": no_curve,
            "losses": html_table(losses, "losses", downloads=of_losses),
            "facts": facts, "name": name, "display": card.get("display", name), "card": _shown_card(card),
            "reference": web_address(card.get("reference")),
            "table": html_table(table, "rows", "Rows over protocols, in percent", dress=dress, downloads=downloads),
        }  # fmt: skip
        yield f"{stem}.csv", render(table, "csv")
        yield f"{stem}.tex", render(table, "latex")
        yield page_of("model", name), page("model.html.j2", values)


def _links(facts: SiteFacts, row: Mapping[str, Any], key: str) -> Sequence[Link]:
    if key == "protocol":
        return [(str(row["protocol"]), page_of("protocol", str(row["protocol"])))]
    return () if key == "model" else row_links(facts, row, key)


def _shown_card(card: Mapping[str, Any]) -> dict[str, list[str]]:
    """Titles and texts of what a card says; empty where the model is not installed here."""
    found = {}
    for key, title in _SHOWN.items():
        value = card.get(key)
        if value:
            found[title] = [str(text) for text in value] if isinstance(value, list | tuple) else [str(value)]
    return found


def _mean_time(records: Sequence[ResultRecord]) -> float | None:
    """Seconds of training, the mean over seeds; None where one does not say."""
    times = [record.run.wall_s for record in records]
    known = [time for time in times if time is not None]
    return sum(known) / len(known) if len(known) == len(times) else None
