"""The site in a browser: what the script does, by mouse and by keyboard, on a desk and on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.browsing import opened_browser, required_browser, sorting_times
from helpers.sites import site_facts, site_protocol, site_records

from dfad_bench.report.site.folder import write_site
from dfad_bench.report.site.render import site_files


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "site"
    write_site(folder, site_files(site_facts(site_records(site_protocol()), site_protocol())))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser(required_browser()) as opened:
        yield opened


def test_a_browser_that_is_not_there_skips_but_fails_where_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Chromium: apt-get install chromium"):
        required_browser()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Chromium: apt-get install chromium"):
        required_browser()


THEMES = pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.heavy)])


class Tab:
    """A page, and all that it complained of or asked for."""

    def __init__(self, browser: Any, site: Path, *, width: int = 1440, **options: Any) -> None:
        self.site, self.context = site, browser.new_context(viewport={"width": width, "height": 800}, **options)
        self.page, self.complaints, self.requests = self.context.new_page(), list[str](), list[str]()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, name: str, fragment: str = "") -> Any:
        """A page of the site, from the disk."""
        self.page.goto("about:blank")
        self.page.goto((self.site / name).as_uri() + fragment)
        return self.page

    def column(self, key: str, *, table: str = "board") -> list[str]:
        """The cells of a column as they are shown, of the first section."""
        found: list[str] = self.page.evaluate(
            """([table, key]) => { const t = document.getElementById(table);
            const k = [...t.tHead.rows[0].cells].findIndex(c => c.dataset.key === key);
            return [...t.tBodies[0].rows].filter(r => !r.hidden && !r.classList.contains("section"))
                .map(r => r.cells[k].textContent.replace(/ (best|second)$/, "")); }""",
            [table, key],
        )
        return found

    def address(self) -> str:
        """The address, once what was asked for stands in it."""
        self.page.evaluate("new Promise(done => setTimeout(done, 20))")
        found: str = self.page.url
        return found

    def calm(self) -> None:
        """No complaint, and nothing asked for beyond the folder."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith((self.site.as_uri(), "about:"))] == []


@pytest.fixture
def tab(browser: Any, site: Path) -> Iterator[Tab]:
    made = Tab(browser, site)
    yield made
    made.calm()
    made.context.close()


def test_a_column_is_sorted_by_better_values_then_the_other_way_then_as_published(tab: Tab) -> None:
    page = tab.open("protocol-toy.html")
    head, published = page.locator("#board th[data-key=auroc]"), tab.column("auroc")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert page.locator("[aria-sort]").count() == 1
    first = tab.column("auroc")
    assert first[:2] == ["50.00", "50.00"], "constant rows stay on top"
    assert first[2:] == sorted(published[2:], key=float, reverse=True)
    assert "Sorted by AUROC, descending; 5 rows" in page.locator("[role=status]").inner_text()
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert tab.column("auroc")[2:] == sorted(published[2:], key=float)
    head.locator("button").click()
    assert tab.column("auroc") == published
    assert head.get_attribute("aria-sort") is None
    assert "#" not in tab.address()


def test_a_lower_is_better_column_starts_ascending_and_a_missing_value_comes_last(tab: Tab) -> None:
    page = tab.open("protocol-toy.html", "#show=eer")
    page.locator("#board th[data-key=eer] button").click()
    assert page.locator("#board th[data-key=eer]").get_attribute("aria-sort") == "ascending"
    page = tab.open("protocol-toy.html")
    cell = page.locator("#board tr[data-kind=measured] td[data-v]").first
    key = page.locator("#board thead th").nth(cell.evaluate("c => c.cellIndex")).get_attribute("data-key")
    cell.evaluate("c => { delete c.dataset.v; c.textContent = '–'; }")
    for _ in range(2):
        page.locator(f"#board th[data-key={key}] button").click()
        assert tab.column(key)[-1] == "–"


def drawn(page: Any, figure: str = "sweep-0") -> list[str]:
    """The names beneath a figure, of the curves that it shows."""
    names = f"[...document.querySelectorAll('svg[aria-labelledby^={figure}] g[data-row]:not([display])')]"
    found: list[str] = page.evaluate(f"{names}.map(one => one.textContent)")
    return found


def test_curves_are_of_the_rows_that_are_shown_or_chosen_and_the_address_keeps_them(tab: Tab) -> None:
    page = tab.open("protocol-toy.html")
    every = drawn(page)
    assert len(every) == 3
    page.locator("[name=q]").fill("second")
    assert drawn(page) == ["Second"]
    assert page.locator("#sweep-0-numbers tbody tr:not([hidden])").count() == 3, "its three shares"
    page.locator("[name=reset]").click()
    page.locator("fieldset[data-models]").evaluate("one => { one.parentNode.open = true; }")
    page.get_by_label("Third").check()
    assert drawn(page) == ["Third"]
    assert "models=" in tab.address()
    page = tab.open("protocol-toy.html", "#" + tab.address().partition("#")[2])
    assert drawn(page) == ["Third"]
    page = tab.open("protocol-toy.html", "#models=nobody")
    assert drawn(page) == every


def test_models_are_filtered_by_what_their_cards_say(browser: Any, site: Path) -> None:
    tab = Tab(browser, site)
    page = tab.open("protocol-toy.html", "#venue=CVPR")
    assert tab.column("model") == ["Toy"]
    page.select_option("[name=venue]", "")
    assert len(tab.column("model")) == 5
    tab.calm()
    tab.context.close()


