"""The gaze network that can learn: from its tensors alone, its files, its fixed statistics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dfad_bench.core.errors import WeightsError
from dfad_bench.layers.gaze_resnet import MEAN, STD, GazeResNet, gaze_network_of


def tiny() -> GazeResNet:
    """With statistics and factors that are not those of a new network."""
    torch.manual_seed(0)
    network = GazeResNet("tiny")
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.ndim == 1 and value.is_floating_point():
            value.uniform_(-0.5, 1)
    return network.eval()


def plain(s: dict[str, Tensor], x: Tensor) -> Tensor:
    """Pitch and yaw from tensors by the official file's names, in double precision."""
    s = {key: value.double() for key, value in s.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            s[f"{name}.{p}"][:, None, None] for p in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return F.conv2d(x, s[f"{name}.weight"], stride=stride, padding=s[f"{name}.weight"].shape[-1] // 2)

    x = (x.double() - torch.tensor(MEAN).double()[:, None, None]) / torch.tensor(STD).double()[:, None, None]
    x = F.max_pool2d(norm(conv(x, "gaze_network.conv1", 2), "gaze_network.bn1").clamp(min=0), 3, 2, padding=1)
    for layer in (1, 2, 3, 4):
        block, stride = f"gaze_network.layer{layer}.0", 1 if layer == 1 else 2
        y = norm(conv(x, f"{block}.conv1", stride), f"{block}.bn1").clamp(min=0)
        y = norm(conv(y, f"{block}.conv2"), f"{block}.bn2")
        if f"{block}.downsample.0.weight" in s:
            x = norm(conv(x, f"{block}.downsample.0", stride), f"{block}.downsample.1")
        x = (x + y).clamp(min=0)
    return x.mean((2, 3)) @ s["gaze_fc.0.weight"].T + s["gaze_fc.0.bias"]


def test_angles_are_those_of_a_plain_computation_from_the_names_of_the_file() -> None:
    network, faces = tiny(), torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        found = network(faces)
    assert torch.allclose(found.double(), plain(network.state_dict(), faces), atol=1e-5)
    assert found.std(dim=0).min() > 1e-4


def test_statistics_stay_while_all_else_learns() -> None:
    network = tiny().train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    network(torch.rand(4, 3, 64, 64)).square().sum().backward()
    optimiser.step()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


@pytest.mark.heavy
def test_a_deep_random_network_stays_in_range() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        found = GazeResNet()(torch.rand(2, 3, 224, 224))
    assert found.abs().max() < 5


@pytest.mark.heavy
def test_both_layouts_load_and_say_which_network_they_hold(tmp_path: Path) -> None:
    source, faces = tiny(), torch.rand(2, 3, 64, 64)
    state = source.state_dict()
    official = {**state, "gaze_network.fc.weight": torch.zeros(1000, 16), "gaze_network.fc.bias": torch.zeros(1000)}
    names = {"gaze_fc.0.weight": "fc.weight", "gaze_fc.0.bias": "fc.bias"}
    ptgaze = {names.get(key, key.removeprefix("gaze_network.")): value for key, value in state.items()}
    for name, content in (("eth.pth.tar", {"model_state": official}), ("r18.pth", {"model": ptgaze})):
        torch.save(content, tmp_path / name)
        network = GazeResNet("tiny").eval()
        network.load(tmp_path / name)
        with torch.no_grad():
            assert torch.equal(network(faces), source(faces))
        assert gaze_network_of(tmp_path / name) is None
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not an ETH-XGaze gaze network's state dict"):
        GazeResNet("tiny").load(tmp_path / "other.pth")


@pytest.mark.parametrize("network", [pytest.param("resnet50", marks=pytest.mark.heavy), "resnet18"])
def test_published_networks_are_known_by_their_names_and_shapes(tmp_path: Path, network: str) -> None:
    with torch.device("meta"):
        state = GazeResNet(network).state_dict()
    zeros = {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in state.items()}
    torch.save(zeros, tmp_path / "file.pth")
    assert gaze_network_of(tmp_path / "file.pth") == network
