"""The tables and figures of the papers, as `dfad list tables` shows them and `dfad reproduce` takes them."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import UnknownNameError
from dfad_bench.report.paper_items import full_name, item_names, measurable_table, other_items
from dfad_bench.report.reported import reported_tables

GAZECLIP = [f"gazeclip-table-{n:02d}" for n in range(1, 14)] + [f"gazeclip-figure-{n:02d}" for n in (1, *range(6, 12))]
BMRL = [f"bmrl-table-{n:02d}" for n in range(1, 11)] + [f"bmrl-figure-{n:02d}" for n in (2, *range(4, 9))]


def test_every_table_and_figure_with_results_of_both_papers_is_listed_once() -> None:
    assert item_names() == [*GAZECLIP, *BMRL]


def test_each_has_a_command_or_a_reason_and_measurable_ones_a_layout() -> None:
    for name, item in other_items().items():
        assert item.command or item.lacks
        assert measurable_table(name) is None
    assert {name for name in item_names() if measurable_table(name)} == {table.name for table in reported_tables()}


@pytest.mark.parametrize("name", [name for name, item in other_items().items() if item.command])
def test_commands_of_figures_parse(name: str) -> None:
    words = shlex.split(str(other_items()[name].command))
    context = click.Context(dfad)
    command = dfad.get_command(context, words[1])
    assert (words[0], command is not None) == ("dfad", True)
    assert command is not None
    command.make_context(words[1], words[2:], parent=context)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("IV", "gazeclip-table-04"),
        ("xiii", "gazeclip-table-13"),
        ("gazeclip-table-4", "gazeclip-table-04"),
        ("GazeCLIP II", "gazeclip-table-02"),
        ("bmrl-10", "bmrl-table-10"),
        ("bmrl table 1", "bmrl-table-01"),
        ("gazeclip fig. 9", "gazeclip-figure-09"),
        ("bmrl-fig2", "bmrl-figure-02"),
    ],
)
def test_a_table_is_found_by_what_its_paper_calls_it(asked: str, name: str) -> None:
    assert full_name(asked) == name


@pytest.mark.parametrize("asked", ["4", "XIV", "bmrl-11", "gazeclip-figure-3", "", "table", "gazeclip-table-004"])
def test_what_neither_paper_has_is_refused_with_near_names(asked: str) -> None:
    with pytest.raises(UnknownNameError, match=re.escape("table")):
        full_name(asked)
