"""Material that is forged in part: frames in an interval, one face of several; the rest of it is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.video_trees import numbered, write_video
from PIL import Image

from dfad_bench.core.errors import ConfigError
from dfad_bench.data.images import ImageRefused
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.masks import Masks, covered_share
from dfad_bench.ingest.media.base import Frame, Sampling
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.release_lists import frames_of
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.survey import survey


def square(count: int, seed: int = 0, mask: tuple[int, ...] | None = None) -> bytes:
    """A video of `count` frames of 96 pixels a side; with `mask`, white in those frames and black in the others."""
    whole = [np.full((96, 96, 3), 255 * (i in (mask or ())), np.uint8) for i in range(count)]
    return write_video(whole if mask is not None else [numbered(i, seed, 96, 96) for i in range(count)], g="1")


def save(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def frames(out: Path, origin: str) -> dict[int, tuple[str, int, bool]]:
    """Frame -> generator, detection label, whether it has a target."""
    rows = Manifest.open(out).frame()
    rows = rows[rows["origin"] == origin]
    named = zip(rows["frame"], rows["generator"], rows["detection_label"], rows["target_id"].notna(), strict=True)
    return {int(frame): (str(generator), int(label), bool(target)) for frame, generator, label, target in named}


def test_frames_outside_an_interval_are_real(tmp_path: Path) -> None:
    folder = "id00012/abc/00001"
    for index, name in enumerate(("real.mp4", "fake.mp4")):
        save(tmp_path / "d" / "train" / folder / name, square(10, index))
    rows = [
        {"file": f"{folder}/real.mp4", "original": "x", "split": "train", "modify_type": "real",
         "visual_fake_segments": []},
        {"file": f"{folder}/fake.mp4", "original": f"{folder}/real.mp4", "split": "train",
         "modify_type": "both_modified", "visual_fake_segments": [[0.08, 0.2]]},
    ]  # fmt: skip
    (tmp_path / "d" / "train_metadata.json").write_text(json.dumps(rows))
    build_manifest("av_deepfake1m", tmp_path / "d", tmp_path / "m", crop="raw-256", workers=0)
    told = frames(tmp_path / "m", f"train/{folder}/fake.mp4")
    forged = {frame for frame, (generator, _, _) in told.items() if generator == "av_deepfake1m"}
    assert forged == {2, 3, 4}  # of 25 a second, from 0.08 s on and before 0.2 s
    assert {told[frame][1:] for frame in forged} == {(1, True)}
    assert {facts for frame, facts in told.items() if frame not in forged} == {("real", 0, False)}
    assert len(told) == 10
    assert set(frames(tmp_path / "m", f"train/{folder}/real.mp4").values()) == {("real", 0, False)}


def test_frames_of_forgerynet_in_no_segment_are_unlabelled(tmp_path: Path) -> None:
    place = "train_video_release/1/aa/bb/video.mp4"
    save(tmp_path / "d" / "Training/video" / place, square(8))
    (tmp_path / "d" / "Training/video_list.txt").write_text(f"2 {place} 0 3 0 5 2 1 1 2 1\n")
    build_manifest("forgerynet", tmp_path / "d", tmp_path / "m", crop="raw-256", workers=0)
    told = frames(tmp_path / "m", f"Training/video/{place}")
    assert [told[frame][0] for frame in range(8)] == ["real"] * 3 + ["unlabelled"] * 2 + ["faceshifter"] * 2 + [
        "unlabelled"
    ]
    assert {told[frame][1] for frame in (3, 4, 7)} == {-1}


@pytest.fixture
def ffiw(tmp_path: Path) -> Path:
    root = tmp_path / "d"
    save(root / "target/train/train_00000001.mp4", square(6))
    save(root / "target/train/train_00000002.mp4", square(6, 1))
    save(root / "source/train/train_00000001.mp4", square(6, 2))
    save(root / "target_mask/train/train_00000001.mp4", square(6, mask=(2, 3)))
    return root


def test_a_face_the_mask_does_not_touch_is_real(ffiw: Path, tmp_path: Path) -> None:
    build_manifest("ffiw", ffiw, tmp_path / "m", crop="raw-256", workers=0)
    told = frames(tmp_path / "m", "target/train/train_00000001.mp4")
    assert {frame: facts[:2] for frame, facts in told.items()} == {
        frame: ("ffiw", 1) if frame in (2, 3) else ("real", 0) for frame in range(6)
    }
    assert {facts[0] for facts in frames(tmp_path / "m", "target/train/train_00000002.mp4").values()} == {"unlabelled"}
    notes = survey("ffiw", ffiw).notes
    assert any("1 forged files have no mask" in note for note in notes)
    assert any("1 forged files have a mask: each face has the label of its place in it" in note for note in notes)


def test_a_mask_without_the_frame_is_a_refusal_with_a_reason(ffiw: Path, tmp_path: Path) -> None:
    save(ffiw / "target_mask/train/train_00000001.mp4", square(3, mask=(1,)))
    build_manifest("ffiw", ffiw, tmp_path / "m", crop="raw-256", workers=0)
    rows = Manifest.open(tmp_path / "m").frame(status=None)
    lost = rows[(rows["origin"] == "target/train/train_00000001.mp4") & (rows["status"] != "ok")]
    assert set(lost["frame"]) == {3, 4, 5}
    assert lost["reason"].str.contains("its mask lacks this frame").all()


def test_another_mask_makes_the_part_again(ffiw: Path, tmp_path: Path) -> None:
    build_manifest("ffiw", ffiw, tmp_path / "m", crop="raw-256", workers=0)
    assert build_manifest("ffiw", ffiw, tmp_path / "m", crop="raw-256", workers=0).parts_built == 0
    save(ffiw / "target_mask/train/train_00000001.mp4", square(6, mask=(0, 1, 2, 3, 4, 5)))
    assert build_manifest("ffiw", ffiw, tmp_path / "m", crop="raw-256", workers=0).parts_built == 1
    assert {f[0] for f in frames(tmp_path / "m", "target/train/train_00000001.mp4").values()} == {"ffiw"}


def test_the_share_of_a_box_that_is_white_whatever_the_size_of_the_mask() -> None:
    grey = np.zeros((40, 80), np.uint8)
    grey[:, :40] = 255  # the left half
    mask = Image.fromarray(grey)
    assert covered_share(mask, (0, 0, 80, 80), (160, 80)) == 1
    assert covered_share(mask, (40, 0, 120, 80), (160, 80)) == 0.5
    assert covered_share(mask, (100, 10, 150, 60), (160, 80)) == 0
    assert covered_share(mask, None, (160, 80)) == 0.5
    with pytest.raises(ImageRefused, match="outside its mask"):
        covered_share(mask, (200, 0, 300, 50), (160, 80))


@pytest.mark.parametrize(
    ("white", "generator"), [(0, "real"), (0.005, "real"), (0.01, None), (0.09, None), (0.1, "ffiw"), (1, "ffiw")]
)
def test_a_face_between_forged_and_untouched_is_refused(tmp_path: Path, white: float, generator: str | None) -> None:
    grey = np.zeros((100, 100), np.uint8)
    grey.flat[: round(white * grey.size)] = 255
    Image.fromarray(grey).save(tmp_path / "mask.png")
    face = Frame(Image.new("RGB", (100, 100)), "0" * 64)
    sample = RawSample("ffiw", "ffiw", None, "a.png", tmp_path / "a.png", mask_path=tmp_path / "mask.png")
    masks = Masks(sample, Sampling())
    if generator is not None:
        assert masks.generator_of((0, 0, 100, 100), face) == generator
    else:
        with pytest.raises(ImageRefused, match="neither forged nor untouched"):
            masks.generator_of((0, 0, 100, 100), face)


@pytest.mark.parametrize("interval", [[1], [2, 1], [-1, 2], ["0", "1"], [0, float("inf")], 3, [0, 1e12], None])
def test_an_interval_is_two_times_in_order(interval: Any) -> None:
    with pytest.raises(ConfigError, match="is no interval"):
        frames_of(interval, 25, "list.json: line 1")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{}", "expected a list of objects"),
        ('[{"file": null}]', "line 1: no path"),
        ('[{"file": "a", "split": "train", "modify_type": "0"}]', "has no name"),
        ('[{"file": "a", "split": "train", "modify_type": "real"}, {"file": "a", "split": "train"}]', "also on a line"),
    ],
)
def test_bad_lists_are_said(tmp_path: Path, text: str, error: str) -> None:
    save(tmp_path / "train/a.mp4", b"x")
    save(tmp_path / "train/a", b"x")
    (tmp_path / "train_metadata.json").write_text(text.replace('"a"', '"a.mp4"'))
    with pytest.raises(ConfigError, match=error):
        list_source(load_dataset_spec("av_deepfake1m"), tmp_path)


def test_a_list_with_other_columns_names_those_it_has(tmp_path: Path) -> None:
    save(tmp_path / "image-data/a.jpg", b"x")
    (tmp_path / "image-metadata-publish.csv").write_text("file,truth\na.jpg,Real\n")
    with pytest.raises(
        ConfigError, match=r"no columns \['filename', 'finetuning_set', 'ground_truth'\]; found file, truth"
    ):
        list_source(load_dataset_spec("deepfake_eval_2024"), tmp_path)


def test_a_forged_clip_without_an_interval_is_left_out_and_counted(tmp_path: Path) -> None:
    save(tmp_path / "train/a.mp4", b"x")
    row = {"file": "a.mp4", "split": "train", "modify_type": "visual_modified", "visual_fake_segments": []}
    (tmp_path / "train_metadata.json").write_text(json.dumps([row]))
    listing = list_source(load_dataset_spec("av_deepfake1m"), tmp_path)
    assert not listing.samples
    assert listing.ignored["forged, without a forged interval in train_metadata.json"] == 1
