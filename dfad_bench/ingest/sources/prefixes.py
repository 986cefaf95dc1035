"""Lists whose paths begin with a folder of another computer: replacing that beginning, and finding out which it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from dfad_bench.core.errors import quoted
from dfad_bench.core.files import plain_path

_TRIED = 20  # paths that are looked for
_DEEP, _FOLDERS, _ENTRIES = 3, 200, 2000  # folders below the root they are looked for in, and entries read of each


def map_prefix(path: str, prefixes: Mapping[str, str]) -> str:
    """A path of a list with its beginning replaced; the longest beginning that fits counts.

    >>> map_prefix("/data/rgb/Celeb-DF-v2/a.png", {"/data/rgb": "", "/data": "x"})
    'Celeb-DF-v2/a.png'
    """
    for old in sorted(prefixes, key=len, reverse=True):
        begin = plain_path(old).rstrip("/") + "/"
        if path.startswith(begin):
            return plain_path(f"{prefixes[old]}/{path.removeprefix(begin)}").removeprefix("" if prefixes[old] else "/")
    return path


def suggest_prefix(root: Path, missing: Iterable[str], prefixes: Mapping[str, str] = {}) -> str | None:
    """Advice for listed paths that are not below `root`, where the end of one of them is, there or in a folder below.

    `prefixes` have been replaced in these paths already; what is advised is of the paths as they are listed.
    """
    tried = [path for path in islice(missing, _TRIED) if ".." not in path.split("/")]
    for path in tried:
        if (begin := _find_begin(root, path.split("/"), 1)) is not None:
            return _advice(path, begin, "", prefixes)
    for folder in _folders(root):
        for path in tried:
            parts = path.split("/")
            begin = _find_begin(root / folder, parts, 0)
            if begin is not None and begin < len(parts) - 1:  # a file's name alone may be anybody's
                return _advice(path, begin, folder, prefixes)
    return None


def _find_begin(folder: Path, parts: list[str], least: int) -> int | None:
    """The first part, from `least` on, from which on the path is a file of this folder."""
    tails = ((begin, "/".join(parts[begin:])) for begin in range(least, len(parts)))
    return next((begin for begin, tail in tails if tail and (folder / tail).is_file()), None)


def _folders(root: Path) -> Iterator[str]:
    """Folders below `root`, as far down as `_DEEP`, at most `_FOLDERS` of them, those further up first."""
    level, left = [""], _FOLDERS
    for _ in range(_DEEP):
        below: list[str] = []
        for folder in level:
            try:
                with os.scandir(root / folder) as entries:
                    first = islice(entries, _ENTRIES)
                    names = sorted(entry.name for entry in first if entry.is_dir(follow_symlinks=False))
            except OSError:
                continue
            below += [f"{folder}/{name}" if folder else name for name in names]
        yield from below[:left]
        left -= len(below)
        level = below[: max(left, 0)]


def _advice(path: str, begin: int, folder: str, prefixes: Mapping[str, str]) -> str:
    """What to add so that a path is found, whose parts from `begin` on lie in `folder` (of --root, or "")."""
    parts = path.split("/")
    head, tail = "/".join(parts[:begin]), "/".join(parts[begin:])
    there = f"{folder}/{tail}" if folder else tail
    if begin == 0:
        return f"{quoted(path)} is not below --root, but {quoted(there)} is: add {quoted(folder)} to --root"
    option = f"--map-prefix {_advised(head, folder, prefixes)}"
    return f"{quoted(path)} is not below --root, but {quoted(there)} is: add {option}"


def _advised(head: str, folder: str, prefixes: Mapping[str, str]) -> str:
    """`OLD=NEW` that puts `folder` in place of `head` in a path in which `prefixes` have been replaced."""
    for old, new in prefixes.items():
        listed, replaced = plain_path(old).rstrip("/"), plain_path(new).rstrip("/")
        if replaced and (head + "/").startswith(replaced + "/"):
            return f"{listed}{head.removeprefix(replaced)}={folder} in place of {old}={new}"
        if replaced.startswith(head + "/"):
            rest = replaced.removeprefix(head + "/")
            return f"{listed}={f'{folder}/{rest}' if folder else rest} in place of {old}={new}"
    return f"{head or '/'}={folder}"
