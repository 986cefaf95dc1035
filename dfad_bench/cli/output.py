"""What commands print: streams of any code page, and texts from outside without their control characters."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.core.escape import json_line, json_text, terminal

if TYPE_CHECKING:
    from dfad_bench.report.table import Table

_ERRORS = "dfad_bench_likeness"
_ASCII = "dfad_bench_ascii"
# what our own texts and rich's tables hold beyond ASCII, for code pages that lack it
_LIKE = {"–": "-", "—": "-", "…": "...", "×": "x", "±": "+-", "²": "2", "≥": ">=", "≤": "<=", "→": "->", "✓": "yes"}
_LIKE |= {chr(code): "+" for code in range(0x2500, 0x2580)} | dict.fromkeys("─━╸╺", "-") | dict.fromkeys("│┃", "|")


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print to stdout, or with `err` to stderr; control characters are shown as escapes."""
    click.echo(terminal(str(text)), err=err, nl=nl)


def echo_json(value: Any, *, sort_keys: bool = False) -> None:
    """Print a value as JSON, in ASCII where stdout is not UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(json_text(value, ascii_only=not _is_unicode(encoding), sort_keys=sort_keys))


def echo_json_line(value: Any) -> None:
    """Print a value as JSON on one line of ASCII, for output that comes an object at a time."""
    click.echo(json_line(value))


def echo_table(table: Table, format: str = "rich") -> None:
    """Print a table in one of the formats of `report.table.FORMATS`."""
    echo_tables([table], format)


def echo_tables(tables: Iterable[Table], format: str = "rich") -> None:
    """Print tables, an empty line between two."""
    for index, table in enumerate(tables):
        if index:
            echo()
        if format == "json":
            echo_json(table.plain())
        elif format == "rich" and _shows_styles():
            click.echo(table.render(styled=True), nl=False)  # its texts are escaped already, styles must not be
        else:
            echo(table.render(format), nl=False)


def _shows_styles() -> bool:
    """Whether stdout is a terminal whose user wants more than plain text (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def set_up_streams() -> None:
    """Let stdout and stderr take any text: what their code page lacks is written as its likeness, or as an escape.

    UTF-8, too, cannot encode everything: bytes of file names that are not text.
    """
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:  # not so under some test runners
            # click takes an ASCII stream for a mistake and writes UTF-8 to it
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            reconfigure(encoding=_ASCII if ascii_only else stream.encoding, errors=_ERRORS)


def _is_unicode(encoding: str) -> bool:
    return codecs.lookup(encoding).name.startswith("utf")


def _likeness(error: UnicodeError) -> tuple[str | bytes, int]:
    """Error handler of codecs: characters that look alike, and escapes for all others."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(_LIKE.get(letter) or _escaped(letter) for letter in error.object[error.start : error.end])
    return text, error.end


def _escaped(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode("ascii")


def _find_ascii(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII:
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(
        plain.encode, plain.decode, plain.streamreader, plain.streamwriter, plain.incrementalencoder,
        plain.incrementaldecoder, name=_ASCII,
    )  # fmt: skip


codecs.register_error(_ERRORS, _likeness)
codecs.register(_find_ascii)
