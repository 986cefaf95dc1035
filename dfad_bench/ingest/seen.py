"""Whether the files that a part was made from have been changed since, by the times of their last change.

The times are kept in a hidden file beside each part, not in the manifest: the manifests of two copies of a release are
to be equal, and the files of a copy have other times. A part without such a file was made by an earlier version, or is
itself a copy; it counts as unchanged.
"""

from __future__ import annotations

from pathlib import Path

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json, write_json


def keep_seen(part: Path, part_sha256: str, seen_sha256: str) -> None:
    """Note the hash of the times for a Parquet file that was just written, before its part is valid."""
    write_json(seen_file(part), {"part": part_sha256, "seen": seen_sha256})


def is_unchanged(part: Path, part_sha256: str, seen_sha256: str) -> bool:
    """Whether the files of a part have the times they had when it was made."""
    try:
        return bool(read_json(seen_file(part)) == {"part": part_sha256, "seen": seen_sha256})
    except ConfigError:
        return not seen_file(part).exists()


def seen_file(part: Path) -> Path:
    """The hidden file of a part."""
    return part.with_name(f".{part.stem}.seen.json")
