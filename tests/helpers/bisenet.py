"""A small BiSeNet file of the published layout, and what it computes, layer by layer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F

from dfad_bench.views.bisenet import BiSeNet

WIDTH = 4


def write_small_bisenet(path: Path, seed: int = 0) -> Path:
    """A state dict of the published file's names, a sixteenth as wide, as torch.save writes it."""
    torch.manual_seed(seed)
    network = BiSeNet(WIDTH)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(0.0, 0.3)
    torch.save(network.state_dict(), path)
    return path


def plain_bisenet(s: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """BiSeNet from a state dict alone, layer by layer, in double precision."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = (s[f"{name}.running_{what}"].double()[None, :, None, None] for what in ("mean", "var"))
        scale, shift = (s[f"{name}.{what}"].double()[None, :, None, None] for what in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def conv(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight = s[f"{name}.weight"].double()
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def cbr(x: torch.Tensor, name: str) -> torch.Tensor:
        return norm(conv(x, f"{name}.conv"), f"{name}.bn").clamp(min=0)

    def mean(x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), keepdim=True)

    def arm(x: torch.Tensor, name: str) -> torch.Tensor:
        x = cbr(x, f"{name}.conv")
        return x * norm(conv(mean(x), f"{name}.conv_atten"), f"{name}.bn_atten").sigmoid()

    x, feats = norm(conv(x, "cp.resnet.conv1", 2), "cp.resnet.bn1").clamp(min=0), []
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            at, stride = f"cp.resnet.layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = norm(conv(x, f"{at}.conv1", stride), f"{at}.bn1").clamp(min=0)
            short = norm(conv(x, f"{at}.downsample.0", stride), f"{at}.downsample.1") if stride == 2 else x
            x = (norm(conv(inner, f"{at}.conv2"), f"{at}.bn2") + short).clamp(min=0)
        feats.append(x)
    _, f8, f16, f32 = feats
    up = (arm(f32, "cp.arm32") + cbr(mean(f32), "cp.conv_avg")).repeat_interleave(2, 2).repeat_interleave(2, 3)
    up = (arm(f16, "cp.arm16") + cbr(up, "cp.conv_head32")).repeat_interleave(2, 2).repeat_interleave(2, 3)
    both = cbr(torch.cat([f8, cbr(up, "cp.conv_head16")], 1), "ffm.convblk")
    both = both + both * conv(conv(mean(both), "ffm.conv1").clamp(min=0), "ffm.conv2").sigmoid()
    return conv(cbr(both, "conv_out.conv"), "conv_out.conv_out")
