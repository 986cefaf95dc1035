"""The page of metrics: formula, range and trivial value of each."""

from __future__ import annotations

from collections.abc import Iterator

from dfad_bench.metrics import METRICS
from dfad_bench.report.site.definitions import NOTATION, metric_range, metric_text
from dfad_bench.report.site.environment import page
from dfad_bench.report.site.facts import SiteFacts
from dfad_bench.report.site.html_table import Download, html_table
from dfad_bench.report.table import Column, Table, render

PAGE = "metrics.html"
_COLUMNS = {
    "metric": "Metric", "what": "What it says", "formula": "Formula", "range": "Range", "trivial": "Trivial value",
    "note": "Convention",
}  # fmt: skip


def metrics_table() -> Table:
    """A row a metric, in the order of the table of metrics."""
    rows = []
    for name, metric in METRICS.items():
        text = metric_text(name)
        row = {"metric": name, "what": text.what, "formula": text.formula, "trivial": text.trivial}
        rows.append({**row, "range": metric_range(name), "note": metric.note or None})
    columns = tuple(Column(key, title, "text") for key, title in _COLUMNS.items())
    return Table("Metrics", columns, rows, (NOTATION,))


def metrics_files(facts: SiteFacts) -> Iterator[tuple[str, str]]:
    """The page, by file name."""
    table = metrics_table()
    yield "metrics.csv", render(table, "csv")
    yield "metrics.tex", render(table, "latex")
    downloads = [Download("metrics.csv", "CSV"), Download("metrics.tex", "LaTeX")]
    shown = html_table(table, "metrics", downloads=downloads)
    yield PAGE, page("metrics.html.j2", {"facts": facts, "table": shown, "notation": NOTATION})
