"""Augmentation in the training loop: it changes what is learnt, and a run stopped anywhere ends with the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.toy import RECIPE, Toy

from dfad_bench.core.contract import Batch
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.recipe import Augmentation
from dfad_bench.engine import augment
from dfad_bench.engine.devices import Place
from dfad_bench.engine.fit import Limits, Trainer
from dfad_bench.engine.seeding import derived, seed_all

PLAIN = replace(RECIPE, epochs=2)
AUGMENTED = replace(
    PLAIN, augment=(Augmentation("horizontal_flip"), Augmentation("gaussian_noise", 0.7), Augmentation("jpeg", 0.3))
)


def trained(parts, folder: Path, recipe=AUGMENTED, **more) -> dict[str, torch.Tensor]:
    seed_all(derived(0, "weights"))
    model, cpu = Toy.build(3), Place(torch.device("cpu"))
    Trainer(model, *parts, recipe, seed=0, place=cpu, folder=folder, config_sha256="c", **more).run()
    return model.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.heavy
def test_augmented_runs_are_exact_wherever_they_stop(parts, tmp_path: Path) -> None:
    whole = trained(parts, tmp_path / "whole")
    assert not same(whole, trained(parts, tmp_path / "plain", PLAIN))
    for stop in (1, 4, 6):
        trained(parts, tmp_path / str(stop), limits=Limits(max_steps=stop))
        assert same(whole, trained(parts, tmp_path / str(stop)))


def test_each_step_draws_its_own(parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    from dfad_bench.engine.augment import Augmenter

    monkeypatch.setattr(Augmenter, "__call__", lambda self, batch, *, seed, **rest: (seeds.append(seed), batch)[1])
    trained(parts, tmp_path)
    assert len(set(seeds)) == len(seeds) > 5


def test_training_faces_change_and_those_of_hooks_do_not(
    parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, hooks, losses = [], [], Toy.losses

    def kept(self, batch: Batch, stage: str = "main"):
        images.append(batch.inputs.images.clone())
        return losses(self, batch, stage)

    monkeypatch.setattr(Toy, "losses", kept)
    monkeypatch.setattr(
        Toy, "before_prediction", lambda self, data: hooks.extend(batch.inputs.images for batch in data.train())
    )
    trained(parts, tmp_path / "plain", PLAIN)
    plain, images[:] = list(images), []
    trained(parts, tmp_path / "augmented")
    assert [image.shape for image in images] == [image.shape for image in plain]  # the same faces, in the same order
    changed = torch.cat([(a != b).flatten(1).any(dim=1) for a, b in zip(images, plain, strict=True)])
    assert 0.8 < float(changed.float().mean()) < 0.96  # 1 - (1 - 0.5) (1 - 0.7) (1 - 0.3) = 0.895 of some 200 faces
    count = len(hooks) // 2
    assert all(torch.equal(a, b) for a, b in zip(hooks[:count], hooks[count:], strict=True))


@pytest.mark.parametrize("name", ["rotation", "random_resized_crop"])
def test_changes_that_a_view_cannot_follow_are_refused_before_training(
    parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(augment, "is_text_view", lambda view: False)
    monkeypatch.setattr(Toy, "needs", ("gaze",))
    recipe = replace(PLAIN, augment=(Augmentation(name),))
    with pytest.raises(ConfigError, match=f"recipe toy: augment: {name} moves pixels, and the model's view 'gaze'"):
        trained(parts, tmp_path, recipe)


def test_an_unknown_change_names_recipe_and_near_names(parts, tmp_path: Path) -> None:
    recipe = replace(PLAIN, augment=(Augmentation("horizontal_flop"),))
    with pytest.raises(UnknownNameError, match="Did you mean horizontal_flip"):
        trained(parts, tmp_path, recipe)
