"""EfficientNet (Tan and Le, ICML 2019) for CAEL, with names, padding and norms of the port from TensorFlow."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.weights import load_into

# B0, Table 1: repeats, kernel, stride of the first, expansion, output width
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280
_SQUEEZE = 0.25  # of a block's input width
_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.")  # in timm's names: stage, place in it
_EPS = 1e-3  # of norms, as in TensorFlow


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": ceil(size / stride) outputs, the odd pixel at the right and below.

    A subclass, as in the network that was counted: the papers' counter does not see it.
    """

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(
            (x.shape[3], x.shape[2]), self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, groups=self.groups)


class MBConv(nn.Module):
    """Expansion, a convolution a channel, squeeze and excitation, projection; with a skip where the shape is kept."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int, drop: float) -> None:
        super().__init__()
        inner, squeezed = before * expansion, max(1, int(before * _SQUEEZE))
        self.has_expansion, self.drop = expansion > 1, drop
        self.has_skip = stride == 1 and before == after
        if self.has_expansion:
            self._expand_conv = SameConv2d(before, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=_EPS)
        self._depthwise_conv = SameConv2d(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, eps=_EPS)
        self._se_reduce = SameConv2d(inner, squeezed, 1)
        self._se_expand = SameConv2d(squeezed, inner, 1)
        self._project_conv = SameConv2d(inner, after, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(after, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        from torchvision.ops import stochastic_depth

        y = F.silu(self._bn0(self._expand_conv(x))) if self.has_expansion else x
        y = F.silu(self._bn1(self._depthwise_conv(y)))
        y = y * self._se_expand(F.silu(self._se_reduce(y.mean(dim=(2, 3), keepdim=True)))).sigmoid()
        y = self._bn2(self._project_conv(y))
        return x + stochastic_depth(y, self.drop, "row", self.training) if self.has_skip else y


class EfficientNet(nn.Module):
    """(B, 3, S, S) to the feature map after the head's 1x1 convolution, or after the first `blocks` blocks.

    Args:
        width, depth: factors of all widths and of the repeats; 1 is B0.
        drop: at the last block, the chance that a face skips it in training (stochastic depth).
        blocks: how many blocks there are; None is all of them and the head.
        momentum: of the running statistics of norms, 0.01 as in TensorFlow.
    """

    def __init__(
        self, width: float, depth: float, drop: float, blocks: int | None = None, momentum: float = 0.01
    ) -> None:
        super().__init__()
        stem = _rounded_width(_STEM * width)
        plan, before = [], stem
        for repeats, kernel, stride, expansion, output in _STAGES:
            after = _rounded_width(output * width)
            for number in range(math.ceil(repeats * depth)):
                plan.append((before, after, kernel, stride if number == 0 else 1, expansion))
                before = after
        self._conv_stem = SameConv2d(3, stem, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(stem, eps=_EPS)
        drops = [drop * number / len(plan) for number in range(len(plan))]
        self._blocks = nn.ModuleList([MBConv(*shape, drop=d) for shape, d in zip(plan, drops, strict=True)][:blocks])
        self.width = plan[len(self._blocks) - 1][1]
        self.is_whole = blocks is None
        if self.is_whole:
            self.width = _rounded_width(_HEAD * width)
            self._conv_head = SameConv2d(before, self.width, 1, bias=False)
            self._bn1 = nn.BatchNorm2d(self.width, eps=_EPS)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = momentum

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.silu(self._bn1(self._conv_head(x))) if self.is_whole else x


def _rounded_width(width: float) -> int:
    """The nearest multiple of 8, at least 8 and not below 90 % of the width."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def is_efficientnet(names: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of the PyTorch port (`_conv_stem.weight`) or of timm."""
    return "_conv_stem.weight" in names or "conv_stem.weight" in names


def load_efficientnet(network: EfficientNet, state: Mapping[str, Tensor], path: Path) -> None:
    """Load what a network has of a whole EfficientNet's tensors, by either kind of names; classifiers are left out.

    Raises:
        WeightsError: it is of another size, or lacks some.
    """
    state = _from_timm(state) if "conv_stem.weight" in state else state
    state = {name: value for name, value in state.items() if not name.startswith(("_fc.", "classifier."))}
    own = network.state_dict()
    known = EfficientNet(1.0, 1.0, 0.0).state_dict().keys() if not network.is_whole else own.keys()
    wanted = {name: value for name, value in state.items() if name in own or name not in known}
    load_into(network, wanted, path, "an EfficientNet-B0 state dict")


def _from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Timm's names as the port's: blocks counted through, and no expansion in those of the first stage."""
    places = sorted(
        {tuple(map(int, found.groups())) for name in state if (found := re.match(r"blocks\.(\d+)\.(\d+)\.", name))}
    )
    plain = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    expanded = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
                "conv_pwl": "_project_conv", "bn3": "_bn2"}  # fmt: skip
    squeeze = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    renamed = {}
    for name, value in state.items():
        start, table = "", outside
        rest = name
        if found := _BLOCK.match(name):
            place = (int(found[1]), int(found[2]))
            start, rest = f"_blocks.{places.index(place)}.", name[found.end() :]
            table = (expanded if f"blocks.{place[0]}.{place[1]}.conv_pwl.weight" in state else plain) | squeeze
        part, _, end = rest.rpartition(".")
        renamed[f"{start}{table.get(part, part)}.{end}"] = value
    return renamed
