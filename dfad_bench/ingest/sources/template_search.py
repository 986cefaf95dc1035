"""Fitting a path to a template in a second at most, where a regular expression may take hours.

The result is that of the regular expression: the same choices in the same order. What makes it quick is that no choice
is tried twice: once a field that begins at some letter has no end that fits, it has none from later letters either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

FLAGS = re.IGNORECASE | re.DOTALL
_FEW = 4  # fields side by side, below which no name is long enough to take a regular expression long
_MANY = 1000  # ways to divide a path


class Part(NamedTuple):
    """A literal, and the field behind it (""`: none). `endings` are tried in order where the field has some."""

    literal: str
    name: str
    kind: str
    endings: tuple[str, ...] = ()


class Search:
    """A template, to be fitted to many paths."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._literals = [re.compile(re.escape(part.literal), FLAGS) for part in parts]
        self._behind = [re.compile(f"(?={re.escape(part.literal)})", FLAGS) for part in parts[1:] if part.literal]
        names = [part.name for part in parts]
        self._side_by_side = _side_by_side(parts)
        # fields that are used again behind a part: what they hold decides whether the rest fits
        self._repeated_names = [
            tuple(dict.fromkeys(name for name in names[:index] if name and name in names[index:]))
            for index in range(len(parts))
        ]

    def is_hostile(self, path: str) -> bool:
        """Whether a regular expression may try very many ways to divide a path."""
        ways = 1
        for literal in self._behind if self._side_by_side >= _FEW else ():
            ways *= max(1, len(literal.findall(path)))
        return ways > _MANY

    def fit(self, path: str) -> dict[str, str] | None:
        """The fields of a path, or None."""
        found: dict[str, str] = {}
        return found if _Fit(self, path, found).from_part(0, 0) else None


def _side_by_side(parts: Sequence[Part]) -> int:
    """The most fields that share one stretch of a path: a folder's name, or several by a field of kind `path`."""
    most = count = 0
    before = ""
    for part in parts:
        if "/" in part.literal and "path" not in (before, part.kind):
            count = 0
        count += bool(part.name) and not part.endings
        most, before = max(most, count), part.kind
    return most


class _Fit:
    """One path; `found` holds the fields so far."""

    def __init__(self, search: Search, path: str, found: dict[str, str]) -> None:
        self._search, self._path, self._fields = search, path, found
        self._dead_ends: dict[tuple[int, int, tuple[str, ...]], int] = {}

    def from_part(self, index: int, start: int) -> bool:
        """Whether the parts from one on fit the path from a letter on to its end."""
        search, path, found = self._search, self._path, self._fields
        if index == len(search._parts):
            return start == len(path)
        literal = search._literals[index].match(path, start)
        if literal is None:
            return False
        start, part = literal.end(), search._parts[index]
        if not part.name:
            return self.from_part(index + 1, start)
        if part.name in found:
            same = re.compile(re.escape(found[part.name]), FLAGS).match(path, start)
            return same is not None and self.from_part(index + 1, same.end())
        limit = _limit(path, start, part)
        state = index, limit, tuple(found[name] for name in search._repeated_names[index])
        tried = self._dead_ends.get(state, limit)  # every end behind this letter was tried in vain
        for end in _ends(path, start, min(limit, tried), part):
            found[part.name] = path[start:end]
            if self.from_part(index + 1, end):
                return True
            del found[part.name]
        if not part.endings:
            self._dead_ends[state] = start
        return False


def _limit(path: str, start: int, part: Part) -> int:
    """Where a field that begins at a letter ends at the latest."""
    if part.endings or part.kind == "path":
        return len(path)
    if part.kind in ("int", "number"):
        end = start
        while end < len(path) and path[end] in "0123456789":
            end += 1
        return end
    stops = [path.find(stop, start) for stop in ("/_" if part.kind == "word" else "/")]
    return min((stop for stop in stops if stop >= 0), default=len(path))


def _ends(path: str, start: int, limit: int, part: Part) -> Iterator[int]:
    """The ends of a field in the order of a regular expression: as short as possible, as long for the others."""
    if part.endings:
        for ending in part.endings:
            if (found := re.compile(ending, FLAGS).match(path, start)) is not None:
                yield found.end()
    elif part.kind in ("", "path"):
        yield from range(start + 1, limit + 1)
    else:
        yield from range(limit, start, -1)
