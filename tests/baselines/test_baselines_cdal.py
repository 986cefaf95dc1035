"""CDAL: conditional convolutions, pooling and losses by loops; the plug-in serves training only."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.fft import dctn
from torch.nn import functional as F

from baselines.cdal import CDAL, AttentionMaps, ConditionalConv, pooled_features
from dfad_bench.core.contract import Batch, Inputs, loss_terms
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.recipe import load_recipe
from dfad_bench.losses.triplet import hardest_triplet


def batch(rows: int = 4) -> Batch:
    images = torch.rand(rows, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(rows) % 2
    return Batch(Inputs(images), labels, labels)


def tiny(**options: Any) -> CDAL:
    torch.manual_seed(0)
    return CDAL.build(3, size="tiny", options={"widths": [4, 6, 8, 8], "dim": 8, "maps": 4, "dropout": 0.0, **options})


@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (3, 2)])
def test_a_conditional_convolution_mixes_its_kernels_for_each_face(kernel: int, groups: int) -> None:
    torch.manual_seed(0)
    module = ConditionalConv(2, 2, kernel, groups).eval()
    x = torch.randn(3, 2, 4, 4)
    with torch.no_grad():
        found = module(x)
        for face in range(3):
            means = x[face].flatten(1).mean(dim=1)
            shares = [
                1 / (1 + math.exp(-float(module.route.weight[e] @ means + module.route.bias[e]))) for e in range(4)
            ]
            mixed = sum(share * module.conv.weight[e] for e, share in enumerate(shares))
            mixed = mixed.reshape(2, 2 // groups, kernel, kernel)
            for out in range(2):
                for row in range(4):
                    for column in range(4):
                        total = 0.0
                        for c in range(2 // groups):
                            source = c if groups == 1 else out
                            for i in range(kernel):
                                for j in range(kernel):
                                    y, z = row + i - kernel // 2, column + j - kernel // 2
                                    if 0 <= y < 4 and 0 <= z < 4:
                                        total += float(mixed[out, c, i, j] * x[face, source, y, z])
                        expected = max(0.0, total / math.sqrt(1 + 1e-5))  # a new batch norm
                        assert float(found[face, out, row, column]) == pytest.approx(expected, abs=1e-4)


def test_half_of_the_maps_come_from_the_other_half() -> None:
    torch.manual_seed(0)
    module, x = AttentionMaps(6, 4).eval(), torch.randn(2, 6, 5, 5)
    with torch.no_grad():
        maps = module(x)
        assert torch.equal(maps[:, 2:], module.depthwise(maps[:, :2]))
    assert maps.shape == (2, 4, 5, 5)
    assert (maps >= 0).all()


def test_bilinear_pooling_equals_loops() -> None:
    torch.manual_seed(0)
    features, maps = torch.randn(2, 3, 4, 5), torch.rand(2, 2, 4, 5)
    found = pooled_features(features, maps)
    for face in range(2):
        values = []
        for m in range(2):
            for c in range(3):
                mean = (
                    sum(float(maps[face, m, y, x] * features[face, c, y, x]) for y in range(4) for x in range(5)) / 20
                )
                values.append(math.copysign(math.sqrt(abs(mean) + 1e-6), mean))
        length = math.sqrt(sum(value**2 for value in values))
        assert found[face].tolist() == pytest.approx([value / length for value in values], abs=1e-5)


def test_the_host_sees_the_dct() -> None:
    model, faces = tiny().eval(), batch().inputs.images
    expected = dctn((faces.numpy() - 0.5) / 0.5, axes=(2, 3), norm="ortho")
    with torch.no_grad():
        features = model.backbone.main[:6](torch.from_numpy(expected).float())
        hidden = model.backbone.main[6:](features)
        assert hidden.shape == (4, 8, 8, 8)
        assert torch.allclose(model.embed(Inputs(faces)), model.fc(hidden.flatten(1)), atol=1e-4)


def test_losses_are_put_together_as_the_card_says() -> None:
    model, data = tiny().train(), batch()
    torch.manual_seed(5)
    terms = loss_terms(model.losses(data))
    torch.manual_seed(5)
    with torch.no_grad():
        x = model.backbone.main[:6](
            torch.from_numpy(dctn(2 * data.inputs.images.numpy() - 1, axes=(2, 3), norm="ortho"))
        )
        embedding = model.fc(model.backbone.main[6:](x).flatten(1))
        maps = model.attention(x)
        chosen = model.sampled_maps(maps)
        y = model.degraded(x, maps, chosen)
        pooled = [pooled_features(x, maps), pooled_features(y, model.attention(y))]
        other = [pooled_features(z, model.counterfactual(z)) for z in (x, y)]
        expected = {"raw": 0.0, "effect": 0.0, "confusion": 0.0}
        for mine, theirs in zip(pooled, other, strict=True):
            raw = model.classifier(100 * mine)
            counter = model.classifier(100 * theirs)
            for face in range(4):
                label = int(data.attribution[face])
                expected["raw"] -= float(raw[face].log_softmax(0)[label]) / 8
                expected["effect"] -= float((raw[face] - counter[face]).log_softmax(0)[label]) / 8
                shares = counter[face].softmax(0)
                expected["confusion"] += sum(float(p * p.log()) for p in shares) / 8
        others = [[m for m in range(4) if m != int(k)] for k in chosen]
        gap = (pooled[0] - pooled[1]).reshape(4, 4, 8)
        expected["match"] = sum(float((gap[face, m] ** 2).sum()) for face in range(4) for m in others[face]) / 4
        expected["triplet"] = float(hardest_triplet(embedding, data.attribution, 0.3))
        expected["dfa"] = float(F.cross_entropy(model.experts.attribution(embedding), data.attribution))
    assert terms.keys() == {*expected, "dfd"}
    for name, value in expected.items():
        assert float(terms[name].value.detach()) == pytest.approx(value, rel=2e-3, abs=2e-3), name
    assert (terms["match"].weight, terms["raw"].weight) == (0.2, 1.0)


def test_features_are_degraded_inside_the_chosen_map_only() -> None:
    model = tiny(noise=0.0)
    features, maps = torch.randn(2, 8, 16, 16), torch.zeros(2, 4, 16, 16)
    maps[0, 1, :, :4], maps[1, 3, 8:] = 0.5, 2.0
    changed = model.degraded(features, maps, torch.tensor([1, 3]))
    assert torch.equal(changed[0, :, :, 4:], features[0, :, :, 4:])
    assert torch.equal(changed[1, :, :8], features[1, :, :8])
    inside = changed[1, :, 8:]
    assert inside.std() < 0.3 * features[1, :, 8:].std()  # blurred throughout: the map's largest value counts as 1
    assert torch.equal(model.degraded(features, torch.zeros_like(maps), torch.tensor([0, 0])), features)


def test_maps_are_drawn_by_what_they_hold() -> None:
    maps = torch.zeros(2000, 4, 2, 2)
    maps[:, 1], maps[:, 2] = 1.0, 3.0
    torch.manual_seed(0)
    counts = torch.bincount(tiny().sampled_maps(maps), minlength=4)
    assert counts[0] == counts[3] == 0
    assert 0.22 < counts[1] / 2000 < 0.28


def test_the_plug_in_serves_training_only() -> None:
    model, data = tiny().eval(), batch()
    with torch.no_grad():
        before = model(data.inputs)
        for part in (model.attention, model.counterfactual, model.classifier):
            for parameter in part.parameters():
                parameter.zero_()
        assert torch.equal(model(data.inputs).attribution_logits, before.attribution_logits)
        assert set(model.losses(data)) == {"dfa", "dfd"}


def test_options_out_of_range_are_refused() -> None:
    for options in ({"maps": 5}, {"blur": 10}, {"side": 64, "blur": 17}):
        with pytest.raises(ConfigError, match="maps must be even"):
            CDAL.build(3, size="tiny", options=options)


def test_its_recipe_counts_faces_a_class_and_steps() -> None:
    recipe = load_recipe("cdal")
    assert (recipe.optimiser.lr, recipe.schedule.unit, recipe.schedule.every) == (1.3e-4, "step", 500)
    assert (recipe.stages["main"].sampler, recipe.stages["main"].batch_size) == ("images_per_class", 8)


@pytest.mark.heavy
def test_the_parts_that_are_counted_have_the_known_size() -> None:
    """22.861 M: the host with both heads, and of the plug-in what the published graph calls and a counter sees."""
    with torch.device("meta"):
        model = CDAL.build(11)
    count = sum(
        p.numel() for part in (model.backbone, model.fc, model.experts, model.classifier) for p in part.parameters()
    )
    for conv in (model.attention.plain, model.attention.depthwise):
        count += sum(p.numel() for layer in (conv.route, conv.norm) for p in layer.parameters())
    assert count / 1e6 == pytest.approx(22.861, abs=0.001)
