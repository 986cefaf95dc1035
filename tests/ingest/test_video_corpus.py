"""Real clips: every one gives its frames, damaged ones a reason, and forged ones their targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.media import read
from dfad_bench.ingest.media.base import Sampling
from dfad_bench.ingest.sample import RawSample

pytestmark = pytest.mark.corpus
FRAMES = 4
# what cannot give a frame, and why
REFUSED = {
    "audio_only.mp4": ("unsupported_format", "no video stream"),
    "ftyp_only.mp4": ("unreadable", "Invalid data"),
    "jpeg_named.mp4": ("unsupported_format", "first bytes"),
    "mp4_named.jpg": ("unsupported_format", "extension '.jpg'"),
    "mp4_no_extension": ("unsupported_format", "extension ''"),
    "text.mp4": ("unsupported_format", "first bytes"),
    "trunc_40pct.mp4": ("unreadable", "Invalid data"),
}
NO_FACE = ("black.mp4", "no_face_testsrc.mp4")
FACES = (
    "container.avi", "container.gif", "container.mov", "container.webm", "face_only_in_second_half.mp4",
    "faststart_trunc_50pct.mp4", "h264_10bit.mp4", "odd_size_301x299_444.mp4", "one_fps.mp4", "one_frame.mp4",
    "two_faces_real_left_fake_right.mp4",
)  # fmt: skip


@pytest.fixture(scope="module")
def clips(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    out = tmp_path_factory.mktemp("clips")
    build_manifest("corpus-videos", corpus, out, frames=FRAMES, workers=0)
    return Manifest.open(out)


@pytest.mark.heavy
def test_every_clip_gives_its_frames(corpus: Path, clips: Manifest):
    rows = clips.frame(status=None)
    files = sorted(p.relative_to(corpus).as_posix() for p in (corpus / "videos").rglob("*.*"))
    assert sorted(rows["origin"].unique()) == files
    assert rows.groupby("origin").size().eq(FRAMES).all()
    assert rows["status"].eq("ok").all(), rows[rows["status"] != "ok"][["origin", "frame", "reason"]]
    assert set(rows["generator"].unique()) == {
        "real", "anitalker", "edtalk", "faceswap_3d", "ghost", "hyperlips", "liveportrait",
    }  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("fake", "real"),
    [
        ("videos/fake/FaceSwap-3D/634_660.mp4", "videos/real/FF++-youtube/634.mp4"),
        ("videos/fake/GHOST/mark.webp", "videos/real/GHOST-target/dance.mp4"),
    ],
)
def test_forged_clips_meet_their_targets_frame_by_frame(clips: Manifest, fake: str, real: str):
    rows = clips.frame()
    forged, target = rows[rows["origin"] == fake], rows[rows["origin"] == real].set_index("sample_id")
    assert set(forged["target_id"]) == set(target.index)
    pairs = target.loc[forged["target_id"]]
    assert pairs["frame"].tolist() == forged["frame"].tolist()
    apart = np.stack(pairs["landmarks"].tolist()) - np.stack(forged["landmarks"].tolist())
    scale = (np.stack(pairs["box"].tolist())[:, 2:] - np.stack(pairs["box"].tolist())[:, :2]).mean()
    assert np.abs(apart).mean() < 0.12 * scale  # the same head at the same place


@pytest.mark.heavy
def test_every_broken_video_is_a_row_with_a_reason_or_a_face(corpus: Path, tmp_path: Path):
    build_manifest("corpus-broken-videos", corpus, tmp_path / "m", frames=FRAMES, workers=0)
    rows = Manifest.open(tmp_path / "m").frame(status=None)
    rows["name"] = rows["origin"].str.rpartition("/")[2]
    assert set(rows["name"]) == {p.name for p in (corpus / "broken" / "videos").iterdir()}
    for name, (status, reason) in REFUSED.items():
        [row] = rows[rows["name"] == name].to_dict("records")
        assert (row["status"], reason in row["reason"]) == (status, True), row
    assert rows.loc[rows["status"] != "ok", "reason"].str.len().min() > 5
    for name in NO_FACE:
        assert rows.loc[rows["name"] == name, "status"].eq("no_face").all()
    for name in FACES:
        assert (rows.loc[rows["name"] == name, "status"] == "ok").any(), name
    cut = rows[rows["name"] == "faststart_trunc_50pct.mp4"]
    assert cut["status"].value_counts().to_dict() == {"ok": FRAMES, "unreadable": 1}


def test_clips_are_turned_as_opencv_turns_them(corpus: Path):
    import cv2

    path = corpus / "broken" / "videos" / "rotation_metadata_90.mp4"  # an upright face, to be shown on its side
    capture = cv2.VideoCapture(str(path))
    for frame in read(RawSample("videos", "real", None, path.name, path, medium="video"), Sampling(None, 1)):
        found, image = capture.read()
        assert found
        assert np.abs(image[:, :, ::-1].astype(int) - np.asarray(frame.image)).mean() < 2
