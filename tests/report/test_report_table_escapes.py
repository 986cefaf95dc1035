"""Strangers' names in a table: every format holds them as text, in the place where they belong."""

from __future__ import annotations

import pytest
from helpers.hostile_names import HOSTILE
from helpers.hostile_outputs import TEXTS, table_of
from hypothesis import example, given
from hypothesis import strategies as st

from dfad_bench.report.table import FORMATS, render


def with_examples(test):  # type: ignore[no-untyped-def]
    for text in HOSTILE:
        test = example(text)(test)
    return given(st.text(max_size=30))(test)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_names_as_text(format: str) -> None:
    @with_examples
    def holds(name: str) -> None:
        TEXTS[format](name)

    holds()


def test_latex_says_which_package_it_needs() -> None:
    assert r"\usepackage{booktabs}" in render(table_of("a"), "latex").splitlines()[0]


@pytest.mark.parametrize("text", ["a `dfad list` b", "p = 0.05", "celeba_hq"])
def test_notes_stay_readable_on_a_terminal(text: str) -> None:
    assert f"  {text}" in render(table_of(text), "rich", width=120)
