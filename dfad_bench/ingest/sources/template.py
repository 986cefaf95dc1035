r"""Path templates of dataset files: `{split}/{generator}/{target:int}_by_{other}.{ext}`.

A field matches within one folder name; `{x:int}` matches digits, `{x:word}` anything without an underscore, `{x:path}`
several folders, `{x:number}` digits that are filled in without leading zeros, `{ext}` any image extension and
`{ext:video}` any extension of a video or animation. Literals ignore case; a field used twice must hold the same text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter

from dfad_bench.core.errors import quoted
from dfad_bench.data.images import ANIMATION_EXTENSIONS, EXTENSIONS, VIDEO_EXTENSIONS
from dfad_bench.ingest.sources.template_search import FLAGS, Part, Search

_ENDINGS = {"": EXTENSIONS, "video": VIDEO_EXTENSIONS + ANIMATION_EXTENSIONS}
_LONGEST, _LONGEST_PATH = 255, 4096  # letters
_KINDS = {"": "[^/]+?", "int": "[0-9]+", "number": "[0-9]+", "word": "[^/_]+", "path": ".+?"}


class Template:
    """One template, to match paths and to build them.

    >>> Template("{split}/{generator}/{who:word}_{shot:int}.{ext}").match("Train/x/id7_02.PNG")
    {'split': 'Train', 'generator': 'x', 'who': 'id7', 'shot': '02', 'ext': 'PNG'}
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.fields: list[str] = []
        self._parts = _parse(text)
        pattern = ""
        for literal, name, kind in self._parts:
            pattern += re.escape(literal)
            if name in self.fields:
                pattern += f"(?P={name})"
            elif name:
                body = "|".join(_ENDINGS[kind]) if name == "ext" else _KINDS[kind]
                pattern += f"(?P<{name}>{body})"
                self.fields.append(name)
        self._pattern = re.compile(pattern, FLAGS)
        self._search = Search([Part(*part, _ENDINGS[part[2]] if part[1] == "ext" else ()) for part in self._parts])

    def match(self, path: str) -> dict[str, str] | None:
        """The fields of a path, or None; None also where a name in it is longer than file systems allow."""
        if len(path) > _LONGEST and (len(path) > _LONGEST_PATH or max(map(len, path.split("/"))) > _LONGEST):
            return None
        if self._search.is_hostile(path):
            return self._search.fit(path)
        found = self._pattern.fullmatch(path)
        return found.groupdict() if found else None

    def fill(self, fields: Mapping[str, str | None]) -> str | None:
        """The text with its fields filled in, or None where one is missing or empty."""
        if not all(fields.get(name) for name in self.fields):
            return None
        return "".join(
            literal + (_format_value(fields[name] or "", kind) if name else "") for literal, name, kind in self._parts
        )


def _format_value(value: str, kind: str) -> str:
    return (value.lstrip("0") or "0") if kind == "number" and value.isdigit() else value


def _parse(text: str) -> list[tuple[str, str, str]]:
    parts: list[tuple[str, str, str]] = []
    for literal, name, kind, conversion in Formatter().parse(text):
        known = _ENDINGS if name == "ext" else _KINDS
        if name is not None and (not name.isidentifier() or kind not in known or conversion):
            kinds = ", ".join(f"{{{name or 'x'}:{k}}}" for k in known if k)
            raise ValueError(
                f"template {quoted(text)}: {{{name}{':' + kind if kind else ''}}} must be {{name}} or one of {kinds}"
            )
        if name and not literal and parts and parts[-1][1]:
            raise ValueError(f"template {quoted(text)}: put text between {{{parts[-1][1]}}} and {{{name}}}")
        parts.append((literal, name or "", kind or ""))
    return parts
