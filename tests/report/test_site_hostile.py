"""Names that strangers chose, through every page and every file of a site."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from helpers.hostile_names import HOSTILE, latex_tokens
from helpers.hostile_outputs import csv_is_inert, harmless, is_text
from helpers.html_pages import Page, read_page
from helpers.sites import CARD, DATASET, site_facts, site_protocol, site_records

from dfad_bench.core import escape
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_checks import Check
from dfad_bench.report.site.links import file_stem, page_of, web_address
from dfad_bench.report.site.render import site_files
from dfad_bench.report.site.run_curves import CorruptionCurve, RunCurves, TrainingCurve

MORE = (
    '"><script>alert(1)</script>', "' onmouseover='alert(1)", "javascript:alert(1)", "</title><svg onload=alert(1)>",
    "{{ 7*7 }}", "{% raw %}", "</style>", "<!--", "]]>", "../../etc/passwd", "a\u2028b", "con", "A", "a",
)  # fmt: skip
NAMES = tuple(name for name in (*HOSTILE, *MORE) if is_text(name))  # records cannot hold the others


def named(record: ResultRecord, name: str, place: int) -> ResultRecord:
    """A record with a name wherever a stranger may put a text."""
    digest = f"{place:064x}"
    model = replace(record.model, name=name, display=name or None, registry_sha256=digest, data_changes=(name,))
    model = replace(model, init={"kind": name, "id": name}, options={name: name} if name else {}, task=name)
    run = replace(record.run, run_id=name, config_sha256=digest, seed=0, stopped=name)
    run = replace(run, config={"model": name, name: name, "recipe": {"name": name}, "manifests": {name: digest}})
    environment = replace(record.environment, device=name, python=name, os=name)
    protocol = replace(record.protocol, deviations=(name,))
    return replace(
        record, record_id=f"{place:016x}" * 4, model=model, run=run, environment=environment, protocol=protocol,
        warnings=(name,), created_utc=name,
    )  # fmt: skip


def drawn_curves(name: str) -> RunCurves:
    """Curves whose corruption, settings and problems are called by a name."""
    line = {"auroc": {0: 0.9, 3: 0.5}, "detection_auc": {0: 0.8, 3: None}}
    curve = CorruptionCurve(name, name, name, line)
    return RunCurves(TrainingCurve([(1, 2.0), (9, 1.0)], [(9, 1.5)]), "", {"both": [0.1] * 20}, [curve], [name])


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    protocol = replace(site_protocol(), title="".join(MORE[:4]), paper="<b>x</b>", notes=MORE)
    first = site_records(site_protocol())[0]
    records = [named(first, name, place) for place, name in enumerate(NAMES)]
    cards = {
        name: {key: (name,) if isinstance(value, tuple) else name for key, value in CARD.items()} for name in NAMES
    }
    datasets = {"synthetic": dict(zip(DATASET, MORE * 2, strict=False))}
    datasets["synthetic"] |= {"expected": {MORE[0]: 5}, "notes": MORE, "unknown": MORE, "reals_in": {MORE[0]: MORE[1]}}
    checks = {record.record_id: Check("claimed", name) for record, name in zip(records, NAMES, strict=True)}
    curves = {record.record_id: drawn_curves(name) for record, name in zip(records, NAMES, strict=True)}
    return site_files(site_facts(records, protocol, cards=cards, datasets=datasets, checks=checks, curves=curves))


@pytest.fixture(scope="module")
def pages(files: dict[str, str]) -> dict[str, Page]:
    return {name: read_page(text) for name, text in files.items() if name.endswith(".html")}  # our elements only


def test_pages_hold_our_elements_and_one_script_without_content(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert [words for tag, words in page.texts if tag == "script"] == [], name
        assert len(page.of("script")) == 1, name


def test_no_link_leads_where_a_name_says(pages: dict[str, Page], files: dict[str, str]) -> None:
    for page in pages.values():
        for link in page.links:
            assert link.partition("#")[0] in files or link.startswith("#") or web_address(link), link


def test_every_name_can_be_read_on_its_pages(pages: dict[str, Page]) -> None:
    for place, name in enumerate(NAMES):
        shown = escape.terminal(name)
        for page in (page_of("model", name), f"run-{place:016x}.html"):
            assert shown in pages[page].text, name


def test_every_file_is_harmless_and_can_be_written(files: dict[str, str]) -> None:
    for name, text in files.items():
        harmless(text)
        assert name == name.lower()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
        if name.endswith(".svg"):
            ElementTree.fromstring(text)
        if name.endswith(".csv"):
            csv_is_inert(text)
        if name.endswith(".tex"):
            tokens = latex_tokens(text)
            assert not {r"\input", r"\write", r"\include"} & set(tokens)
            assert tokens.count("{") == tokens.count("}")


def test_no_two_names_share_a_page() -> None:
    stems = {file_stem("model", name).lower() for name in NAMES}
    assert len(stems) == len(NAMES)


@pytest.mark.parametrize(
    "text", ["javascript:alert(1)", "data:text/html,x", "//example.org", "https://x y", 'https://x"', 5, None]
)
def test_what_is_no_address_of_the_web_is_not_linked(text: object) -> None:
    assert web_address(text) is None
