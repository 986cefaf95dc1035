from __future__ import annotations

import csv
import io
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from helpers.boards import fewer_faces, record
from helpers.html_pages import Page, read_page
from helpers.sites import site_board, site_facts, site_protocol, site_records

from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_checks import Check
from dfad_bench.report.reported import reported_scores
from dfad_bench.report.site.board_page import group_table
from dfad_bench.report.site.environment import POLICY
from dfad_bench.report.site.facts import SiteFacts
from dfad_bench.report.site.front_page import lead_of
from dfad_bench.report.site.render import site_files
from dfad_bench.report.table import Table


@pytest.fixture(scope="module")
def records() -> list[ResultRecord]:
    return site_records(site_protocol())


@pytest.fixture(scope="module")
def facts(records: list[ResultRecord]) -> SiteFacts:
    refused = record(site_protocol(), "refused", 0, draw=5)
    partial = record(site_protocol(), "partial", 0, draw=6, status="partial")
    other = record(site_protocol(), "toy", 0, faces="b", draw=7)
    checks = {refused.record_id: Check("contradicted", "seen_accuracy differs"), records[0].record_id: Check("follows")}
    return site_facts([*records, refused, partial, other], site_protocol(), checks=checks)


@pytest.fixture(scope="module")
def files(facts: SiteFacts) -> dict[str, str]:
    return site_files(facts)


@pytest.fixture(scope="module")
def pages(files: dict[str, str]) -> dict[str, Page]:
    return {name: read_page(text) for name, text in files.items() if name.endswith(".html")}


def test_every_link_leads_to_a_page_of_the_site_or_to_a_stated_address(pages: dict[str, Page], files: dict[str, str]):
    outside = set()
    for name, page in pages.items():
        for link in page.links:
            if link.startswith("http"):
                outside.add(link)
            elif not link.startswith("#"):
                assert link.partition("#")[0] in files, f"{name} links to {link}"
    assert outside <= {"https://example.org/code", "https://example.org/faces"}
    linked = {link for page in pages.values() for link in page.links}
    assert set(files) - linked == set(), "a file that no page leads to"


def test_pages_load_their_style_and_script_and_nothing_else(pages: dict[str, Page], files: dict[str, str]):
    for page in pages.values():
        assert [found["href"] for found in page.of("link")] == ["site.css"]
        assert [found.get("src") for found in page.of("script")] == ["site.js"]
        [policy] = [found["content"] for found in page.of("meta") if found.get("http-equiv")]
        assert policy == POLICY
        assert not [found for _, found in page.tags if "style" in found or any(name.startswith("on") for name in found)]
    for name in ("site.css", "site.js"):
        assert "http" not in files[name].replace('href^="http"', "")
        assert "url(" not in files[name]
        assert "@import" not in files[name]
    assert "innerHTML" not in files["site.js"]


def test_headings_tables_and_names_are_as_a_screen_reader_needs_them(pages: dict[str, Page]):
    for name, page in pages.items():
        levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
        assert levels[0] == 1, name
        assert levels.count(1) == 1, name
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), name
        assert len(page.of("caption")) == len(page.of("table"))
        assert all(found.get("scope") in ("col", "row", "rowgroup") for found in page.of("th"))
        names = [found["id"] for _, found in page.tags if "id" in found]
        assert len(names) == len(set(names)), name
        wanted = " ".join(str(found["aria-labelledby"]) for _, found in page.tags if "aria-labelledby" in found).split()
        assert set(wanted) <= set(names)
        scrolled = [found for found in page.of("div") if found.get("class") == "scroll"]
        assert len(scrolled) == len(page.of("table"))
        assert all((found["tabindex"], found["role"]) == ("0", "region") for found in scrolled)
        assert [found["lang"] for found in page.of("html")] == ["en"]
        assert [word for tag, word in page.texts if tag == "title"][0].strip()


def test_the_board_holds_the_numbers_and_marks_of_its_table(facts: SiteFacts, pages: dict[str, Page]):
    [board], page = facts.boards, pages["protocol-toy.html"]
    rows = [row for row in board.table.rows if row["kind"] == "measured"]
    assert len(rows) == 7
    for row in rows:
        assert f"{100 * row['oscr']:.2f}" in page.text
        assert f"{row['oscr']:.6g}" in {found.get("data-v") for found in page.of("td")}
    shown = [*board.table.marks.values(), *group_table(board).marks.values()]
    cells = [tag for tag, _ in page.tags]
    explained = 1  # the sentence that says what bold and underlined are
    assert cells.count("b") == shown.count("best") + explained
    assert cells.count("u") == shown.count("second") + explained
    assert page.text.count("struck out: does not follow from its predictions") == 2  # on the board, and by group
    headings = [words for tag, words in page.texts if tag == "th" and words in board.table.sections.values()]
    assert len(set(headings)) == len(board.table.sections) == 2


