"""What was escaped for a format reads back as the same harmless text, whatever strangers' names hold."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import unicodedata

import pytest
import yaml
from helpers.hostile_names import HOSTILE, latex_text, markdown_kinds, markdown_text
from hypothesis import example, given
from hypothesis import strategies as st

from dfad_bench.core import escape

PIECES = [
    *"\r\n\t=+@-;|\\`$_*#[]()<>&!~^{}%'\" aé名\ufeff\x7f\x00\u202e\u2028\ud800", "\x1b[2J", "\x9b1m", "://", "www.",
    "1.", "&#60;", "<b>", "\\input{/etc/passwd}",
]  # fmt: skip
texts = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


def with_examples(test):  # type: ignore[no-untyped-def]
    for text in HOSTILE:
        test = example(text)(test)
    return given(texts)(test)


def spaced(text: str) -> str:
    """As a format of one line shows it."""
    return escape.terminal(" ".join(text.split()))


@with_examples
def test_nothing_a_terminal_obeys_is_left(text: str) -> None:
    for shown, allowed in ((escape.terminal(text), "\t\n"), (escape.one_line(text), "")):
        hidden = [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in allowed]
        assert not hidden
        assert not set(shown) & set("\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
        shown.encode()
        assert escape.terminal(shown) == shown  # twice is as good as once
    if text.isascii() and text.isprintable():
        assert escape.one_line(text) == text


@with_examples
def test_markdown_reads_back_as_plain_text(text: str) -> None:
    safe = escape.markdown(text)
    assert "\n" not in safe
    for before in ("", "- ", "# ", "text "):
        assert markdown_text(before + safe) == (before.strip("-# ") + " " + spaced(text)).strip()
        allowed = {"- ": {"bullet_list", "list_item"}, "# ": {"heading"}}.get(before, set())
        assert markdown_kinds(before + safe) <= {"paragraph", "text", "text_special", *allowed}
    row = f"| {safe} | {safe} |\n|---|---|\n| {safe} | {safe} |\n"
    assert markdown_kinds(row) <= {"table", "thead", "tbody", "tr", "th", "td", "text", "text_special"}
    assert markdown_text(row).count(spaced(text).strip()) >= 4 if spaced(text) else True


@with_examples
def test_code_in_markdown_reads_back(text: str) -> None:
    kinds = markdown_kinds(f"a {escape.markdown_code(text)} b")
    assert kinds == {"paragraph", "text", "code_inline"}


@with_examples
def test_latex_reads_back_as_plain_text(text: str) -> None:
    safe = escape.latex(text)
    assert "\n" not in safe
    assert "\r" not in safe
    assert latex_text(safe) == spaced(text)
    assert latex_text(f"x% {escape.latex_comment(text)}\ny") == "xy"


@with_examples
def test_csv_reads_back_and_starts_no_formula(text: str) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(
        [escape.csv_cell(text), escape.csv_cell(-1.5), escape.csv_cell(None)]
    )
    assert stream.getvalue().count("\n") == 1
    assert "\r" not in stream.getvalue()
    for separator in ",;\t|":  # a spreadsheet guesses which one it is
        for cell in next(csv.reader(io.StringIO(stream.getvalue()), delimiter=separator)):
            assert cell == "-1.5" or cell.lstrip()[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20")
    row = next(csv.reader(io.StringIO(stream.getvalue())))
    assert row[1:] == ["-1.5", ""]
    assert row[0].replace("'", "") == escape.one_line(text).replace("'", "")


@with_examples
def test_html_reads_back(text: str) -> None:
    safe = escape.html(text)
    assert not set(safe) & set("<>\"'")
    assert html.unescape(safe) == escape.terminal(text)


@with_examples
def test_yaml_and_json_read_back(text: str) -> None:
    assert yaml.safe_load(f"a: {escape.yaml_scalar(text)}") == {"a": escape.terminal(text)}
    for ascii_only in (False, True):
        written = escape.json_text({text: [text, 1.5, None]}, ascii_only=ascii_only)
        assert json.loads(written) == {text: [text, 1.5, None]}
        assert escape.terminal(written) == written
        written.encode("ascii" if ascii_only else "utf-8")


@pytest.mark.parametrize(
    "text", ["celeba_hq", "0.1 to 0.2", "-0.5", "stable-diffusion 1.5", "(n = 3)", "p, 95 %", "a/b.png"]
)
def test_ordinary_names_stay_readable(text: str) -> None:
    assert escape.markdown(text) == text
    assert re.sub(r"\\([_%])", r"\1", escape.latex(text)) == text
    assert escape.one_line(text) == text
