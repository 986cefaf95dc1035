"""The number of frames of a video or an animation."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.media.base import medium_of


def count_frames(path: Path) -> int:
    """The number of frames that can be sampled of a file; 0 where it cannot be read."""
    try:
        facts = path.stat()
        return _count(path, facts.st_size, facts.st_mtime_ns)
    except (ImageRefused, OSError):
        return 0


@lru_cache(maxsize=1024)  # a real video is the target of several forged ones
def _count(path: Path, size: int, changed: int) -> int:
    from dfad_bench.ingest.media import animation_file, frame_index

    return (
        animation_file.animation_length(path)
        if medium_of(path.name) == "animation"
        else frame_index.read_index(path).count
    )
