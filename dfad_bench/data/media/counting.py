"""How many frames a video or an animation has, whichever it is."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dfad_bench.data.images import ImageRefused
from dfad_bench.data.media import medium_of


@lru_cache(maxsize=1024)  # a real video is the target of several forged ones
def count_frames(path: Path) -> int:
    """The number of frames that can be sampled of a file; 0 where it cannot be read."""
    from dfad_bench.data.media import animation, frame_index

    try:
        return animation.count(path) if medium_of(path.name) == "animation" else frame_index.read_index(path).count
    except (ImageRefused, OSError):
        return 0
