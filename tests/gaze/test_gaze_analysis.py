from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from gaze_frames import REAL_SD, gaze_frame, study_of

from dfad_bench.core.errors import ManifestError
from dfad_bench.gaze.analysis import GazeReport, analyse
from dfad_bench.gaze.fid import RealSide, Side
from dfad_bench.gaze.pairs import NO_PAIRS, NO_TARGET, study_pairs
from dfad_bench.gaze.vectors import angular_error_rad, to_unit
from dfad_bench.metrics.frechet import frechet_distance, gaussian


def row_of(report: GazeReport, generator: str):
    return next(row for row in report.rows if row.generator == generator)


def test_distance_is_that_of_the_chosen_faces_and_has_two_parts() -> None:
    frame = gaze_frame({"flow": 400}, shift={"flow": 0.1})
    row = analyse(frame, resamples=50).rows[0]
    sides = [frame[frame.detection_label == label][["pitch_rad", "yaw_rad"]] for label in (0, 1)]
    (mean_a, cov_a), (mean_b, cov_b) = (gaussian(side) for side in sides)
    assert row.fid.fid_rad2 == pytest.approx(frechet_distance(mean_a, cov_a, mean_b, cov_b))
    assert row.fid.mean_part_rad2 + row.fid.covariance_part_rad2 == pytest.approx(row.fid.fid_rad2)
    assert row.fid.mean_part_rad2 == pytest.approx(((mean_a - mean_b) ** 2).sum())
    np.testing.assert_allclose(row.fid.cov_fake_rad2, cov_b)


def test_every_generator_is_compared_on_as_many_faces() -> None:
    report = analyse(gaze_frame({"flow": 300, "vae": 120, "hart": 7}), resamples=20)
    assert {row.generator: row.fid.n for row in report.rows} == {"flow": 120, "vae": 120, "hart": 7}
    assert any("toy/hart (7)" in note for note in report.notes)
    assert len(report.points["toy", "flow"][0]) == 120
    capped = analyse(gaze_frame({"flow": 300, "vae": 120}), samples=60, resamples=20)
    assert [row.fid.n for row in capped.rows] == [60, 60]


def test_same_faces_in_another_order_give_the_same_report() -> None:
    frame = gaze_frame({"flow": 150, "swap": 90})
    shuffled = frame.sample(frac=1, random_state=5)
    first, second, other = (analyse(f, seed=s, resamples=30).flat() for f, s in ((frame, 0), (shuffled, 0), (frame, 1)))
    assert first == second
    assert first != other


def test_order_of_distances_is_that_of_the_shifts_and_the_floor_is_below() -> None:
    shifts = {"a": 0.0, "b": 0.06, "c": 0.12, "d": 0.25}
    report = analyse(gaze_frame(dict.fromkeys(shifts, 300), shift=shifts, reals=700), resamples=200)
    fids = [row_of(report, name).fid for name in shifts]
    assert [f.fid_rad2 for f in fids] == sorted(f.fid_rad2 for f in fids)
    assert fids[0].fid_rad2 < fids[0].floor_high_rad2
    assert fids[0].low_rad2 == 0
    for fid, shift in zip(fids[1:], list(shifts.values())[1:], strict=True):
        assert fid.floor_high_rad2 < fid.fid_rad2
        assert 0 < fid.low_rad2 < shift**2 < fid.high_rad2
        assert fid.low_rad2 <= fid.unbiased_rad2 <= fid.high_rad2


def test_floor_is_what_theory_says_and_scales_when_reals_are_few() -> None:
    rng = np.random.default_rng(0)
    expected = 3.5 * (REAL_SD**2).sum() / 200
    many, few = rng.standard_normal((2000, 2)) * REAL_SD, rng.standard_normal((200, 2)) * REAL_SD
    shapes = ((200, 1), (200, 1))
    mean_many, high_many = RealSide("many", Side.of_single(many, "r"), seed=0).floor(*shapes)
    mean_few, _ = RealSide("few", Side.of_single(few, "r"), seed=0).floor(*shapes)
    assert mean_many == pytest.approx(expected, rel=0.3)
    assert mean_few == pytest.approx(expected, rel=0.4)
    assert high_many > mean_many
    assert RealSide("none", Side.of_single(few[:3], "r"), seed=0).floor(*shapes) is None


def test_interval_covers_the_true_distance() -> None:
    """Twenty draws with a known distance: 95 % of the intervals should hold it, fewer than 16 would be a bug."""
    rng = np.random.default_rng(3)
    true = 0.08**2
    held = 0
    for _ in range(20):
        real = rng.standard_normal((150, 2)) * REAL_SD
        fake = rng.standard_normal((150, 2)) * REAL_SD + [0.0, 0.08]
        study = study_of(real, fake)
        held += study.low_rad2 <= true <= study.high_rad2
    assert held >= 16


@pytest.mark.parametrize("count", [0, 1])
def test_less_than_two_faces_have_no_distance(count: int) -> None:
    study = study_of(np.zeros((count, 2)), np.zeros((count, 2)))
    assert study.fid_rad2 is None
    assert study.n == count


