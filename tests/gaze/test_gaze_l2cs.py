"""L2CS-Net: the published layout loads, angles and signs come out right, what does not fit is said in a line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaze_fits import faces, random_state, steer_binned, targets, write, zero_head
from rendered_eyes import draw_faces

from dfad_bench.core.errors import WeightsError
from dfad_bench.gaze.estimators.base import GazeFlag
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.estimators.l2cs import L2CSEstimator, enlarge_images
from dfad_bench.gaze.estimators.loading import resnet_trunk
from dfad_bench.gaze.table import VALUES

LAYERS = ("fc_yaw_gaze", "fc_pitch_gaze")
pytestmark = pytest.mark.usefixtures("one_thread")


class SmallL2CS(L2CSEstimator):
    side = 96  # the trunk ends in an average: any side will do


@pytest.fixture(scope="module")
def trunk():
    """torchvision's ResNet-50 keys without its classifier, and the layer nobody uses."""
    state = random_state(resnet_trunk({"layer1.0.conv3.weight": torch.zeros(1)}), seed=0)
    assert len(state) == 318
    return {**state, "fc_finetune.weight": torch.zeros(3, 2051), "fc_finetune.bias": torch.zeros(3)}


@pytest.fixture(scope="module")
def steered(trunk, tmp_path_factory):
    """Heads by number of bins, fitted to `targets`."""
    path = tmp_path_factory.mktemp("l2cs") / "zero.pkl"
    estimator = SmallL2CS(write({**trunk, **zero_head(LAYERS, 2048, 90)}, path))
    return {bins: steer_binned(estimator, LAYERS, bins) for bins in (90, 28)}


@pytest.fixture(scope="module")
def published(trunk, steered, tmp_path_factory):
    return write({**trunk, **steered[90]}, tmp_path_factory.mktemp("l2cs") / "L2CSNet_gaze360.pkl")


@pytest.mark.heavy
def test_published_layout_gives_the_angles_it_was_made_for(published) -> None:
    estimator = SmallL2CS.build(published)
    found = estimator.estimate(*faces())
    np.testing.assert_allclose(found.pitch_rad, targets()[:, 0], atol=2e-4)
    np.testing.assert_allclose(found.yaw_rad, targets()[:, 1], atol=2e-4)
    assert estimator.remarks == ()
    assert not found.flags.any()
    assert (found.confidence == 1).all()


@pytest.mark.heavy
def test_28_bins_are_told_by_shape_and_a_wrapper_and_prefix_come_off(trunk, steered, tmp_path) -> None:
    state = {f"module.{key}": value for key, value in {**trunk, **steered[28]}.items()}
    estimator = SmallL2CS.build(write({"state_dict": state}, tmp_path / "mpii.pkl"))
    found = estimator.estimate(*faces())
    np.testing.assert_allclose(np.stack([found.pitch_rad, found.yaw_rad], axis=1), targets(), atol=2e-4)


@pytest.mark.heavy
def test_layers_named_the_wrong_way_round_are_swapped_and_it_is_said(trunk, steered, tmp_path) -> None:
    names = dict(zip(LAYERS, LAYERS[::-1], strict=True))
    head = {names[key.partition(".")[0]] + "." + key.partition(".")[2]: value for key, value in steered[90].items()}
    path = write({**trunk, **head}, tmp_path / "swapped.pkl")
    estimator = SmallL2CS.build(path)
    found = estimator.estimate(*faces())
    np.testing.assert_allclose(found.yaw_rad, targets()[:, 1], atol=2e-4)
    assert len(estimator.remarks) == 1
    assert "outputs swapped" in estimator.remarks[0]
    kept = SmallL2CS(path, order="yaw_pitch").estimate(*faces())
    np.testing.assert_allclose(kept.pitch_rad, targets()[:, 1], atol=2e-4)


@pytest.mark.heavy
def test_the_first_output_is_the_yaw_and_signs_are_kept(trunk, tmp_path) -> None:
    head = zero_head(LAYERS, 2048, 90)
    head["fc_yaw_gaze.bias"][50] = 100.0  # 50 * 4 - 180 = +20 degrees: to the image's left
    head["fc_pitch_gaze.bias"][43] = 100.0  # -8 degrees: down
    path = write({**trunk, **head}, tmp_path / "fixed.pkl")
    found = SmallL2CS(path, order="yaw_pitch").estimate(*draw_faces(2, seed=0)[:2])
    np.testing.assert_allclose(np.degrees(found.yaw_rad), 20, atol=1e-6)
    np.testing.assert_allclose(np.degrees(found.pitch_rad), -8, atol=1e-6)
    with pytest.raises(WeightsError, match="do not behave as pitch and yaw in the mirror"):
        SmallL2CS.build(path).estimate(*draw_faces(1, seed=0)[:2])


@pytest.mark.heavy
def test_rows_do_not_depend_on_each_other_and_lost_faces_are_flagged(published) -> None:
    estimator = SmallL2CS.build(published)
    crops, landmarks = draw_faces(3, seed=2)[:2]
    landmarks[1] = np.nan
    whole = estimator.estimate(crops, landmarks)
    for row in range(3):
        single = estimator.estimate(crops[row : row + 1], landmarks[row : row + 1])
        for column in VALUES:
            np.testing.assert_allclose(getattr(single, column)[0], getattr(whole, column)[row], atol=1e-5)
    assert whole.flags.tolist() == [0, GazeFlag.NO_POSE | GazeFlag.RESIZED, 0]
    assert whole.confidence.tolist() == [1, 0, 1]


@pytest.mark.heavy
def test_faces_are_enlarged_to_448(published) -> None:
    crops, landmarks = draw_faces(1, seed=3)[:2]
    estimator = L2CSEstimator.build(published)
    images = estimator.prepare(crops, landmarks).images
    assert images.shape == (1, 448, 448, 3)
    pairs = np.array([[[[0] * 3, [100] * 3]] * 2], dtype=np.uint8)
    assert enlarge_images(pairs, 4)[0, 0, :, 0].tolist() == [0, 25, 75, 100]
    assert estimator.fingerprint != SmallL2CS.build(published).fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc_yaw_gaze.weight": torch.zeros(66, 2048)}, "fc_yaw_gaze has 66 bins; known are 90, 28"),
        ({"fc_pitch_gaze.bias": None}, r"does not fit L2CS-Net; missing: fc_pitch_gaze\.bias"),
        pytest.param({"layer4.2.conv3.weight": None}, r"missing: layer4\.2\.conv3\.weight", marks=pytest.mark.heavy),
        pytest.param({"extra.weight": torch.zeros(3)}, r"not known: extra\.weight", marks=pytest.mark.heavy),
        ({"fc_yaw_gaze.weight": None}, r"expected weights of L2CS-Net, but the file has \d+ tensors: conv1\.weight"),
    ],
)
def test_what_does_not_fit_is_one_line(trunk, steered, tmp_path, change, message) -> None:
    state = {key: value for key, value in {**trunk, **steered[90], **change}.items() if value is not None}
    with pytest.raises(WeightsError, match=message) as caught:
        build_estimator("l2cs", str(write(state, tmp_path / "other.pkl")))
    assert "\n" not in str(caught.value)


def test_missing_weights_say_where_to_get_them(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="the estimator l2cs needs weights: .*L2CSNet_gaze360.pkl"):
        build_estimator("l2cs")
