"""Face embeddings as a view: 512 numbers that tell identities apart, by a recognition network the user gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dfad_bench.core.files import sha256_file
from dfad_bench.core.weights import find_weights
from dfad_bench.data.view_source import ViewValues
from dfad_bench.views.arcface import DIM, SIDE, Network, aligned_faces, recognition_network
from dfad_bench.views.base import Faces, View

_COARSE = 16  # side of the picture that the substitute looks at
_SUBSTITUTE = (
    "a fixed random projection of the aligned face's colours, which knows no identity, is a stand-in"
    " (--view face_embedding.weights=FILE)"
)


@dataclass(frozen=True)
class FaceEmbeddingSettings:
    """Which network embeds.

    Attributes:
        weights: an ONNX file or a state dict of a face recognition network of ArcFace's kind, by name or path.
        normalised: pixels are given in [-1, 1], as insightface's networks take them; False: 0 to 255, for files that
            normalise by themselves.
    """

    weights: str | None = None
    normalised: bool = True


class FaceEmbedding(View):
    """Embeddings (512,) of aligned faces, as the network gives them; a face without landmarks is absent."""

    name = "face_embedding"
    meaning = "embedding of a face recognition network, 512 numbers, not normalised"
    kind = "vector"
    dtype = "float32"
    asks = ("crops", "landmarks")
    Settings = FaceEmbeddingSettings
    settings: FaceEmbeddingSettings
    weight_rows = ("arcface_r100", "arcface_r50_onnx")

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._network: Network | None = None

    def shape(self, side: int) -> tuple[int, ...]:
        return (DIM,)

    def public_settings(self) -> dict[str, Any]:
        weights = self.settings.weights
        return {"weights": Path(weights).name if weights else None, "normalised": self.settings.normalised}

    def substitute(self) -> str:
        return "" if self.settings.weights else _SUBSTITUTE

    def files(self) -> str:
        return sha256_file(find_weights(self.settings.weights)) if self.settings.weights else ""

    def make(self, faces: Faces) -> ViewValues:
        assert faces.crops is not None
        assert faces.landmarks is not None
        aligned, known = aligned_faces(faces.crops, faces.landmarks)
        if self.settings.weights is None:
            return ViewValues(_projected(aligned), known)
        if self._network is None:
            self._network = recognition_network(find_weights(self.settings.weights), faces.device)
        pixels = torch.from_numpy(aligned).permute(0, 3, 1, 2).float().to(faces.device)  # (N, 3, 112, 112) RGB
        pixels = (pixels - 127.5) / 127.5 if self.settings.normalised else pixels
        with torch.no_grad():  # one by one: a face has the same bits whatever faces it is made with
            values = torch.cat([self._network(face[None]) for face in pixels])
        return ViewValues(values.float().cpu().numpy(), known)


def _projected(aligned: np.ndarray) -> np.ndarray:
    """The substitute: mean colours of 16 x 16 squares times a fixed Gaussian matrix, of length sqrt(512)."""
    tile = SIDE // _COARSE
    coarse = aligned.reshape(len(aligned), _COARSE, tile, _COARSE, tile, 3).mean(axis=(2, 4)) / 127.5 - 1
    matrix = np.random.default_rng(0).standard_normal((_COARSE**2 * 3, DIM))
    values = coarse.reshape(len(aligned), -1) @ matrix
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.maximum(length, 1e-12) * np.sqrt(DIM)).astype(np.float32)
