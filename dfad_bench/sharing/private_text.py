"""Texts that are given away and say whose machine they come from: paths of it, words for it and its user."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Iterator
from pathlib import Path

from dfad_bench.core.private_paths import has_path

_LEAST_LETTERS = 3  # of a name that is looked for


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
    return [name for name, text in texts if has_path(text) or any(word in text for word in words)]


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
