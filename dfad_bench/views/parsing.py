"""Face parsing maps as a view: the label of each pixel of a face, by a parser that the settings name.

    --view parsing.weights=bisenet_face_parsing   BiSeNet, as BMRL (`bisenet.py`): a state dict, by name or path
    --view parsing.folder=DIR                     any other: DIR/<sample_id>.png, 8 bits, one channel (grey or palette)
    --view parsing.parser=stand-in                no parser: landmarks and colour (`stand_in_parser.py`)

A map is that of the face's crop and is resized without mixing labels (nearest neighbour).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dfad_bench.core.batch import ViewValue
from dfad_bench.core.files import sha256_file
from dfad_bench.core.label_colours import CELEBAMASK_HQ
from dfad_bench.core.weights import find_weights
from dfad_bench.data.view_source import ViewValues
from dfad_bench.views.base import Ask, Faces, View
from dfad_bench.views.bisenet import BiSeNet, load_bisenet
from dfad_bench.views.label_folder import folder_hash, read_labels
from dfad_bench.views.stand_in_parser import stand_in_labels

BISENET, STAND_IN = "BiSeNet", "stand-in"
_HOW = (
    "no parser: give weights (a BiSeNet file: --view parsing.weights=bisenet_face_parsing or its path), folder (label"
    f" maps of any parser: --view parsing.folder=DIR), or parser={STAND_IN} (no network: landmarks and colour, marked)"
)


@dataclass(frozen=True)
class ParsingSettings:
    """Which label maps.

    Attributes:
        folder: with a PNG a face, named `<sample_id>.png`.
        weights: of the BiSeNet parser, by name or path.
        classes: labels are 0 to `classes` - 1; 19 are those of CelebAMask-HQ (background 0, skin 1, brows 2 and 3,
            eyes 4 and 5, ears 7 and 8, ...).
        swapped: pairs of labels, left and right, that change places when a face is flipped; by default brows, eyes
            and ears where there are 19 classes, none elsewhere.
        parser: what wrote the maps of the folder, "SegFace" say; kept with the run, so that a record names it. Without
            folder and weights it must be "stand-in".
    """

    folder: str | None = None
    weights: str | None = None
    classes: int = 19
    swapped: tuple[tuple[int, int], ...] | None = None
    parser: str | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= 256:
            raise ValueError(f"classes must be 2 to 256, got {self.classes}")
        if bad := [label for pair in self.pairs for label in pair if not 0 <= label < self.classes]:
            raise ValueError(f"swapped names the label {bad[0]}, classes are 0 to {self.classes - 1}")
        if self.folder is not None and self.weights is not None:
            raise ValueError("folder and weights are two parsers; give one of them")
        if self.folder is not None:
            return
        if self.weights is None and self.parser != STAND_IN:
            raise ValueError(_HOW)
        if self.weights is not None and self.parser not in (None, BISENET):
            raise ValueError(f"weights are read by {BISENET}, not by the parser that is named; leave parser out")
        if self.classes != len(CELEBAMASK_HQ):
            raise ValueError(f"classes is {self.classes}, this parser has {len(CELEBAMASK_HQ)}")

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Labels that change places when a face is flipped."""
        if self.swapped is not None:
            return self.swapped
        return ((2, 3), (4, 5), (7, 8)) if self.classes == 19 else ()

    @property
    def named_parser(self) -> str | None:
        """The parser, as records name it; None for maps of a folder whose parser was not said."""
        return BISENET if self.weights is not None else self.parser


class Parsing(View):
    """Label maps (1, side, side); a face without a file, or for the stand-in without landmarks, is absent."""

    name = "parsing"
    meaning = "label of each pixel, 0 to classes - 1; (1, H, W)"
    kind = "image"
    dtype = "uint8"
    columns = ("width", "height")
    Settings = ParsingSettings
    weight_rows = ("bisenet_face_parsing",)
    stand_in_settings = {"folder": "labels"}
    parser_version: ClassVar[int] = 1  # of the parsers here, not of maps that are read: raised where labels change
    settings: ParsingSettings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        wanted: tuple[Ask, ...] = ("crops",) if self.settings.weights is not None else ("crops", "landmarks")
        self.asks = () if self.settings.folder is not None else wanted

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
        if (parser := self.settings.named_parser) is not None:  # maps of a parser without a name keep their fingerprint
            settings["parser"] = parser
        return settings

    def substitute(self) -> str:
        if self.settings.named_parser != STAND_IN:
            return ""
        return "maps by landmarks and colour, a stand-in for a face parser (--view parsing.weights=FILE)"

    def mirrored(self, values: ViewValue) -> ViewValue:
        assert isinstance(values, Tensor)
        other = torch.arange(256, dtype=torch.uint8, device=values.device)
        for left, right in self.settings.pairs:
            other[left], other[right] = right, left
        return other[values.flip(-1).long()]

    def files(self) -> str:
        return self._files

    @cached_property
    def _files(self) -> str:
        if self.settings.folder is not None:
            return folder_hash(Path(self.settings.folder))
        read = sha256_file(self._weight_file) if self.settings.weights is not None else ""
        return f"{self.parser_version} {read}"

    @cached_property
    def _weight_file(self) -> Path:
        assert self.settings.weights is not None
        return find_weights(self.settings.weights)

    @cached_property
    def _network(self) -> BiSeNet:
        return load_bisenet(self._weight_file)

    def make(self, faces: Faces) -> ViewValues:
        values = np.zeros((len(faces), *self.shape(faces.side)), np.uint8)
        present = np.zeros(len(faces), bool)
        for row in range(len(faces)):
            if (labels := self._labels(faces, row)) is not None:
                values[row, 0], present[row] = _resized(labels, faces.side), True
        return ViewValues(values, present)

    def _labels(self, faces: Faces, row: int) -> np.ndarray | None:
        """The label map of one face, of whatever size; None where it has none."""
        if self.settings.folder is not None:
            path = Path(self.settings.folder) / f"{faces.sample_ids[row]}.png"
            width, height = faces.rows[["width", "height"]].iloc[row].astype(int)
            return read_labels(path, (width, height), self.settings.classes) if path.is_file() else None
        assert faces.crops is not None
        if self.settings.weights is not None:
            return self._network.labels(faces.crops[row], faces.device)
        assert faces.landmarks is not None
        return stand_in_labels(faces.crops[row], faces.landmarks[row])


def _resized(labels: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    if labels.shape == (side, side):
        return labels
    return np.asarray(Image.fromarray(labels).resize((side, side), Image.Resampling.NEAREST))
