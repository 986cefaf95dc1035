"""Paths of somebody's machine in texts that are given away: what counts as one, and texts without them.

Only files that are shared pass here. A relative path, an address of the web and a share such as `1/2` are no such path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_PART = r"[^\s/\\:;,'\"`<>|()\[\]{}]"  # a character of a name
_HOMES = r"(?:/home|/Users|[A-Za-z]:[\\/]+Users|/mnt/[a-z]/Users)"
# folders that tell of a machine even when nothing follows
_ROOTS = (
    "root|home|Users|scratch|mnt|media|Volumes|data\\d*|datasets|tmp|var|opt|srv|work|workspace|content|kaggle|gpfs|lustre|"
    "nfs|storage|projects?|export|private"
)
_START = r"(?<![\w./\\~\]-])"  # not within an address, a relative path or what is cut already
_PATH = re.compile(
    rf"file:/[^\s'\"`<>]+"  # file:///home/me/x
    rf"|{_START}{_HOMES}[\\/]{_PART}+(?: {_PART}+){{0,3}}[\\/][^\s:;,'\"`<>|)\]}}]*"  # /home/me and myself/x
    rf"|{_START}~?(?:/{_PART}+){{2,}}/?"  # /a/b
    rf"|{_START}~/{_PART}+|{_START}/(?:{_ROOTS})(?![\w-]|\.\w)/?"
    rf"|(?<!\w)[A-Za-z]:[\\/]{_PART}[^\s;,'\"`<>|)\]}}]*"  # C:\me\x, C:/me/x
    rf"|(?<![\w\\])\\\\\w[^\s;,'\"`]*"  # \\server\share
)
# the same where a text or something in quotes is a path as a whole, spaces and all
_ROOTED = rf"(?:file:/|~?/(?:{_ROOTS})/|/(?=[^/\n]*/)|~/|[A-Za-z]:[\\/]|\\\\\w)"
_WHOLE = re.compile(rf"\A{_ROOTED}[^\n:;\"'`]*\Z")
_QUOTED = re.compile(rf"(['\"`])({_ROOTED}[^\n\"'`]*)\1")


def has_path(text: str) -> bool:
    """Whether an absolute path of a machine stands in a text.

    >>> [has_path(text) for text in ("see /home/me/w.pt", "C:/w.pt", "https://a.b/c/d", "runs/w.pt")]
    [True, True, False, False]
    """
    return any(pattern.search(text) for pattern in (_WHOLE, _QUOTED, _PATH))


def text_without_paths(text: str, mark: str = "") -> str:
    """A text whose absolute paths are cut to their last name, with `mark` before it.

    >>> text_without_paths("in /home/ada/runs/a.pt: old", "[path]/")
    'in [path]/a.pt: old'
    """

    def cut(path: str) -> str:
        return mark + re.split(r"[\\/]", path.rstrip("/\\"))[-1]

    if _WHOLE.search(text):
        return cut(text)
    text = _QUOTED.sub(lambda found: found[1] + cut(found[2]) + found[1], text)
    return _PATH.sub(lambda found: cut(found[0]), text)


def without_paths(value: Any, mark: str = "") -> tuple[Any, list[str]]:
    """Plain data with `text_without_paths` of every text, and where that changed one.

    >>> without_paths({"a": ["see /home/me/w.pt, 1/2 of https://a.b/c/d"]})
    ({'a': ['see w.pt, 1/2 of https://a.b/c/d']}, ['a[0]'])
    """
    changed: list[str] = []

    def clean(text: str, where: str) -> str:
        new = text_without_paths(text, mark)
        if new != text:
            changed.append(where)
        return new

    return map_texts(value, clean), changed


def map_texts(value: Any, change: Callable[[str, str], str], where: str = "") -> Any:
    """Plain data with `change(text, where)` in place of every text; keys stay."""
    if isinstance(value, str):
        return change(value, where)
    if isinstance(value, dict):
        return {key: map_texts(item, change, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [map_texts(item, change, f"{where}[{place}]") for place, item in enumerate(value)]
    return value
