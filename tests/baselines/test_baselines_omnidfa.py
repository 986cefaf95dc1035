"""OmniDFA: its two views, losses, threshold and prototypes against loops; its start and its weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from baselines.omnidfa import OmniDFA, outlier_free_cosine
from dfad_bench.core.contract import Batch, Inputs, loss_terms
from dfad_bench.core.errors import ConfigError, WeightsError
from dfad_bench.core.recipe import load_recipe

OPTIONS = {"side": 64}


def batch(rows: int = 9, side: int = 80) -> Batch:
    images = torch.rand(rows, 3, side, side, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(rows) % 3
    return Batch(Inputs(images), labels, (labels > 0).long())


def tiny(**options: Any) -> OmniDFA:
    torch.manual_seed(0)
    return OmniDFA.build(3, size="tiny", options={**OPTIONS, **options}).eval()


class Rows:
    """A stage's faces, in batches of four."""

    def __init__(self, data: Batch) -> None:
        self.data = data
        self.device = torch.device("cpu")

    def train(self, batch_size: int = 4) -> Iterator[Batch]:
        for i in torch.arange(len(self.data)).split(4):
            inputs = Inputs(self.data.inputs.images[i])
            yield Batch(inputs, self.data.attribution[i], self.data.detection[i])

    validation = train


@pytest.mark.heavy
@torch.no_grad()
def test_the_embedding_is_of_the_middle_and_of_the_whole() -> None:
    model, data = tiny(), batch(2)
    for image, found in zip(data.inputs.images, model.embed(data.inputs), strict=True):
        middle = image[:, 8:72, 8:72]
        whole = F.interpolate(image[None], (64, 64), mode="bilinear", antialias=True, align_corners=False)
        both = torch.cat([model.crop_trunk(middle[None]), model.whole_trunk(whole)], dim=1)
        first, _, last = model.projection
        hidden = both @ first.weight.T + first.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        assert torch.allclose(found, (hidden @ last.weight.T + last.bias)[0], atol=1e-5)


@torch.no_grad()
def test_in_training_the_native_view_is_a_random_window() -> None:
    model, data = tiny().train(), batch(4)
    crops = model._native(data.inputs.images)
    places = [
        (y, x)
        for image, crop in zip(data.inputs.images, crops, strict=True)
        for y in range(17)
        for x in range(17)
        if torch.equal(image[:, y : y + 64, x : x + 64], crop)
    ]
    assert len(places) == 4
    assert len(set(places)) > 1
    small = torch.rand(2, 3, 50, 90)
    assert model._native(small) is small  # nothing to crop: the whole face twice


@torch.no_grad()
def test_losses_by_loops() -> None:
    model, data = tiny(), batch()
    terms = loss_terms(model.losses(data))
    output = model(data.inputs)
    rows = [row / row.norm() for row in output.embedding]
    centre = model.centre / model.centre.norm()
    anchors = []
    for i, row in enumerate(rows):
        others = [j for j in range(9) if j != i]
        total = sum(math.exp(float(row @ rows[j]) / 0.07) for j in others)
        alike = [j for j in others if data.attribution[j] == data.attribution[i]]
        anchors.append(-sum(math.log(math.exp(float(row @ rows[j]) / 0.07) / total) for j in alike) / len(alike))
    assert float(terms["supcon"].value) == pytest.approx(sum(anchors) / 9, rel=1e-4)
    away = [1 - float(rows[i] @ centre) for i in (0, 3, 6)]
    assert float(terms["centre"].value) == pytest.approx(sum(away) / 3, abs=1e-5)
    assert torch.allclose(terms["dfa"].value, F.cross_entropy(output.attribution_logits, data.attribution))
    assert torch.allclose(terms["dfd"].value, F.cross_entropy(output.detection_logits, data.detection))
    assert (terms["supcon"].weight, terms["centre"].weight) == (1.0, 0.01)
    forged = Batch(data.inputs, data.attribution, torch.ones_like(data.detection))
    assert float(loss_terms(model.losses(forged))["centre"].value) == 0


def test_an_outlier_does_not_set_the_threshold() -> None:
    angles = torch.tensor([0.1, 0.2, 0.3, 0.4, 2.0])  # quartiles 0.2 and 0.4: beyond 0.7 is an outlier
    real = torch.ones(5, dtype=torch.bool)
    assert float(outlier_free_cosine(angles.cos(), real)) == pytest.approx(math.cos(0.4), abs=1e-6)
    assert float(outlier_free_cosine(angles[:4].cos(), real[:4])) == pytest.approx(math.cos(0.4), abs=1e-6)
    assert float(outlier_free_cosine(torch.tensor([0.25]), real[:1])) == pytest.approx(0.25)