def test_pairs_against_plain_formulas() -> None:
    frame = gaze_frame({"swap": 60}, shift={"swap": 0.05})
    pairs = analyse(frame, resamples=200).rows[0].pairs
    real = frame.set_index("sample_id")
    cosines, angles, flat = [], [], []
    for _, fake in frame[frame.generator == "swap"].iterrows():
        target = real.loc[fake.target_id]
        a, b = ([row.pitch_rad, row.yaw_rad] for row in (target, fake))
        flat.append(np.dot(a, b) / (math.hypot(*a) * math.hypot(*b)))
        cosines.append(to_unit(a) @ to_unit(b))
        angles.append(float(angular_error_rad(a, b)))
    assert pairs.n == 60
    assert pairs.cosine_2d.value == pytest.approx(np.mean(flat))
    assert pairs.cosine_3d.value == pytest.approx(np.mean(cosines))
    assert pairs.angle_rad.value == pytest.approx(np.mean(angles))
    assert pairs.median_angle_rad == pytest.approx(np.median(angles))
    for mean in (pairs.cosine_2d, pairs.cosine_3d, pairs.angle_rad):
        assert mean.low < mean.value < mean.high


def test_pairs_keep_gaze_and_random_pairs_do_not() -> None:
    report = analyse(gaze_frame({"swap": 200, "edit": 200, "flow": 200}), resamples=100)
    assert row_of(report, "swap").pairs.cosine_2d.low > 0.9
    assert abs(report.control.cosine_2d.value) < 0.15
    assert report.control.angle_rad.value > 5 * row_of(report, "swap").pairs.angle_rad.value
    assert row_of(report, "flow").pairs.verdict == NO_TARGET
    assert report.flat()[-1]["forgery"] == "control"


def test_control_never_pairs_a_face_with_its_own_target() -> None:
    frame = gaze_frame({"swap": 40}, reals=3)  # many share a target
    fakes, reals = frame[frame.detection_label == 1], frame[frame.detection_label == 0]
    control = study_pairs(fakes, reals, samples=100, seed=0, shuffled=True)
    assert 0 < control.n < 40
    one = gaze_frame({"swap": 5}, reals=1)
    alone = study_pairs(one[one.detection_label == 1], one, samples=9, seed=0, shuffled=True)
    assert (alone.n, alone.verdict) == (0, NO_PAIRS)


def test_missing_targets_are_counted_and_zero_gaze_has_no_direction() -> None:
    frame = gaze_frame({"swap": 60})
    lost = frame.target_id.dropna().iloc[0]
    users = int((frame.target_id == lost).sum())
    frame = frame[frame.sample_id != lost].reset_index(drop=True)
    first = frame.index[frame.generator == "swap"][5]
    frame.loc[first, ["pitch_rad", "yaw_rad"]] = 0.0
    report = analyse(frame, resamples=20)
    pairs = row_of(report, "swap").pairs
    assert (pairs.n, pairs.missing, pairs.zero_norm) == (60 - users, users, 1)
    assert any("pairs are left out" in note for note in report.notes)
    frame["target_id"] = None
    assert row_of(analyse(frame, resamples=20), "swap").pairs.verdict == NO_PAIRS


def test_faces_without_gaze_and_unlabelled_ones_are_left_out_and_counted() -> None:
    frame = gaze_frame({"flow": 100})
    frame.loc[frame.index[frame.generator == "flow"][:4], "yaw_rad"] = np.nan
    frame.loc[frame.index[frame.generator == "real"][:7], "detection_label"] = -1
    report = analyse(frame, resamples=20)
    row = report.rows[0]
    assert (row.found, row.dropped, row.fid.n) == (96, 4, 96)
    assert any(note.startswith("4 faces without a gaze") for note in report.notes)
    assert any(note.startswith("7 faces without a known label") for note in report.notes)


def test_reals_come_from_the_same_dataset_else_from_all() -> None:
    own = gaze_frame({"flow": 80}, dataset="one")
    orphan = gaze_frame({"vae": 80}, dataset="two")
    orphan = orphan[orphan.detection_label == 1]
    report = analyse(pd.concat([own, orphan]), resamples=20)
    assert {row.generator: row.reals for row in report.rows} == {"flow": "one", "vae": "all"}
    assert any("same dataset: one" in note for note in report.notes)
    assert any("all real faces" in note and "two" in note for note in report.notes)


def test_share_of_heads_alone_needs_flags() -> None:
    frame = gaze_frame({"flow": 60})
    frame.loc[frame.index[frame.generator == "flow"][:15], ["flags", "confidence"]] = [2, 0.0]
    row = analyse(frame, resamples=20).rows[0]
    assert (row.head_only, row.low_confidence) == (0.25, 0.25)
    assert analyse(frame.drop(columns="flags"), resamples=20).rows[0].head_only is None


def test_faces_that_were_only_resized_or_have_the_head_alone_are_said() -> None:
    frame = gaze_frame({"flow": 60}, reals=40)
    assert not any("resized" in note or "head's direction" in note for note in analyse(frame, resamples=20).notes)
    frame.loc[frame.index[:12], "flags"] = 9  # no pose, resized
    frame.loc[frame.index[12:15], "flags"] = 2
    notes = analyse(frame, resamples=20).notes
    assert "12 of 100 faces have no head pose: not normalised, the whole crop was resized." in notes
    assert "3 of 100 faces have the head's direction only: eyes too small or cut off." in notes


def test_refuses_what_cannot_be_compared() -> None:
    frame = gaze_frame({"flow": 60})
    with pytest.raises(ManifestError, match="no real face"):
        analyse(frame[frame.detection_label == 1])
    with pytest.raises(ManifestError, match="no forged face"):
        analyse(frame[frame.detection_label == 0])
    with pytest.raises(ManifestError, match=r"lack the columns \['target_id'\]"):
        analyse(frame.drop(columns="target_id"))
    with pytest.raises(ManifestError, match="two of the manifests"):
        analyse(pd.concat([frame, frame]))
