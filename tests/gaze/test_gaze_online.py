"""A gaze network inside the training graph sees the pixels, and gives the angles, of the one that stores them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from gaze_manifests import write_eyes
from gaze_states import ptgaze_state, save
from rendered_eyes import draw_faces

from dfad_bench.core.contract import Batch, Inputs, weighted_losses
from dfad_bench.core.errors import ConfigError
from dfad_bench.data.manifest import Manifest
from dfad_bench.gaze import normalize
from dfad_bench.views.base import Faces
from dfad_bench.views.gaze_patches import GazePatches
from dfad_bench.views.provider import ViewProvider
from gazeclip.model import GazeCLIP

ROW = ("a photo of a face", "a swapped face", "by a GAN", "DDPM")


def made(side: int, count: int = 3) -> np.ndarray:
    crops, landmarks, *_ = draw_faces(count, seed=3)
    landmarks[-1] = np.nan
    frame = np.zeros(count)
    faces = Faces(tuple(map(str, range(count))), 256, "cpu", frame, crops, landmarks)
    values = GazePatches({"side": side}).make(faces)
    assert values.present.all()
    assert isinstance(values.values, np.ndarray)
    return values.values


def test_patches_are_the_pixels_that_estimators_normalise() -> None:
    crops, landmarks, *_ = draw_faces(3, seed=3)
    landmarks[-1] = np.nan  # resized as a whole
    assert np.array_equal(made(224), normalize.normalize(crops, landmarks).images.transpose(0, 3, 1, 2))


def test_a_smaller_patch_shows_the_same_field_of_view() -> None:
    small, whole = made(56).astype(float), made(224).astype(float)
    pooled = whole.reshape(3, 3, 56, 4, 56, 4).mean(axis=(3, 5))
    assert np.corrcoef(small[:2].ravel(), pooled[:2].ravel())[0, 1] > 0.97


def test_a_side_of_no_use_is_one_line() -> None:
    with pytest.raises(ConfigError, match="side must be 32 to 1024, got 8"):
        GazePatches({"side": 8})


def view(manifest: Manifest, ids: Sequence[str], name: str, **settings: object) -> torch.Tensor:
    source = ViewProvider([manifest], {name: settings}).source(name, ids, 96)
    assert source.present.all()
    values = source.gather(np.arange(len(ids)), lambda: torch.empty(0))
    assert isinstance(values, torch.Tensor)
    return values


@pytest.mark.heavy
def test_frozen_inside_it_is_the_model_of_the_stored_gaze_and_learning_it_gets_gradients(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    manifest, truth = write_eyes(tmp_path / "toy", count=9, seed=0, without_landmarks=2)
    file, ids = save(ptgaze_state(), tmp_path / "r18.pth", wrapper="model"), truth["sample_id"].tolist()
    stored = view(manifest, ids, "gaze", estimator="eth_xgaze", weights=str(file))
    patches = view(manifest, ids, "gaze_patches")
    images, labels = torch.rand(9, 3, 96, 96), torch.arange(9) % 2
    rows = [ROW] * 9

    def built(encoder: str) -> GazeCLIP:
        torch.manual_seed(0)
        if encoder == "stored":
            return GazeCLIP.build(3, size="tiny")
        return GazeCLIP.build(3, size="tiny", options={"gaze_encoder": encoder}, weights={"gaze": file})

    frozen, learning, outside = built("frozen"), built("finetuned"), built("stored")
    assert frozen.config.gaze_net == "resnet18"
    shared = {key: value for key, value in frozen.state_dict().items() if ".ge.estimator." not in key}
    outside.load_state_dict(shared)
    learning.load_state_dict(frozen.state_dict())
    online, offline = (
        Batch(Inputs(images, {name: values}), labels, labels, rows)
        for name, values in (("gaze_patches", patches), ("gaze", stored))
    )
    assert torch.allclose(frozen.vpe.ge.estimator(patches), stored, atol=1e-5)
    with torch.no_grad():
        expected = outside.eval()(offline.inputs)
        for model in (frozen, learning):
            found = model.eval()(online.inputs)
            assert torch.allclose(found.attribution_logits, expected.attribution_logits, atol=1e-5)
            assert torch.allclose(found.embedding, expected.embedding, atol=1e-4)
    losses = [
        weighted_losses(model.train().losses(batch))
        for model, batch in ((outside, offline), (frozen, online), (learning, online))
    ]
    for name, value in losses[0].items():
        assert all(float(other[name].detach()) == pytest.approx(float(value.detach()), rel=1e-4) for other in losses)
    sum(losses[2].values()).backward()
    estimator = learning.vpe.ge.estimator
    assert estimator.gaze_fc[0].weight.grad.abs().max() > 0
    assert estimator.gaze_network.conv1.weight.grad.abs().max() > 0
