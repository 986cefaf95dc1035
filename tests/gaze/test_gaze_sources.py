"""A study counts sources (videos, identities, targets), not faces: frames of a video are one observation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gaze_frames import REAL_SD, gaze_frame

from dfad_bench.gaze.analysis import analyse
from dfad_bench.gaze.fid import FidStudy, RealSide, Side, study_fid
from dfad_bench.gaze.sources import LEAST_FLOOR_SOURCES, LEAST_PAIR_SOURCES, LEAST_SOURCES, sources_of, with_videos
from dfad_bench.metrics.frechet import gaussian, gaussian_frechet_2d
from dfad_bench.report.gaze.tables import fid_table

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
TIMES = 25  # hundreds of studies of each kind: benchmarks/gaze_coverage.py


def videos(rng: np.random.Generator, name: str, count: int, frames: int, shift: float = 0.0) -> Side:
    """Frames that scatter little around the gaze of their video."""
    own = np.repeat(rng.standard_normal((count, 2)) * np.sqrt(0.9), frames, axis=0)
    angles = (own + rng.standard_normal(own.shape) * np.sqrt(0.1)) * REAL_SD + [0.0, shift]
    return Side(angles, np.repeat([f"{name}{i}" for i in range(count)], frames))


def study(real: Side, fake: Side, *, resamples: int = 100, seed: int = 0) -> FidStudy:
    scope = RealSide("toy", real, seed=seed, resamples=resamples)
    return study_fid(real, fake, scope.floor(real.shape, fake.shape), scope.distances(real, fake))


def of_frames(side: Side, name: str) -> Side:
    return Side.of_single(side.vectors, name)


@pytest.mark.heavy
def test_real_videos_seldom_exceed_the_floor_of_real_videos() -> None:
    """Counted by frame, more than half of the studies of real against real are above "floor 95 %"."""
    above = {"sources": 0, "faces": 0}
    for turn in range(TIMES):
        rng = np.random.default_rng([1, turn])
        sides = videos(rng, "r", 20, 8), videos(rng, "f", 20, 8)
        by_source, by_face = study(*sides), study(*(of_frames(s, n) for s, n in zip(sides, "rf", strict=True)))
        above["sources"] += by_source.fid_rad2 > by_source.floor_high_rad2
        above["faces"] += by_face.fid_rad2 > by_face.floor_high_rad2
    assert above["faces"] > TIMES / 2
    assert above["sources"] <= 4  # 0.05 and three standard errors


@pytest.mark.heavy
@pytest.mark.parametrize("reals", [20, 50])
def test_a_floor_from_few_single_faces_is_not_exceeded_too_often(reals: int) -> None:
    """As many real faces as are compared: their own variance is uncertain, and halves of them gave 9 in 100."""
    above = 0
    for turn in range(300):
        rng = np.random.default_rng([2, turn])
        sides = videos(rng, "r", reals, 1), videos(rng, "f", reals, 1)
        found = study(*sides, resamples=2)
        above += found.fid_rad2 > found.floor_high_rad2
    assert above / (300) <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / (300))


@pytest.mark.heavy
def test_the_interval_of_a_distance_between_videos_covers_it() -> None:
    held = {"sources": 0, "faces": 0}
    for turn in range(TIMES):
        rng = np.random.default_rng([3, turn])
        sides = videos(rng, "r", 20, 8), videos(rng, "f", 20, 8, shift=0.08)
        for unit in held:
            compared = sides if unit == "sources" else [of_frames(s, n) for s, n in zip(sides, "rf", strict=True)]
            found = study(*compared)
            held[unit] += found.low_rad2 <= 0.08**2 <= found.high_rad2
    assert held["faces"] < 0.7 * TIMES
    assert held["sources"] >= TIMES - 5  # 0.93 and three standard errors


def test_forgeries_that_share_the_sources_of_real_faces_are_resampled_with_them() -> None:
    """A forged face that only turns its target by an angle differs by that angle in every resample."""
    real = videos(np.random.default_rng(0), "v", 12, 4)
    turned = Side(real.vectors + [0.0, 0.1], real.sources)
    drawn = RealSide("toy", real, seed=0, resamples=50).distances(real, turned)
    np.testing.assert_allclose(drawn, 0.01, rtol=1e-6)
    apart = Side(turned.vectors, np.char.add("other-", turned.sources))
    assert np.ptp(RealSide("toy", real, seed=0, resamples=50).distances(real, apart)) > 0.005


def test_the_floor_falls_with_sources_not_with_frames() -> None:
    rng = np.random.default_rng(4)
    scope = RealSide("toy", videos(rng, "r", 400, 16), seed=0)
    few, many = scope.floor((20, 16), (20, 16)), scope.floor((320, 1), (320, 1))
    assert few[0] > 8 * many[0]
    assert scope.floor((20, 1), (20, 1))[0] == pytest.approx(few[0], rel=0.25)


def clustered_frame(videos_of: dict[str, int], frames: int = 12, reals: int = 30) -> pd.DataFrame:
    """A study whose faces are frames; swaps have the source of their target."""
    frame = gaze_frame({name: count * frames for name, count in videos_of.items()}, reals=reals * frames)
    order = frame.groupby(["generator"]).cumcount()
    return frame.assign(source_key=frame["generator"] + "-" + (order // frames).astype(str))


def test_a_study_says_how_many_sources_there_are_and_gives_none_an_interval_that_has_too_few() -> None:
    report = analyse(clustered_frame({"flow": 20, "clips": 2, "swap": 20}), resamples=50)
    rows = {row.generator: row for row in report.rows}
    assert {name: row.fid.sources_fake for name, row in rows.items()} == {"flow": 20, "clips": 2, "swap": 20}
    assert rows["clips"].fid.sources_effective == 2
    assert rows["clips"].fid.fid_rad2 is not None
    assert (rows["clips"].fid.low_rad2, rows["clips"].fid.high_rad2) == (None, None)
    assert rows["flow"].fid.low_rad2 < rows["flow"].fid.high_rad2
    assert rows["swap"].pairs.sources == 20
    assert (rows["swap"].pairs.cosine_2d.low, rows["swap"].pairs.angle_rad.low is None) == (None, False)
    assert any("clips" in note and "sources" in note for note in report.notes)  # not among means and tests
    (group,) = [group for group in report.groups if (group.forgery, group.family) == ("EFS", "")]
    assert (group.generators, group.sources) == (1, 20)
    assert group.low_rad2 <= group.fid_rad2 <= group.high_rad2
    flat = report.flat()[0]
    assert {"sources_real", "sources_fake", "sources_effective", "pair_sources"} <= flat.keys()


def test_a_group_mean_has_the_interval_of_resampled_sources() -> None:
    """Two generators of one distance from the same targets: their mean is as uncertain as either, not less."""
    frame = clustered_frame({"flow": 20, "vae": 20})
    twin = frame.generator == "vae"
    frame.loc[twin, ["pitch_rad", "yaw_rad"]] = frame.loc[
        frame.generator == "flow", ["pitch_rad", "yaw_rad"]
    ].to_numpy()
    frame.loc[twin, "source_key"] = frame.loc[frame.generator == "flow", "source_key"].to_numpy()
    report = analyse(frame, samples=240, resamples=200, equal_n=False)
    one = next(row.fid for row in report.rows if row.generator == "flow")
    group = next(group for group in report.groups if group.forgery == "EFS")
    assert group.sources == 20
    assert group.high_rad2 - group.low_rad2 == pytest.approx(one.high_rad2 - one.low_rad2, rel=0.05)


def test_faces_that_name_no_source_are_one_each_and_a_note_says_so() -> None:
    frame = gaze_frame({"flow": 60}).assign(source_key=None)
    plain = analyse(frame.drop(columns="source_key"), resamples=20)
    named = analyse(frame, resamples=20)
    assert plain.rows[0].fid.sources_fake == named.rows[0].fid.sources_fake == 60
    assert any(note.startswith("460 faces name no source") for note in named.notes)
    rows = frame.assign(source_key=["a"] * 230 + [None] * 230)
    assert len(set(sources_of(rows))) == 231
    assert not any("name no source" in note for note in analyse(frame.assign(source_key="a/1"), resamples=5).notes)


def test_frames_of_a_video_without_a_source_share_the_video() -> None:
    rows = pd.DataFrame(
        {
            "sample_id": ["a", "b", "c", "d"], "dataset": "toy", "source_key": [None, None, "who", None],
            "origin": ["one.mp4", "one.mp4", "two.mp4", "portrait.png"], "frame": [0, 1, 0, None],
        }
    )  # fmt: skip
    assert sources_of(with_videos(rows)).tolist() == ["toy/one.mp4", "toy/one.mp4", "toy/who", "toy/d"]


def test_without_sources_the_distance_itself_is_unchanged() -> None:
    """Sources say how sure a number is, not what it is."""
    frame = clustered_frame({"flow": 20})
    both = [analyse(f, resamples=10).rows[0].fid for f in (frame, frame.drop(columns="source_key"))]
    assert both[0].fid_rad2 == both[1].fid_rad2
    assert (both[0].n, both[0].mean_part_rad2) == (both[1].n, both[1].mean_part_rad2)


@pytest.mark.skipif(not RESULTS.is_dir(), reason="not a checkout: benchmarks are not shipped in the wheel")
def test_the_least_numbers_of_sources_are_those_of_the_simulation() -> None:
    facts = json.loads((RESULTS / "gaze_sources.json").read_text())
    goal = facts["goal"] - 2 * facts["monte_carlo_error_at_0.95"]
    for count, kinds in facts["distances"].items():
        for kind, found in kinds.items():
            assert int(count) < LEAST_SOURCES or found["interval_covers"] >= goal, (count, kind)
            above = found["above_floor"] <= 0.05 + 2 * facts["monte_carlo_error_at_0.95"]
            assert int(count) < LEAST_FLOOR_SOURCES or above, (count, kind)
    for count, found in facts["pairs"].items():
        for name, least in LEAST_PAIR_SOURCES.items():
            assert int(count) < least or found[f"after {name}"] >= goal, (count, name)


def test_interval_of_a_distance_never_leaves_what_is_possible() -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        found = study(videos(rng, "r", 10, 4), videos(rng, "f", 10, 4))
        assert 0 <= found.low_rad2 <= found.high_rad2
        assert found.unbiased_rad2 == max(found.debiased_rad2, 0)
    same = videos(rng, "r", 12, 4)
    assert float(gaussian_frechet_2d(*gaussian(same.vectors), *gaussian(same.vectors))) == pytest.approx(0, abs=1e-12)


def test_sources_that_a_row_does_not_state_are_not_none_of_them() -> None:
    row = {"estimator": "e", "dataset": "d", "forgery": "FS", "family": "gan", "generator": "g", "n": 5, "pairs": 0}
    told, open_ = (fid_table([{**row, **more}], "e") for more in ({"sources_real": 3, "sources_fake": 2}, {}))
    assert told.rows[0]["sources_text"] == "3 real, 2 fake"
    assert open_.rows[0]["sources_text"] is None
