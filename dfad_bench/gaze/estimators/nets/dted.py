"""The gaze half of FAZE: DT-ED's DenseNet encoder, its gaze code and the small gaze estimator.

Park et al., "Few-Shot Adaptive Gaze Estimation", ICCV 2019. Channels, kernels, biases and the norms' weights are read
from the checkpoint. The rest is assumed, after the paper and DenseNet (Huang et al., CVPR 2017):

- each convolution of the initial layers halves the map, and so does each transition (average of 2 x 2);
- composite layers and transitions are instance norm, leaky ReLU (0.01), convolution; the initial layers are
  convolutions with instance norm and leaky ReLU between them;
- the last block is followed by the global average, without norm or activation;
- the gaze code is a (3, n) matrix with unit columns, read row by row; the estimator's hidden layer is a SELU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.errors import WeightsError
from dfad_bench.gaze.estimators.loading import fill_module, list_names

LEAK = 0.01
STRIP_WIDTH, STRIP_HEIGHT = 256, 64
_MOST_HALVINGS = 6  # 64 px high
_INITIAL = "encoder.initial."
_STAGE = re.compile(r"encoder\.[a-z_]+(\d+)\.(.+)")

State = Mapping[str, Tensor]


class NormConv(nn.Module):
    """Instance norm, leaky ReLU, convolution: dense (the output is appended) or a transition (the map is halved)."""

    def __init__(self, norm: nn.Module, conv: nn.Conv2d, *, transition: bool) -> None:
        super().__init__()
        self.norm, self.conv, self.transition = norm, conv, transition

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + growth, H, W), or to (B, C, H / 2, W / 2)."""
        y = self.conv(F.leaky_relu(self.norm(x), LEAK))
        return F.avg_pool2d(y, 2) if self.transition else torch.cat([x, y], dim=1)


