"""Face parsing maps as a view: label maps that any parser wrote, read from a folder.

    <folder>/<sample_id>.png    8 bits, one channel (grey or palette): the label of each pixel of the face's crop

A map has the size of the face's crop and is resized without mixing labels (nearest neighbour).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfad_bench.core.batch import ViewValue
from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import sha256_file
from dfad_bench.data.view_source import ViewValues
from dfad_bench.views.base import Faces, View


@dataclass(frozen=True)
class ParsingSettings:
    """Which label maps are read.

    Attributes:
        folder: with a PNG a face, named `<sample_id>.png`.
        classes: labels are 0 to `classes` - 1; 19 are those of CelebAMask-HQ (background 0, skin 1, brows 2 and 3,
            eyes 4 and 5, ears 7 and 8, ...).
        swapped: pairs of labels, left and right, that change places when a face is flipped; by default brows, eyes
            and ears where there are 19 classes, none elsewhere.
        parser: what wrote the maps, "BiSeNet" say; kept with the run, so that a record names it.
    """

    folder: str
    classes: int = 19
    swapped: tuple[tuple[int, int], ...] | None = None
    parser: str | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= 256:
            raise ValueError(f"classes must be 2 to 256, got {self.classes}")
        if bad := [label for pair in self.pairs for label in pair if not 0 <= label < self.classes]:
            raise ValueError(f"swapped names the label {bad[0]}, classes are 0 to {self.classes - 1}")

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Labels that change places when a face is flipped."""
        if self.swapped is not None:
            return self.swapped
        return ((2, 3), (4, 5), (7, 8)) if self.classes == 19 else ()


class Parsing(View):
    """Label maps (1, side, side); a face without a file is absent."""

    name = "parsing"
    meaning = "label of each pixel, 0 to classes - 1; (1, H, W)"
    kind = "image"
    dtype = "uint8"
    asks = ()
    columns = ("width", "height")
    Settings = ParsingSettings
    stand_in_settings = {"folder": "labels"}
    settings: ParsingSettings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._hash: str | None = None

    @property
    def levels(self) -> int:
        return self.settings.classes

    def shape(self, side: int) -> tuple[int, ...]:
        return (1, side, side)

    def public_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "classes": self.settings.classes,
            "swapped": [list(pair) for pair in self.settings.pairs],
        }
        if self.settings.parser is not None:  # maps of a parser without a name keep their fingerprint
            settings["parser"] = self.settings.parser
        return settings

    def mirrored(self, values: ViewValue) -> ViewValue:
        assert isinstance(values, Tensor)
        other = torch.arange(256, dtype=torch.uint8, device=values.device)
        for left, right in self.settings.pairs:
            other[left], other[right] = right, left
        return other[values.flip(-1).long()]

    def files(self) -> str:
        if self._hash is None:
            folder = Path(self.settings.folder)
            paths = sorted(folder.glob("*.png"))
            if not paths:
                raise ConfigError(f"view parsing: {folder}: no label maps (<sample_id>.png) in this folder")
            digest = hashlib.sha256()
            for path in paths:
                digest.update(f"{path.name} {sha256_file(path)}\n".encode())
            self._hash = digest.hexdigest()
        return self._hash

    def make(self, faces: Faces) -> ViewValues:
        values = np.zeros((len(faces), *self.shape(faces.side)), np.uint8)
        present = np.zeros(len(faces), bool)
        sizes = faces.rows[["width", "height"]].astype(int).to_numpy()
        for row, (name, (width, height)) in enumerate(zip(faces.sample_ids, sizes, strict=True)):
            path = Path(self.settings.folder) / f"{name}.png"
            if path.is_file():
                values[row, 0] = self._read(path, (width, height), faces.side)
                present[row] = True
        return ViewValues(values, present)

    def _read(self, path: Path, size: tuple[int, int], side: int) -> np.ndarray:
        """The label map (side, side) in a file.

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
        if labels.max() >= self.settings.classes:
            raise IntegrityError(
                f"view parsing: {path}: label {labels.max()}, classes are 0 to {self.settings.classes - 1}"
                " (--view parsing.classes=N)"
            )
        if found == (side, side):
            return labels
        return np.asarray(Image.fromarray(labels).resize((side, side), Image.Resampling.NEAREST))
