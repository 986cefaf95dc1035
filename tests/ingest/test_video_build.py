"""Manifests of videos: a row a frame, pairs by frame, one face followed, the same bytes however they are built."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.synthetic import synthetic_tree
from helpers.video_trees import (
    clip,
    dfdc_train_tree,
    faceforensics_tree,
    number_of,
    numbered,
    videos_tree,
    write_video,
)
from PIL import Image

from dfad_bench.cli.build_manifest import command
from dfad_bench.core.errors import IntegrityError
from dfad_bench.data.images import decode_crop
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.manifest_schema import sample_id
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.ingest.media.base import Sampling
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.shard import ShardTask, crop_sample


def build(dataset: str, root: Path, out: Path, frames: int = 4, **options: Any) -> Manifest:
    settings: dict[str, Any] = {"crop": "raw-256", "workers": 0, "frames": frames, **options}
    build_manifest(dataset, root, out, **settings)
    return Manifest.open(out)


def digests(folder: Path) -> dict[str, str]:
    names = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in names}


def test_every_frame_is_a_row(tmp_path: Path):
    tree = videos_tree(tmp_path / "root")
    manifest = build("videos", tree.root, tmp_path / "m", generator="sadtalker")
    rows = manifest.frame()
    assert rows.groupby("origin")["frame"].apply(sorted).to_dict() == {o: [0, 2, 5, 8] for o in tree.samples}
    for row in rows.itertuples():
        assert row.sample_id == sample_id("videos", row.origin, row.frame)
        assert (row.generator, row.detection_label, row.source_format) == ("sadtalker", 1, "H264")
        assert (row.source_width, row.source_height) == (96, 64)
        data = (tree.root / row.origin).read_bytes()
        assert (row.source_sha256, row.source_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    crops = dict(manifest.images(rows["sample_id"]))
    assert len({hashlib.sha256(png).hexdigest() for png in crops.values()}) == len(rows)
    assert all(decode_crop(png).shape == (256, 256, 3) for png in crops.values())


@pytest.mark.parametrize(
    ("dataset", "tree_of"),
    [pytest.param("faceforensics", faceforensics_tree, marks=pytest.mark.heavy), ("dfdc", dfdc_train_tree)],
)
def test_frames_of_pairs_are_those_of_the_same_moment(dataset: str, tree_of: Any, tmp_path: Path):
    tree = tree_of(tmp_path / "root")
    rows = build(dataset, tree.root, tmp_path / "m", frames=5).frame()
    by_id = rows.set_index("sample_id")
    fakes = rows[rows["origin"].map(lambda origin: tree.samples[origin][3] is not None)]
    paired = fakes[fakes["target_id"].isin(by_id.index)]
    assert len(paired) == len(fakes) > 0  # every frame of a forged video has its counterpart
    targets = by_id.loc[paired["target_id"]]
    assert (targets["frame"].to_numpy() == paired["frame"].to_numpy()).all()
    assert targets["origin"].tolist() == [tree.samples[origin][3] for origin in paired["origin"]]
    assert targets["generator"].eq("real").all()
    assert rows.groupby("origin").size().between(4, 5).all()  # forged ones may end before their targets


@pytest.mark.heavy
def test_workers_parts_and_resuming_change_no_byte(tmp_path: Path):
    root = dfdc_train_tree(tmp_path / "root").root
    (root / "dfdc_train_part_0/real0.mp4").write_bytes(clip(30)[:1500])  # damaged, and the target of another
    outs = [tmp_path / name for name in ("serial", "two", "resumed")]
    manifest = build("dfdc", root, outs[0], shard_size=8)
    build("dfdc", root, outs[1], shard_size=8, workers=2)
    build("dfdc", root, outs[2], shard_size=8)
    parts = sorted(outs[2].glob("part-*.json"))
    assert len(parts) == 3  # two videos of four frames a part
    parts[1].unlink()
    (outs[2] / "manifest.json").unlink()
    build("dfdc", root, outs[2], shard_size=8)
    assert digests(outs[0]) == digests(outs[1]) == digests(outs[2])
    refused = manifest.frame(status=None).query("status != 'ok'")
    assert refused["origin"].tolist() == ["dfdc_train_part_0/real0.mp4"]
    assert refused["frame"].isna().all()
    assert refused["status"].tolist() == ["unreadable"]


def test_a_changed_target_is_sampled_anew(tmp_path: Path):
    root = dfdc_train_tree(tmp_path / "root").root

    def frames() -> list[int]:
        rows = build("dfdc", root, tmp_path / "m").frame()
        return sorted(rows.loc[rows["origin"] == "dfdc_train_part_0/swap0.mp4", "frame"])

    before = frames()
    (root / "dfdc_train_part_0/real0.mp4").write_bytes(clip(9))
    assert (before, frames()) == ([0, 3, 7], [0, 2, 5, 8])  # of 12 frames, of 9


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Two synthetic faces."""
    root = synthetic_tree(tmp_path_factory.mktemp("faces"), per_group=6, seed=0)
    files = sorted((root / "test" / "real-studio").glob("*.png"))
    return [np.asarray(Image.open(f).convert("RGB").resize((200, 200))) for f in (files[0], files[-1])]


