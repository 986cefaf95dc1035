"""What tests and benchmarks measure of a page in a browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

_PACKAGES = ("playwright", "axe_playwright_python")


def chromium() -> str | None:
    """Where the system's Chromium is; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def lacking_browser() -> str:
    """What is missing of all that the tests in a browser need; "" for nothing."""
    if chromium() is None:
        return "Chromium: apt-get install chromium"
    lacking = [name for name in _PACKAGES if find_spec(name) is None]
    return f"{', '.join(lacking)}: pip install dfad-bench[browser]" if lacking else ""


def required_browser() -> str:
    """Where Chromium is; without it the test is skipped, and fails where `CI` is "true": there it must be."""
    if lacking := lacking_browser():
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(f"needs {lacking}")
    return str(chromium())


@contextmanager
def opened_browser(path: str) -> Iterator[Any]:
    """A headless Chromium of Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def sorting_times(page: Any, path: Path, *, rows: int, key: str = "oscr", turns: int = 8) -> list[float]:
    """Milliseconds from a click to rows in order, of a page whose first section was given so many rows.

    Every click finds rows that were laid out and painted, as a reader's does; laying them out again is not counted.

    Args:
        page: of Playwright.
        path: of a page with a board; a longer one is written beside it.
        rows: of the table.
        key: of the column sorted by.
        turns: clicks.
    """
    text = path.read_text(encoding="utf-8")
    last = list(re.finditer(r'<tr data-kind="measured".*\n', text))[0]
    copies = []
    for k in range(rows):
        parts = re.split(r'(?<= data-v=")[^"]*', last[0])
        first = (k * 7919) % rows
        values = [f"{(first + 31 * place) % rows / rows}" for place in range(len(parts) - 1)]
        copies.append("".join(text for pair in zip(parts, [*values, ""], strict=True) for text in pair))
    longer = path.with_name(f"long-{path.name}")
    longer.write_text(text[: last.start()] + "".join(copies) + text[last.end() :], encoding="utf-8")
    page.goto(longer.as_uri())
    times: list[float] = page.evaluate(
        """async ([key, turns]) => { const times = [];
        const painted = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
        const button = document.querySelector(`#board th[data-key=${key}] button`);
        for (let turn = 0; turn < turns; turn++) { await painted(); await painted();
            const began = performance.now(); button.click(); times.push(performance.now() - began); }
        return times; }""",
        [key, turns],
    )
    longer.unlink()
    return times
