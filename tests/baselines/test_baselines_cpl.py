"""CPL: where faces without labels come from, its losses put together by hand, its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from baselines import cpl
from baselines.cpl import CPL
from dfad_bench.core.contract import Batch, Inputs, loss_terms, weighted_losses
from dfad_bench.core.errors import ConfigError, WeightsError
from dfad_bench.core.recipe import load_recipe
from dfad_bench.losses.voting import negative_entropy, pair_loss, voted_pairs

OPTIONS = {"side": 64, "dropout": 0.0}


def batch(rows: int = 8, unlabelled: int = 0) -> Batch:
    images = torch.rand(rows + unlabelled, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(rows) % 3
    hidden = Inputs(images[rows:]) if unlabelled else None
    return Batch(Inputs(images[:rows]), labels, (labels > 0).long(), unlabelled=hidden)


def tiny(**options: Any) -> CPL:
    torch.manual_seed(0)
    return CPL.build(3, size="tiny", options={**OPTIONS, **options}).train()


def by_hand(model: CPL, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole faces after the neck, (n, d), and nine parts, (n, 9, d), normalised over the batch place by place."""
    maps = model.trunk.forward_features(model.prepare(images))
    whole = F.batch_norm(maps.mean(dim=(2, 3)), None, None, model.neck.weight, model.neck.bias, training=True)
    side, parts = maps.shape[-1], []
    for row in range(3):
        for column in range(3):
            begins = [k * side // 3 for k in (row, column)]
            ends = [-(-(k + 1) * side // 3) for k in (row, column)]
            mean = maps[:, :, begins[0] : ends[0], begins[1] : ends[1]].mean(dim=(2, 3))
            centred = mean - mean.mean(dim=0)
            parts.append(centred / (centred.square().mean(dim=0) + 1e-5).sqrt())
    return whole, torch.stack(parts, dim=1)


@pytest.mark.heavy
def test_losses_with_the_protocols_unlabelled_faces() -> None:
    model, data = tiny(unlabelled="protocol"), batch(6, unlabelled=5)
    torch.manual_seed(3)
    terms = loss_terms(model.losses(data))
    with torch.no_grad():
        whole, parts = by_hand(model, torch.cat([data.inputs.images, data.unlabelled.images]))
        logits = whole @ model.experts.attribution[1].weight.T
        labels = torch.tensor([0, 1, 2, 0, 1, 2, -1, -1, -1, -1, -1])
        pairs = voted_pairs(whole, parts, (labels < 0)[:, None] | (labels[:, None] == labels[None]))
        lowered = logits[:6] - 0.2 * F.one_hot(data.attribution, 3)
        expected = {
            "dfa": F.cross_entropy(lowered, data.attribution),
            "dfd": F.cross_entropy(whole[:6] @ model.experts.detection[1].weight.T, data.detection),
            "voting": pair_loss(logits.softmax(dim=1), pairs),
            "spread": negative_entropy(logits.softmax(dim=1)),
        }
        for name, value in expected.items():
            assert torch.allclose(terms[name].value, value, atol=1e-4), name
        torch.manual_seed(3)
        noise = -torch.empty(5, 3).exponential_().log()
        drawn = (logits[6:] + noise).argmax(dim=1)
        shares = logits[6:].softmax(dim=1)[torch.arange(5), drawn]
        assert torch.allclose(terms["pseudo"].value, (pairs.agreed[6:] * shares * -shares.log()).mean(), atol=1e-4)
    assert {name: terms[name].weight for name in ("voting", "pseudo", "spread")} == {
        "voting": 0.5, "pseudo": 0.5, "spread": 1.0,
    }  # fmt: skip
    assert pairs.other[0] == 3  # the only other face with its label


def test_hidden_labels_are_not_used_at_that_step() -> None:
    """With other labels on hidden faces every loss and gradient is the same."""
    hidden = torch.tensor([0, 4, 7])
    mask = torch.isin(torch.arange(10), hidden)
    data = replace(batch(10), hidden=mask)
    changed = Batch(data.inputs, data.attribution.clone(), data.detection.clone(), hidden=mask)
    changed.attribution[hidden] = (data.attribution[hidden] + 1) % 3
    changed.detection[hidden] = 1 - data.detection[hidden]
    found = []
    for each in (data, changed):
        model = tiny()
        torch.manual_seed(7)
        losses = weighted_losses(model.losses(each))
        torch.stack(list(losses.values())).sum().backward()
        found.append((losses, [p.grad for p in model.parameters()]))
    assert set(found[0][0]) == {"dfa", "dfd", "voting", "pseudo", "spread"}
    assert all(torch.equal(found[0][0][name], found[1][0][name]) for name in found[0][0])
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


@pytest.mark.heavy
def test_validation_and_training_without_them_are_margin_and_detection() -> None:
    for model in (tiny(unlabelled="none"), tiny().eval()):
        assert set(model.losses(batch())) == {"dfa", "dfd"}
    assert [stage.unlabelled for stage in tiny().stages] == [0.0]
    assert [stage.unlabelled for stage in tiny(unlabelled="protocol", ratio=2.0).stages] == [2.0]


def test_parts_of_a_split_batch_make_the_mean_over_all_labels_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of 3 and 2 faces, of which 1 and 0 labels are shown; means weigh by faces, as training weighs."""
    everyone = torch.tensor([-1, 2, -1, -1, -1])
    monkeypatch.setattr(cpl, "is_split", lambda: True)
    monkeypatch.setattr(cpl, "gather_rows", lambda labels: everyone)
    logits = torch.tensor([[1.0, 2.0, 0.5]], requires_grad=True)
    shown = F.cross_entropy(logits, torch.tensor([2]))
    none = F.cross_entropy(logits[:0], torch.zeros(0, dtype=torch.long))
    parts = [
        cpl._weighed({"dfa": shown}, everyone[:3], 1)["dfa"] * 3 / 5,
        cpl._weighed({"dfa": none}, everyone[3:], 0)["dfa"] * 2 / 5,
    ]
    assert torch.allclose(sum(parts), shown)
    (gradient,) = torch.autograd.grad(sum(parts), logits)
    assert torch.isfinite(gradient).all()


def test_options_out_of_range_are_refused() -> None:
    for options in ({"hidden_share": 1.0}, {"ratio": 0.0}):
        with pytest.raises(ConfigError, match="hidden_share must lie in"):
            CPL.build(3, size="tiny", options=options)


@pytest.mark.heavy
def test_a_resnet_with_bottlenecks_loads(tmp_path: Path) -> None:
    model = tiny()
    state = {**model.trunk.state_dict(), "fc.weight": torch.zeros(10, 96), "fc.bias": torch.zeros(10)}
    torch.save(state, tmp_path / "resnet50.pth")
    again = CPL.build(5, size="tiny", weights=tmp_path / "resnet50.pth", options=OPTIONS)
    assert all(torch.equal(value, again.trunk.state_dict()[name]) for name, value in model.trunk.state_dict().items())
    del state["layer4.0.conv3.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match="not a ResNet-50 state dict"):
        CPL.build(5, size="tiny", weights=tmp_path / "part.pth", options=OPTIONS)


def test_its_recipe_is_the_papers() -> None:
    recipe = load_recipe("cpl")
    assert (recipe.optimiser.lr, recipe.optimiser.weight_decay, recipe.batch_size, recipe.epochs) == (
        2e-4,
        1e-5,
        128,
        50,
    )
    assert (recipe.schedule.every, recipe.schedule.gamma) == (10, 0.2)


def test_an_added_loss_may_not_read_labels_that_are_hidden() -> None:
    with pytest.raises(
        ConfigError, match=r"centre_loss reads the labels of all faces, some of which unlabelled=hidden"
    ):
        tiny(centre_loss="dfacc").terms(batch())
    assert "dfacc" in tiny(centre_loss="dfacc", unlabelled="none").terms(batch())
    model = tiny(centre_loss="dfacc", unlabelled="protocol")
    seen: list[torch.Tensor] = []
    model.added_loss.loss.register_forward_pre_hook(lambda _, given: seen.extend(given))
    model.terms(batch(6, unlabelled=6))
    assert (len(seen[0]), seen[1].tolist()) == (6, [0, 1, 2, 0, 1, 2])  # faces with labels only