def test_everything_works_by_keyboard(tab: Tab) -> None:
    page = tab.open("protocol-toy.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#board th[data-key=oscr] button").focus()
    page.keyboard.press("Enter")
    assert page.locator("#board th[data-key=oscr]").get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert page.locator("#board th[data-key=oscr]").get_attribute("aria-sort") == "ascending"
    page.get_by_text("Columns", exact=True).focus()
    page.keyboard.press("Enter")
    box = page.locator("fieldset input[value=fpr95]")
    box.focus()
    page.keyboard.press("Space")
    assert page.locator("#board th[data-key=fpr95]").is_visible()
    assert "show=" in tab.address()
    page.locator("[name=q]").focus()
    page.keyboard.type("second")
    assert tab.column("model") == ["Second"]


def test_rows_are_filtered_and_the_address_keeps_the_view(tab: Tab, browser: Any, site: Path) -> None:
    page = tab.open("protocol-toy.html")
    assert page.locator("#board th[data-key=eer]").is_hidden()
    page.select_option("[name=kind]", "measured")
    page.locator("#board th[data-key=detection_auc] button").click()
    page.get_by_text("Columns", exact=True).click()
    page.locator("fieldset input[value=eer]").check()
    wanted = (tab.column("model"), page.locator("#board th:visible").count())
    assert len(wanted[0]) == 3
    other = Tab(browser, site)
    there = other.open("protocol-toy.html", "#" + tab.address().partition("#")[2])
    assert (other.column("model"), there.locator("#board th:visible").count()) == wanted
    assert there.locator("#board th[data-key=eer]").is_visible()
    there.locator("[name=reset]").click()
    assert "#" not in other.address()
    assert len(other.column("model")) == 5
    other.calm()
    other.context.close()


STRANGE = (
    "#sort=__proto__:desc", "#sort=oscr:sideways", "#sort=oscr", "#kind=<b>", "#show=nothing", "#q=" + "a" * 500,
    "#sort=constructor:asc&show=toString", "#%", "#groups-sort=model:asc",
)  # fmt: skip


def test_an_address_that_the_page_does_not_have_does_no_harm(tab: Tab) -> None:
    for fragment in STRANGE:
        page = tab.open("protocol-toy.html", fragment)
        assert page.locator("h1").inner_text() == "Toy", fragment
        assert len(page.locator("[name=q]").input_value()) <= 80
        assert page.locator("#board thead th").first.is_visible()


@THEMES
def test_no_page_is_wider_than_a_phone(browser: Any, site: Path, scheme: str) -> None:
    tab = Tab(browser, site, width=320, color_scheme=scheme)
    for path in sorted(site.glob("*.html")):
        page = tab.open(path.name)
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0, path.name
        small = page.evaluate(
            "[...document.querySelectorAll('button, input, select, summary')].filter(e => e.offsetParent)"
            ".map(e => e.getBoundingClientRect()).filter(r => r.height < 23.9 || r.width < 23.9).length"
        )
        assert small == 0, path.name
    tab.calm()
    tab.context.close()


def test_a_screen_reader_hears_which_values_are_best(tab: Tab) -> None:
    page = tab.open("protocol-toy.html")
    for table in ("#board", "#groups"):
        heard = page.locator(table).aria_snapshot()
        assert re.search(r'cell "[\d.]+ best"', heard), f"best in {table}"
        assert re.search(r'cell "[\d.]+ second best"', heard), f"second best in {table}"


def test_pages_are_whole_without_a_script(browser: Any, site: Path) -> None:
    tab = Tab(browser, site, java_script_enabled=False)
    page = tab.open("protocol-toy.html")
    assert page.locator("#board tbody tr").count() == 6
    assert page.locator("#board th[data-key=eer]").is_visible()
    assert page.locator("form.tools").is_hidden()
    assert page.locator("#board button").count() == 0
    tab.context.close()


def axe_violations(tab: Tab, name: str) -> list[tuple[str, str]]:
    """What axe-core finds wrong with a page, everything on it unfolded: the rule, and the first element."""
    import axe_playwright_python

    page = tab.open(name)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 20
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]]


def test_a_checker_of_accessibility_finds_nothing_on_a_board(browser: Any, site: Path) -> None:
    tab = Tab(browser, site, width=1440, bypass_csp=True)
    assert axe_violations(tab, "protocol-toy.html") == []
    tab.context.close()


@pytest.mark.heavy
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_checker_of_accessibility_finds_nothing_on_any_kind_of_page(browser: Any, site: Path, scheme: str) -> None:
    tab = Tab(browser, site, width=360, color_scheme=scheme, bypass_csp=True)
    kinds = {path.name.partition("-")[0]: path.name for path in sorted(site.glob("*.html"))}
    assert set(kinds) == {"index.html", "metrics.html", "protocol", "model", "run", "generator", "dataset"}
    assert {name: axe_violations(tab, name) for name in kinds.values()} == dict.fromkeys(kinds.values(), [])
    tab.context.close()


@pytest.mark.heavy
def test_a_thousand_rows_are_sorted_in_an_instant(tab: Tab) -> None:
    tab.open("protocol-toy.html")
    times = sorting_times(tab.page, tab.site / "protocol-toy.html", rows=1000)
    assert min(times) < 200, times  # on a busy machine; benchmarks/site_speed.py measures
