"""Reading the videos of tests: every frame of a file, refused ones too, and the same by a plain decode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.media import read
from dfad_bench.ingest.media.base import Frame, LostFrame, Sampling, medium_of
from dfad_bench.ingest.sample import RawSample

ALL = Sampling(frames=None, stride=1)


def sample_of(path: Path, **changes: object) -> RawSample:
    return RawSample("videos", "unlabelled", None, path.name, path, medium=medium_of(path.name), **changes)  # type: ignore[arg-type]


def take(path: Path, sampling: Sampling = ALL, **changes: object) -> tuple[list[Any], ImageRefused | None]:
    """The frames, also lost ones, given before the end or a refusal, and the refusal."""
    frames: list[Frame | LostFrame] = []
    try:
        for frame in read(sample_of(path, **changes), sampling):
            frames.append(frame)  # noqa: PERF402  those before a refusal count
    except ImageRefused as refused:
        return frames, refused
    return frames, None


def decoded(path: Path) -> list[np.ndarray]:
    """Every frame, the plain way."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_image()) for frame in container.decode(video=0)]


def put(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name
