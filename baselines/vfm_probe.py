"""A probe of a vision foundation model: a frozen backbone of timm or open_clip, and small experts on its features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Card, DFADModel, Inputs, Output, StageData, WeightFiles
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.weights import one_file
from dfad_bench.layers.attentive import AttentivePool
from dfad_bench.layers.backbone_files import check_backbone_file, load_backbone
from dfad_bench.layers.backbone_parts import last_blocks, reached_parameters
from dfad_bench.layers.backbones import Backbone, FeatureKind, backbone_facts, build_backbone
from dfad_bench.layers.clip_towers import read_token_major

VIEW = "features"
_LEAST_DEVIATION = 1e-6  # a number that is the same for all faces is left as it is


@dataclass(frozen=True)
class VFMProbeConfig:
    """Which backbone, and what of it learns.

    Attributes:
        backbone: a network of timm (with its tag or without), or "open_clip:" and an architecture of open_clip.
        experts: "linear" reads one vector a face, "attentive" pools all tokens, or positions of a map, by a query of
            each expert.
        train: "head" (the experts alone), "last_blocks" (and the last `blocks` of the backbone) or "all".
        cached: with train=head, features are a view, computed once; False: in every step, as augmentation needs it.
        feature: what linear experts read: the backbone's own pooling, its class token, the mean of the others, or both.
        side: of the backbone's images, where not its own.
        dtype: how cached features are stored.
        blocks: of train=last_blocks.
        heads: of the attention of attentive experts.
        standardise: whether linear experts of a frozen backbone read features of mean 0 and deviation 1 over the
            training faces.
        init_seed: of the random weights of a frozen backbone without a weight file.
    """

    backbone: str = "vit_base_patch16_dinov3"
    experts: Literal["linear", "attentive"] = "linear"
    train: Literal["head", "last_blocks", "all"] = "head"
    cached: bool = True
    feature: Literal["pooled", "cls", "avg", "cls+avg"] = "pooled"
    side: int | None = None
    dtype: Literal["float32", "float16"] = "float32"
    blocks: int = 2
    heads: int = 8
    standardise: bool = True
    init_seed: int = 0

    def __post_init__(self) -> None:
        if self.experts == "attentive" and self.feature != "pooled":
            raise ValueError(f"feature={self.feature} is for linear experts; attentive ones read all tokens")
        if self.blocks < 1:
            raise ValueError(f"blocks must be 1 or more, got {self.blocks}")

    @property
    def kind(self) -> FeatureKind:
        """What the experts read."""
        return "tokens" if self.experts == "attentive" else self.feature

    @property
    def from_view(self) -> bool:
        """Whether features come from the view, and the model holds no backbone."""
        return self.train == "head" and self.cached

    @classmethod
    def tiny(cls) -> VFMProbeConfig:
        return cls(backbone="test_vit", blocks=1)


class AttentiveExperts(nn.Module):
    """Attribution and detection expert, each with its own query over the tokens and one linear layer."""

    def __init__(self, dim: int, num_generators: int, heads: int) -> None:
        super().__init__()
        self.attribution = nn.Sequential(AttentivePool(dim, heads), nn.Linear(dim, num_generators))
        self.detection = nn.Sequential(AttentivePool(dim, heads), nn.Linear(dim, 2))

    def forward(self, tokens: Tensor) -> Output:
        pooled = [expert[0](tokens) for expert in (self.attribution, self.detection)]  # each (B, d)
        logits = self.attribution[1](pooled[0]), self.detection[1](pooled[1])
        return Output(*logits, torch.cat(pooled, dim=1))  # embedding (B, 2 d)


class VFMProbe(DFADModel):
    """With train=head the model is its experts, which read the view `features`; else it holds the backbone, too."""

    card = Card(
        display="VFM probe",
        paper="U. Ojha et al., Towards Universal Fake Image Detectors that Generalize Across Generative Models, CVPR"
        " 2023, which reads a frozen CLIP by a linear layer; here any backbone",
        year=2023,
        task="detection",
        idea="A frozen foundation model already separates real from forged; a small expert reads it off.",
        added="attribution expert: as the detector's, one linear layer (or attentive pooling and one linear layer)",
        deviations=(
            "a whole crop is resized to the backbone's side, without its library's margin (crop_pct)",
            "linear experts read features standardised by the training faces (standardise)",
            "cross-entropy over two classes; the paper's detector has one logit",
        ),
        notes=(
            "recipe unifd (--recipe author) is this paper's and augments: it needs cached=false",
            "recipe probe, for stored features, is of another linear probe, Simplicity Prevails (arXiv 2602.01738)",
            "features are computed once a backbone and weight file, and kept beside the manifests",
            "--device auto computes them on the CPU, so that stored values are the same everywhere; cuda is faster",
        ),
        reference="https://github.com/WisconsinAIVision/UniversalFakeDetect",
        recipe="unifd",
    )
    Config = VFMProbeConfig
    profiled_options: ClassVar[Mapping[str, Any]] = {"cached": False}
    feature_mean: Tensor
    feature_deviation: Tensor
    measured: Tensor

    def __init__(self, num_generators: int, config: VFMProbeConfig) -> None:
        facts = backbone_facts(config.backbone, config.side)
        dim = facts.shape(config.kind)[-1]
        pooled = config.experts == "attentive"
        super().__init__(2 * dim if pooled else dim, num_generators, side=facts.preset.side)
        self.config, self.facts = config, facts
        self.backbone = None if config.from_view else self._partly_frozen(build_backbone(config.backbone, config.side))
        if pooled:
            self.experts = AttentiveExperts(dim, num_generators, config.heads)
        else:
            self.register_buffer("feature_mean", torch.zeros(dim))
            self.register_buffer("feature_deviation", torch.ones(dim))
            self.register_buffer("measured", torch.zeros((), dtype=torch.bool))
        if config.from_view:
            self.needs, self.view_weights, self.needs_images = (VIEW,), (VIEW,), False
            self.view_settings = {
                VIEW: {
                    "backbone": config.backbone,
                    "feature": config.kind,
                    "side": facts.preset.side,
                    "dtype": config.dtype,
                    "init_seed": config.init_seed,
                }
            }

    @property
    def pretrained(self) -> tuple[str, ...]:
        return (self.config.backbone,)

    @property
    def pretrained_origin(self) -> str:
        return self.facts.preset.origin or f"no published weights of {self.config.backbone} are known"

    def load_weights(self, weights: WeightFiles) -> None:
        """A file of the backbone, as timm or open_clip publish it; where the view reads it, it is only checked."""
        path = one_file(weights, self.card.display)
        if self.backbone is None:
            check_backbone_file(self.config.backbone, self.config.side, path)
        else:
            load_backbone(self.backbone, path)

    def embed(self, inputs: Inputs) -> Tensor:
        """(B, d) for linear experts, (B, N, d) for attentive ones."""
        features = self._features(inputs)
        if self.config.experts == "attentive":
            return features
        return (features - self.feature_mean) / self.feature_deviation

    def _features(self, inputs: Inputs) -> Tensor:
        if self.backbone is not None:
            return self.backbone.features(self.backbone.prepare(inputs.images), self.config.kind)
        if VIEW not in inputs.views:
            raise ConfigError(f"{self.card.display} with cached features reads the view {VIEW!r}, which is not there")
        features = inputs.views[VIEW]
        assert isinstance(features, Tensor)
        return features

    def before_stage(self, stage: str, data: StageData) -> None:
        """Measure mean and deviation of frozen features over the training faces, once: those of a parent run stay."""
        config = self.config
        if config.train != "head" or config.experts == "attentive" or not config.standardise or bool(self.measured):
            return
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in data.train():
            features = self._features(batch.inputs).double()
            count += len(features)
            total, squares = total.to(features) + features.sum(0), squares.to(features) + features.square().sum(0)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        self.feature_mean.copy_(mean)
        self.feature_deviation.copy_(torch.where(deviation > _LEAST_DEVIATION, deviation, torch.ones_like(deviation)))
        self.measured.fill_(True)

    def train(self, mode: bool = True) -> VFMProbe:
        """Frozen parts keep their moving statistics, and drop nothing out."""
        super().train(mode)
        for part in _frozen_parts(self.backbone) if self.backbone is not None else ():
            part.eval()
        return self

    def _partly_frozen(self, backbone: Backbone) -> Backbone:
        """The backbone with gradients where `train` says, and only in what the features follow from."""
        config = self.config
        read_token_major(backbone.requires_grad_(False))
        if config.train == "head":
            return backbone
        reached = reached_parameters(config.backbone, config.side, config.kind)
        learning = last_blocks(backbone, config.blocks) if config.train == "last_blocks" else list(reached)
        parameters = dict(backbone.named_parameters())
        for name in reached.intersection(learning):
            parameters[name].requires_grad_(True)
        return backbone


def _frozen_parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts of a network in which nothing learns."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield module
        return
    for child in module.children():
        yield from _frozen_parts(child)
