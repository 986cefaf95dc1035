"""What a worker process does; imports no torch, so that workers start quickly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfad_bench.core.children import follow_parent
from dfad_bench.core.files import atomic_write
from dfad_bench.data.corruptions.spec import Corruption, corrupt
from dfad_bench.data.images import encode_png


def corrupt_block(
    pixels: np.ndarray,
    sample_ids: Sequence[str],
    corruption: Corruption,
    severity: int,
    seed: int,
    side: int,
    keep: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Corrupted crops, and the same resized.

    Args:
        pixels: (N, S, S, 3) uint8.
        sample_ids: names of the faces, for their seeds and files.
        corruption: what is done.
        severity: how strongly.
        seed: of what is drawn.
        side: of the resized crops.
        keep: folder for the corrupted crops as PNG.
    """
    made = [
        corrupt(image, corruption, severity, sample_id=s, seed=seed)
        for image, s in zip(pixels, sample_ids, strict=True)
    ]
    if keep is not None:
        for sample, image in zip(sample_ids, made, strict=True):
            with atomic_write(keep / f"{sample}.png") as file:
                file.write(encode_png(image))
    corrupted = np.stack(made)
    return corrupted, corrupted if pixels.shape[1] == side else np.stack([_sized(image, side) for image in made])


def begin() -> None:
    """In a new worker: leave interrupts to the parent, die with it, keep to one thread."""
    import cv2

    cv2.setNumThreads(1)  # there is a process a core already
    follow_parent()


def _sized(image: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
