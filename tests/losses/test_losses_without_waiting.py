"""Losses over some of the rows, of fixed shapes, against the same with the rows picked out: values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.cdal import CDAL
from baselines.cpl import _HIDDEN, CPL
from baselines.lida import LIDA
from baselines.omnidfa import outlier_free_cosine
from dfad_bench.core.contract import Batch, Inputs, Output, loss_terms
from dfad_bench.losses.contrastive import symmetric_cross_entropy, symmetric_infonce
from dfad_bench.losses.patch_contrast import kind_contrast, patch_contrast
from dfad_bench.losses.supcon import supervised_contrastive
from dfad_bench.losses.triplet import hardest_triplet
from dfad_bench.losses.voting import (
    Pairs,
    margin_cross_entropy,
    negative_entropy,
    pair_loss,
    pseudo_label_loss,
    voted_pairs,
)

MASKS = ("random", "none", "all", "one")


def mask_of(kind: str, rows: int) -> Tensor:
    if kind == "random":
        return torch.rand(rows) > 0.4
    return torch.arange(rows) == rows // 2 if kind == "one" else torch.full((rows,), kind == "all")


def held_equal(ours: Callable[..., Tensor], picked: Callable[..., Tensor], *learning: Tensor) -> None:
    """The same value and the same gradients with respect to `learning`."""
    found = []
    for loss in (ours, picked):
        leaves = [value.clone().requires_grad_() for value in learning]
        value = loss(*leaves)
        value.backward()
        found.append([value.detach(), *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=2e-6)


def picked_supcon(features: Tensor, labels: Tensor, temperature: float = 0.07) -> Tensor:
    z = F.normalize(features, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool)
    logits = (z @ z.T / temperature).masked_fill(itself, float("-inf"))
    log_shares = logits.log_softmax(dim=1).masked_fill(itself, 0.0)
    positive = (labels[:, None] == labels[None]) & ~itself
    counts = positive.sum(dim=1)
    anchors = counts > 0
    per_anchor = -(log_shares * positive).sum(dim=1)[anchors] / counts[anchors]
    return per_anchor.mean() if len(per_anchor) else z.sum() * 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("classes", [1, 3, 100])
def test_contrast_of_anchors_with_a_positive(seed: int, rows: int, classes: int) -> None:
    torch.manual_seed(seed)
    labels = torch.randint(classes, (rows,))
    held_equal(lambda x: supervised_contrastive(x, labels), lambda x: picked_supcon(x, labels), torch.randn(rows, 5))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", MASKS)
def test_contrast_of_rows_that_there_are(seed: int, kind: str) -> None:
    torch.manual_seed(seed)
    labels, present = torch.randint(3, (8,)), mask_of(kind, 8)
    held_equal(
        lambda x: supervised_contrastive(x, labels, present=present),
        lambda x: picked_supcon(x[present], labels[present]) + 0 * x.sum(),
        torch.randn(8, 5),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [1, 3, 100])
def test_triplets_of_anchors_that_have_both(seed: int, classes: int) -> None:
    def picked(features: Tensor) -> Tensor:
        distances = (features[:, None] - features[None]).square().sum(dim=2).clamp(min=1e-12).sqrt()
        same = labels[:, None] == labels[None]
        positive = same & ~torch.eye(len(labels), dtype=torch.bool)
        anchors = positive.any(dim=1) & ~same.all(dim=1)
        farthest = distances.masked_fill(~positive, 0.0).amax(dim=1)
        nearest = distances.masked_fill(same, float("inf")).amin(dim=1)
        losses = (0.3 + farthest - nearest).clamp(min=0)[anchors]
        return losses.mean() if len(losses) else features.sum() * 0

    torch.manual_seed(seed)
    labels = torch.randint(classes, (6,))
    held_equal(lambda x: hardest_triplet(x, labels, 0.3), picked, torch.randn(6, 4))


@pytest.mark.parametrize("faces", MASKS)
@pytest.mark.parametrize("patches", MASKS)
def test_contrast_of_patches_of_faces_that_count(faces: str, patches: str) -> None:
    def across(x: Tensor) -> Tensor:
        z = F.normalize(x, dim=-1)
        kinds = torch.stack([~forged, forged], dim=1)
        means = kinds.to(z.dtype) @ z / kinds.sum(dim=2, keepdim=True).clamp(min=1)
        there = kinds.any(dim=2)
        found: Tensor = means[there & has[:, None]]
        labels = torch.arange(2).expand(len(z), 2)[there & has[:, None]]
        return picked_supcon(found, labels, 0.5) + 0 * x.sum()

    torch.manual_seed(0)
    has, forged = mask_of(faces, 5), torch.stack([mask_of(patches, 6) for _ in range(5)])
    features = torch.randn(5, 6, 4)
    held_equal(
        lambda x: patch_contrast(x, forged, present=has),
        lambda x: patch_contrast(x[has], forged[has]) + 0 * x.sum() if has.any() else 0 * x.sum(),
        features,
    )
    held_equal(lambda x: kind_contrast(x, forged, present=has), across, features)


@pytest.mark.parametrize("kind", MASKS)
def test_pairs_that_were_found(kind: str) -> None:
    def picked(p: Tensor) -> Tensor:
        same = (p * p[pairs.other]).sum(dim=1).clamp(min=1e-8)
        return -same.log()[pairs.found].mean() if bool(pairs.found.any()) else p.sum() * 0

    torch.manual_seed(0)
    found = mask_of(kind, 6)
    pairs = Pairs(torch.where(found, torch.randint(6, (6,)), torch.arange(6)), found, found)
    held_equal(lambda p: pair_loss(p, pairs), picked, torch.rand(6, 3))


@pytest.mark.parametrize("kind", MASKS)
def test_infonce_of_faces_that_have_a_map(kind: str) -> None:
    torch.manual_seed(0)
    has = mask_of(kind, 7)

    def picked(image: Tensor, other: Tensor, scale: Tensor) -> Tensor:
        nothing = (image.sum() + other.sum()) * 0
        return nothing + symmetric_infonce(image[has], other[has], scale) if has.any() else nothing

    ours = lambda *given: symmetric_infonce(*given, present=has)  # noqa: E731  as short as what it is compared with
    held_equal(ours, picked, torch.randn(7, 4), torch.randn(7, 4), torch.tensor(2.0))
    with pytest.raises(ValueError, match="diag"):
        symmetric_infonce(torch.ones(2, 2), torch.ones(2, 2), torch.tensor(1.0), targets="multi", present=has[:2])
    logits = torch.randn(3, 3)
    assert float(symmetric_cross_entropy(logits)) > 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["random", "all", "one"])
def test_the_outermost_real_face(seed: int, kind: str) -> None:
    torch.manual_seed(seed)
    cosines, real = torch.rand(9) * 2 - 1, mask_of(kind, 9)
    real[0] = True
    angles = cosines[real].double().acos()
    first, third = angles.quantile(torch.tensor([0.25, 0.75], dtype=torch.float64))
    expected = angles[angles <= third + 1.5 * (third - first)].max().cos().float()
    assert float(outlier_free_cosine(cosines, real)) == float(expected)


def test_maps_are_drawn_as_multinomial_draws_them() -> None:
    model = CDAL.build(3, size="tiny")
    maps = torch.rand(50, model.config.maps, 4, 4) * (torch.rand(50, model.config.maps, 1, 1) > 0.5)
    torch.manual_seed(1)
    chosen = model.sampled_maps(maps)
    torch.manual_seed(1)
    assert torch.equal(chosen, torch.multinomial(maps.sum(dim=(2, 3)) + 1e-6, 1)[:, 0])


@pytest.mark.parametrize("kind", MASKS)
def test_the_prototype_of_real_faces_moves_by_them_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, real = LIDA.build(3, size="tiny"), mask_of(kind, 6)
    rows = torch.randn(6, model.embedding_dim)
    monkeypatch.setattr(model, "_rows", lambda batch: rows)
    batch = Batch(Inputs(torch.zeros(6, 3, 64, 64)), torch.zeros(6, dtype=torch.int64), (~real).long())
    before = model.experts.real.clone()
    expected = before + model.config.centre_rate * (rows[real] - before).sum(dim=0) / (1 + int(real.sum()))
    model.after_step("main", batch)
    torch.testing.assert_close(model.experts.real, expected)


def picked_cpl(model: CPL, batch: Batch) -> dict[str, Tensor]:
    """CPL's losses with the rows picked out by masks."""
    hidden = batch.unlabelled
    images = batch.inputs.images if hidden is None else torch.cat([batch.inputs.images, hidden.images])
    maps = model._maps(images)
    embedding, count = model.neck(maps.mean(dim=(2, 3))), len(batch)
    output: Output = model.experts(embedding[:count])
    known = torch.ones(count, dtype=torch.bool) if batch.hidden is None else ~batch.hidden
    labels, logits = torch.where(known, batch.attribution, _HIDDEN), output.attribution_logits
    if hidden is not None:
        logits = torch.cat([logits, model.experts(embedding[count:]).attribution_logits])
        labels = F.pad(labels, (0, len(hidden)), value=_HIDDEN)
    parts, without = model._parts(maps), labels == _HIDDEN
    pairs = voted_pairs(embedding.detach(), parts, without[:, None] | (labels[:, None] == labels[None]))
    pseudo = pseudo_label_loss(logits[without], pairs.agreed[without], model.config.temperature)
    attribution, margin = output.attribution_logits[known], model.config.margin
    return {
        "dfa": margin_cross_entropy(attribution, batch.attribution[known], margin),
        "dfd": F.cross_entropy(output.detection_logits[known], batch.detection[known]),
        "voting": pair_loss(logits.softmax(dim=1), pairs),
        "pseudo": pseudo,
        "spread": negative_entropy(logits.softmax(dim=1)),
    }


