"""Augmentation as data: from a recipe's YAML to pixels; what a face gets depends on its place and the seed only."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfad_bench.core.contract import Batch, Inputs
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.recipe import Augmentation, load_recipe, recipe_names
from dfad_bench.engine import augment
from dfad_bench.engine.augment import AUGMENTATIONS, Augmenter
from dfad_bench.engine.distributed import Team

SIDE = 16
ALL = tuple(Augmentation(name, 0.6) for name in AUGMENTATIONS)
CHEAP = tuple(Augmentation(name, 0.6) for name in ("horizontal_flip", "gaussian_noise", "random_erasing"))
FLIP = (Augmentation("horizontal_flip", 0.5),)


def make_batch(count: int, unlabelled: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count + unlabelled, 3, SIDE, SIDE), generator=rng) / 255
    labels = torch.arange(count) % 2
    extra = Inputs(images[count:]) if unlabelled else None
    return Batch(Inputs(images[:count]), labels, labels, (), {}, extra)


def part_of(batch: Batch, labelled: range, unlabelled: range) -> Batch:
    assert batch.unlabelled is not None
    here, there = slice(labelled.start, labelled.stop), slice(unlabelled.start, unlabelled.stop)
    return Batch(
        Inputs(batch.inputs.images[here]), batch.attribution[here], batch.detection[here], (), {},
        Inputs(batch.unlabelled.images[there]),
    )  # fmt: skip


@given(st.integers(2, 4), st.integers(8, 13), st.integers(8, 11), st.integers(0, 2**62))
@settings(max_examples=10, deadline=None)
def test_parts_of_a_batch_get_what_the_whole_gets(size: int, count: int, unlabelled: int, seed: int) -> None:
    """However many processes share a batch, bit for bit."""
    check_parts(Augmenter(CHEAP), size, count, unlabelled, seed)


def test_parts_get_the_same_from_every_change() -> None:
    check_parts(Augmenter(ALL), 2, 5, 4, 0)


def check_parts(augmenter: Augmenter, size: int, count: int, unlabelled: int, seed: int) -> None:
    batch = make_batch(count, unlabelled)
    whole = augmenter(batch, seed=seed, rows=range(count))
    images, hidden = [], []
    for rank in range(size):
        share = Team(rank, size).share(np.arange(count), unlabelled=np.arange(unlabelled))
        part = part_of(batch, share.places, share.unlabelled_places)
        assert share.split == (2 * size <= min(count, unlabelled))
        found = augmenter(part, seed=seed, rows=share.places, unlabelled_rows=share.unlabelled_places)
        assert found.unlabelled is not None
        images.append(found.inputs.images)
        hidden.append(found.unlabelled.images)
    assert whole.unlabelled is not None
    assert torch.equal(torch.cat(images), whole.inputs.images)
    assert torch.equal(torch.cat(hidden), whole.unlabelled.images)


def test_same_seed_same_bits_and_no_global_generator() -> None:
    batch, augmenter = make_batch(12, 6), Augmenter(ALL)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    first = augmenter(batch, seed=7, rows=range(12))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    assert states[:2] == after[:2]
    assert torch.equal(states[2], after[2])
    torch.manual_seed(99)
    again = Augmenter(ALL)(batch, seed=7, rows=np.arange(12))
    assert torch.equal(first.inputs.images, again.inputs.images)
    assert torch.equal(first.unlabelled.images, again.unlabelled.images)
    other = augmenter(batch, seed=8, rows=range(12))
    assert not torch.equal(first.inputs.images, other.inputs.images)
    assert torch.equal(first.attribution, batch.attribution)
    with pytest.raises(ValueError, match="11 places for 12 faces"):
        augmenter(batch, seed=7, rows=range(11))


def test_labelled_and_unlabelled_faces_of_one_place_are_drawn_apart() -> None:
    images = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).expand(40, -1, -1, -1)
    labels = torch.zeros(40, dtype=torch.int64)
    found = Augmenter(FLIP)(Batch(Inputs(images), labels, labels, unlabelled=Inputs(images)), seed=1, rows=range(40))
    pairs = [torch.equal(a, b) for a, b in zip(found.inputs.images, found.unlabelled.images, strict=True)]
    assert 8 < sum(pairs) < 32


@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
def test_faces_are_changed_with_the_probability_and_independently(probability: float) -> None:
    count, steps = 50, 40
    images = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).expand(count, -1, -1, -1)
    labels = torch.zeros(count, dtype=torch.int64)
    augmenter = Augmenter((Augmentation("horizontal_flip", probability),))
    table = np.array([
        (augmenter(Batch(Inputs(images), labels, labels), seed=step, rows=range(count)).inputs.images != images)
        .flatten(1).any(dim=1).numpy()
        for step in range(steps)
    ])  # fmt: skip
    spread = (probability * (1 - probability) / table.size) ** 0.5
    assert abs(table.mean() - probability) <= 4 * spread
    if probability < 1:  # neighbours and successive steps agree as often as independent draws do
        agree = probability**2 + (1 - probability) ** 2
        for same in (table[:, 1:] == table[:, :-1], table[1:] == table[:-1]):
            assert abs(same.mean() - agree) <= 5 * (agree * (1 - agree) / same.size) ** 0.5


def test_one_change_does_not_move_what_the_next_draws() -> None:
    """Whether a face is flipped is the same with and without noise before it."""
    batch = make_batch(30)
    noise = Augmentation("gaussian_noise", 0.5, {"std": [0.0, 1e-6]})
    off = Augmentation("gaussian_noise", 0.01, {"std": [0.0, 1e-6]})
    found = [Augmenter((first, *FLIP))(batch, seed=3, rows=range(30)).inputs.images for first in (noise, off)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-4)


def test_changes_are_applied_in_order() -> None:
    batch = make_batch(3)
    white = Augmentation("random_erasing", 1.0, {"area": [1, 1], "ratio": [1, 1], "fill": 1})
    dark = Augmentation("color_jitter", 1.0, {"brightness": [0.5, 0.5], "contrast": [1, 1], "saturation": [1, 1]})
    after = Augmenter((white, dark))(batch, seed=0, rows=range(3)).inputs.images
    before = Augmenter((dark, white))(batch, seed=0, rows=range(3)).inputs.images
    assert torch.allclose(after, torch.full_like(after, 0.5))
    assert torch.allclose(before, torch.ones_like(before))


def test_views_follow_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    def mirrored(name: str, values):
        return {"angles": lambda: values * torch.tensor([1.0, -1.0]), "mask": lambda: values.flip(-1),
                "caption": lambda: values}[name]()  # fmt: skip

    monkeypatch.setattr(augment, "mirrored_view", mirrored)
    plain, count = make_batch(20), 20
    views = {"angles": torch.rand(count, 2) + 0.5, "caption": tuple(f"face {k}" for k in range(count))}
    mask = plain.inputs.images[:, :1].clone()
    batch = Batch(
        Inputs(plain.inputs.images, views), plain.attribution, plain.detection, (), {"mask": mask},
        Inputs(plain.inputs.images, {"angles": views["angles"]}),
    )  # fmt: skip
    found = Augmenter(FLIP, views=("angles", "mask", "caption"))(batch, seed=5, rows=range(count))
    assert torch.equal(found.views["mask"], found.inputs.images[:, :1])  # the mask stays on the face
    flipped = (found.inputs.images != plain.inputs.images).flatten(1).any(dim=1)
    assert 4 < int(flipped.sum()) < 16
    assert torch.equal(found.inputs.views["angles"][:, 1] < 0, flipped)
    assert torch.equal(found.inputs.views["angles"].abs(), views["angles"])
    assert found.inputs.views["caption"] == views["caption"]
    hidden = (found.unlabelled.images != plain.inputs.images).flatten(1).any(dim=1)
    assert torch.equal(found.unlabelled.views["angles"][:, 1] < 0, hidden)
    twice = Augmenter((Augmentation("horizontal_flip", 1.0),) * 2)(batch, seed=5, rows=range(count))
    assert torch.equal(twice.inputs.images, plain.inputs.images)
    assert torch.equal(twice.inputs.views["angles"], views["angles"])


def test_views_of_the_registry_follow_flips() -> None:
    """Yaw changes its sign and pitch does not; texts and label maps do as their views say."""
    plain, gaze = make_batch(6), torch.rand(6, 2) + 0.1
    labels = torch.zeros(6, 1, SIDE, SIDE, dtype=torch.uint8)
    labels[..., 0] = 1
    views = {"gaze": gaze, "captions": ("a face",) * 6}
    batch = Batch(Inputs(plain.inputs.images, views), plain.attribution, plain.detection, (), {"parsing": labels})
    found = Augmenter((Augmentation("horizontal_flip", 1.0),), views=(*views, "parsing"))(batch, seed=0, rows=range(6))
    assert torch.equal(found.inputs.views["gaze"], gaze * torch.tensor([1.0, -1.0]))
    assert found.inputs.views["captions"] == views["captions"]
    assert (found.views["parsing"][..., -1] != 0).all()
    assert (found.views["parsing"][..., :-1] == 0).all()
    with pytest.raises(ConfigError, match="rotation moves pixels, and the model's view 'gaze' cannot follow"):
        Augmenter((Augmentation("rotation"),), views=("captions", "gaze"))
    assert Augmenter((Augmentation("rotation"),), views=("captions",))


@pytest.mark.parametrize("name", ["random_resized_crop", "rotation"])
def test_moving_pixels_away_from_a_view_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "is_text_view", lambda view: view == "caption")
    message = rf"recipe mine: augment: {name} moves pixels, and the model's view 'gaze' cannot follow; leave it out"
    with pytest.raises(ConfigError, match=message):
        Augmenter((*FLIP, Augmentation(name)), views=("caption", "gaze"), where="recipe mine: augment")
    assert Augmenter((Augmentation(name),), views=("caption",))
    assert Augmenter((Augmentation(name),))


def test_memory_layout_and_absence_of_changes() -> None:
    batch = make_batch(4)
    assert Augmenter(())(batch, seed=0, rows=range(4)) is batch
    images = batch.inputs.images.contiguous(memory_format=torch.channels_last)
    found = Augmenter(ALL)(Batch(Inputs(images), batch.attribution, batch.detection), seed=0, rows=range(4))
    assert found.inputs.images.is_contiguous(memory_format=torch.channels_last)
    plain = Augmenter(ALL)(batch, seed=0, rows=range(4)).inputs.images
    torch.testing.assert_close(found.inputs.images, plain, rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------ from a recipe's YAML

OWN = """
name: own
augment:
  - {name: horizontal_flip, probability: 1.0}
  - name: gaussian_noise
    probability: 0.5
    settings: {std: [0.0, 0.1]}
