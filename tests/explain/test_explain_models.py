"""Heat-maps of every registered model: in range, repeatable, and the model is afterwards as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.models import every_model
from torch import Tensor, nn

from dfad_bench.core.contract import DFADModel, Inputs
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.explain.heat_maps import HeatMaps, heat_maps

PROMPTS = [["real"], *([["forged", f"swap {k}", f"net {k}", f"made by {k}"] for k in range(3)])]
SIDE = 96
EXPECTED = {  # what a reader of the architecture would name
    "resnet": ("grad_cam", "trunk.layer4"),
    "bmrl": ("grad_cam", "mpve.ae.stem"),  # not its noise stem, which sees one tile
    "mfclip": ("grad_cam", "vision.features"),
    "omnidfa": ("grad_cam", "whole_trunk.stages"),
    "cdal": ("saliency", "pixels"),  # its network reads frequencies
    "clip": ("rollout", "clip.visual.transformer.resblocks.1.attn"),
    "gazeclip": ("rollout", "gie.blocks.3.block.attn"),
    "de_fake": ("rollout", "clip.visual.transformer.resblocks.1.attn"),  # frozen within no_grad
    "vfm_probe": ("rollout", "backbone.network.blocks.5.attn"),
}


def built(name: str) -> DFADModel:
    torch.manual_seed(0)
    options = {"cached": False} if name == "vfm_probe" else {}
    return model_class(name).build(4, size="tiny", class_prompts=PROMPTS, options=options)


def faces(model: DFADModel, count: int = 2) -> Inputs:
    drawn = torch.Generator().manual_seed(1)
    views: dict[str, Any] = {
        name: ("a face",) * count if name == "captions" else torch.randn(count, 2, generator=drawn)
        for name in model.needs
    }
    return Inputs(torch.rand(count, 3, SIDE, SIDE, generator=drawn), views)


def state(model: nn.Module) -> list[Any]:
    """All that a heat-map could leave behind."""
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    modes = [module.training for module in model.modules()]
    learning = [(each.requires_grad, each.grad is None) for each in model.parameters()]
    return [hooks, modes, learning, torch.get_rng_state().tolist(), torch.is_grad_enabled()]


@pytest.mark.parametrize("name", every_model(set(model_names()) - {"always_fake", "majority", "never_sure"}))
def test_any_model_has_maps_and_is_left_as_it_was(name: str) -> None:
    torch.set_num_threads(1)
    model = built(name).train()
    inputs, values = faces(model), {key: value.clone() for key, value in model.state_dict().items()}
    before = state(model)
    first, second = (heat_maps(model, inputs) for _ in range(2))
    assert state(model) == before
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())
    assert first.maps.shape == (2, SIDE, SIDE)
    assert first.maps.dtype == torch.float32
    assert 0 <= float(first.maps.min()) <= float(first.maps.max()) <= 1
    assert torch.equal(first.maps, second.maps)
    assert torch.equal(first.raw, second.raw)
    assert not first.maps.requires_grad
    if name in EXPECTED:
        assert (first.method, first.layer) == EXPECTED[name]
    alone = heat_maps(model, Inputs(inputs.images[:1], {k: v[:1] for k, v in inputs.views.items()}))
    torch.testing.assert_close(alone.raw[0], first.raw[0], rtol=1e-3, atol=1e-6)  # a face's map is its own


@pytest.mark.parametrize("name", ["clip", "gazeclip"])
def test_nothing_changes_where_no_gradients_are_recorded(name: str) -> None:
    model = built(name).eval()
    inputs = faces(model)
    expected = heat_maps(model, inputs)
    with torch.inference_mode():
        views = {key: value.clone() for key, value in inputs.views.items() if isinstance(value, Tensor)}
        frozen = Inputs(inputs.images.clone(), views)
        found = heat_maps(model, frozen)
        assert torch.is_inference_mode_enabled()
    assert torch.equal(found.maps, expected.maps)


@pytest.mark.parametrize("name", ["always_fake", "majority", "never_sure"])
def test_a_model_that_looks_at_nothing_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match="follows from nothing a heat-map could show"):
        heat_maps(built(name), faces(built(name)))


def test_a_probe_of_stored_features_says_what_it_reads() -> None:
    model = model_class("vfm_probe").build(4, size="tiny")
    with pytest.raises(ConfigError, match=r"VFM probe reads features instead of the picture.*cached=false"):
        heat_maps(model, Inputs(torch.rand(1, 3, 0, 0), {"features": torch.rand(1, 8)}))


class Watching(nn.Module):
    """Logits alone, as other libraries want them."""

    def __init__(self, model: DFADModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(Inputs(images)).attribution_logits


@pytest.mark.parametrize("name", ["resnet", pytest.param("xception", marks=pytest.mark.heavy)])
def test_grad_cam_is_that_of_torchcam_and_captum(name: str) -> None:
    captum, torchcam = pytest.importorskip("captum.attr"), pytest.importorskip("torchcam.methods")
    model = built(name).eval()
    inputs = faces(model)
    found = heat_maps(model, inputs, classes=torch.tensor([2, 0]))
    layer = model.get_submodule("trunk.layer4" if name == "resnet" else found.layer)
    watching = Watching(model)
    attributed = captum.LayerGradCam(watching, layer).attribute(
        inputs.images, target=torch.tensor([2, 0]), relu_attributions=True
    )
    torch.testing.assert_close(found.raw, attributed[:, 0].detach())
    with torchcam.GradCAM(watching, target_layer=layer) as extractor:
        logits = watching(inputs.images)
        (theirs,) = extractor([2, 0], logits, normalized=False)
    torch.testing.assert_close(found.raw, theirs)


def test_grad_cam_of_a_transformer_is_that_of_torchcam() -> None:
    torchcam = pytest.importorskip("torchcam.methods")
    model = built("clip").eval()
    inputs = faces(model)
    found = heat_maps(model, inputs, classes=3, method="grad_cam")
    assert found.layer == "clip.visual.transformer.resblocks.1.ln_1"  # the last one whose patches the class token reads
    side = found.raw.shape[1]
    with torchcam.GradCAM(
        Watching(model),
        target_layer=model.get_submodule(found.layer),
        reshape_transform=lambda tokens: tokens[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2),
    ) as extractor:
        logits = Watching(model)(inputs.images)
        (theirs,) = extractor([3, 3], logits, normalized=False)
    torch.testing.assert_close(found.raw, theirs, rtol=1e-4, atol=1e-7)


def test_gradients_of_pixels_are_those_of_captum() -> None:
    captum = pytest.importorskip("captum.attr")
    model = built("resnet").eval()
    inputs = faces(model)
    found: HeatMaps = heat_maps(model, inputs, classes=1, method="saliency")
    theirs = captum.Saliency(Watching(model)).attribute(inputs.images.clone().requires_grad_(), target=1)
    cells = theirs.sum(dim=1).unflatten(2, (16, 6)).unflatten(1, (16, 6)).mean(dim=(2, 4))
    torch.testing.assert_close(found.raw, cells)
