"""LIDA: low bits, patches, centres and the gallery against slow twins, and traces in the lowest bits alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from baselines.lida import LIDA, LowBits, fitted_threshold, low_bit_image, textured_patch
from dfad_bench.core.contract import Batch, Inputs, LossTerm
from dfad_bench.core.errors import ConfigError

SIDE = 64


def bit_faces(count: int, seed: int) -> Batch:
    """Noise whose lowest bits are random (real), all 0 (class 1) or all 7 (class 2); the upper five bits are alike."""
    generator = torch.Generator().manual_seed(seed)
    upper = torch.randint(32, (3 * count, 3, SIDE, SIDE), generator=generator) * 8
    lower = torch.randint(8, upper.shape, generator=generator)
    lower[count : 2 * count], lower[2 * count :] = 0, 7
    labels = torch.arange(3).repeat_interleave(count)
    return Batch(Inputs((upper + lower).float() / 255), labels, (labels > 0).long())


def noise(count: int, seed: int) -> Batch:
    """Faces that all differ in their lowest bits."""
    data = bit_faces(count, seed)
    return replace(
        data, inputs=Inputs(torch.rand(3 * count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)))
    )


class Faces:
    """Training faces as hooks see them, in batches of 7."""

    device = torch.device("cpu")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def train(self, batch_size: int = 7) -> Iterator[Batch]:
        for start in range(0, len(self.batch.attribution), 7):
            rows = slice(start, start + 7)
            yield Batch(
                Inputs(self.batch.inputs.images[rows]), self.batch.attribution[rows], self.batch.detection[rows]
            )

    def validation(self, batch_size: int = 7) -> Iterator[Batch]:
        yield from ()


def model(**options: object) -> LIDA:
    torch.manual_seed(0)
    return LIDA.build(3, size="tiny", options=options)


@pytest.mark.parametrize("kind", ["levels", "binary"])
def test_low_bits_of_every_value(kind: LowBits) -> None:
    values = torch.arange(256)
    expected = [(v & 7) * 36 if kind == "levels" else 255 * (v & 7 > 0) for v in range(256)]
    found = low_bit_image(values / 255, kind) * 255
    assert found.round().int().tolist() == expected
    assert torch.equal(low_bit_image(values.double() / 255, kind), low_bit_image(values / 255, kind))


@pytest.mark.parametrize("kind", ["max", "min"])
def test_patch_equals_loops(kind: str) -> None:
    images = torch.rand(2, 3, 70, 100, generator=torch.Generator().manual_seed(0))
    found = textured_patch(images, "max" if kind == "max" else "min")
    for image, chosen in zip(images, found, strict=True):
        patches, sums = [], []
        for top in (0, 32):
            for left in (0, 32, 64):
                patch = image[:, top : top + 32, left : left + 32]
                total = 0.0
                for a, b in (((0, 0), (0, 1)), ((0, 0), (1, 0)), ((0, 0), (1, 1)), ((0, 1), (1, 0))):
                    first = patch[:, a[0] : 31 + a[0], a[1] : 31 + a[1]]
                    second = patch[:, b[0] : 31 + b[0], b[1] : 31 + b[1]]
                    total += float((first - second).abs().sum())
                patches.append(patch)
                sums.append(total)
        best = max(sums) if kind == "max" else min(sums)
        assert torch.equal(chosen, patches[sums.index(best)])


def test_losses_equal_the_printed_formulas() -> None:
    lida, data = model(temperature=0.2).eval(), bit_faces(2, seed=0)
    losses = lida.losses(data)
    rows = F.normalize(lida.embed(data.inputs), dim=1)
    centre = torch.stack(
        [(row - lida.experts.centres[y]).square().sum() for row, y in zip(rows, data.attribution, strict=True)]
    )
    p = torch.sigmoid(F.cosine_similarity(rows, lida.experts.real[None]) / 0.2)
    detection = -p[:2].log().mean() - (1 - p[2:]).log().mean()
    dfa, dfd = losses["dfa"], losses["dfd"]
    assert isinstance(dfa, LossTerm)
    assert isinstance(dfd, LossTerm)
    assert torch.allclose(dfa.value, centre.mean(), rtol=1e-5)
    assert torch.allclose(dfd.value, detection, rtol=1e-5)
    assert dfd.weight == 0.9


def test_centres_move_by_the_printed_rule() -> None:
    lida, data = model(), bit_faces(2, seed=0)
    lida.before_stage("main", Faces(data))
    rows = F.normalize(lida.eval().embed(data.inputs), dim=1).detach()
    means = torch.stack([rows[data.attribution == k].mean(dim=0) for k in range(3)])
    assert torch.allclose(lida.experts.centres, means, atol=1e-6)
    lida.experts.centres.copy_(torch.eye(3, rows.shape[1]))
    lida.after_step("main", data)
    for k in range(3):
        own = rows[data.attribution == k]
        start = torch.eye(3, rows.shape[1])[k]
        assert torch.allclose(
            lida.experts.centres[k], start - 0.5 * (start - own).sum(dim=0) / (1 + len(own)), atol=1e-6
        )


@pytest.mark.parametrize("shots", [2, 50])
def test_enrols_faces_of_each_class_and_names_the_nearest(shots: int) -> None:
    lida, data = model(shots=shots), noise(5, seed=0)
    lida.before_prediction(Faces(data))
    gallery = lida.experts
    assert gallery.enrolled.sum(dim=1).tolist() == [min(shots, 5)] * 3
    rows = F.normalize(lida.eval().embed(data.inputs), dim=1).detach()
    for label in range(3):
        own = rows[data.attribution == label]
        faces = gallery.faces[label][gallery.enrolled[label]]
        matches = torch.cdist(faces, own).argmin(dim=1).tolist()
        assert len(set(matches)) == len(matches)  # none twice
        assert torch.allclose(faces, own[matches], atol=1e-5)
    query = noise(2, seed=9).inputs
    found = lida(query).attribution_logits.detach()
    points = F.normalize(lida.embed(query), dim=1).detach()
    for point, scores in zip(points, found, strict=True):
        nearest = [max(float(point @ f) for f in gallery.faces[k][gallery.enrolled[k]]) for k in range(3)]
        assert scores.tolist() == pytest.approx([cosine / 0.1 for cosine in nearest], abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_fitted_threshold_is_no_worse_than_any_other(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    fake = torch.randint(2, (30,), generator=generator)
    fake[:2] = torch.tensor([0, 1])
    likeness = (torch.rand(30, generator=generator) - 0.3 * fake).mul(10).round() / 10  # with equal values

    def balanced(threshold: float) -> float:
        called = (likeness < threshold).long()
        return float(sum((called[fake == kind] == kind).float().mean() for kind in (0, 1)))

    found = balanced(fitted_threshold(likeness, fake))
    assert found == pytest.approx(max(balanced(t / 100) for t in range(-50, 130)))
    assert fitted_threshold(likeness, torch.zeros(30)) == 0.85


@pytest.mark.heavy
def test_learns_traces_that_only_the_lowest_bits_hold() -> None:
    lida, data = model(), bit_faces(10, seed=0)
    lida.before_stage("main", Faces(data))
    optimiser = torch.optim.Adam(lida.parameters(), lr=2e-3)
    for _ in range(40):
        optimiser.zero_grad()
        terms = [term for term in lida.train().losses(data).values() if isinstance(term, LossTerm)]
        torch.stack([term.value * term.weight for term in terms]).sum().backward()
        optimiser.step()
        with torch.no_grad():
            lida.after_step("main", data)
    with torch.no_grad():
        lida.before_prediction(Faces(data))
        held_out = bit_faces(10, seed=1)
        output = lida.eval()(held_out.inputs)
    assert (output.attribution_logits.argmax(dim=1) == held_out.attribution).float().mean() >= 0.95
    assert (output.detection_logits.argmax(dim=1) == held_out.detection).float().mean() >= 0.95


@pytest.mark.parametrize(("name", "value"), [("shots", 0), ("temperature", 0.0), ("centre_rate", -1.0)])
def test_settings_without_meaning_are_one_line(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be above 0"):
        model(**{name: value})


@pytest.mark.parametrize("given", [{"distance_space": "raw"}, {"centre_space": "raw"}])
def test_distances_and_an_added_loss_have_spaces_of_their_own(given: dict[str, str]) -> None:
    """The second is how runs made before named the first."""
    model = LIDA.build(4, size="tiny", options=given)
    assert (model.config.distance_space, model.added_loss) == ("raw", None)
    options = {"centre_loss": "vcc", "centre_space": "probability", "distance_space": "raw"}
    model = LIDA.build(4, size="tiny", options=options)
    assert model.config.distance_space == "raw"
    assert model.added_loss.options.centre_space == "probability"
    assert model.added_loss.loss.centres.shape == (4, 4)  # of four probabilities
    with pytest.raises(ConfigError, match="centre_space must be one of feature, probability"):
        LIDA.build(4, size="tiny", options={"centre_space": "ball"})