"""


def test_from_yaml_to_pixels(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN, encoding="utf-8")
    recipe, batch = load_recipe(str(path)), make_batch(40)
    found = Augmenter(recipe.augment)(batch, seed=0, rows=range(40)).inputs.images
    exact = [torch.equal(a, b.flip(-1)) for a, b in zip(found, batch.inputs.images, strict=True)]
    assert 10 < sum(exact) < 30  # the others are flipped and noisy
    torch.testing.assert_close(found, batch.inputs.images.flip(-1), rtol=0, atol=0.6)
    without = tmp_path / "without.yaml"
    without.write_text("name: own\n", encoding="utf-8")
    assert load_recipe(str(without)).sha256 != recipe.sha256


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("{name: horizontal_flp}", UnknownNameError, "no augmentation named 'horizontal_flp'. Did you mean horizont"),
        ("{name: jpeg, probability: 0}", ConfigError, r"probability must lie in \(0, 1\], got 0"),
        ("{name: jpeg, probability: 1.5}", ConfigError, r"own\.yaml: augment\[0\]: probability must lie in"),
        ("{name: jpeg, quality: [40, 100]}", ConfigError, r"augment\[0\]: unknown key 'quality'"),
        ("{name: jpeg, settings: {qualities: [40, 100]}}", ConfigError, r"augment\[0\] \(jpeg\): unknown key"),
        ("{name: jpeg, settings: {quality: [40, 101]}}", ConfigError, r"augment\[0\] \(jpeg\): quality must be two"),
    ],
)
def test_a_bad_entry_is_one_line(tmp_path: Path, line: str, error: type, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"name: own\naugment:\n  - {line}\n", encoding="utf-8")
    with pytest.raises(error, match=message) as raised:
        Augmenter(load_recipe(str(path)).augment)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).augment])
def test_augmentation_of_shipped_recipes(name: str) -> None:
    batch = make_batch(16)
    found = Augmenter(load_recipe(name).augment)(batch, seed=0, rows=range(16))
    assert 0 < (found.inputs.images - batch.inputs.images).abs().mean() < 0.4


def test_deepfakebench_is_what_it_says() -> None:
    recipe = load_recipe("xception")
    assert [item.name for item in recipe.augment] == ["horizontal_flip", "gaussian_blur", "color_jitter", "jpeg"]
    assert recipe.augment[1].settings == {"kernel": [3, 7]}
    assert recipe.augment[3].settings == {"quality": [40, 100]}
    assert (recipe.optimiser.name, recipe.optimiser.lr, recipe.optimiser.weight_decay) == ("adam", 2e-4, 5e-4)
    assert (recipe.epochs, recipe.batch_size, recipe.schedule.name) == (10, 32, "constant")
