"""Attention rollout against a slow, plain computation, however a network computes its attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.contract import Card, DFADModel, Inputs, Label, Output
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.registry import model_class
from dfad_bench.explain.heat_maps import Method, enlarged_maps, heat_maps
from dfad_bench.explain.watched_pass import undisturbed, watch


def plain_rollout(blocks: list[Tensor]) -> Tensor:
    """Row by row: where the tokens of each face come from, attention (heads, N, N) of one face a block."""
    count = blocks[0].shape[-1]
    joint = torch.eye(count)
    for block in blocks:
        mean = block.mean(dim=0)
        step = torch.zeros(count, count)
        for i in range(count):
            for j in range(count):
                step[i, j] = mean[i, j] / 2 + (0.5 if i == j else 0.0)
        joint = step @ joint
    return joint


def images(count: int = 2, side: int = 64) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(2))


def built(name: str, **options: object) -> DFADModel:
    torch.manual_seed(3)
    return model_class(name).build(4, size="tiny", options=options).eval()


def vit_weights(model: DFADModel, x: Tensor) -> list[Tensor]:
    """By its own softmax modules."""
    found: list[Tensor] = []
    softmaxes = [module for module in model.modules() if isinstance(module, nn.Softmax)]
    handles = [module.register_forward_hook(lambda m, i, result: found.append(result)) for module in softmaxes]
    model(Inputs(x))
    for handle in handles:
        handle.remove()
    return found


def clip_weights(model: DFADModel, x: Tensor) -> list[Tensor]:
    """By the projections of torch's attention, written out."""
    found: list[Tensor] = []

    def read(attention: nn.MultiheadAttention, tokens: Tensor) -> None:
        q, k, _ = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
        q, k = (part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in (q, k))
        found.append((q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1))

    visual: Any = model.get_submodule("clip.visual" if hasattr(model, "clip") else "visual")
    handles = [
        block.attn.register_forward_pre_hook(
            lambda m, args, kwargs: read(m, kwargs.get("query", args[0] if args else None)), with_kwargs=True
        )
        for block in visual.transformer.resblocks
    ]
    model(Inputs(x))
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize(("name", "reference"), [("vit", vit_weights), ("clip", clip_weights)])
@torch.no_grad()
def test_rollout_of_a_class_token(name: str, reference: Callable[[DFADModel, Tensor], list[Tensor]]) -> None:
    model, x = built(name), images()
    blocks = reference(model, x)
    found = heat_maps(model, Inputs(x))
    assert found.method == "rollout"
    for face in range(2):
        row = plain_rollout([block[face] for block in blocks])[0]
        assert float(row.sum()) == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(found.raw[face].flatten(), row[1:], rtol=1e-4, atol=1e-7)


def timm_weights(model: DFADModel, x: Tensor) -> list[Tensor]:
    """By timm's own way: fused attention switched off, the input of `attn_drop`."""
    found: list[Tensor] = []
    blocks: list[Any] = [module for module in model.modules() if hasattr(module, "fused_attn")]
    for block in blocks:
        block.fused_attn = False
    handles = [block.attn_drop.register_forward_pre_hook(lambda m, args: found.append(args[0])) for block in blocks]
    model(Inputs(x))
    for handle in handles:
        handle.remove()
    return found


@torch.no_grad()
def test_rollout_where_attention_is_fused() -> None:
    x = images(1, 160)
    found = heat_maps(built("vfm_probe", cached=False), Inputs(x))
    row = plain_rollout([block[0] for block in timm_weights(built("vfm_probe", cached=False), x)])[0]
    torch.testing.assert_close(found.raw[0].flatten(), row[1:], rtol=1e-4, atol=1e-7)


@torch.no_grad()
def test_rollout_of_an_average_and_of_a_pooling_attention() -> None:
    x = images(1, 160)
    joint = plain_rollout([block[0] for block in timm_weights(built("vfm_probe", cached=False), x)])
    averaged = heat_maps(built("vfm_probe", cached=False, feature="avg"), Inputs(x))
    torch.testing.assert_close(averaged.raw[0].flatten(), joint[1:, 1:].mean(dim=0), rtol=1e-4, atol=1e-7)
    model = built("vfm_probe", cached=False, experts="attentive")
    with undisturbed(model):
        passed = watch(model, Inputs(x))
    pools = {
        task: passed.attentions[-2 + k].weights.mean(dim=1)[0, 0] for k, task in enumerate(("attribution", "detection"))
    }
    joint = plain_rollout([each.weights[0] for each in passed.attentions[:-2]])
    tasks: tuple[Label, ...] = ("attribution", "detection")
    for task in tasks:
        found = heat_maps(model, Inputs(x), task=task)
        torch.testing.assert_close(found.raw[0].flatten(), (pools[task] @ joint)[1:], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "options"), [("vit", {}), ("clip", {}), ("effort", {}), ("vfm_probe", {"cached": False})]
)
def test_a_watched_pass_gives_what_the_model_gives(name: str, options: dict[str, object]) -> None:
    model, inputs = built(name, **options), Inputs(images())
    with torch.no_grad():
        expected = model(inputs)
    with undisturbed(model):
        passed = watch(model, inputs)
    torch.testing.assert_close(passed.output.attribution_logits, expected.attribution_logits, rtol=1e-5, atol=1e-5)
    assert passed.attentions
    for attention in passed.attentions:
        torch.testing.assert_close(attention.weights.sum(dim=-1), torch.ones(attention.weights.shape[:3]))


