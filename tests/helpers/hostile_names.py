"""Names as an attacker writes them, and small readers of what was made of them."""

from __future__ import annotations

import re

HOSTILE = (
    "\x1b[2J\x1b[31mred", "\x1b]52;c;ZWNobw==\x07", "\x1b]8;;http://x\x1b\\click\x1b]8;;\x1b\\", "\x1b]0;title\x07",
    "\x9b2J", "\x90q\x9c", "a\u202egnp.exe", "[red]x[/red]", "[link=http://x]y[/link]", ":warning:", "x\\", "[/italic]",
    "t\n\\input{/etc/passwd}", "t\r\\input{x}", "^^5cinput", "[3cm]", "*", "100%", "a & b", "$x$", "\\", "\\\\",
    "=1+1", "\t=1", "\r=1", "\n=1", " =1", "a;=1", "@SUM(1)", "\uff1d1+1", "a\rb", '"', 'a"b', "'",
    "![x](http://x/y.png)", "[x](javascript:1)", "`x`", "``", "<script>alert(1)</script>", "<img src=x onerror=1>",
    "a|b", "a\\|b", "# x", "- x", "1. x", "> x", "---", "***", "___", "===", "~~x~~", "    code", "&lt;", "&#60;b&#62;",
    "https://example.org", "www.example.org", "<https://x>", "[x]: http://y", "```", "a  ", "\ud800", "\ufeff", "",
)  # fmt: skip

_COMMANDS = {
    r"\&": "&", r"\%": "%", r"\$": "$", r"\#": "#", r"\_": "_", r"\{": "{", r"\}": "}", r"\textasciitilde": "~",
    r"\textasciicircum": "^", r"\textbackslash": "\\", r"\textless": "<", r"\textgreater": ">", r"\textbar": "|",
}  # fmt: skip


def latex_text(source: str) -> str:
    """What LaTeX prints of text that holds no commands but those of single characters; an error for any other.

    Comments end with their line; braces are balanced and print nothing. A bracket or a star must not stand where a
    row could end before it.
    """
    printed, depth = [], 0
    for token in latex_tokens(source):
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            assert depth >= 0
        elif token.startswith("\\"):
            printed.append(_COMMANDS[token])
        else:
            assert token not in "&$#^_~" or depth < 0, f"{token} has a meaning"
            assert token not in "[]*" or depth > 0, f"{token} may be read as an argument"
            printed.append(token)
    assert depth == 0
    return "".join(printed)


def latex_tokens(source: str) -> list[str]:
    """Commands, braces and single characters, as TeX's reader finds them; comments are left out."""
    tokens = re.findall(r"%[^\n]*(?:\n|$)|\\[A-Za-z]+(?:[ ]*(?=\{))?|\\.|[^\n]|\n", source)
    assert not re.search(r"\^\^", re.sub(r"%[^\n]*", "", source))
    return [token.strip() if token.startswith("\\") else token for token in tokens if not token.startswith("%")]


def _tokens(source: str):  # type: ignore[no-untyped-def]
    from markdown_it import MarkdownIt

    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source):
        yield from [token] if token.type != "inline" else token.children


def markdown_kinds(source: str) -> set[str]:
    """Which kinds of elements a text has, as CommonMark with tables and strikethrough reads it."""
    return {re.sub("_(open|close)$", "", token.type) for token in _tokens(source)}


def markdown_text(source: str) -> str:
    """The text a reader sees."""
    return "".join(token.content for token in _tokens(source))
