"""The page of all commands, read off click."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from dfad_bench.cli.main import COMMANDS, dfad
from dfad_bench.cli.option_groups import grouped_options


def cell(text: object) -> str:
    """A text in a cell of a table: one line, marks of Markdown and HTML as they are."""
    plain = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|*_\[\]])", r"\\\1", plain)


def commands_page() -> str:
    """Every command with its arguments, options by group, and example."""
    parent = click.Context(dfad, info_name="dfad")
    parts = [
        "# Commands\n",
        "Made from the commands themselves; `dfad COMMAND --help` prints the same. Exit codes, formats, completion by"
        " the shell are in [tables and code pages](../output.md#completion-by-the-shell).\n",
        "| command | what |\n|---|---|",
        *(f"| [`dfad {name}`](#dfad-{name}) | {cell(line)} |" for name, (_, line) in COMMANDS.items()),
        "",
    ]
    for name in COMMANDS:
        command = dfad.get_command(parent, name)
        assert command is not None
        parts += _section(command, f"dfad {name}", parent, level=2)
    return "\n".join(parts) + "\n"


def _section(command: click.Command, words: str, parent: click.Context, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=words.removeprefix("dfad "), parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"{'#' * level} dfad {words.removeprefix('dfad ')} {{ #{words.replace(' ', '-')} }}\n"
    yield f"```text\n{words} {usage}\n```\n"
    yield re.sub(r"\n[ \t]+", "\n", (command.help or "").replace("\b\n", "")).replace("<", "&lt;") + "\n"
    for title, options in grouped_options(command, context).items():
        rows = [
            record for option in options if "--help" not in option.opts and (record := option.get_help_record(context))
        ]
        if rows:
            yield f"**{title} options**\n\n| option | what |\n|---|---|"
            yield from (f"| {_code(shown)} | {cell(text)} |" for shown, text in rows)
            yield ""
    if command.epilog:
        example = command.epilog.removeprefix("\b\n").removeprefix("Example: ")
        yield f"```text\n{example}\n```\n"
    for word, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _section(inner, f"{words} {word}", context, level + 1)


def _code(text: str) -> str:
    """A span of code in a cell of a table, where its bars part no columns."""
    return "`" + text.replace("`", "'") + "`"
