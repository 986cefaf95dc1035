"""Strangers' names in a table: every format holds them as text, in the place where they belong."""

from __future__ import annotations

import csv
import io
import json

import pytest
from helpers.hostile_names import HOSTILE, latex_tokens, markdown_kinds
from hypothesis import example, given
from hypothesis import strategies as st

from dfad_bench.core import escape
from dfad_bench.report.table import FORMATS, Column, Table, render

COMMANDS = {r"\begin", r"\end", r"\toprule", r"\midrule", r"\bottomrule", r"\multicolumn", r"\emph", "\\\\"}
COMMANDS |= {r"\&", r"\%", r"\$", r"\#", r"\_", r"\{", r"\}", r"\textasciitilde", r"\textasciicircum"}
COMMANDS |= {r"\textbackslash", r"\textless", r"\textgreater", r"\textbar"}


def table_of(name: str) -> Table:
    """A table with a name in every place that takes a text."""
    columns = (Column("name", name, "text"), Column(f"{name}#", "n", "count"), Column("v", "v", "percent"))
    rows = [{"name": name, f"{name}#": 1, "v": -0.5}, {"name": f"a{name}", f"{name}#": 2, "v": None}]
    return Table(name, columns, rows, (name, f"see {name}"), {1: name})


def with_examples(test):  # type: ignore[no-untyped-def]
    for text in HOSTILE:
        test = example(text)(test)
    return given(st.text(max_size=30))(test)


@with_examples
def test_no_format_holds_what_a_terminal_obeys(name: str) -> None:
    for format in FORMATS:
        text = render(table_of(name), format)
        assert escape.terminal(text) == text
        text.encode()


@with_examples
def test_markup_of_rich_is_text(name: str) -> None:
    drawn = render(table_of(name), "rich", width=200)
    assert all(word in drawn for word in escape.one_line(name).split())


@with_examples
def test_markdown_has_one_heading_one_table_and_a_list_of_notes(name: str) -> None:
    kinds = markdown_kinds(render(table_of(name), "markdown"))
    structure = {"heading", "table", "thead", "tbody", "tr", "th", "td", "bullet_list", "list_item", "paragraph", "em"}
    assert kinds <= structure | {"text", "text_special"}


@with_examples
def test_latex_has_its_own_commands_only(name: str) -> None:
    text = render(table_of(name), "latex")
    tokens = latex_tokens(text)
    assert {token for token in tokens if token.startswith("\\")} <= COMMANDS
    assert tokens.count("{") == tokens.count("}")
    ends = [line for line in text.splitlines() if line.endswith(r"\\") and line[0] != "%"]
    assert len(ends) == 4  # the header, two rows, a heading
    for line in ends:
        if "multicolumn" not in line:
            assert latex_tokens(line).count("&") == 2
        assert line[:1] not in ("[", "*"), "the end of the row before would take it for its argument"


@with_examples
def test_csv_reads_back_and_json_is_equal(name: str) -> None:
    table = table_of(name)
    rows = list(csv.reader(io.StringIO(render(table, "csv"))))
    assert [len(row) for row in rows] == [3, 3, 3]
    assert rows[1][1:] == ["1", "-0.5"]
    assert json.loads(render(table, "json")) == {"title": name, "rows": table.rows, "notes": list(table.notes)}


def test_latex_says_which_package_it_needs() -> None:
    assert r"\usepackage{booktabs}" in render(table_of("a"), "latex").splitlines()[0]


@pytest.mark.parametrize("text", ["a `dfad list` b", "p = 0.05", "celeba_hq"])
def test_notes_stay_readable_on_a_terminal(text: str) -> None:
    assert f"  {text}" in render(table_of(text), "rich", width=120)
