"""Xception (Chollet, CVPR 2017) in the layout of the FaceForensics++ detector (Roessler et al., ICCV 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.contract import Card, DFADModel, Inputs, WeightFiles
from dfad_bench.core.weights import load_into, load_state_dict, one_file

_CLASSIFIERS = ("fc.", "last_linear.", "adjust_channel.")  # timm's, Cadene's, and DeepfakeBench's layer before it


@dataclass(frozen=True)
class XceptionConfig:
    """Widths of the paper's Figure 5. `stem_padding` is 1 in the published count (20.83 M / 4.64 G), else 0."""

    side: int = 224
    stem: tuple[int, int] = (32, 64)  # two plain convolutions
    entry: tuple[int, int, int] = (128, 256, 728)  # three blocks of stride 2
    middle: int = 8  # blocks at the last entry width
    exit: int = 1024  # one block of stride 2
    final: tuple[int, int] = (1536, 2048)  # two separable convolutions
    stem_padding: int = 1

    @classmethod
    def tiny(cls) -> XceptionConfig:
        return cls(side=128, stem=(8, 16), entry=(24, 32, 48), middle=1, exit=64, final=(96, 128))


class SeparableConv(nn.Module):
    """A 3x3 convolution a channel, then a 1x1 convolution across channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.conv1(x))


class Block(nn.Module):
    """Separable convolutions with batch norm, max pooling where strided, and a skip.

    The width grows at the first convolution, or at the last where `grow_first` is off (exit flow).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        depth: int,
        stride: int = 1,
        *,
        relu_first: bool = True,
        grow_first: bool = True,
    ) -> None:
        super().__init__()
        widths = [in_channels, *([out_channels if grow_first else in_channels] * (depth - 1)), out_channels]
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.ReLU(), SeparableConv(before, after), nn.BatchNorm2d(after)]
        layers = layers if relu_first else layers[1:]
        self.rep = nn.Sequential(*layers, *([nn.MaxPool2d(3, stride, 1)] if stride > 1 else []))
        if in_channels != out_channels or stride > 1:
            self.skip: nn.Module = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.skipbn: nn.Module = nn.BatchNorm2d(out_channels)
        else:
            self.skip, self.skipbn = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.rep(x) + self.skipbn(self.skip(x))


class XceptionTrunk(nn.Module):
    """(B, 3, S, S) to (B, final[1]); parameter names are those of the ported ImageNet weights."""

    def __init__(self, config: XceptionConfig) -> None:
        super().__init__()
        (s1, s2), (e1, e2, e3), (f1, f2) = config.stem, config.entry, config.final
        self.conv1 = nn.Conv2d(3, s1, 3, 2, config.stem_padding, bias=False)
        self.bn1 = nn.BatchNorm2d(s1)
        self.conv2 = nn.Conv2d(s1, s2, 3, 1, config.stem_padding, bias=False)
        self.bn2 = nn.BatchNorm2d(s2)
        blocks = [Block(s2, e1, 2, 2, relu_first=False), Block(e1, e2, 2, 2), Block(e2, e3, 2, 2)]
        blocks += [Block(e3, e3, 3) for _ in range(config.middle)]
        blocks += [Block(e3, config.exit, 2, 2, grow_first=False)]
        self.count = len(blocks)
        for index, block in enumerate(blocks, start=1):
            self.add_module(f"block{index}", block)
        self.conv3 = SeparableConv(config.exit, f1)
        self.bn3 = nn.BatchNorm2d(f1)
        self.conv4 = SeparableConv(f1, f2)
        self.bn4 = nn.BatchNorm2d(f2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        for index in range(1, self.count + 1):
            x = self.get_submodule(f"block{index}")(x)
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.relu(self.bn4(self.conv4(x)))
        return x.mean(dim=(2, 3))


class Xception(DFADModel):
    """Depthwise separable convolutions throughout; both experts are one linear layer on 2048 features."""

    card = Card(
        display="Xception",
        paper="F. Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017",
        year=2017,
        task="detection",
        idea="Convolutions factored into one a channel and one across channels find local traces of forgery.",
        added="attribution expert: one linear layer beside the detector's",
        deviations=(
            "224 pixels and padding 1 on both stem convolutions, which the published count implies",
            "normalised with mean 0.5 and deviation 0.5, as the FaceForensics++ detector does",
            "no augmentation but by its own recipe, xception",
        ),
        reference="https://github.com/ondyari/FaceForensics",
        reference_licence="MIT",
        weights=("imagenet_xception",),
        recipe="xception",
    )
    Config = XceptionConfig
    image_size = 224
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)

    def __init__(self, num_generators: int, config: XceptionConfig) -> None:
        super().__init__(config.final[1], num_generators, side=config.side)
        self.trunk = XceptionTrunk(config)

    def load_weights(self, weights: WeightFiles) -> None:
        """A `legacy_xception` state dict of timm (the Cadene port), or a detector of it; classifiers are left out.

        FaceForensics++ names it `model.*`, DeepfakeBench `backbone.*`.
        """
        path = one_file(weights, self.card.display)
        read = load_state_dict(path, lambda state: "block1.rep.0.conv1.weight" in state)
        state = {k: v for k, v in read.items() if not k.startswith(_CLASSIFIERS)}
        for key, value in state.items():
            if key.endswith("pointwise.weight") and value.ndim == 2:  # older ports store the 1x1 kernels flat
                state[key] = value[:, :, None, None]
        load_into(self.trunk, state, path, "timm's legacy_xception state dict")

    def embed(self, inputs: Inputs) -> Tensor:
        return self.trunk(self.prepare(inputs.images))  # (B, 2048)