def test_extra_columns_are_marked_and_all_have_their_cells_without_a_script(facts: SiteFacts, pages: dict[str, Page]):
    [board], page = facts.boards, pages["protocol-toy.html"]
    heads = [found for found in page.of("th") if "data-key" in found and found["scope"] == "col"]
    extra = {found["data-key"] for found in heads if "data-extra" in found}
    assert extra == {column.key for column in board.table.columns} - board.shown
    assert {"eer", "fpr95"} <= extra
    assert "oscr" not in extra
    assert [found for found in page.of("form") if "hidden" in found], "controls are of no use without the script"
    defined = {found["data-key"] for found in heads if found.get("title")}
    assert {column.key for column in board.table.columns if column.better} <= defined


def test_downloads_are_the_same_table_as_in_other_formats(facts: SiteFacts, files: dict[str, str]):
    [board] = facts.boards
    rows = list(csv.DictReader(io.StringIO(files["protocol-toy.csv"])))
    assert [row["model"] for row in rows] == [row["model"] for row in board.table.rows]
    assert [float(row["oscr"]) for row in rows] == [row["oscr"] for row in board.table.rows]
    assert r"\toprule" in files["protocol-toy.tex"]
    assert r"\sout{" in files["protocol-toy.tex"]


def test_intervals_of_a_section_are_drawn_with_their_numbers_beside_them(files: dict[str, str]):
    names = sorted(name for name in files if "intervals" in name and name.endswith(".svg"))
    assert names == ["protocol-toy-intervals-0.svg", "protocol-toy-intervals-1.svg"]
    root = ElementTree.fromstring(files[names[0]])
    space = "{http://www.w3.org/2000/svg}"
    rows = list(csv.DictReader(io.StringIO(files["protocol-toy-intervals-0.csv"])))
    assert len(rows) == len(root.findall(f"{space}circle")) == 4
    assert root.find(f"{space}title") is not None
    assert root.find(f"{space}desc") is not None
    for row in rows:
        assert float(row["faces_low"]) <= float(row["value"]) <= float(row["faces_high"])


def test_a_run_says_what_was_checked_and_how_to_repeat_it(facts: SiteFacts, pages: dict[str, Page]):
    for one in facts.records:
        page = pages[f"run-{one.record_id[:16]}.html"]
        assert "dfad verify-record --run RUN --repredict" in page.text
        for digest in (one.record_id, one.protocol.sha256, one.manifest.content_sha256, one.predictions.sha256):
            assert digest in page.text
    refused = next(one for one in facts.records if one.model.name == "refused")
    assert "does not follow (seen_accuracy differs)" in " ".join(
        pages[f"run-{refused.record_id[:16]}.html"].text.split()
    )


def test_a_model_shows_its_card_where_it_is_installed_and_says_where_not(pages: dict[str, Page]):
    assert "It sees." in pages["model-toy.html"].text
    assert "https://example.org/code" in pages["model-toy.html"].links
    assert "its card is not shown" in pages["model-second.html"].text


def test_reported_rows_stand_apart_with_their_marks():
    protocol = fewer_faces(load_protocol("gazeclip-df40"))
    scores = reported_scores(protocol.name)
    board = site_board(protocol, [], scores)
    page = read_page(site_files(SiteFacts([board], version="1", made="now"))["protocol-gazeclip-df40.html"])
    assert "Reported by papers" in page.text
    kinds = [found.get("data-kind") for found in page.of("tr")]
    assert kinds.count("reported") == len({(one.model, one.printed, one.table, one.variant) for one in scores}) * 2
    for score in scores:
        assert score.table in page.text
        assert score.unseen_acc is None or f"{100 * score.unseen_acc:.2f}" in page.text
    marked = {tag: {words for found, words in page.texts if found == tag} for tag in ("b", "u")}
    for group in {group for score in scores for group in score.groups}:
        best, second, *_ = sorted({round(100 * s.groups[group], 2) for s in scores if group in s.groups}, reverse=True)
        assert f"{best:.2f}" in marked["b"], f"best of {group}"
        assert f"{second:.2f}" in marked["u"], f"second best of {group}"


def test_the_front_page_says_who_leads_and_how_sure_that_is():
    row = {"model": "A", "rank": 1, "oscr": 0.5, "rank_best": 1, "rank_worst": 2, "ranks_generators": "1"}
    other = {**row, "model": "B", "rank": 2, "oscr": 0.4, "ranks_generators": "2"}
    lead = lead_of("Measured", [other, row])
    assert lead is not None
    assert (lead.best, lead.value) == ("A", "OSCR 50.00 %")
    assert "B may lead as well" in lead.sure
    assert "over other generators of this kind, too" in lead.sure
    sure = lead_of("Measured", [row, {**other, "rank_best": 2}])
    assert sure is not None
    assert "On other faces of these generators it leads, too." in sure.sure
    few = lead_of("Measured", [{**row, "ranks_generators": None}, other])
    assert few is not None
    assert "cannot be said" in few.sure
    assert lead_of("Measured", [{**row, "rank": None}]) is None


def test_a_site_without_boards_or_rows_is_whole(facts: SiteFacts):
    assert read_page(site_files(SiteFacts([], version="1", made="now"))["index.html"]).text.count("no board yet") == 1
    [board] = facts.boards
    bare = replace(board, table=Table("Nothing", board.table.columns, []))
    assert "No row of this board has a place yet" in site_files(SiteFacts([bare]))["protocol-toy.html"]
