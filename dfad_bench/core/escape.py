r"""Text from outside, made harmless for each format it is written in: one function a format.

Names of files, datasets, protocols and generators may come from strangers. On a terminal they could move the cursor
or set the clipboard, in LaTeX read files, in a spreadsheet run formulas, in Markdown fetch pictures. Code that writes a
text into one of these formats passes it through the function of that format, once.

Control characters are shown as escapes (`\x1b`) in all formats but JSON, which has its own; so are characters that turn
the direction of writing, separate lines or are no Unicode (half of a surrogate pair).
"""

from __future__ import annotations

import json
import re
from typing import Any

# bidirectional marks, line separators, marks without width, tags, halves of surrogate pairs, what XML and YAML refuse
_HIDDEN = (
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_HIDDEN}]")  # all but tab and newline
_LINES = re.compile(r"[\t\n]")
_UNSAFE_JSON = re.compile(f"[\x7f-\x9f{_HIDDEN}]")  # JSON itself escapes those below a space
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_FORMULA = re.compile(r"(^|[;|\t\r\n])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
_MARKDOWN = re.compile(r"[\\`*\[\]|~$#]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|(?<=WWW)\.", re.IGNORECASE)
_BLOCK = re.compile(r"^(?:[-+=](?![\w.])|[0-9]{1,9}(?=[.)](?: |$)))")  # a list or a rule
_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
# after the end of a row, `[` begins an argument and `*` belongs to the command
_LATEX |= {"[": "{[}", "]": "{]}", "*": "{*}"}
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}


def terminal(text: str) -> str:
    r"""Text for a terminal or a log; tabs and line ends stay.

    >>> terminal("a\x1b[2Jb\n")
    'a\\x1b[2Jb\n'
    """
    return _CONTROL.sub(_escape_match, text)


def one_line(text: str) -> str:
    r"""Text for a place that has one line, such as a cell on a terminal or a figure.

    >>> one_line("a\n\x9bb")
    'a\\n\\x9bb'
    """
    return _LINES.sub(_escape_match, terminal(text))


def markdown(text: str) -> str:
    r"""Text for one line of Markdown (CommonMark, tables of GitHub): no markup, links, HTML or formulas in it.

    Line ends and runs of spaces become one space.

    >>> markdown("![a](//b) <i> celeba_hq _c_")
    '!\\[a\\](//b) &lt;i&gt; celeba_hq \\_c\\_'
    """
    text = _collapse_spaces(text)
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(plain, entity)
    text = _MARKDOWN.sub(lambda found: "\\" + found[0], text)
    return _BLOCK.sub(lambda found: found[0] + "\\" if found[0].isdigit() else "\\" + found[0], text)


def markdown_code(text: str) -> str:
    """Text as code in one line of Markdown, where nothing but backticks has a meaning.

    >>> markdown_code("a`b")
    '`` a`b ``'
    """
    text = _collapse_spaces(text) or " "
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"{fence}{text}{fence}"


def latex(text: str) -> str:
    r"""Text for one line of LaTeX: no commands, arguments, comments or formulas in it.

    >>> latex("50% of\n\\input{x}")
    '50\\% of \\textbackslash{}input\\{x\\}'
    """
    return "".join(_LATEX.get(character, character) for character in _collapse_spaces(text))


def latex_comment(text: str) -> str:
    """Text for a comment of LaTeX, which ends with its line."""
    return _collapse_spaces(text)


def csv_cell(value: Any) -> Any:
    r"""A value for the `csv` module: text that a spreadsheet would run as a formula gets an apostrophe before it.

    A spreadsheet may take `;`, `|` or a tab for the end of a cell, so formulas behind these are guarded, too. Several
    texts are one, with `; ` between them.

    >>> csv_cell(" =1+1"), csv_cell(-1.5), csv_cell("a\r"), csv_cell(["a", "b"])
    ("' =1+1", -1.5, 'a\\r', 'a; b')
    """
    if isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
        value = "; ".join(value)
    if not isinstance(value, str):
        return value
    return one_line(_FORMULA.sub(r"\1'", value))


def html(text: str) -> str:
    """Text for HTML or SVG, in an element or a quoted attribute.

    >>> html("<b title='x'>")
    '&lt;b title=&#39;x&#39;&gt;'
    """
    return "".join(_HTML.get(character, character) for character in terminal(text))


def yaml_scalar(text: str) -> str:
    r"""Text as a YAML scalar of one line, such as in the front matter of a card.

    >>> yaml_scalar('- "a": b')
    '"- \\"a\\": b"'
    """
    return json.dumps(terminal(text), ensure_ascii=False)


def json_text(value: Any, *, ascii_only: bool = False, sort_keys: bool = False) -> str:
    r"""A value as JSON, which reads back as it was: what a terminal would obey is escaped.

    Args:
        value: of lists, mappings and scalars.
        ascii_only: escape all that is not ASCII, for places of another code page.
        sort_keys: sort the keys of objects.

    Raises:
        ValueError: NaN or infinite numbers.

    >>> print(json_text(["é\x9b"]))
    [
      "é\u009b"
    ]
    """
    text = json.dumps(value, indent=2, ensure_ascii=ascii_only, allow_nan=False, sort_keys=sort_keys)
    return _UNSAFE_JSON.sub(lambda found: _json_escape(found[0]), text)


def json_line(value: Any) -> str:
    r"""A value as JSON in one line of ASCII, for streams of one object a line.

    Raises:
        ValueError: NaN or infinite numbers.

    >>> json_line({"a": "é\x9b"})
    '{"a": "\\u00e9\\u009b"}'
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return _UNSAFE_JSON.sub(lambda found: _json_escape(found[0]), text)


def _collapse_spaces(text: str) -> str:
    return terminal(" ".join(text.split()))


def _json_escape(character: str) -> str:
    return f"\\u{ord(character):04x}" if character == "\x7f" else json.dumps(character)[1:-1]


def _escape_match(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] in _SHORT:
        return _SHORT[found[0]]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
