"""Paths of the author's machine in texts that are given away: found, and cut to the last name."""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# an absolute path of two parts or more, or one of Windows; no address (`https://a/b`) and no part of a relative path
_PATH = re.compile(
    r"(?<![\w./:~-])(?:~?/(?:[^\s/:,;'\"()]+/)+[^\s/:,;'\"()]*|[A-Za-z]:\\[^\s,;'\"()]+|~/[^\s,;'\"()]+)"
)
_LEAST_LETTERS = 3  # of a name that is looked for


def without_paths(value: Any) -> tuple[Any, list[str]]:
    """Plain data with the folders of every absolute path cut off, and where that was done.

    >>> without_paths({"a": ["see /home/me/w.pt, 1/2 of https://a.b/c/d"]})
    ({'a': ['see w.pt, 1/2 of https://a.b/c/d']}, ['a[0]'])
    """
    changed: list[str] = []
    return _cut(value, "", changed), changed


def _cut(value: Any, where: str, changed: list[str]) -> Any:
    if isinstance(value, str):
        text = _PATH.sub(lambda found: re.split(r"[/\\]", found[0].rstrip("/\\"))[-1], value)
        if text != value:
            changed.append(where)
        return text
    if isinstance(value, dict):
        return {key: _cut(item, f"{where}.{key}".lstrip("."), changed) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(item, f"{where}[{k}]", changed) for k, item in enumerate(value)]
    return value


def private_words() -> tuple[str, ...]:
    """What tells who made a run and where: the home folder; the user's and the machine's name where it is written so.

    A name alone is not looked for: somebody called `clip` could share no CLIP.
    """
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without an entry
        user = ""
    words = (str(Path.home()), f"/home/{user}", f"/Users/{user}", f"{user}@", f"@{platform.node()}")
    common = ("root", "localhost", "user")
    return tuple(word for word in words if len(word.strip("/@")) >= _LEAST_LETTERS and word.strip("/@") not in common)


def private_parts(texts: Iterator[tuple[str, str]]) -> list[str]:
    """Names of the texts (name, text) in which a path of this machine or a private word stands."""
    words = private_words()
    return [name for name, text in texts if _PATH.search(text) or any(word in text for word in words)]


def table_texts(path: Path) -> Iterator[tuple[str, str]]:
    """The different texts of a Parquet file, with the column they stand in; and its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    metadata = file.schema_arrow.metadata or {}
    yield f"{path.name}: metadata", " ".join(value.decode(errors="replace") for value in metadata.values())
    for field in file.schema_arrow:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = file.read([field.name]).column(0)
            for text in column.unique().to_pylist():
                yield f"{path.name}: {field.name}", text or ""
