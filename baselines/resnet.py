"""ResNet (He et al., CVPR 2016) with both experts on its mean features."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dfad_bench.core.contract import Card, DFADModel, Inputs, WeightFiles
from dfad_bench.core.weights import one_file
from dfad_bench.layers.experts import NormExperts
from dfad_bench.layers.resnet import load_resnet, resnet_trunk


@dataclass(frozen=True)
class ResNetConfig:
    """ResNet-18, which the published count belongs to; ResNet-50 is `bottleneck` with blocks 3, 4, 6, 3."""

    side: int = 224
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    bottleneck: bool = False  # blocks of 1x1, 3x3, 1x1 convolutions, four times as wide at their end

    @classmethod
    def tiny(cls) -> ResNetConfig:
        return cls(side=128, blocks=(1, 1, 1, 1), widths=(16, 24, 32, 48))


class ResNet(DFADModel):
    """Blocks that add to what they are given; both experts read the mean of the last feature map."""

    card = Card(
        display="ResNet",
        paper="K. He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
        year=2016,
        task="detection",
        idea="Blocks learn what to add to their input, so that deep networks can be trained.",
        added="attribution expert: LayerNorm and one linear layer, as the detector's",
        deviations=(
            "18 layers and LayerNorm before each expert, which the published count implies; the tables say ResNet only",
            "224 pixels, normalised with ImageNet's statistics",
            "no augmentation, as the benchmark trains every model",
        ),
        reference="https://github.com/pytorch/vision",
        reference_licence="BSD-3-Clause",
        weights=("imagenet_resnet18",),
        no_recipe="its paper trains on ImageNet, and none of theirs for deepfakes is known",
    )
    Config = ResNetConfig
    image_size = 224
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, num_generators: int, config: ResNetConfig) -> None:
        dim = config.widths[-1] * (4 if config.bottleneck else 1)
        super().__init__(dim, num_generators, side=config.side)
        self.trunk = resnet_trunk(config.blocks, config.widths, bottleneck=config.bottleneck)
        self.experts = NormExperts(dim, num_generators)

    def load_weights(self, weights: WeightFiles) -> None:
        """A ResNet of torchvision or timm, also one that a detector holds as `backbone.*`; `fc` is left out."""
        load_resnet(self.trunk, one_file(weights, self.card.display), "a ResNet state dict of these blocks")

    def embed(self, inputs: Inputs) -> Tensor:
        return self.trunk(self.prepare(inputs.images))  # (B, 512)