@torch.no_grad()
def test_the_threshold_follows_training_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = tiny(momentum=0.75), batch()
    model.losses(data)
    model.after_step("main", data)
    assert float(model.threshold) == 0  # a validation batch
    monkeypatch.setattr(model.train(), "_native", lambda images: images[..., :64, :64])  # no random window
    cosines = F.cosine_similarity(model.embed(data.inputs), model.centre[None])
    expected = 0.0
    for _ in range(2):
        model.losses(data)
        model.after_step("main", data)
        expected = 0.75 * expected + 0.25 * float(outlier_free_cosine(cosines, data.detection == 0))
    assert float(model.threshold) == pytest.approx(expected, abs=1e-6)
    model.after_step("main", data)
    assert float(model.threshold) == pytest.approx(expected, abs=1e-6)  # a step's faces count once
    forged = Batch(data.inputs, data.attribution, torch.ones_like(data.detection))
    model.losses(forged)
    model.after_step("main", forged)
    assert float(model.threshold) == pytest.approx(expected, abs=1e-6)  # nor do those of a step without real ones


@torch.no_grad()
def test_prototypes_decide_once_they_are_made() -> None:
    model, data = tiny(decides="prototypes"), batch()
    before = model(data.inputs)
    assert torch.equal(before.attribution_logits, model.experts(before.embedding).attribution_logits)
    model.train().before_prediction(Rows(data))
    model.eval()
    model.threshold.fill_(0.3)
    found = model(data.inputs)
    rows = F.normalize(found.embedding, dim=1)
    for label in range(3):
        mean = rows[data.attribution == label].sum(dim=0)
        expected = rows @ (mean / mean.norm()) / 0.07
        assert torch.allclose(found.attribution_logits[:, label], expected, atol=1e-4)
    fake = F.cosine_similarity(found.embedding, model.centre[None]) < 0.3
    assert torch.equal(found.detection_logits.argmax(dim=1) == 1, fake)
    alone = tiny()
    alone.before_prediction(Rows(data))
    assert not alone.prototypes.any()  # the experts decide: no pass over the faces


@torch.no_grad()
def test_a_class_without_faces_is_named_by_nothing() -> None:
    model, data = tiny(decides="prototypes"), batch()
    seen = Batch(data.inputs, data.attribution.clamp(max=1), data.detection)
    model.before_prediction(Rows(seen))
    assert (model(data.inputs).attribution_logits.argmax(dim=1) < 2).all()


@torch.no_grad()
def test_tiny_blocks_would_start_silent() -> None:
    """Why tiny models have a start of their own: what blocks add to what passes by them, from the published start.

    Gradients of their weights are then as small as the constant that Adam divides by, and the network stays a linear
    map of patches, whose mean is a face's colour.
    """

    def loudest(**options: Any) -> list[float]:
        shares = []
        trunk = tiny(**options).whole_trunk
        for stage in trunk.stages:
            for block in stage.blocks:
                block.register_forward_hook(
                    lambda _, given, made: shares.append(float((made - given[0]).norm() / given[0].norm()))
                )
        trunk(batch().inputs.images)
        return shares

    assert max(loudest(fan_in=False, layer_scale=1e-6)) < 1e-6
    assert max(loudest(fan_in=False)) < 0.2
    assert min(loudest()) > 0.3


def test_a_convnext_of_timm_loads_into_both_views(tmp_path: Path) -> None:
    state = {name: torch.randn_like(value) for name, value in tiny().crop_trunk.state_dict().items()}
    saved = {name: value[..., None, None] if ".mlp.fc1.weight" in name else value for name, value in state.items()}
    saved |= {"head.fc.weight": torch.zeros(10, 32), "head.fc.bias": torch.zeros(10)}
    torch.save(saved, tmp_path / "nano.pth")
    model = OmniDFA.build(3, size="tiny", weights=tmp_path / "nano.pth", options=OPTIONS)
    for trunk in (model.crop_trunk, model.whole_trunk):
        assert all(torch.equal(value, state[name]) for name, value in trunk.state_dict().items())
    del saved["stages.3.blocks.0.gamma"]
    torch.save(saved, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match="not a ConvNeXt state dict of timm"):
        OmniDFA.build(3, size="tiny", weights=tmp_path / "part.pth", options=OPTIONS)


def test_options_out_of_range_are_refused() -> None:
    for options in ({"temperature": 0.0}, {"momentum": 1.0}):
        with pytest.raises(ConfigError, match="temperature must be above 0"):
            OmniDFA.build(3, size="tiny", options=options)


def test_its_recipe_is_the_authors() -> None:
    recipe = load_recipe("omnidfa")
    assert (recipe.optimiser.name, recipe.optimiser.lr, recipe.optimiser.weight_decay) == ("adamw", 2e-5, 0.01)
    assert (recipe.schedule.name, recipe.schedule.warmup_epochs, recipe.epochs) == ("cosine", 2, 20)
    assert (recipe.batch_size, recipe.stages["main"].real_forged) == (144, (1, 8))
