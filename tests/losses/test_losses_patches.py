"""Contrast of forged and real patches, anchor by anchor."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from dfad_bench.losses.patch_contrast import kind_contrast, patch_contrast

FORGED = torch.tensor([[0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]]).bool()


def features() -> torch.Tensor:
    return torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))


def anchor_loss(anchor: int, rows: list[list[float]], kinds: list[bool], temperature: float) -> float | None:
    others = [k for k in range(len(rows)) if k != anchor]
    logit = {k: sum(a * b for a, b in zip(rows[anchor], rows[k], strict=True)) / temperature for k in others}
    total = sum(math.exp(value) for value in logit.values())
    positives = [k for k in others if kinds[k] == kinds[anchor]]
    return -sum(logit[k] - math.log(total) for k in positives) / len(positives) if positives else None


@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_patches_of_a_face_are_told_apart_where_it_has_both_kinds(temperature: float) -> None:
    z, faces = F.normalize(features(), dim=-1), []
    for face in (0, 2):
        rows, kinds = z[face].tolist(), FORGED[face].tolist()
        each = [anchor_loss(k, rows, kinds, temperature) for k in range(6)]
        known = [value for value in each if value is not None]
        faces.append(sum(known) / len(known))
    assert float(patch_contrast(features(), FORGED, temperature)) == pytest.approx(sum(faces) / 2, rel=1e-4)


def test_faces_of_one_kind_give_nothing() -> None:
    z = features().requires_grad_()
    value = patch_contrast(z[[1, 3]], FORGED[[1, 3]])
    value.backward()
    assert value.item() == 0
    assert torch.equal(z.grad, torch.zeros_like(z))
    assert patch_contrast(z[:0], FORGED[:0]).item() == 0
    assert kind_contrast(z[:0], FORGED[:0]).item() == 0


def test_means_of_both_kinds_are_told_apart_across_faces() -> None:
    z, rows, kinds = F.normalize(features(), dim=-1), [], []
    for face in range(4):
        for kind in (False, True):
            patches = [z[face, k] for k in range(6) if bool(FORGED[face, k]) == kind]
            if patches:
                rows.append(F.normalize(torch.stack(patches).mean(0), dim=0).tolist())
                kinds.append(kind)
    each = [anchor_loss(k, rows, kinds, 0.5) for k in range(len(rows))]
    assert float(kind_contrast(features(), FORGED)) == pytest.approx(sum(each) / len(each), rel=1e-4)
