"""The tree: layout, pairs, splits, determinism, resumption, and what the ground truth says about gaze."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic import synthetic_tree, synthetic_truth
from PIL import Image

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.labels import Family, ForgeryType
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.synthetic import GAZE_NOISE_RAD, GENERATORS, synthesize
from dfad_bench.synthetic.faces import draw_face, plan_face
from dfad_bench.synthetic.layout import planned_paths
from dfad_bench.synthetic.poses import BASE_YAW_VARIANCE, HEAD_LIMIT_RAD

GROUPS = {"real-studio", "real-outdoor", *GENERATORS}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_tree(tmp_path_factory.mktemp("synthetic") / "faces", per_group=6)


def planned_truth(per_group: int, seed: int = 0) -> pd.DataFrame:
    paths = planned_paths(per_group=per_group)
    return pd.DataFrame([plan_face(seed, path).truth for path in paths])


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    first, second = np.cov(a.T), np.cov(b.T)
    root = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * root)


@pytest.mark.heavy
def test_files_are_those_of_the_ground_truth(tree: Path) -> None:
    truth = synthetic_truth(tree)
    found = {path.relative_to(tree).as_posix() for path in tree.rglob("*.png")}
    assert found == set(truth["path"])
    assert set(truth["generator"]) == GROUPS
    assert (truth.groupby("generator").size() == 6).all()
    assert set(truth["split"]) == {"train", "test"}
    assert not list(tree.rglob(".*"))


def test_pictures_are_square_rgb_of_one_size(tree: Path) -> None:
    for path in synthetic_truth(tree)["path"]:
        with Image.open(tree / path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (320, 320))


def test_every_forgery_of_a_real_face_has_its_target(tree: Path) -> None:
    truth = synthetic_truth(tree)
    known = set(truth["path"])
    for row in truth.itertuples():
        stand_in = GENERATORS.get(row.generator)
        if stand_in is None or stand_in.forgery is ForgeryType.EFS:
            assert pd.isna(row.target)
            assert "_by_" not in row.path
        else:
            assert row.target in known
            assert row.target == f"{row.split}/real-studio/{Path(row.path).stem.split('_by_')[0]}.png"
            assert Path(row.path).stem.split("_by_")[1] != row.identity


def test_no_identity_is_in_two_splits_or_in_two_real_sources() -> None:
    truth = planned_truth(40)
    truth["other"] = truth["path"].str.extract(r"_by_(id\d+)")[0]
    people = {split: set(rows["identity"]) | set(rows["other"].dropna()) for split, rows in truth.groupby("split")}
    assert not people["train"] & people["test"]
    sources = {name: set(rows["identity"]) for name, rows in truth.groupby("generator")}
    assert not sources["real-studio"] & sources["real-outdoor"]


def test_a_face_is_a_function_of_seed_and_path_alone(tree: Path) -> None:
    for path in synthetic_truth(tree)["path"][::8]:
        with Image.open(tree / path) as image:
            assert np.array_equal(np.asarray(image), draw_face(0, path)[0])
    path = "train/synthetic-gan-a/id0000_00.png"
    assert not np.array_equal(draw_face(0, path)[0], draw_face(1, path)[0])


def test_more_faces_leave_the_first_ones_alone() -> None:
    few, many = set(planned_paths(per_group=20, identities=8)), set(planned_paths(per_group=40, identities=16))
    efs = {path for path in few if "_by_" not in path}
    assert efs <= many


def test_running_again_draws_only_what_is_missing(tmp_path: Path) -> None:
    tree = synthetic_tree(tmp_path / "faces", per_group=2)
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    pictures = sorted(path for path in before if path.suffix == ".png")
    lost, kept = pictures[3], pictures[4]
    lost.unlink()
    (tree / "ground_truth.parquet").unlink()
    stamp = kept.stat().st_mtime_ns
    synthesize(tree, per_group=2)
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before
    assert kept.stat().st_mtime_ns == stamp


def test_other_settings_are_refused_in_one_line(tmp_path: Path) -> None:
    tree = synthetic_tree(tmp_path / "faces", per_group=2)
    with pytest.raises(ConfigError, match=r"made with other settings \(per_group 2\)"):
        synthesize(tree, per_group=3)
    with pytest.raises(ConfigError, match=r"other settings \(seed 0\)"):
        synthesize(tree, per_group=2, seed=1)


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="not empty and without synthetic.json"):
        synthesize(tmp_path, per_group=2)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_group": 1}, "per_group is 1"),
        ({"per_group": 8, "test_share": 1.0}, "test_share is 1.0"),
        ({"per_group": 8, "identities": 1}, "identities is 1"),
        ({"per_group": 20_000}, "identities a source"),
    ],
)
def test_impossible_numbers_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned_paths(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path",
    [
        "train/real-studio/../x.png",
        "train/stylegan2/id0000_00.png",
        "train/synthetic-gan-a/id0000_00_by_id0001.png",
        "test/synthetic-swap-gan/id5000_00.png",
    ],
)
def test_a_path_that_cannot_occur_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="id0000_00|id5000_00|not a path"):
        draw_face(0, path)


def test_generators_are_those_of_the_taxonomy() -> None:
    for key, stand_in in GENERATORS.items():
        row = taxonomy()[key]
        assert (row.key, row.forgery, row.family, row.attribution_label) == (key, stand_in.forgery, stand_in.family, -1)
    assert {stand_in.forgery for stand_in in GENERATORS.values()} >= set(ForgeryType) - {
        ForgeryType.TF,
        ForgeryType.GR,
        ForgeryType.NONE,
    }
    seen = [stand_in.seen for stand_in in GENERATORS.values()]
    assert any(seen)
    assert not all(seen)


def test_diffusion_keeps_gaze_better_than_flow_and_flow_better_than_gans() -> None:
    noise = {f: [g.noise_rad for g in GENERATORS.values() if g.family is f] for f in Family}
    assert max(noise[Family.DIFFUSION]) < min(noise[Family.FLOW])
    assert max(noise[Family.FLOW]) < min(noise[Family.GAN])
    ranked = sorted(GAZE_NOISE_RAD.values())
    assert min(b / a for a, b in zip(ranked, ranked[1:], strict=False)) > 1.15


@pytest.mark.parametrize(("per_group", "seed"), [(60, 0), (60, 3), (150, 1)])
def test_frechet_order_of_true_gaze_is_the_order_of_the_noise(per_group: int, seed: int) -> None:
    truth = planned_truth(per_group, seed)
    gaze = {name: rows[["pitch_rad", "yaw_rad"]].to_numpy() for name, rows in truth.groupby("generator")}
    fid = {name: frechet(gaze["real-studio"], gaze[name]) for name in GENERATORS}
    assert sorted(fid, key=fid.__getitem__) == sorted(GENERATORS, key=GAZE_NOISE_RAD.__getitem__)


def test_paired_error_has_the_recorded_size() -> None:
    truth = planned_truth(150).set_index("path")
    for name, rows in truth[truth["target"].notna()].groupby("generator"):
        error = rows["yaw_rad"].to_numpy() - truth.loc[rows["target"], "yaw_rad"].to_numpy()
        assert np.sqrt((error**2).mean()) == pytest.approx(GAZE_NOISE_RAD[name], rel=0.12)
        kept = rows["gaze_kept"].unique()
        assert kept == pytest.approx(BASE_YAW_VARIANCE / (BASE_YAW_VARIANCE + GAZE_NOISE_RAD[name] ** 2))


def test_heads_and_eyes_stay_within_their_limits() -> None:
    truth = planned_truth(150)
    assert truth["head_yaw_rad"].abs().max() <= HEAD_LIMIT_RAD
    assert truth["head_pitch_rad"].abs().max() <= HEAD_LIMIT_RAD
    assert (truth["yaw_rad"] - truth["head_yaw_rad"]).abs().max() <= 0.6 + 1e-9
    real = truth[truth["generator"] == "real-studio"]
    assert real["head_yaw_rad"].std() == pytest.approx(HEAD_LIMIT_RAD / np.sqrt(3), rel=0.1)
    assert abs(real["yaw_rad"].mean()) < 0.03
