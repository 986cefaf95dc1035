"""Lists whose paths begin with a folder of another computer: replacing that beginning, and finding out which it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from dfad_bench.core.errors import quoted
from dfad_bench.core.files import plain_path

_TRIED = 20  # paths that are looked for


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
    """Advice for listed paths that are not below `root`, where the end of one of them is.

    `prefixes` have been replaced in these paths already; what is advised is of the paths as they are listed.
    """
    for path in islice(missing, _TRIED):
        parts = path.split("/")
        for begin in range(1, len(parts)):
            tail = "/".join(parts[begin:])
            if tail and ".." not in parts and (root / tail).is_file():
                option = f"--map-prefix {_advised('/'.join(parts[:begin]), prefixes)}"
                return f"{quoted(path)} is not below --root, but {quoted(tail)} is: add {option}"
    return None


def _advised(head: str, prefixes: Mapping[str, str]) -> str:
    """`OLD=NEW` that takes `head` off a path in which `prefixes` have been replaced."""
    for old, new in prefixes.items():
        listed, replaced = plain_path(old).rstrip("/"), plain_path(new).rstrip("/")
        if replaced and (head + "/").startswith(replaced + "/"):
            return f"{listed}{head.removeprefix(replaced)}= in place of {old}={new}"
        if replaced.startswith(head + "/"):
            return f"{listed}={replaced.removeprefix(head + '/')} in place of {old}={new}"
    return f"{head or '/'}="
