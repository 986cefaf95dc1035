"""CDAL (Zheng et al., ICCV 2025): attention maps that must do better than counterfactual ones, on the host of OSMA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.dna_det import SimpleCNN
from dfad_bench.core.contract import (
    Batch,
    Card,
    DFADModel,
    Inputs,
    LossTerm,
    Stage,
    attribution_term,
    expert_losses,
)
from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.dct import dct2
from dfad_bench.layers.experts import DropoutExperts
from dfad_bench.losses.triplet import hardest_triplet

_EXPERTS = 4  # kernels a conditional convolution mixes
_STAGE_3 = 6  # blocks of the host up to the features that attention reads
_SCALE = 100.0  # of the normalised pooled features


@dataclass(frozen=True)
class CDALConfig:
    """The host's sizes, and the plug-in's; `maps` is M of the paper, half of them plain and half depthwise."""

    side: int = 128
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    dim: int = 512
    dropout: float = 0.2
    maps: int = 64
    triplet_margin: float = 0.3
    triplet_weight: float = 1.0
    match_weight: float = 0.2
    shrink: float = 0.5  # what augmentation does to features in a map: smaller and back,
    blur: int = 11  # then a Gaussian kernel of this size
    sigma: float = 7.0
    noise: float = 0.1  # then normal noise of this deviation

    def __post_init__(self) -> None:
        if self.maps < 4 or self.maps % 2 or self.blur % 2 == 0 or self.blur // 2 >= self.side // 8:
            raise ConfigError("options of CDAL: maps must be even and 4 or more, blur odd and below a quarter of side")

    @classmethod
    def tiny(cls) -> CDALConfig:
        return cls(widths=(12, 24, 32, 48), dim=48, maps=8)


class ConditionalConv(nn.Module):
    """A convolution whose kernel is mixed for each face: weights are the sigmoid of a linear layer on mean features."""

    def __init__(self, before: int, after: int, kernel: int, groups: int = 1) -> None:
        from timm.layers import CondConv2d

        super().__init__()
        self.route = nn.Linear(before, _EXPERTS)
        self.conv = CondConv2d(before, after, kernel, groups=groups, num_experts=_EXPERTS)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, H, W) to (B, after, H, W), after batch norm and ReLU."""
        return F.relu(self.norm(self.conv(x, self.route(x.mean(dim=(2, 3))).sigmoid())))


