"""FAZE: a state dict laid out as the paper describes loads whatever its norms, signs are right, misfits are named."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from gaze_fits import faces, fitted, inputs, targets, write
from rendered_eyes import draw_face, draw_faces

from dfad_bench.core.errors import WeightsError
from dfad_bench.gaze.estimators.base import GazeFlag
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.estimators.faze import FazeEstimator, equalize_images
from dfad_bench.gaze.estimators.nets.dted import read_gaze_code
from dfad_bench.gaze.table import VALUES

GROWTH, BLOCKS, LAYERS = 32, 4, 4
FEATURES = 128 + GROWTH * BLOCKS * LAYERS
pytestmark = pytest.mark.usefixtures("one_thread")


def encoder_state(*, norms: bool = False, bias: bool = False) -> dict[str, torch.Tensor]:
    """Random weights of a DenseNet of growth 32, four blocks of four layers, compression 1."""
    generator = torch.Generator().manual_seed(3)
    state: dict[str, torch.Tensor] = {}

    def add(place: str, conv: str, norm_of: int, *shape: int) -> None:
        if norms and norm_of:
            state[f"{place}.norm.weight"] = 1 + 0.1 * torch.randn(norm_of, generator=generator)
            state[f"{place}.norm.bias"] = 0.1 * torch.randn(norm_of, generator=generator)
        fan_in = int(np.prod(shape[1:]))
        state[f"{place}.{conv}.weight"] = torch.randn(shape, generator=generator) * fan_in**-0.5
        if bias:
            state[f"{place}.{conv}.bias"] = torch.randn(shape[0], generator=generator)

    add("encoder.initial", "conv1", 0, 64, 3, 3, 3)
    add("encoder.initial", "conv2", 64, 128, 64, 3, 3)
    channels = 128
    for block in range(1, BLOCKS + 1):
        for layer in range(1, LAYERS + 1):
            add(f"encoder.block{block}.compos{layer}", "conv", channels, GROWTH, channels, 3, 3)
            channels += GROWTH
        if block < BLOCKS:
            add(f"encoder.trans{block}", "conv", channels, channels, channels, 1, 1)
    return state


def others(encoder: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The whole state dict: other codes, a decoder, and a gaze head that passes the code's first column on."""
    state = dict(encoder)
    for name, size in (("fc_app", 64), ("fc_gaze", 6), ("fc_head", 48)):
        state |= {f"{name}.weight": torch.zeros(size, FEATURES), f"{name}.bias": torch.zeros(size)}
    state |= {"fc_dec.weight": torch.zeros(512, 118), "decoder.block1.compos1.conv.weight": torch.zeros(32, 32, 3, 3)}
    hidden, out = torch.zeros(64, 6), torch.zeros(3, 64)
    for row in range(3):
        hidden[row, 2 * row] = 1  # (3, 2) read row by row: the first column
        out[row, row] = 1 / 1.0507009873554805  # SELU's slope right of zero, where the bias of 2 keeps it
    state |= {"gaze1.weight": hidden, "gaze1.bias": torch.tensor([2.0] * 3 + [0.0] * 61)}
    return state | {"gaze2.weight": out, "gaze2.bias": torch.full((3,), -2.0)}


def steer(state: dict[str, torch.Tensor], path) -> dict[str, torch.Tensor]:
    """`state` with a gaze code that is (tan yaw, tan pitch / cos yaw, 1) of `targets` for `faces`."""
    estimator = FazeEstimator(write(state, path))
    with torch.inference_mode():
        features = estimator.network.encoder(inputs(estimator)).mean(dim=(2, 3))
    pitch, yaw = targets().T
    weight, bias = fitted(features, np.stack([np.tan(yaw), np.tan(pitch) / np.cos(yaw), np.ones_like(yaw)], axis=1))
    return {
        **state,
        "fc_gaze.weight": weight.repeat_interleave(2, dim=0).float(),
        "fc_gaze.bias": bias.repeat_interleave(2).float(),
    }