def scene(faces: list[np.ndarray], places: list[tuple[int, int, int] | None]) -> np.ndarray:
    """A picture of 640 x 256 with each face at (x, y, side)."""
    canvas = Image.new("RGB", (640, 256), (90, 90, 90))
    for face, place in zip(faces, places, strict=True):
        if place is not None:
            x, y, side = place
            canvas.paste(Image.fromarray(face).resize((side, side)), (x, y))
    return np.asarray(canvas)


def rows_of(path: Path, frames: list[np.ndarray], sampling: Sampling) -> pd.DataFrame:
    path.write_bytes(write_video(frames, crf="8"))
    sample = RawSample("videos", "unlabelled", None, path.name, path, medium="video")
    return pd.DataFrame(crop_sample(sample, FaceCropper(load_crop_profile("face-256-1.3")), 300, sampling))


def test_one_face_is_followed_where_another_becomes_bigger(faces: list[np.ndarray], tmp_path: Path):
    every = Sampling(frames=None, stride=1)
    left = [(20 + 4 * i, 40, 180 - 6 * i) for i in range(6)]
    right = [(400, 20, 150 + 12 * i) for i in range(6)]
    frames = [scene(faces, [a, b]) for a, b in zip(left, right, strict=True)]
    rows = rows_of(tmp_path / "a.mp4", frames, every)
    assert rows["status"].eq("ok").all()
    centres = [(box[0] + box[2]) / 2 for box in rows["box"]]
    assert max(centres) < 320  # the left one, though the right one grows bigger
    assert rows["flags"].isna().all()
    alone = rows_of(tmp_path / "b.mp4", frames[-1:], every)
    assert (alone["box"][0][0] + alone["box"][0][2]) / 2 > 320


def test_another_face_is_flagged(faces: list[np.ndarray], tmp_path: Path):
    shown = [scene(faces, [(20, 30, 190), None])] * 2 + [scene(faces, [None, None])]
    shown += [scene(faces, [None, (420, 30, 190)])] * 2
    rows = rows_of(tmp_path / "a.mp4", shown, Sampling(frames=None, stride=1))
    assert rows["status"].tolist() == ["ok", "ok", "no_face", "ok", "ok"]
    assert rows["frame"].tolist() == [0, 1, 2, 3, 4]
    assert rows["flags"].fillna("").tolist() == ["", "", "", "identity_switch", ""]


def test_frames_before_a_cut_stay_and_the_cut_is_one_row(tmp_path: Path):
    path = tmp_path / "a.mkv"
    data = write_video((numbered(i) for i in range(40)), name="a.mkv", g="5")
    path.write_bytes(data[: len(data) // 2])
    sample = RawSample("videos", "unlabelled", None, path.name, path, medium="video")
    cropper = FaceCropper(load_crop_profile("raw-256"))
    rows = crop_sample(sample, cropper, 60, Sampling(frames=None, stride=1))
    assert [row["status"] for row in rows] == ["ok"] * (len(rows) - 1) + ["unreadable"]
    assert [row["frame"] for row in rows] == [*range(len(rows) - 1), None]
    assert "cut short" in rows[-1]["reason"]
    assert rows[-1]["sample_id"] == sample.sample_id


def test_the_time_limit_of_a_video_grows_with_its_frames(tmp_path: Path):
    image = RawSample("videos", "real", None, "a.png", tmp_path / "a.png")
    film = RawSample("videos", "real", None, "a.mp4", tmp_path / "a.mp4", medium="video", weight=33)
    task = ShardTask(tmp_path / "p", (image, film), load_crop_profile("raw-256"), "", 10.0)
    assert (task.seconds(0), task.seconds(1)) == (10, 50)


@pytest.mark.heavy
def test_the_command_line_samples_videos(tmp_path: Path):
    tree = faceforensics_tree(tmp_path / "root", "c40")
    base = ["--dataset", "faceforensics", "--root", str(tree.root), "--crop", "raw-256", "--workers", "0", "--quiet"]

    def run(*options: str) -> Any:
        return CliRunner().invoke(command, [*base, *options])

    done = run("--out", str(tmp_path / "a"), "--only", "compression=c40", "--frames", "2")
    assert done.exit_code == 0, done.output
    rows = Manifest.open(tmp_path / "a").frame()
    assert set(rows["origin"]) == set(tree.samples)
    assert rows[rows["generator"] == "real"].groupby("origin").size().eq(2).all()
    done = run("--out", str(tmp_path / "b"), "--only", "compression=c40", "--stride", "4", "--limit", "1")
    assert done.exit_code == 0, done.output
    assert {f % 4 for f in Manifest.open(tmp_path / "b").frame()["frame"]} == {0}
    assert "Give --frames or --stride" in run("--out", "x", "--frames", "2", "--stride", "4").output
    assert "expected FIELD=VALUE" in run("--out", "x", "--only", "compression").output
    again = run("--out", str(tmp_path / "a"), "--only", "compression=c40", "--frames", "3")
    assert isinstance(again.exception, IntegrityError)
    assert "frames was 2, is 3" in str(again.exception)


def test_numbers_survive_the_codec():
    assert [number_of(numbered(i)) for i in (0, 1, 512, 1023)] == [0, 1, 512, 1023]
