"""What tests and benchmarks measure of a page in a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def sorting_times(page: Any, path: Path, *, rows: int, key: str = "oscr", turns: int = 8) -> list[float]:
    """Milliseconds from a click to rows in order, of a page whose first section was given so many rows.

    The browser then lays the table out and paints it, which is not counted.

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
        values = iter(range(1000))
        value = (k * 7919) % rows
        copies.append(
            re.sub(
                r'data-v="[^"]*"', lambda _, v=value, n=values: f'data-v="{(v + 31 * next(n)) % rows / rows}"', last[0]
            )
        )
    longer = path.with_name(f"long-{path.name}")
    longer.write_text(text[: last.start()] + "".join(copies) + text[last.end() :], encoding="utf-8")
    page.goto(longer.as_uri())
    times: list[float] = page.evaluate(
        """([key, turns]) => Array.from({length: turns}, () => { const began = performance.now();
        document.querySelector(`#board th[data-key=${key}] button`).click(); return performance.now() - began; })""",
        [key, turns],
    )
    longer.unlink()
    return times