@pytest.fixture(scope="module", params=[{}, {"norms": True, "bias": True}], ids=["bare", "affine"])
def steered(request, tmp_path_factory):
    return steer(others(encoder_state(**request.param)), tmp_path_factory.mktemp("faze") / "zero.pth.tar")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return steer(others(encoder_state()), tmp_path_factory.mktemp("faze") / "zero.pth.tar")


def angles(found) -> np.ndarray:
    return np.stack([found.pitch_rad, found.yaw_rad], axis=1)


@pytest.mark.heavy
def test_paper_layout_gives_the_angles_it_was_made_for(steered, tmp_path) -> None:
    path = write({f"module.{key}": value for key, value in steered.items()}, tmp_path / "weights_ted.pth.tar")
    estimator = build_estimator("park", str(path))
    assert estimator.name == "faze"
    assert [remark.partition(" is left out")[0] for remark in estimator.remarks] == ["weights_ted.pth.tar: 'module.'"]
    np.testing.assert_allclose(angles(estimator.estimate(*faces())), targets(), atol=1e-3)


@pytest.mark.heavy
def test_the_order_of_keys_does_not_matter(steered, tmp_path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "faze.safetensors"
    save_file({key: value.contiguous() for key, value in sorted(steered.items())}, path)
    np.testing.assert_allclose(angles(FazeEstimator.build(path).estimate(*faces())), targets(), atol=1e-3)


def test_encoder_halves_five_times_and_grows_by_32(plain, tmp_path) -> None:
    network = read_gaze_code(plain, tmp_path)
    strips = torch.rand(2, 3, 64, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert network.encoder(strips).shape == (2, FEATURES, 2, 8)
        torch.testing.assert_close(network(strips).norm(dim=1), torch.ones(2))


def test_signs_of_known_vectors(plain, tmp_path) -> None:
    estimator = FazeEstimator(write(plain, tmp_path / "faze.pth.tar"))
    up, left = np.radians(10), np.radians(20)
    vectors = [[0, 0, 1], [0, np.sin(up), np.cos(up)], [np.sin(left), 0, np.cos(left)]]
    found = estimator.decode(torch.tensor(vectors)).numpy()
    np.testing.assert_allclose(found, [[0, 0], [up, 0], [0, left]], atol=1e-6)


def test_rows_do_not_depend_on_each_other_and_no_strip_is_no_gaze(plain, tmp_path) -> None:
    estimator = FazeEstimator.build(write(plain, tmp_path / "faze.pth.tar"))
    crops, landmarks = draw_faces(3, seed=2)[:2]
    landmarks[1] = np.nan
    whole = estimator.estimate(crops, landmarks)
    for row in range(3):
        single = estimator.estimate(crops[row : row + 1], landmarks[row : row + 1])
        for column in VALUES:
            np.testing.assert_allclose(getattr(single, column)[0], getattr(whole, column)[row], atol=1e-5)
    assert whole.flags.tolist() == [0, GazeFlag.NO_POSE, 0]
    assert np.isnan(whole.pitch_rad).tolist() == np.isnan(whole.yaw_rad).tolist() == [False, True, False]


def test_strips_have_both_eyes_in_the_middle_at_the_papers_scale(plain, tmp_path) -> None:
    estimator = FazeEstimator(write(plain, tmp_path / "faze.pth.tar"))
    crop, landmarks = draw_face((0.0, 0.0), (0.0, 0.0))
    strip = estimator.prepare(crop[None], landmarks[None]).images[0]
    assert strip.shape == (64, 256, 3)
    irises = strip[..., 0] < 10  # the darkest there is
    columns = np.flatnonzero(irises.any(axis=0))
    left, right = columns[columns < 128].mean(), columns[columns >= 128].mean()
    assert right - left == pytest.approx(64 * 1300 / 600, abs=3)  # eyes 64 mm apart
    assert (right + left) / 2 == pytest.approx(128, abs=1)
    assert np.flatnonzero(irises.any(axis=1)).mean() == pytest.approx(32, abs=2)


def test_equalized_brightness_spans_the_range_and_keeps_grey_grey() -> None:
    ramp = np.repeat(np.linspace(100, 140, 256).round().astype(np.uint8)[None, None, :, None], 3, axis=3)
    out = equalize_images(np.repeat(ramp, 8, axis=1))
    assert (out.min(), out.max()) == (0, 255)
    assert (np.diff(out[0, 0, :, 0].astype(int)) >= 0).all()
    assert np.ptp(out.astype(int), axis=3).max() == 0


def test_swapped_or_blind_networks_are_refused(plain, tmp_path) -> None:
    swapped = {**plain, "gaze2.weight": plain["gaze2.weight"][[1, 0, 2]], "gaze2.bias": plain["gaze2.bias"]}
    with pytest.raises(WeightsError, match="look like yaw_pitch, not pitch_yaw"):
        FazeEstimator.build(write(swapped, tmp_path / "swapped.pth.tar")).estimate(*faces())
    blind = {**plain, "fc_gaze.weight": torch.zeros(6, FEATURES)}
    with pytest.raises(WeightsError, match="do not behave as pitch and yaw in the mirror"):
        _ = FazeEstimator.build(write(blind, tmp_path / "blind.pth.tar")).remarks


def test_few_shot_layers_go_on_the_named_encoder(plain, tmp_path, monkeypatch) -> None:
    write(plain, tmp_path / "faze.pth.tar")
    turned = plain["gaze2.weight"].clone()
    turned[1] *= -1  # up becomes down
    head = {
        "layer01.weights": plain["gaze1.weight"],
        "layer01.bias": plain["gaze1.bias"],
        "layer02.weights": turned,
        "layer02.bias": plain["gaze2.bias"] * torch.tensor([1.0, -1.0, 1.0]),
    }
    path = write(head, tmp_path / "09.pth.tar")
    with monkeypatch.context() as patch:
        patch.delenv("DFAD_WEIGHTS", raising=False)
        with pytest.raises(WeightsError, match="weights 'faze' not found"):
            build_estimator("faze", str(path))
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    estimator = build_estimator("faze", str(path))
    np.testing.assert_allclose(angles(estimator.estimate(*faces())), targets() * [-1, 1], atol=1e-3)
    assert estimator.remarks == ("few-shot layers of 09.pth.tar on the encoder of faze.pth.tar",)
    assert estimator.fingerprint != build_estimator("faze").fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"encoder.block2.compos3.conv.weight": torch.zeros(32, 99, 3, 3)},
            "compos3.conv.weight is (32, 99, 3, 3)",
        ),
        (
            {"encoder.block1.compos2.conv.weight": None},
            "compos3.conv.weight is (32, 192, 3, 3) where 160",
        ),
        ({"encoder.tail.gain": torch.zeros(3)}, "not known: encoder.tail.gain"),
        ({"fc_gaze.weight": None}, "one layer of shape (6, 640) for the gaze code, found none"),
        ({"gaze2.weight": torch.zeros(2, 64)}, "gaze2.weight (2, 64) should be (h, 3 n) and (3, h)"),
        ({"gaze2.weight": None}, "missing: gaze2.weight"),
        ({"gaze1.weight": None, "gaze1.bias": None}, "expected weights of FAZE"),
        ({"fc_gaze.bias": torch.full((6,), torch.nan)}, "NaN or inf in fc_gaze.bias"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(plain, tmp_path, change, message) -> None:
    state = {key: value for key, value in {**plain, **change}.items() if value is not None}
    with pytest.raises(WeightsError, match=re.escape(message)) as caught:
        FazeEstimator.build(write(state, tmp_path / "other.pth.tar"))
    assert "\n" not in str(caught.value)
    assert "other.pth.tar" in str(caught.value)
