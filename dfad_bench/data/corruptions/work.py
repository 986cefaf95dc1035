"""The work of a corruption process; imports no torch, so that workers start quickly."""

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
    """Corrupted crops at their own size, and the same resized.

    Args:
        pixels: (N, S, S, 3) uint8.
        sample_ids: names of the faces, for their seeds and files.
        corruption: the corruption.
        severity: its severity.
        seed: seed of the corruption.
        side: side of the resized crops, pixels.
        keep: folder for the corrupted crops as PNG; None stores nothing.
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
    return corrupted, corrupted if pixels.shape[1] == side else np.stack([_resized(image, side) for image in made])


def prepare_worker() -> None:
    """Set up a new worker: ignore interrupts, exit with the parent, use one thread."""
    import cv2

    cv2.setNumThreads(1)  # each core has a process already
    follow_parent()


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
