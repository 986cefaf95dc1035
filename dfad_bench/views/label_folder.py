"""Label maps that a parser wrote, one PNG a face: finding, hashing and reading them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import sha256_file


def folder_hash(folder: Path) -> str:
    """Hash (64 hex) of the names and contents of all label maps.

    Raises:
        ConfigError: there are none.
    """
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise ConfigError(f"view parsing: {folder}: no label maps (<sample_id>.png) in this folder")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def read_labels(path: Path, size: tuple[int, int], classes: int) -> np.ndarray:
    """The label map (H, W) uint8 in a file.

    Args:
        path: of the file.
        size: width and height of the face's crop.
        classes: labels are below this number.

    Raises:
        IntegrityError: not an 8-bit PNG of one channel, of another size than the crop, or with unknown labels.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            mode, found = picture.mode, picture.size
            fits = mode in ("L", "P") and found == size
            labels = np.asarray(picture) if fits else np.zeros(0, np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise IntegrityError(f"view parsing: {path}: not readable as a PNG ({type(error).__name__})") from error
    if mode not in ("L", "P"):
        raise IntegrityError(f"view parsing: {path}: mode {mode}; a label map has 8 bits and one channel")
    if found != size:
        shown = "x".join(map(str, found)), "x".join(map(str, size))
        raise IntegrityError(f"view parsing: {path}: {shown[0]} pixels, its face's crop has {shown[1]}")
    if labels.max() >= classes:
        raise IntegrityError(
            f"view parsing: {path}: label {labels.max()}, classes are 0 to {classes - 1} (--view parsing.classes=N)"
        )
    return labels
