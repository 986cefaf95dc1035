from __future__ import annotations

import csv
import io
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from helpers.html_pages import read_page
from helpers.sites import site_facts, site_protocol, site_records

from dfad_bench.core.record import ResultRecord, Sweep
from dfad_bench.report.site import svg
from dfad_bench.report.site.curve_plots import sweep_of
from dfad_bench.report.site.facts import SiteFacts
from dfad_bench.report.site.interval_plot import MOST, Interval, interval_figure
from dfad_bench.report.site.line_plot import Panel, line_plot
from dfad_bench.report.site.render import site_files
from dfad_bench.report.site.wins import win_table

SPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def records() -> list[ResultRecord]:
    return site_records(site_protocol())


@pytest.fixture(scope="module")
def facts(records: list[ResultRecord]) -> SiteFacts:
    return site_facts(records, site_protocol())


@pytest.fixture(scope="module")
def files(facts: SiteFacts) -> dict[str, str]:
    return site_files(facts)


def ranked(name: str, place: int, **values: float) -> dict[str, object]:
    by = {"oscr": {"d/a": values["a"], "d/b": values["b"]}}
    return {"model": name, "rank": place, "oscr": 0.5, "detection_auc": None, "by_generator": by}


def test_wins_count_generators_and_halve_ties() -> None:
    table = win_table("t", [ranked("A", 1, a=0.9, b=0.5), ranked("B", 2, a=0.8, b=0.5), ranked("C", 3, a=0.1, b=0.6)])
    assert table is not None
    shown = [[row.get(f"against-{k}") for k in range(3)] for row in table.rows]
    assert shown == [[None, 0.75, 0.5], [0.25, None, 0.5], [0.5, 0.5, None]]
    assert "2 unseen generators" in table.title


def test_a_model_of_other_generators_or_alone_has_no_wins() -> None:
    other = {**ranked("B", 2, a=0, b=0), "by_generator": {"oscr": {"d/c": 1.0}}}
    assert win_table("t", [ranked("A", 1, a=0, b=0), other]) is None
    assert win_table("t", [ranked("A", 1, a=0, b=0)]) is None
    assert win_table("t", [{**ranked("A", 1, a=0, b=0), "rank": None}]) is None


def test_the_matrix_of_a_board_adds_up(facts: SiteFacts, files: dict[str, str]) -> None:
    rows = list(csv.DictReader(io.StringIO(files["protocol-toy-wins-0.csv"])))
    assert len(rows) == 3
    for k, row in enumerate(rows):
        for j in range(k):
            assert float(row[f"against-{j}"]) + float(rows[j][f"against-{k}"]) == pytest.approx(1)


def test_curves_are_the_means_over_seeds_with_their_numbers_beside_them(
    records: list[ResultRecord], files: dict[str, str]
) -> None:
    root = ElementTree.fromstring(files["protocol-toy-sweep-0.svg"])
    panels, models = 2, 3
    assert len(list(root.iter(f"{SPACE}polyline"))) == (panels + 1) * models, "curves, and what they look like beneath"
    rows = list(csv.DictReader(io.StringIO(files["protocol-toy-sweep-0.csv"])))
    first, second = (one.sweep for one in records if one.model.name == "toy")
    assert first is not None
    assert second is not None
    mine = [float(row["unseen_accuracy"]) for row in rows if row["model"] == "Toy"]
    wanted = [(x + y) / 2 for x, y in zip(first.unseen_accuracy, second.unseen_accuracy, strict=True)]
    assert mine == pytest.approx(wanted, abs=1e-6)


def test_a_row_of_unlike_or_missing_sweeps_has_no_curve(records: list[ResultRecord]) -> None:
    sweep = Sweep((0.5,), (1.0,), (1.0,), (1.0,))
    assert sweep_of([records[0], replace(records[0], sweep=sweep)]) is None
    assert sweep_of([records[0], replace(records[0], sweep=None)]) is None
    assert sweep_of([]) is None
    assert line_plot("s", "t", "", [], {}) is None


def test_more_rows_than_a_figure_holds_are_left_out_with_a_sentence() -> None:
    rows = [Interval(f"m{k}", 0.5, (0.4, 0.6), (None, None)) for k in range(MOST + 2)]
    figure = interval_figure("i", "t", "OSCR", rows)
    assert figure is not None
    assert f"The first {MOST} of {MOST + 2} rows." in figure.about
    names = {f"k{k}": f"m{k}" for k in range(9)}
    curves = line_plot("s", "t", "", [Panel("p", dict.fromkeys(names, [(0, 0.1), (1, 0.9)]), [(0, "0")])], names)
    assert curves is not None
    assert "The first 8 of 9 models." in curves.file.about
    every, first = (ElementTree.fromstring(one.file()) for one in (curves.inline, curves.file))
    assert [len(list(root.iter(f"{SPACE}polyline"))) for root in (every, first)] == [18, 16]
    drawn = ElementTree.fromstring(str(curves.inline.inline()))
    assert [one.get("data-row") for one in drawn.iter() if one.get("display") == "none"] == ["k8", "k8"]


def test_a_generator_has_its_models_the_worst_first_and_says_which_fail(
    facts: SiteFacts, files: dict[str, str]
) -> None:
    [board] = facts.boards
    rows = list(csv.DictReader(io.StringIO(files["generator-diffae.csv"])))
    values = [float(row["oscr"]) for row in rows]
    assert len(rows) == 3
    assert values == sorted(values)
    constant = max(row["oscr"] for row in board.table.rows if row["kind"] == "trivial")
    for row in rows:
        assert (row["fails"] == "fails") == (float(row["oscr"]) <= constant or float(row["auc"]) <= 0.5)
        assert (row["protocol"], row["group"]) == ("toy", "synthetic/diffae")
    page = read_page(files["generator-diffae.html"])
    assert "diffusion" in page.text
    assert "Unseen under" in page.text
    seen = next(group.generator for group in board.protocol.seen)
    assert "Seen under" in files[f"generator-{seen}.html"]


def test_a_dataset_has_its_licence_and_counts_and_says_what_is_not_known(files: dict[str, str]) -> None:
    page = read_page(files["dataset-synthetic.html"])
    assert "CC0" in page.text
    assert "https://example.org/faces" in page.links
    rows = list(csv.DictReader(io.StringIO(files["dataset-synthetic.csv"])))
    assert [(row["generator"], row["n"]) for row in rows] == [("real", "10"), ("synthetic-gan-a", "10")]
    other = read_page(files["dataset-synthetic-outdoor.html"])
    assert "No dataset of this name is included" in other.text
    assert "is not stated" in other.text
    assert other.of("table") == []


def test_a_model_looks_the_same_in_every_figure_of_a_page() -> None:
    axis = ((0.0, "0"),)
    panels = [Panel("", {"b": [(0.0, 0.5), (1.0, 0.5)]}, axis)]
    alone = line_plot("x", "x", "x", panels, {"b": "B"})
    beside = line_plot("x", "x", "x", panels, {"b": "B"}, every=["a", "b"])
    assert alone is not None
    assert beside is not None
    for made, look in ((alone, "s0"), (beside, "s1")):
        assert f'<polyline class="{look}"' in made.inline.inline()
        assert f'<polyline class="{look}"' in made.file.file()
    many = line_plot("x", "x", "x", panels, {"b": "B"}, every=[f"row{k}" for k in range(svg.SERIES)])
    assert many is not None
    assert '<polyline class="s0"' in many.file.file()  # more models than looks: each figure begins anew