def test_the_class_token_alone_in_the_last_block_changes_nothing() -> None:
    views = {"gaze": torch.zeros(2, 2)}
    short, whole = (built("gazeclip", shortcuts=shortcuts) for shortcuts in (True, False))
    whole.load_state_dict(short.state_dict())
    first, second = (heat_maps(model, Inputs(images(), views)) for model in (short, whole))
    torch.testing.assert_close(first.raw, second.raw, rtol=1e-4, atol=1e-6)


def test_a_border_that_no_pixel_reaches_is_cut_off() -> None:
    model: Any = built("repdfd")
    found = heat_maps(model, Inputs(images()))
    side, inner = found.raw.shape[1], model.config.inner
    margin = int((model.side - inner) / 2 // (model.side / side))
    assert margin >= 1
    assert torch.equal(found.maps, enlarged_maps(found.raw, (64, 64), floor=True, margin=margin))


class Corner(DFADModel):
    """Its attribution is the brightness of one quarter of the picture; a second stream reads the middle."""

    card = Card("Corner", "nobody", 2026, "both", "one corner decides", "nothing")

    def __init__(self, num_generators: int = 2, *, tile: bool = False) -> None:
        super().__init__(2, num_generators)
        self.tile = tile
        self.cells, self.middle = nn.AvgPool2d(8), nn.AvgPool2d(4)
        self.experts = nn.Identity()

    def forward(self, inputs: Inputs) -> Output:
        middle = self.middle(inputs.images[..., 24:40, 24:40]).mean(dim=(1, 2, 3))
        cells = self.cells(inputs.images) if not self.tile else self.cells(inputs.images[..., :32, :32])
        corner = cells[:, :, :2, 6:].mean(dim=(1, 2, 3)) if not self.tile else cells.mean(dim=(1, 2, 3))
        logits = torch.stack([corner, middle], dim=1)
        return Output(logits, logits, logits)


class Mirrored(DFADModel):
    """A convolution that sees left and right alike."""

    card = Card("Mirrored", "nobody", 2026, "both", "no side counts", "nothing")

    def __init__(self, num_generators: int = 2) -> None:
        super().__init__(4, num_generators)
        torch.manual_seed(5)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        for layer in (self.first, self.second):
            layer.weight.data += layer.weight.data.flip(3)

    def embed(self, inputs: Inputs) -> Tensor:
        return self.second(self.first(inputs.images).relu()).relu().mean(dim=(2, 3))


def test_evidence_lies_where_it_was_put() -> None:
    """The second stream, which reads the middle, is not taken for the picture."""
    x = images()
    found = heat_maps(Corner().eval(), Inputs(x), classes=0)
    assert found.layer == "cells"
    brightness = F.avg_pool2d(x, 8).sum(dim=1)
    torch.testing.assert_close(found.raw, brightness / (3 * 2 * 2) * (2 * 2) / 64)  # all cells by the mean gradient
    gradients = heat_maps(Corner().eval(), Inputs(x), classes=0, method="saliency")
    corner = torch.zeros(2, 16, 16, dtype=torch.bool)
    corner[:, :4, 12:] = True
    assert torch.equal(gradients.raw > 0, corner)


@pytest.mark.parametrize("method", ["grad_cam", "saliency"])
def test_the_map_of_a_mirrored_face_is_the_mirrored_map(method: Method) -> None:
    x = images(1, 32)
    model = Mirrored().eval()
    plain, mirrored = (heat_maps(model, Inputs(each), classes=1, method=method) for each in (x, x.flip(3)))
    assert plain.raw.any()
    torch.testing.assert_close(mirrored.raw, plain.raw.flip(2), rtol=1e-4, atol=1e-7)


def test_a_stream_that_sees_one_tile_is_no_map_of_the_picture() -> None:
    found = heat_maps(Corner(tile=True).eval(), Inputs(images()))
    assert found.method == "saliency"


def test_what_cannot_be_asked_is_said() -> None:
    model, inputs = built("resnet"), Inputs(images())
    with pytest.raises(UnknownNameError, match="no layer with a map named 'trunk.layer5'. Did you mean trunk.layer"):
        heat_maps(model, inputs, layer="trunk.layer5")
    with pytest.raises(ConfigError, match="no transformer over patches"):
        heat_maps(model, inputs, method="rollout")
    with pytest.raises(ConfigError, match="attribution has classes 0 to 3, got 4 to 4"):
        heat_maps(model, inputs, classes=4)
    with pytest.raises(ConfigError, match="has no layer to choose"):
        heat_maps(model, inputs, method="rollout", layer="trunk.layer4")
    assert heat_maps(model, inputs, layer="trunk.layer3").raw.shape[1:] == (8, 8)