@pytest.mark.parametrize("unlabelled", ["hidden", "protocol"])
def test_cpl_equals_its_losses_with_rows_picked_out(unlabelled: str) -> None:
    torch.manual_seed(0)
    model = CPL.build(3, size="tiny", options={"unlabelled": unlabelled, "side": 64}).train()
    inputs, labels = Inputs(torch.rand(8, 3, 64, 64)), torch.arange(8) % 3
    kind = {"unlabelled": inputs} if unlabelled == "protocol" else {"hidden": torch.arange(8) % 4 == 1}
    batch = Batch(inputs, labels, (labels > 0).long(), **kind)
    found = []
    for losses in (
        lambda: {n: t.value for n, t in loss_terms(model.losses(batch)).items()},
        lambda: picked_cpl(model, batch),
    ):
        model.zero_grad()
        torch.manual_seed(1)
        values = losses()
        torch.stack(list(values.values())).sum().backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append(({name: value.detach() for name, value in values.items()}, gradients))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("number_format", [torch.bfloat16, torch.float16])
def test_left_out_logits_fit_into_the_format_of_autocast(number_format: torch.dtype) -> None:
    """The smallest float32 is no number of it: products are in it, and filling them with that is an error."""
    features, labels = torch.randn(2, 8, 6), torch.arange(8) % 3
    image, text, scale = torch.randn(8, 6), torch.randn(8, 6), torch.tensor(2.0)
    losses: list[Callable[[], Tensor]] = [
        lambda: supervised_contrastive(features[0], labels, 0.5, labels > 0),
        lambda: patch_contrast(features, torch.arange(16).view(2, 8) % 3 == 0),
        lambda: symmetric_infonce(image, text, scale, present=labels > 0),
    ]
    for loss in losses:
        with torch.autocast("cpu", dtype=number_format):
            lower = loss()
        assert lower.isfinite()
        torch.testing.assert_close(lower.float(), loss(), rtol=0.05, atol=0.05)
