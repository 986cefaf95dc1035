"""Heads for random trunks, fitted to give chosen angles for the drawn faces of the mirror check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dfad_bench.gaze.estimators import mirror
from dfad_bench.gaze.estimators.network import NetworkEstimator

State = dict[str, Tensor]
_HALF_RANGE = 8  # bins on each side of straight ahead that the fitted head uses


def random_state(module: nn.Module, seed: int) -> State:
    """Random weights in the layout of `module` (it may be on "meta"), of a size that keeps activations in range."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in module.state_dict().items():
        if value.ndim > 1:
            fan_in = value[0].numel()
            state[key] = torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5
        elif key.endswith(("running_var", "weight")):
            state[key] = torch.full(value.shape, 1.0 if key.endswith("running_var") else 0.7)
        else:
            state[key] = torch.zeros(value.shape, dtype=value.dtype)
    return state


def faces() -> tuple[np.ndarray, np.ndarray]:
    """The drawn faces and their mirror images: crops (12, H, W, 3) and landmarks (12, 5, 2)."""
    crops, landmarks = mirror.drawn_faces()
    both = np.concatenate([landmarks, mirror.flip(landmarks, crops)])
    return np.ascontiguousarray(np.concatenate([crops, crops[:, :, ::-1]])), both


def targets() -> np.ndarray:
    """(12, 2) pitch and yaw in radians the fitted heads give for `faces`: up and down, to the left and mirrored."""
    pitch = np.tile([-0.12, 0.1, 0.05], 4)
    yaw = np.array([0.05, 0.1, 0.15, 0.2, 0.12, 0.08])
    return np.stack([pitch, np.concatenate([yaw, -yaw])], axis=1)


def inputs(estimator: NetworkEstimator) -> Tensor:
    """What the network of `estimator` gets for `faces`."""
    return estimator.tensor(estimator.prepare(*faces()).images)


@torch.inference_mode()
def fitted(features: Tensor, wanted: np.ndarray) -> tuple[Tensor, Tensor]:
    """Weight (k, d) and bias (k,) of the smallest linear layer that gives `wanted` (n, k) for `features` (n, d)."""
    x, y = features.double(), torch.from_numpy(wanted).double()
    weight = torch.linalg.lstsq(x - x.mean(dim=0), y - y.mean(dim=0), driver="gelsd").solution.T
    return weight, y.mean(dim=0) - weight @ x.mean(dim=0)


def binned_head(weight: Tensor, bias: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """A layer of `bins` logits whose two live ones are `_HALF_RANGE` bins beside straight ahead: +l and -l of w x + b.

    Their expectation is `reach_rad(bins)` tanh(l).
    """
    middle = bins // 2
    out = torch.zeros(bins, weight.numel(), dtype=torch.float64), torch.full((bins,), -1e4, dtype=torch.float64)
    for sign, place in ((1, middle + _HALF_RANGE), (-1, middle - _HALF_RANGE)):
        out[0][place], out[1][place] = sign * weight, sign * bias
    return out[0].float(), out[1].float()


def reach_rad(bins: int) -> float:
    """The largest angle of a `binned_head`."""
    return float(np.radians(_HALF_RANGE * {90: 4, 28: 3}[bins]))


def steer_binned(estimator: NetworkEstimator, layers: tuple[str, str], bins: int) -> State:
    """Layers (yaw's name, pitch's name) that make the trunk of `estimator` answer `targets` for `faces`."""
    with torch.inference_mode():
        features = estimator.network.trunk(inputs(estimator))
    weight, bias = fitted(features, np.arctanh(targets()[:, ::-1] / reach_rad(bins)))
    state: State = {}
    for index, layer in enumerate(layers):
        state[f"{layer}.weight"], state[f"{layer}.bias"] = binned_head(weight[index], bias[index], bins)
    return state


def zero_head(layers: tuple[str, str], features: int, bins: int) -> State:
    state: State = {}
    for layer in layers:
        state |= {f"{layer}.weight": torch.zeros(bins, features), f"{layer}.bias": torch.zeros(bins)}
    return state


def write(state: State, path: Path) -> Path:
    torch.save(state, path)
    return path
