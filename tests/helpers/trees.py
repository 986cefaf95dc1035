"""Small images and dataset trees, drawn on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 48, height: int = 40) -> np.ndarray:
    """A smooth colour image without any symmetry, so that no turn or mirror leaves it unchanged."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def save(path: Path, seed: int = 0, **size: int) -> Path:
    """A PNG or JPEG file of `picture`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, **size)).save(path, compress_level=1)  # noise does not shrink
    return path


def extra_tree(root: Path, *, per_folder: int = 4, folders: tuple[str, ...] = ("flux", "vae")) -> Path:
    """The layout of the dataset `extra`."""
    seed = 0
    for split in ("train", "test"):
        for folder in folders:
            for index in range(per_folder):
                seed += 1
                save(root / split / folder / f"{index:03d}.png", seed)
    return root
