"""All files of a site: a pure function of its facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dfad_bench.report.site.board_page import board_files
from dfad_bench.report.site.dataset_page import dataset_files
from dfad_bench.report.site.environment import SCRIPT, STYLE, shipped_text
from dfad_bench.report.site.facts import SiteFacts
from dfad_bench.report.site.front_page import front_files
from dfad_bench.report.site.generator_page import generator_files
from dfad_bench.report.site.metrics_page import metrics_files
from dfad_bench.report.site.model_page import model_files
from dfad_bench.report.site.run_page import run_files

# a kind of page is one file in this folder and one line here
PAGES: tuple[Callable[[SiteFacts], Iterator[tuple[str, str]]], ...] = (
    front_files,
    board_files,
    metrics_files,
    model_files,
    run_files,
    generator_files,
    dataset_files,
)


def site_files(facts: SiteFacts) -> dict[str, str]:
    """The text of each file by its name; all lie in one folder."""
    found = {name: shipped_text(name) for name in (STYLE, SCRIPT)}
    for pages in PAGES:
        found |= dict(pages(facts))
    return found
