"""State dicts of gaze networks in their published layouts, whose outputs are known functions of the image.

The first layer takes differences of an image's halves: left to right (odd in the mirror) and up to down (even). All
later layers pass them on, so that yaw and pitch answer as a trained network's would, and tests can swap them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

State = dict[str, Tensor]
_CHANNELS = 4  # +odd, -odd, +even, -even


def resnet_keys(kind: str) -> State:
    """Zeros in the layout of torchvision's ResNet `kind`, its 1000-way classifier included."""
    from torchvision import models

    with torch.device("meta"):
        module = models.get_model(kind, weights=None)
    return {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in module.state_dict().items()}


def steer_resnet(state: State) -> State:
    """Fill zeros of `resnet_keys`: pooled features 0 to 3 are brightness changes along +x, -x, +y, -y, over 0."""
    for key in state:
        if key.endswith("running_var"):
            state[key].fill_(1 - 1e-5)
    kernels = _differences(7)  # (4, 7, 7)
    state["conv1.weight"][:_CHANNELS] = kernels[:, None].expand(-1, 3, -1, -1) / 3
    state["bn1.weight"][:_CHANNELS] = 1
    _pass_on(state, "layer1.0.downsample.0", "layer1.0.downsample.1")  # ResNet-50 alone has one here
    for layer in (2, 3, 4):  # every second pixel would not be the mirror's: smoothed first, in the residual branch
        block = f"layer{layer}.0"
        halves = 2 if f"{block}.conv3.weight" in state else 1  # the convolution that halves the image
        for step in (1, 2, 3):
            _pass_on(state, f"{block}.conv{step}", f"{block}.bn{step}", smooth=step == halves)
    return state


def _pass_on(state: State, convolution: str, norm: str, *, smooth: bool = False) -> None:
    """Let the first channels through a convolution and its normalisation, smoothed or as they are."""
    if f"{convolution}.weight" not in state:
        return
    side = state[f"{convolution}.weight"].shape[-1]
    row = torch.tensor([1.0, 2.0, 1.0]) / 4 if smooth else torch.tensor([0.0, 1.0, 0.0])
    kernel = torch.outer(row, row) if side == 3 else torch.ones(1, 1)
    for channel in range(_CHANNELS):
        state[f"{convolution}.weight"][channel, channel] = kernel
    state[f"{norm}.weight"][:_CHANNELS] = 1


def head(width: int, *, yaw_first: bool = False, gain: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weight (2, width) and bias (2,): pitch from features 2 and 3, yaw from 0 and 1; the bias is (0.03, 0)."""
    weight, bias = torch.zeros(2, width), torch.tensor([0.03, 0.0])
    weight[0, 2], weight[0, 3] = gain, -gain
    weight[1, 0], weight[1, 1] = gain, -gain
    return (weight.flip(0), bias.flip(0)) if yaw_first else (weight, bias)


def eth_xgaze_state(**how: bool | float) -> State:
    trunk = steer_resnet(resnet_keys("resnet50"))
    weight, bias = head(2048, **how)
    return {**_prefixed("gaze_network.", trunk), "gaze_fc.0.weight": weight, "gaze_fc.0.bias": bias}


def ptgaze_state(**how: bool | float) -> State:
    state = steer_resnet(resnet_keys("resnet18"))
    state["fc.weight"], state["fc.bias"] = head(512, **how)
    return state


def puregaze_state(kind: str = "resnet50", **how: bool | float) -> State:
    trunk = steer_resnet(resnet_keys(kind))
    width = trunk.pop("fc.weight").shape[1]
    del trunk["fc.bias"]
    weight, bias = head(width, gain=10, **how)
    decoder = {f"deconv.block.{i}.weight": torch.zeros(3) for i in range(152)}
    return {**_prefixed("feature.", trunk), "gazeEs.fc.weight": weight, "gazeEs.fc.bias": bias, **decoder}


def unigaze_state(width: int, depth: int, patch: int, *, pool: str = "token", **how: bool | float) -> State:
    """Zeros in the layout of a masked autoencoder's fine-tuned transformer, steered; the first block averages."""
    tokens = (224 // patch) ** 2 + 1
    state: State = {
        "cls_token": torch.zeros(1, 1, width),
        "pos_embed": torch.zeros(1, tokens, width),
        "patch_embed.proj.weight": torch.zeros(width, 3, patch, patch),
        "patch_embed.proj.bias": torch.zeros(width),
    }
    shapes = {
        "norm1.weight": (width,), "norm1.bias": (width,),
        "attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width), "attn.proj.bias": (width,),
        "norm2.weight": (width,), "norm2.bias": (width,),
        "mlp.fc1.weight": (4 * width, width), "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width), "mlp.fc2.bias": (width,),
    }  # fmt: skip
    for block in range(depth):
        state |= {f"blocks.{block}.{key}": torch.zeros(shape) for key, shape in shapes.items()}
    last = "norm" if pool == "token" else "fc_norm"
    state |= {f"{last}.weight": torch.ones(width), f"{last}.bias": torch.zeros(width)}
    state["patch_embed.proj.weight"][:_CHANNELS] = _differences(patch)[:, None].expand(-1, 3, -1, -1) / 3
    state["blocks.0.norm1.weight"].fill_(1)
    state["blocks.0.attn.qkv.weight"][2 * width :] = torch.eye(width)
    state["blocks.0.attn.proj.weight"] += torch.eye(width)
    weight, bias = head(width, gain=0.01, **how)
    return {**_prefixed("vit.", state), "gaze_fc.weight": weight, "gaze_fc.bias": bias}


def save(state: State, path: Path, *, wrapper: str | None = None, module: bool = False, legacy: bool = False) -> Path:
    """Write a state dict, floats halved so that tests write little, as published files come."""
    small = {("module." if module else "") + k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({key: value.contiguous() for key, value in small.items()}, path)
    else:
        content = {wrapper: small, "epoch": 24} if wrapper else small
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def _differences(side: int) -> Tensor:
    """(4, side, side) kernels: brightness right less left, its opposite, below less above, its opposite."""
    axis = torch.linspace(-1, 1, side)
    smooth = torch.cos(axis * torch.pi / 2.2)
    across = torch.outer(smooth, axis * smooth) * 8 / side**2
    return torch.stack([across, -across, across.T, -across.T])


def _prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}
