"""Features of a frozen backbone as a view: one vector a face, or its tokens, computed once and kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.notices import collect_notices
from dfad_bench.data.crop_storage import resized_pixels
from dfad_bench.data.view_source import ViewValues
from dfad_bench.layers.backbones import BackboneFacts, FeatureKind, backbone_facts, build_backbone
from dfad_bench.views.base import Faces, View
from dfad_bench.views.own_weights import OwnWeights

if TYPE_CHECKING:
    from dfad_bench.layers.backbones import Backbone

CHUNK = 32  # faces a forward pass; the last chunk is filled up, so that a face's values hardly depend on their number


@dataclass(frozen=True)
class FeatureSettings:
    """Which features, of which network.

    Attributes:
        backbone: a network of timm, or "open_clip:" and one of open_clip.
        feature: "pooled" is the network's own pooling, "cls" its class token, "avg" the mean of the others.
        side: of the network's images, where not its own.
        dtype: how values are stored; models get float32.
        weights: file of published weights; without, random ones.
        weights_sha256: hash of that file; with it, stored values are found without the file.
        init_seed: of random weights.
    """

    backbone: str
    feature: FeatureKind = "pooled"
    side: int | None = None
    dtype: Literal["float32", "float16"] = "float32"
    weights: str | None = None
    weights_sha256: str | None = None
    init_seed: int = 0


class Features(View):
    """What a frozen network says of a face: of its crop at the protocol's size, resized and normalised as it wants."""

    name = "features"
    meaning = "features of a frozen backbone: (d,), or (N, d) tokens"
    kind = "vector"
    dtype = "float32"
    every_face = True
    mapped = True
    exact_pixels = "have the model compute its features in every step (vfm_probe: --set cached=false)"
    Settings = FeatureSettings
    stand_in_settings = {"backbone": "test_vit"}
    settings: FeatureSettings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.weights = OwnWeights(self.name, self.settings.weights, self.settings.weights_sha256)
        self._random_digest: str | None = None
        self._backbone: Backbone | None = None

    @property
    def facts(self) -> BackboneFacts:
        """Shapes and preset of the backbone."""
        return backbone_facts(self.settings.backbone, self.settings.side)

    def shape(self, side: int) -> tuple[int, ...]:
        return self.facts.shape(self.settings.feature)

    @property
    def array_dtype(self) -> str:
        return self.settings.dtype

    def files(self) -> str:
        """The hash of the weight file, or of the random weights, which depend on versions of torch and timm."""
        if self.weights.sha256 is not None:
            return self.weights.sha256
        if self._random_digest is None:
            digest = hashlib.sha256()
            for name, value in self.backbone.state_dict().items():
                digest.update(name.encode())
                digest.update(np.ascontiguousarray(value.cpu().numpy()).data)
            self._random_digest = digest.hexdigest()
        return self._random_digest

    def substitute(self) -> str:
        return "" if self.weights.sha256 is not None else f"features of {self.settings.backbone} with random weights"

    def public_settings(self) -> dict[str, Any]:
        preset, own = self.facts.preset, self.settings
        about: dict[str, Any] = {
            "backbone": own.backbone,
            "feature": own.feature,
            "side": preset.side,
            "dtype": own.dtype,
            "interpolation": preset.interpolation,
            "mean": list(preset.mean),
            "std": list(preset.std),
        }
        if self.weights.sha256 is None:
            return {**about, "init_seed": own.init_seed}
        return {**about, "weights_sha256": self.weights.sha256}

    @property
    def backbone(self) -> Backbone:
        """The network, built on first use.

        Raises:
            WeightsError: its weights are missing or do not fit.
        """
        if self._backbone is None:
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                torch.manual_seed(self.settings.init_seed)
                built = build_backbone(self.settings.backbone, self.settings.side)
            if self.weights.sha256 is not None:
                from dfad_bench.layers.backbone_files import load_backbone

                with collect_notices():  # a run says them where it looks at the file itself
                    load_backbone(built, self.weights.file())
            self._backbone = built.requires_grad_(False).eval()
        return self._backbone

    def make(self, faces: Faces) -> ViewValues:
        assert faces.crops is not None
        pixels = np.stack([resized_pixels(crop, faces.side) for crop in faces.crops])  # (N, side, side, 3) uint8
        values = np.concatenate(
            [self._values(pixels[k : k + CHUNK], faces.device) for k in range(0, len(pixels), CHUNK)]
        )
        with np.errstate(over="ignore"):
            kept = values.astype(self.array_dtype)
        if not np.isfinite(kept).all():
            cause = "NaN or inf" if not np.isfinite(values).all() else f"values beyond {self.array_dtype}"
            raise ConfigError(f"view features: {self.settings.backbone} gave {cause}; other weights, or dtype=float32")
        return ViewValues(kept, np.ones(len(faces), bool))

    @torch.inference_mode()
    def _values(self, pixels: np.ndarray, device: str) -> np.ndarray:
        """Features of at most `CHUNK` faces, float32."""
        backbone = self.backbone.to(device)
        filled = np.zeros((CHUNK, *pixels.shape[1:]), np.uint8)
        filled[: len(pixels)] = pixels
        images = torch.from_numpy(filled).to(device).permute(0, 3, 1, 2).float().div_(255)
        found = backbone.features(backbone.prepare(images), self.settings.feature)
        return found[: len(pixels)].float().cpu().numpy()
