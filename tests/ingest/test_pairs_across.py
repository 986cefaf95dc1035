"""Releases without reals: their pairs are found by name in the manifest of the release that holds the reals."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.dataset_trees import draw
from helpers.video_trees import numbered, write_video

from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.pairs import infer_pairs
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.unpaired import NOT_AT_HAND, count_unpaired

FF = "original_sequences/youtube/c23"
CASES = {  # forged file, its target, another real that must not be taken, frames that are paired
    "dfdm with Celeb-DF": (
        "dfdm/DFDM_crf23/IAE/id1_id2_0003_iae.mp4", "celeb_df/Celeb-real/id1_0003.mp4",
        "celeb_df/Celeb-real/id2_0003.mp4", range(5),
    ),
    "dfdm with frames of Celeb-DF": (
        "dfdm/DFDM_crf23/IAE/id1_id2_0003_iae.mp4", "celeb_df/Celeb-real/id1_0003/{frame}.png",
        "celeb_df/Celeb-real/id2_0003/{frame}.png", range(5),
    ),
    "DeeperForensics with FaceForensics++": (
        "deeperforensics/manipulated_videos/end_to_end/071_W004.mp4", f"faceforensics/{FF}/videos/071.mp4",
        f"faceforensics/{FF}/videos/054.mp4", range(5),
    ),
    "DeeperForensics with a flat copy": (
        "deeperforensics/manipulated_videos/end_to_end/071_W004.mp4", "faceforensics_flat/original/071.mp4",
        "faceforensics_flat/original/054.mp4", range(5),
    ),
    "a frame of OW-DFA with its video": (
        "ow_dfa/data/release/IdentitySwap/Deepfakes/faceforensics/c23-071_054-3.png",
        f"faceforensics/{FF}/videos/071.mp4", f"faceforensics/{FF}/videos/054.mp4", [3],
    ),
    "TalkingHeadBench with its driver": (
        "talkingheadbench/fake/Hallo/train/00017--abc_5--Hallo.mp4", "celebv_hq/35666/abc_5.mp4",
        "celebv_hq/35666/abd_5.mp4", range(5),
    ),
    "DF-TIMIT with numbered pictures": (
        "df_timit/higher_quality/fadg0/sa1-video-fram1.avi", "vidtimit/fadg0/video/sa1/{frame:03d}",
        "vidtimit/fadg0/video/sa2/{frame:03d}", range(1, 5),  # numbered from 1 there
    ),
}  # fmt: skip


def make(root: Path, place: str, seed: int) -> None:
    """Five frames in one file or, where the path says so, in a file each; numbered from 0, in VidTIMIT from 1."""
    names = [place.format(frame=i + place.startswith("vidtimit")) for i in range(5)] if "{frame" in place else [place]
    for number, name in enumerate(names):
        path = root / name
        if path.suffix in (".mp4", ".avi"):
            path.parent.mkdir(parents=True, exist_ok=True)
            pictures = (numbered(i, seed, 96, 96) for i in range(5))
            path.write_bytes(write_video(pictures, name=path.name, preset="ultrafast"))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(root / "face.png", seed + number).rename(path)


FAST = ("dfdm with Celeb-DF", "a frame of OW-DFA with its video", "DF-TIMIT with numbered pictures")


@pytest.mark.parametrize("case", [c if c in FAST else pytest.param(c, marks=pytest.mark.heavy) for c in CASES])
def test_pairs_across_manifests_by_name(tmp_path: Path, case: str) -> None:
    forged, target, other, frames = CASES[case]
    for seed, place in enumerate((forged, target, other)):
        make(tmp_path, place, seed)
    manifests = {}
    for dataset in {forged.split("/")[0], target.split("/")[0]}:
        build_manifest(dataset, tmp_path / dataset, tmp_path / "m" / dataset, crop="raw-256", workers=0)
        manifests[dataset] = Manifest.open(tmp_path / "m" / dataset)
    fake, real = manifests[forged.split("/")[0]], manifests[target.split("/")[0]]
    spec = load_dataset_spec(fake.name)
    pairs = infer_pairs(fake, [real], spec=spec)
    rows, mine = real.frame().set_index("sample_id"), fake.frame().set_index("sample_id")
    assert set(mine.loc[pairs["sample_id"], "frame"]) == set(frames)
    assert (rows.loc[pairs["target_id"], "frame"].to_numpy() == mine.loc[pairs["sample_id"], "frame"].to_numpy()).all()
    begin = target.partition("/")[2].partition("{")[0]
    assert rows.loc[pairs["target_id"], "origin"].str.startswith(begin).all()
    told = count_unpaired(fake, pairs, [real], spec=spec)
    assert told["faces"].sum() == len(mine) - len(pairs)
    assert set(told["reason"]) <= {NOT_AT_HAND}
