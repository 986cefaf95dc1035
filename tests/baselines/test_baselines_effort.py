"""Effort: equal to CLIP at the start, trained in the residual alone, constraints against their plain formulas."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from baselines.effort import Effort, ResidualLinear
from dfad_bench.core.contract import Batch, Inputs
from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.clip_towers import clip_model


def residual(d: int = 12, rank: int = 1, seed: int = 0) -> tuple[ResidualLinear, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(d, d, generator=generator)
    return ResidualLinear(weight, torch.randn(d, generator=generator), rank), weight


def batch(faces: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(faces) % 3
    return Batch(Inputs(torch.rand(faces, 3, 128, 128, generator=generator)), labels, (labels > 0).long())


@pytest.mark.heavy
def test_starts_as_clip_without_its_projection(tmp_path: Path) -> None:
    torch.manual_seed(0)
    clip = clip_model(image_size=128, tiny=True).eval()
    save_file({name: value.contiguous() for name, value in clip.state_dict().items()}, tmp_path / "clip.safetensors")
    model = Effort.build(3, size="tiny", weights=tmp_path / "clip.safetensors").eval()
    clip.visual.proj = None
    faces = batch().inputs
    with torch.no_grad():
        expected = clip.visual(model.prepare(faces.images))
        assert torch.allclose(model.embed(faces), expected, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_step_changes_the_residual_alone(rank: int) -> None:
    layer, weight = residual(rank=rank)
    assert torch.allclose(layer.weight, weight, atol=1e-5)
    U, S, V = torch.linalg.svd(weight)
    fixed = sum(S[i] * torch.outer(U[:, i], V[i]) for i in range(len(S) - rank))
    assert torch.allclose(layer.main, torch.as_tensor(fixed), atol=1e-5)
    layer(torch.ones(2, 12)).square().sum().backward()
    learns = {name for name, parameter in layer.named_parameters() if parameter.grad is not None}
    assert learns == {"U_res", "S_res", "V_res"}


@pytest.mark.parametrize("rank", [1, 3])
def test_constraints_equal_the_plain_formulas(rank: int) -> None:
    layer, weight = residual(rank=rank)
    assert layer.orthogonality().item() == pytest.approx(0, abs=1e-5)
    assert layer.energy().item() == pytest.approx(0, abs=1e-3)
    with torch.no_grad():
        for parameter in (layer.U_res, layer.S_res, layer.V_res):
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    U, _, V = torch.linalg.svd(weight)
    left = torch.cat([U[:, :-rank], layer.U_res], dim=1)
    right = torch.cat([V[:-rank], layer.V_res])
    eye = torch.eye(12)
    expected = 0.5 * (left @ left.T - eye).norm() + 0.5 * (right.T @ right - eye).norm()
    assert layer.orthogonality().item() == pytest.approx(expected.item(), rel=1e-4)
    layer, weight = layer.double(), weight.double()  # a difference of squares near 150: float32 leaves it three digits
    start = layer.energy_start.item()  # kept in float32
    assert start == pytest.approx(weight.norm().item() ** 2, rel=1e-6)
    now = layer.main + layer.U_res @ layer.S_res.diag() @ layer.V_res
    energy = abs(now.norm().item() ** 2 - start)
    assert layer.energy().item() == pytest.approx(energy, rel=1e-3)


def test_constraints_are_terms_of_their_own_and_finite_from_the_first_step() -> None:
    model = Effort.build(3, size="tiny", options={"constraints": "paper"})
    losses = model.losses(batch())
    assert set(losses) == {"dfa", "dfd", "orthogonality", "energy"}
    total = torch.stack([torch.as_tensor(losses[name]) for name in ("orthogonality", "energy")]).sum()
    total.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert grads
    assert all(torch.isfinite(grad).all() for grad in grads)
    assert set(Effort.build(3, size="tiny").losses(batch())) == {"dfa", "dfd"}


def test_published_count() -> None:
    with torch.device("meta"):
        model = Effort.build(2)
    layers = [m for m in model.modules() if isinstance(m, ResidualLinear)]
    assert len(layers) == 96  # four a block, 24 blocks
    learns = sum(p.numel() for layer in layers for p in layer.parameters() if p.requires_grad)
    assert learns == 196_704
    assert sum(p.numel() for p in model.experts.detection.parameters()) == 2_050


def test_what_cannot_be_built_is_one_line() -> None:
    with pytest.raises(ConfigError, match="residual_rank must be 1 to 31, got 32"):
        Effort.build(3, size="tiny", options={"residual_rank": 32})
    with torch.device("meta"), pytest.raises(ConfigError, match="architecture must be a CLIP with a plain ViT"):
        Effort.build(3, options={"architecture": "RN50-quickgelu"})
