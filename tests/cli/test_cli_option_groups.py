"""The help of every command shows its options in groups, each once."""

from __future__ import annotations

import re
from collections import Counter

import click
import pytest
from click.testing import CliRunner

from dfad_bench.cli.main import COMMANDS, dfad
from dfad_bench.cli.option_groups import GROUPS, OTHER, group_of, grouped_options


def commands() -> dict[str, click.Command]:
    """Every command and every command of `dfad weights`, by its words."""
    context = click.Context(dfad)
    found = {name: dfad.get_command(context, name) for name in COMMANDS}
    inner = {
        f"{name} {word}": one
        for name, command in found.items()
        for word, one in getattr(command, "commands", {}).items()
    }
    return {**found, **inner}  # type: ignore[dict-item]  # none is None: the names are those of COMMANDS


@pytest.mark.parametrize("words", sorted(commands()))
def test_every_option_is_shown_once_in_a_group(words: str) -> None:
    command = commands()[words]
    options = [one for one in command.get_params(click.Context(command)) if isinstance(one, click.Option)]
    assert [one.opts for one in options if group_of(one) == OTHER] in ([["--help"]], [["-h", "--help"]])
    shown = CliRunner().invoke(dfad, [*words.split(), "--help"], terminal_width=100).output
    sections = re.split(r"^(\w+) options:$|^Other:$", shown, flags=re.MULTILINE)
    titles = [title for title in sections[1::2] if title]
    assert titles == [title for title in GROUPS if title in titles]  # in the same order everywhere
    assert "\nOptions:" not in shown
    for option in options:
        row = re.compile(rf"^  (?:-\w, )?{re.escape(option.opts[0])}(?![\w-])", re.MULTILINE)
        assert len(row.findall("".join(filter(None, sections[2:])))) == 1, option.opts


def test_a_name_stands_in_one_group_and_some_command_has_it() -> None:
    counts = Counter(name for names in GROUPS.values() for name in names)
    assert [name for name, count in counts.items() if count > 1] == []
    used = {one.name for command in commands().values() for one in command.params}
    assert set(counts) - used == set()


def test_what_must_be_given_is_first_in_its_group() -> None:
    context = click.Context(dfad)
    command = dfad.get_command(context, "train")
    assert command is not None
    for options in grouped_options(command, click.Context(command)).values():
        required = [option.required for option in options]
        assert required == sorted(required, reverse=True)
