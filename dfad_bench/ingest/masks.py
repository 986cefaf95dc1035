"""Which of several faces in a frame is forged, by the mask that a release has beside its video.

A face counts as forged where the mask covers at least `FORGED_FROM` of its box, and as real where it covers less than
`REAL_BELOW`; in between nothing is said and the face is refused. Both numbers are choices of this toolkit: a swapped
face fills most of its box, its neighbours none of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.core.taxonomy import REAL_KEY
from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.media.base import Frame, LostFrame, Sampling, medium_of
from dfad_bench.ingest.sample import RawSample

if TYPE_CHECKING:
    from PIL import Image

FORGED_FROM, REAL_BELOW = 0.1, 0.01
_WHITE = 128  # grey value from which a pixel of a mask is white


class Masks:
    """The mask of a sample, read frame by frame beside it; of a sample without one nothing is read."""

    def __init__(self, sample: RawSample, sampling: Sampling) -> None:
        self._sample = sample
        self._frames: Iterator[Frame | LostFrame] = iter(())
        self._held: Frame | LostFrame | None = None
        if sample.mask_path is not None:
            self._frames = self._read(sampling)

    def generator_of(self, box: tuple[float, ...] | None, frame: Frame) -> str:
        """Who made the face in a box (x0, y0, x1, y1 in pixels of the frame).

        Raises:
            ImageRefused: the mask has no such frame, or covers neither enough of the face nor next to nothing.
        """
        if self._sample.mask_path is None:
            return self._sample.generator_at(frame.index)
        mask = self._frame(frame.index)
        share = covered_share(mask.image, box, (frame.image.width, frame.image.height))
        if REAL_BELOW <= share < FORGED_FROM:
            raise ImageRefused("unreadable", f"the mask covers {share:.1%} of the face: neither forged nor untouched")
        return self._sample.generator_at(frame.index) if share >= FORGED_FROM else REAL_KEY

    def _frame(self, index: int | None) -> Frame:
        while self._held is None or (index is not None and (self._held.index or 0) < index):
            self._held = next(self._frames, None)
            if self._held is None:
                break
        if not isinstance(self._held, Frame) or self._held.index != index:
            raise ImageRefused("unreadable", "its mask lacks this frame: which faces are forged is not known")
        return self._held

    def _read(self, sampling: Sampling) -> Iterator[Frame | LostFrame]:
        from dfad_bench.ingest.media import read

        path, size = self._sample.mask_path, self._sample.mask_size
        assert path is not None  # asked by the caller
        medium = medium_of(path.name) if self._sample.medium in ("video", "animation") else "image"
        mask = replace(self._sample, path=path, size=size, medium=medium, target_path=None, member=None, mask_path=None)
        yield from read(mask, sampling)


def covered_share(mask: Image.Image, box: tuple[float, ...] | None, size: tuple[int, int]) -> float:
    """The share of a box that is white in a mask, which may have another size than the frame.

    Raises:
        ImageRefused: a box outside the picture, or none.
    """
    grey = np.asarray(mask.convert("L"))  # (H, W)
    if box is None:
        return float((grey >= _WHITE).mean())
    across, down = mask.width / size[0], mask.height / size[1]
    x0, x1 = (int(np.clip(round(x * across), 0, mask.width)) for x in (box[0], box[2]))
    y0, y1 = (int(np.clip(round(y * down), 0, mask.height)) for y in (box[1], box[3]))
    if x1 <= x0 or y1 <= y0:
        raise ImageRefused("unreadable", "the face lies outside its mask")
    return float((grey[y0:y1, x0:x1] >= _WHITE).mean())
