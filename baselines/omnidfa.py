"""OmniDFA (Wu et al., 2025): attribution and open-set detection on a sphere, from a native crop and the whole face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.contract import (
    Batch,
    Card,
    DFADModel,
    Inputs,
    LossTerm,
    Output,
    StageData,
    WeightFiles,
    attribution_term,
    detection_term,
    expert_losses,
)
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.parallel import gather_rows
from dfad_bench.core.weights import load_into, load_state_dict, one_file
from dfad_bench.layers.crops import random_crops
from dfad_bench.losses.supcon import supervised_contrastive

if TYPE_CHECKING:
    from timm.models.convnext import ConvNeXt


@dataclass(frozen=True)
class OmniDFAConfig:
    """Two ConvNeXt-nano at 224. `depths` 3, 3, 27, 3 and `dims` 96, 192, 384, 768 are the released size, small.

    Attributes:
        layer_scale: what the outputs of blocks are multiplied by at the start; learned. 1 lets the few steps of tiny
            models use their blocks at once.
        fan_in: random weights start with a deviation of 1 / sqrt(inputs of a unit) in place of 0.02, which is near
            that at 80 to 640 channels; at tiny widths blocks would add nothing and hardly learn.
        temperature: of the contrastive loss, and of cosines as logits.
        momentum: of the threshold, which follows the real faces of each batch.
        decides: "experts", two linear layers; "prototypes", as in the paper: the nearest class mean names the
            generator, and a face further from the learned centre of real ones than the threshold is fake.
    """

    side: int = 224
    depths: tuple[int, int, int, int] = (2, 2, 8, 2)
    dims: tuple[int, int, int, int] = (80, 160, 320, 640)
    layer_scale: float = 1e-6
    fan_in: bool = False
    hidden: int = 512
    dim: int = 128
    temperature: float = 0.07
    contrast_weight: float = 1.0
    centre_weight: float = 0.01
    momentum: float = 0.99
    decides: Literal["experts", "prototypes"] = "experts"

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 <= self.momentum < 1:
            raise ConfigError("options of OmniDFA: temperature must be above 0, momentum lie in [0, 1)")

    @classmethod
    def tiny(cls) -> OmniDFAConfig:
        return cls(side=64, depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), layer_scale=1.0, fan_in=True, hidden=32, dim=16)


def outlier_free_cosine(cosines: Tensor, real: Tensor) -> Tensor:
    """(n,) cosines of faces with the centre of real ones to the smallest of a `real` (n,) one that is no outlier.

    A scalar, not a number where no face is real. Outliers are angles above the third quartile by more than 1.5 times
    the distance between first and third.
    """
    angles = cosines.double().clamp(-1, 1).acos().masked_fill(~real, float("inf")).sort().values
    last = (real.sum() - 1).clamp(min=0)  # of the real ones, which lie first; their number stays on the device

    def quantile(share: float) -> Tensor:
        place = share * last
        lower = place.floor()
        below, above = angles.index_select(0, torch.stack([lower, place.ceil()]).long())
        return below.lerp(above, place.to(angles.dtype) - lower)

    first, third = quantile(0.25), quantile(0.75)
    limit = third + 1.5 * (third - first)
    return angles.masked_fill(angles > limit, float("-inf")).max().cos().to(cosines)


def convnext_trunk(config: OmniDFAConfig) -> ConvNeXt:
    """A ConvNeXt without classifier, (B, 3, H, W) to (B, dims[-1])."""
    from timm.models.convnext import ConvNeXt

    trunk = ConvNeXt(depths=config.depths, dims=config.dims, num_classes=0, ls_init_value=config.layer_scale)
    for module in trunk.modules():
        if config.fan_in and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    return trunk


def load_convnext(trunk: nn.Module, path: Path) -> None:
    """A state dict of timm; its classifier is left out. Nano files have 1x1 convolutions for linear layers.

    Raises:
        WeightsError: it does not fit.
    """
    read = load_state_dict(path, lambda state: {"stem.0.weight", "stages.0.blocks.0.gamma"} <= state.keys())
    state = {name: value for name, value in read.items() if not name.startswith("head.fc.")}
    for name, value in state.items():
        if ".mlp.fc" in name and value.ndim == 4:
            state[name] = value.flatten(1)
    load_into(trunk, state, path, "a ConvNeXt state dict of timm")


class OmniDFA(DFADModel):
    """Two ConvNeXt, one on each view, and one embedding on which classes gather and real faces have a centre."""

    card = Card(
        display="OmniDFA",
        paper="S. Wu et al., OmniDFA: A Unified Framework for Open Set Synthesis Image Detection and Few-Shot"
        " Attribution, 2025 (arXiv 2509.25682)",
        year=2025,
        task="both",
        idea="Classes gather on a sphere; real faces around a learned centre, fakes of whatever generator outside.",
        added="a linear layer each on the embedding; its own prototypes and threshold decide with decides=prototypes",
        deviations=(
            "ConvNeXt-nano, the size GazeCLIP's count implies; the released network has two ConvNeXt-small",
            "faces are aligned crops: its native view is a random (at test time the middle) square of 224 pixels of the"
            " crop as it is, its global view all of it, resized",
            "cross-entropy of both experts beside its own two losses",
        ),
        notes=(
            "Pixels of 0 to 1 enter the networks as they are, as in its paper, also where they start from ImageNet.",
        ),
        weights=("imagenet_convnext_nano",),
        recipe="omnidfa",
    )
    Config = OmniDFAConfig
    image_size = 224
    prototypes: Tensor
    threshold: Tensor

    def __init__(self, num_generators: int, config: OmniDFAConfig) -> None:
        super().__init__(config.dim, num_generators, side=config.side)
        self.config = config
        self.crop_trunk, self.whole_trunk = convnext_trunk(config), convnext_trunk(config)
        width = config.dims[-1]
        self.projection = nn.Sequential(
            nn.Linear(2 * width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.dim)
        )
        self.data_changes = ("training: one of its two views is a random square of each face",)
        self.centre = nn.Parameter(torch.randn(config.dim))  # of real faces; its direction counts
        self.register_buffer("prototypes", torch.zeros(num_generators, config.dim))  # of length 1, once there are
        self.register_buffer("threshold", torch.zeros(()))
        self._cosines: tuple[Tensor, Tensor] | None = None  # of the step in progress, and which faces are real

    def load_weights(self, weights: WeightFiles) -> None:
        """A ConvNeXt of timm, for both views; its classifier is left out."""
        path = one_file(weights, self.card.display)
        for trunk in (self.crop_trunk, self.whole_trunk):
            load_convnext(trunk, path)

    def embed(self, inputs: Inputs) -> Tensor:
        crop, whole = self.prepare(self._native(inputs.images)), self.prepare(inputs.images)
        features = torch.cat([self.crop_trunk(crop), self.whole_trunk(whole)], dim=1)  # (B, 2 * 640)
        return self.projection(features)  # (B, 128)

    def forward(self, inputs: Inputs) -> Output:
        output = self.experts(self.embed(inputs))
        if self.training or self.config.decides == "experts":
            return output
        return self._by_prototypes(output)

    def losses(self, batch: Batch, stage: str = "main") -> Mapping[str, Tensor | LossTerm]:
        """`dfa` and `dfd` of the experts, `supcon` over all classes, `centre`: one less the cosine of real faces."""
        output = self(batch.inputs)
        embedding, real = output.embedding.float(), batch.detection == 0
        cosines = F.cosine_similarity(embedding, self.centre[None], dim=1)
        if self.training:
            self._cosines = gather_rows(cosines.detach()), gather_rows(real)
        away = ((1 - cosines) * real).sum() / real.sum().clamp(min=1)
        contrast = supervised_contrastive(embedding, batch.attribution, self.config.temperature)
        return {
            **expert_losses(output, batch),
            "supcon": attribution_term(contrast, self.config.contrast_weight),
            "centre": detection_term(away, self.config.centre_weight),
        }

    @torch.no_grad()
    def after_step(self, stage: str, batch: Batch) -> None:
        """The threshold moves towards the outermost real face of the step's batch that is no outlier."""
        if self._cosines is not None:
            moved = self.threshold.lerp(outlier_free_cosine(*self._cosines), 1 - self.config.momentum)
            self.threshold.copy_(torch.where(self._cosines[1].any(), moved, self.threshold))
        self._cosines = None

    @torch.no_grad()
    def before_prediction(self, data: StageData) -> None:
        """Class means of the normalised embeddings of all training faces; a class without faces has none."""
        if self.config.decides != "prototypes":
            return
        sums = torch.zeros_like(self.prototypes)
        for batch in data.train():
            embedding = self.eval().embed(batch.inputs)
            sums.index_add_(0, batch.attribution, F.normalize(embedding.float(), dim=1))
        self.prototypes.copy_(F.normalize(sums, dim=1))

    def _native(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to a square of `side` without resizing; an image with a shorter side is taken whole."""
        height, width = images.shape[-2:]
        if min(height, width) <= self.side:
            return images
        if self.training:
            return random_crops(images, 1, self.side)[:, 0]
        top, left = (height - self.side) // 2, (width - self.side) // 2
        return images[..., top : top + self.side, left : left + self.side]

    def _by_prototypes(self, output: Output) -> Output:
        """Cosines as logits; the experts' until there are prototypes."""
        rows = F.normalize(output.embedding.float(), dim=1)
        made = self.prototypes.any(dim=1)  # (x,)
        cosines = (rows @ self.prototypes.T).masked_fill(~made, -1.0)
        real = rows @ F.normalize(self.centre, dim=0) - self.threshold
        detection = torch.stack([real, torch.zeros_like(real)], dim=1)
        return Output(
            torch.where(made.any(), cosines / self.config.temperature, output.attribution_logits),
            torch.where(made.any(), detection / self.config.temperature, output.detection_logits),
            output.embedding,
        )