class GazeCode(nn.Module):
    """Encoder, gaze code and gaze estimator: eye strips (B, 3, 64, 256) to unit vectors (B, 3)."""

    def __init__(self, encoder: nn.Module, code: nn.Linear, hidden: nn.Linear, out: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.code, self.hidden, self.out = encoder, code, hidden, out

    def forward(self, strips: Tensor) -> Tensor:
        """The negated gaze vector, in camera axes: (0, 0, 1) looks into the camera, y > 0 up."""
        features = self.encoder(strips).mean(dim=(2, 3))  # (B, C)
        code = F.normalize(self.code(features).unflatten(1, (3, -1)), dim=1)  # (B, 3, n)
        return F.normalize(self.out(F.selu(self.hidden(code.flatten(1)))), dim=1)


def read_gaze_code(state: State, path: Path) -> GazeCode:
    """The network that `state` describes, with its weights; decoder, appearance and head code are left out.

    Args:
        state: keys `encoder.*`, one linear layer from the encoder's features to the gaze code, `gaze1`, `gaze2`.
        path: the file, for errors.

    Raises:
        WeightsError: keys or shapes do not fit; lists them.
    """
    with torch.device("meta"):
        encoder, modules, features = _encoder(state, path)
        hidden, out = (_linear(state, name, path) for name in ("gaze1", "gaze2"))
    if hidden.in_features % 3 or out.in_features != hidden.out_features or out.out_features != 3:
        shapes = [f"{name} {tuple(state[name].shape)}" for name in ("gaze1.weight", "gaze2.weight")]
        raise WeightsError(f"{path}: does not fit FAZE; {list_names(shapes)} should be (h, 3 n) and (3, h)")
    name = _code_name(state, (hidden.in_features, features), path)
    with torch.device("meta"):
        code = _linear(state, name, path)
    modules |= {name: code, "gaze1": hidden, "gaze2": out}
    used = ("encoder.", f"{name}.", "gaze1.", "gaze2.")
    fill_module(_nested(modules), {key: value for key, value in state.items() if key.startswith(used)}, path, "faze")
    return GazeCode(encoder, code, hidden, out)


def _encoder(state: State, path: Path) -> tuple[nn.Sequential, dict[str, nn.Module], int]:
    """Layers without values in the order they run, the same by their names in the file, and the output channels."""
    convs = [key.removesuffix(".weight") for key, value in state.items() if _is_conv(key, value)]
    layers: list[nn.Module] = []
    modules: dict[str, nn.Module] = {}
    channels, halvings = 3, 0
    initial = sorted((name for name in convs if name.startswith(_INITIAL)), key=_natural_order)
    for index, name in enumerate(initial):
        conv = modules[name] = _conv(state, name, channels, path, stride=2)
        channels = conv.out_channels
        layers.append(conv)
        if index < len(initial) - 1:
            layers += [_norm(state, name, channels, modules, index), nn.LeakyReLU(LEAK)]
    for name in sorted((name for name in convs if not name.startswith(_INITIAL)), key=lambda name: _rank(name, state)):
        conv = modules[name] = _conv(state, name, channels, path)
        transition = conv.out_channels == conv.in_channels  # compression 1; a dense layer has fewer outputs than inputs
        halvings += transition
        layers.append(NormConv(_norm(state, name, channels, modules), conv, transition=transition))
        channels = channels if transition else channels + conv.out_channels
    if not initial or len(initial) + halvings > _MOST_HALVINGS:
        raise WeightsError(f"{path}: does not fit FAZE; its encoder halves {len(initial)} + {halvings} times")
    return nn.Sequential(*layers), modules, channels


def _is_conv(key: str, value: Tensor) -> bool:
    return key.startswith("encoder.") and key.endswith(".weight") and value.ndim == 4 and _stage(key) is not None


def _stage(key: str) -> tuple[int, str] | None:
    """Number of the stage, and the rest of the name; None where there is none."""
    if key.startswith(_INITIAL):
        return 0, key
    found = _STAGE.match(key)
    return (int(found[1]), found[2]) if found else None


def _rank(name: str, state: State) -> tuple[int, bool, str]:
    """Sort key of a convolution: `block1`'s layers, `trans1`, `block2`'s layers and so on, for any order of keys."""
    number, remainder = _stage(f"{name}.weight") or (0, name)
    outputs, inputs = state[f"{name}.weight"].shape[:2]
    return number, outputs == inputs, _natural_order(remainder)


def _natural_order(name: str) -> str:
    return re.sub(r"\d+", lambda digits: digits[0].zfill(6), name)


def _conv(state: State, name: str, channels: int, path: Path, stride: int = 1) -> nn.Conv2d:
    outputs, inputs, *kernel = state[f"{name}.weight"].shape
    if inputs != channels or min(outputs, *kernel) < 1 or not all(size % 2 for size in kernel):
        shape = tuple(state[f"{name}.weight"].shape)
        raise WeightsError(f"{path}: does not fit FAZE; {name}.weight is {shape} where {channels} channels come in")
    return nn.Conv2d(
        inputs,
        outputs,
        (kernel[0], kernel[1]),
        stride,
        (kernel[0] // 2, kernel[1] // 2),
        bias=f"{name}.bias" in state,
    )


def _norm(state: State, conv: str, channels: int, modules: dict[str, nn.Module], index: int = 0) -> nn.InstanceNorm2d:
    """The norm beside a convolution, the `index`-th under the same parent; a norm without weights has no keys.

    With stored statistics it computes the same as a batch norm.
    """
    parent = conv.rpartition(".")[0]
    beside = dict.fromkeys(key.rpartition(".")[0] for key in state if key.startswith(f"{parent}."))
    one_down = [name for name in beside if name.rpartition(".")[0] == parent]
    norms = [name for name in one_down if f"{name}.weight" not in state or state[f"{name}.weight"].ndim == 1]
    if index >= len(norms):
        return nn.InstanceNorm2d(channels)
    name = norms[index]
    norm = nn.InstanceNorm2d(
        channels, affine=f"{name}.weight" in state, track_running_stats=f"{name}.running_mean" in state
    )
    modules[name] = norm
    return norm


def _linear(state: State, name: str, path: Path) -> nn.Linear:
    weight = state.get(f"{name}.weight")
    if weight is None or weight.ndim != 2:
        raise WeightsError(f"{path}: does not fit FAZE; missing: {name}.weight; has {list_names(dict(state))}")
    return nn.Linear(weight.shape[1], weight.shape[0], bias=f"{name}.bias" in state)


def _code_name(state: State, shape: tuple[int, int], path: Path) -> str:
    """The name of the linear layer from the encoder's features to the gaze code, found by its shape."""
    names = [
        key.removesuffix(".weight")
        for key, value in state.items()
        if key.endswith(".weight") and tuple(value.shape) == shape and not key.startswith(("encoder.", "gaze", "dec"))
    ]
    if len(names) != 1:
        found = list_names(names) if names else "none"
        raise WeightsError(f"{path}: does not fit FAZE; one layer of shape {shape} for the gaze code, found {found}")
    return names[0]


def _nested(modules: Mapping[str, nn.Module]) -> nn.Module:
    """One module whose state dict has the modules' dotted names as keys."""
    root = nn.Module()
    for name, module in modules.items():
        *parents, leaf = name.split(".")
        place = root
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        place.add_module(leaf, module)
    return root