class AttentionMaps(nn.Module):
    """Half of the maps by a 1x1 conditional convolution, half from those by a depthwise 3x3 one: (B, M, H, W)."""

    def __init__(self, channels: int, maps: int) -> None:
        super().__init__()
        self.plain = ConditionalConv(channels, maps // 2, 1)
        self.depthwise = ConditionalConv(maps // 2, maps // 2, 3, groups=maps // 2)

    def forward(self, features: Tensor) -> Tensor:
        plain = self.plain(features)
        return torch.cat([plain, self.depthwise(plain)], dim=1)


def pooled_features(features: Tensor, maps: Tensor) -> Tensor:
    """Bilinear attention pooling: (B, C, H, W) and (B, M, H, W) to (B, M * C).

    The mean over places of each map times each channel, its signed root, then all of a face to length 1.
    """
    pooled = torch.einsum("bmhw,bchw->bmc", maps.float(), features.float()) / maps[0, 0].numel()
    return F.normalize((pooled.sign() * (pooled.abs() + 1e-6).sqrt()).flatten(1), dim=1)


class CDAL(DFADModel):
    """The host's feature is the embedding; the attention plug-in shapes the host in training only."""

    card = Card(
        display="CDAL",
        paper="Y. Zheng et al., Learning Counterfactually Decoupled Attention for Open-World Model Attribution,"
        " ICCV 2025",
        year=2025,
        task="attribution",
        idea="Attention to traces of a generator counts by what it adds to attention to anything else in the image.",
        added="detection expert: dropout and one linear layer on the host's 512 features, as its attribution head",
        deviations=(
            "host of OSMA without its two augmentation networks, which its authors train in turn with the classifier:"
            " all losses here are one sum",
            "the published 38.26 M parameters cannot be reached: the parts that its multiply-adds account for have"
            " 22.86 M, of which the test-time graph here has 22.68",
            "both experts are the host's heads; the plug-in serves training, its counterfactual maps do in any case",
            "an augmented map is degraded inside and the pooled features of all others are to stay (mean square); the"
            " text does not say how masks are scaled: here by their largest value",
            "the DCT is of images normalised with 0.5 and 0.5, orthonormal; signs and sizes are kept",
            "no augmentation of images, as the benchmark trains every model",
            "a batch has as many faces of each class, and the remainder of its rows is left out: at 11 classes of"
            " 10,000 an epoch of batches of 32 meets 75,636 of 110,000 faces, which the record states of each run; with"
            " recipe cdal (8 of each class) all of them",
        ),
        reference="https://github.com/yzheng97/CDAL",
        recipe="cdal",
    )
    Config = CDALConfig
    image_size = 128
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    stages = (Stage("main", sampler="class_balanced"),)

    def __init__(self, num_generators: int, config: CDALConfig) -> None:
        super().__init__(config.dim, num_generators, side=config.side)
        self.config = config
        channels = config.widths[2]
        self.backbone = SimpleCNN(config.widths)
        self.fc = nn.Linear(config.widths[-1] * (config.side // 16) ** 2, config.dim)
        self.experts = DropoutExperts(config.dim, num_generators, config.dropout)
        self.attention = AttentionMaps(channels, config.maps)
        self.counterfactual = AttentionMaps(channels, config.maps)
        self.classifier = nn.Linear(config.maps * channels, num_generators)

    def embed(self, inputs: Inputs) -> Tensor:
        return self._host_feature(self._features(inputs.images))

    def losses(self, batch: Batch, stage: str = "main") -> Mapping[str, Tensor | LossTerm]:
        """`dfa`, `dfd`; in training `triplet` of the host, and of the plug-in `raw`, `effect`, `confusion`, `match`."""
        features = self._features(batch.inputs.images)
        output = self.experts(self._host_feature(features))
        if not self.training:
            return expert_losses(output, batch)
        maps = self.attention(features)
        chosen = self.sampled_maps(maps)
        changed = self.degraded(features, maps, chosen)
        changed_maps = self.attention(changed)
        clean, noisy = pooled_features(features, maps), pooled_features(changed, changed_maps)
        plugged = [
            self._effect_losses(pooled, pooled_features(x, self.counterfactual(x)), batch.attribution)
            for pooled, x in ((clean, features), (noisy, changed))
        ]
        triplet = hardest_triplet(output.embedding, batch.attribution, self.config.triplet_margin)
        return {
            **expert_losses(output, batch),
            "triplet": attribution_term(triplet, self.config.triplet_weight),
            **{name: attribution_term((plugged[0][name] + plugged[1][name]) / 2) for name in plugged[0]},
            "match": attribution_term(self.match_loss(clean, noisy, chosen), self.config.match_weight),
        }

    def _features(self, images: Tensor) -> Tensor:
        """(B, 256, 16, 16), the host's third stage on the DCT."""
        return self.backbone.main[:_STAGE_3](dct2(self.prepare(images)))

    def _host_feature(self, features: Tensor) -> Tensor:
        return self.fc(self.backbone.main[_STAGE_3:](features).flatten(1))  # (B, 512)

    def _effect_losses(self, pooled: Tensor, counterfactual: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the logits and of what they are beyond counterfactual ones; minus the latter's entropy."""
        raw, other = (self.classifier(_SCALE * x).float() for x in (pooled, counterfactual))
        return {
            "raw": F.cross_entropy(raw, labels),
            "effect": F.cross_entropy(raw - other, labels),
            "confusion": (other.softmax(dim=1) * other.log_softmax(dim=1)).sum(dim=1).mean(),
        }

    @torch.no_grad()
    def sampled_maps(self, maps: Tensor) -> Tensor:
        """(B,) the number of a map for each face, drawn in proportion to what it holds, from the global generator."""
        mass = maps.float().sum(dim=(2, 3)) + 1e-6
        drawn = torch.empty(
            mass.shape
        ).exponential_()  # as `torch.multinomial` draws, which would read what it is given
        return (mass / drawn.to(mass.device, non_blocking=True)).argmax(dim=1)

    def degraded(self, features: Tensor, maps: Tensor, chosen: Tensor) -> Tensor:
        """Features that are smaller and back, blurred and noisy where the chosen map is; (B, C, H, W)."""
        from torchvision.transforms.v2 import functional

        config = self.config
        with torch.no_grad():
            mask = maps[torch.arange(len(maps), device=maps.device), chosen][:, None].float()  # (B, 1, H, W)
            mask = mask / mask.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)
        small = F.interpolate(features.float(), scale_factor=config.shrink, mode="bilinear", antialias=True)
        back = F.interpolate(small, features.shape[-2:], mode="bilinear")
        poor = functional.gaussian_blur(back, [config.blur] * 2, [config.sigma] * 2)
        poor = poor + config.noise * torch.randn(poor.shape).to(poor.device, poor.dtype, non_blocking=True)
        return features + mask * (poor - features)

    def match_loss(self, clean: Tensor, noisy: Tensor, chosen: Tensor) -> Tensor:
        """Square distance of pooled features (B, M * C) over all maps but the chosen ones, a mean over faces."""
        rows = (clean - noisy).unflatten(1, (self.config.maps, -1)).square().sum(dim=2)  # (B, M)
        return (rows * (torch.arange(self.config.maps, device=chosen.device) != chosen[:, None])).sum(dim=1).mean()
