"""The readers of videos and animations: which frames, the same as by decoding everything, and what is refused."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.video_reading import ALL, decoded, put, take
from helpers.video_trees import animation, clip, number_of, numbered, write_video
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dfad_bench.ingest.media import video
from dfad_bench.ingest.media.base import Sampling
from dfad_bench.ingest.media.container import declared_bytes, format_of
from dfad_bench.ingest.media.counting import count_frames
from dfad_bench.ingest.media.frame_index import Index, read_index
from dfad_bench.ingest.media.turning import transpose_of


@given(count=st.integers(0, 3000), frames=st.integers(1, 100))
def test_frames_are_evenly_spaced_over_the_whole_video(count: int, frames: int):
    indices = Sampling(frames=frames).indices(count)
    assert len(indices) == min(frames, count)
    assert indices == sorted(set(indices))
    if 1 < frames < count:
        exact = np.linspace(0, count - 1, frames)
        assert (indices[0], indices[-1]) == (0, count - 1)
        assert np.abs(np.floor(exact + 1e-9) - indices).max() == 0


@given(
    count=st.integers(1, 400),
    keys=st.sets(st.integers(0, 399), max_size=12),
    wanted=st.sets(st.integers(0, 399), min_size=1, max_size=40),
)
def test_every_wanted_frame_is_in_one_run_that_starts_at_or_before_it(count: int, keys: set[int], wanted: set[int]):
    keys, wanted = {k for k in keys if k < count}, {w for w in wanted if w < count} or {0}
    index = Index(count, tuple(range(count)), tuple(sorted(keys)))
    runs = index.runs(sorted(wanted))
    assert [frame for _, run in runs for frame in run] == sorted(wanted)
    assert all(key is None or (key in keys and key <= run[0]) for key, run in runs)
    decoded_frames = sum(run[-1] - (key or 0) + 1 for key, run in runs)
    assert decoded_frames <= max(wanted) + 1  # never more than a full decode


KINDS = {
    "h264 with B-frames": ("a.mp4", {"g": "20", "bf": "3", "preset": "medium"}),
    "h264, open groups": ("a.mp4", {"g": "20", "x264-params": "open-gop=1:bframes=3:b-pyramid=normal"}),
    "h264, one group": ("a.mp4", {"g": "500"}),
    "h264, keyframes only": ("a.mov", {"g": "1"}),
    "h264 in Matroska": ("a.mkv", {"g": "15", "bf": "2"}),
    "h264 in AVI": ("a.avi", {"g": "15", "bf": "2"}),
    "h264, 10 bit": ("a.mp4", {"g": "20", "pixels": "yuv420p10le"}),
    "h264, 4:4:4": ("a.mp4", {"g": "20", "pixels": "yuv444p"}),
    "hevc": ("a.mp4", {"codec": "libx265", "x265-params": "keyint=20:log-level=error:pools=1:frame-threads=1"}),
    "vp8": ("a.webm", {"codec": "libvpx", "g": "20", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "g": "20", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}),
    "mpeg4 in AVI": ("a.avi", {"codec": "mpeg4", "g": "12"}),
    "mpeg4 with B-frames": ("a.avi", {"codec": "mpeg4", "g": "12", "bf": "2"}),
    "mjpeg": ("a.mov", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "av1": ("a.mp4", {"codec": "libsvtav1", "g": "20", "preset": "12", "svtav1-params": "lp=1"}),
}


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampling", [Sampling(frames=7), Sampling(frames=None, stride=11), ALL], ids=str)
def test_seeking_gives_what_decoding_everything_gives(tmp_path: Path, kind: str, sampling: Sampling):
    name, options = KINDS[kind]
    path = tmp_path / name
    if not path.exists():
        try:
            path.write_bytes(write_video((numbered(i) for i in range(90)), name=name, **options))
        except av.codec.codec.UnknownCodecError:
            pytest.skip(f"no encoder for {kind}")
    everything = decoded(path)
    frames, refused = take(path, sampling)
    assert refused is None
    assert [frame.index for frame in frames] == sampling.indices(len(everything))
    for frame in frames:
        assert frame.index is not None
        assert np.array_equal(np.asarray(frame.image), everything[frame.index])
    assert [number_of(np.asarray(frame.image)) for frame in frames] == [frame.index for frame in frames]


def test_few_frames_of_many_groups_are_read_by_seeking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = put(tmp_path, "a.mp4", write_video((numbered(i) for i in range(200)), preset="ultrafast", g="20"))
    count = 0
    plain = video._image

    def counted(frame: object, codec: str) -> Image.Image:
        nonlocal count
        count += 1
        return plain(frame, codec)

    monkeypatch.setattr(video, "_image", counted)
    frames, refused = take(path, Sampling(frames=4))
    assert (len(frames), refused, count) == (4, None, 4)
    starts = [key for key, _ in read_index(path).runs([0, 66, 132, 199])]
    assert starts == [None, 60, 120, 180]


def test_a_seek_that_goes_wrong_is_made_good_by_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = put(tmp_path, "a.mp4", write_video((numbered(i) for i in range(100)), preset="ultrafast", g="20"))
    index = read_index(path)
    lying = Index(index.count, index.times, (0, 33, 71))  # there are no keyframes, so seeks land elsewhere
    monkeypatch.setattr(video, "read_index", lambda path: lying)
    frames, refused = take(path, Sampling(frames=9))
    assert refused is None
    assert [number_of(np.asarray(f.image)) for f in frames] == Sampling(frames=9).indices(100)


def test_variable_frame_rate_counts_frames_not_time(tmp_path: Path):
    times = [0, 1, 2, 3, 50, 51, 300, 301, 302, 900]
    path = put(tmp_path, "a.mp4", write_video((numbered(i) for i in range(10)), times=times))
    frames, _ = take(path, Sampling(frames=4))
    assert [(f.index, number_of(np.asarray(f.image))) for f in frames] == [(0, 0), (3, 3), (6, 6), (9, 9)]


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_metadata_is_applied(tmp_path: Path, degrees: int):
    upright = numbered(5, width=96, height=64)
    stored = np.rot90(upright, k=-degrees // 90)  # what a camera held askew writes
    path = put(tmp_path, "a.mp4", write_video([stored] * 3, rotation=degrees, crf="1"))
    frames, _ = take(path)
    assert frames[0].image.size == (96, 64)
    assert number_of(np.asarray(frames[0].image)) == 5
    assert np.abs(np.asarray(frames[0].image).astype(int) - upright).mean() < 8


@pytest.mark.parametrize("kind", [turn.name for turn in Image.Transpose])
def test_display_matrices_name_all_turns_and_mirrors(kind: str):
    corners = {(0, 0): "A", (1, 0): "B", (0, 1): "C"}
    image = Image.new("L", (2, 2))
    for place, letter in corners.items():
        image.putpixel(place, ord(letter))
    turned = image.transpose(Image.Transpose[kind])
    found = {chr(turned.getpixel((x, y))): (2 * x - 1, 2 * y - 1) for x in (0, 1) for y in (0, 1)}
    origin, right, down = found["A"], found["B"], found["C"]
    a, b = (right[0] - origin[0]) // 2, (right[1] - origin[1]) // 2  # where the axis p goes
    c, d = (down[0] - origin[0]) // 2, (down[1] - origin[1]) // 2
    matrix = struct.pack("=9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    assert transpose_of(matrix) == Image.Transpose[kind]


def test_no_turn_is_no_turn():
    one = 1 << 16
    assert transpose_of(struct.pack("=9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)) is None
    assert transpose_of(struct.pack("=9i", one, one, 0, -one, one, 0, 0, 0, 1 << 30)) is None  # 45 degrees
    assert transpose_of(b"short") is None


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_give_their_frames(tmp_path: Path, kind: str):
    name = {"GIF": "a.gif", "WEBP": "a.webp", "PNG": "a.apng"}[kind]
    path = put(tmp_path, name, animation(11, kind))
    assert count_frames(path) == 11
    frames, refused = take(path, Sampling(frames=3))
    assert refused is None
    assert [(f.index, number_of(np.asarray(f.image))) for f in frames] == [(0, 0), (5, 5), (10, 10)]
    assert {(f.image.mode, f.image.format) for f in frames} == {("RGB", kind)}


def test_a_picture_that_does_not_move_is_one_frame(tmp_path: Path):
    out = io.BytesIO()
    Image.fromarray(numbered(3)).save(out, "WEBP", lossless=True)
    frames, refused = take(put(tmp_path, "a.webp", out.getvalue()))
    assert ([f.index for f in frames], refused) == ([0], None)


def test_a_cut_animation_gives_what_is_there(tmp_path: Path):
    data = animation(12, "GIF")
    frames, refused = take(put(tmp_path, "a.gif", data[: len(data) // 2]))
    assert refused is None or refused.status == "unreadable"
    assert 0 < len(frames) < 12
    assert [number_of(np.asarray(f.image)) for f in frames][:3] == [0, 1, 2]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_cut_video_gives_the_frames_up_to_the_cut_and_a_reason(tmp_path: Path, name: str):
    data = write_video((numbered(i) for i in range(60)), name=name, g="10")
    if name == "a.mp4":
        data = faststart(data, tmp_path / "whole.mp4")
    most = 0
    for size in np.linspace(0.3 * len(data), 0.95 * len(data), 14).astype(int):
        frames, refused = take(put(tmp_path, name, data[:size]))
        assert refused is not None
        assert refused.status == "unreadable"
        assert "cut short" in refused.reason or "damaged" in refused.reason
        assert str(tmp_path) not in refused.reason
        numbers = [number_of(np.asarray(f.image)) for f in frames]
        assert numbers == [f.index for f in frames] == list(range(len(numbers)))
        assert most <= len(numbers) < 60  # the later the cut, the more frames
        most = len(numbers)
    assert most > 40


def faststart(data: bytes, path: Path) -> bytes:
    """The same MP4 with its index before its frames."""
    with (
        av.open(io.BytesIO(data)) as before,
        av.open(str(path), "w", options={"movflags": "faststart"}) as after,
    ):
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.size:
                packet.stream = stream
                after.mux(packet)
    return path.read_bytes()


def sound_only() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", "mp4") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.fromarray(numbered(0)).save(out, "JPEG")
    return out.getvalue()


REFUSED = {
    "a JPEG": ("a.mp4", jpeg, "unsupported_format", "first bytes"),
    "text": ("a.mp4", lambda: b"no video at all, just text" * 20, "unsupported_format", "first bytes"),
    "a playlist": ("a.mp4", lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "unsupported_format", "first bytes"),
    "a script": ("a.mkv", lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n", "unsupported_format", "first bytes"),
    "a playlist by name": ("a.m3u8", lambda: b"#EXTM3U\nb.mp4\n", "unsupported_format", "extension '.m3u8'"),
    "a video named as an image": ("a.jpg", lambda: clip(3), "unsupported_format", "extension '.jpg'"),
    "no extension": ("a", lambda: clip(3), "unsupported_format", "extension ''"),
    "sound": ("a.mp4", sound_only, "unsupported_format", "no video stream"),
    "a head alone": ("a.mp4", lambda: clip(3)[:32], "unreadable", "Invalid"),
    "index lost": ("a.mp4", lambda: clip(30)[: len(clip(30)) // 2], "unreadable", "Invalid"),
    "nothing": ("a.mp4", lambda: b"", "unreadable", "empty file"),
    "text named as an animation": ("a.gif", lambda: b"GIF or what", "unsupported_format", "no animation"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_video_is_refused_with_a_reason(tmp_path: Path, kind: str):
    name, data, status, reason = REFUSED[kind]
    put(tmp_path, "b.mp4", clip(3))  # what a playlist might reach
    frames, refused = take(put(tmp_path, name, data()))
    assert frames == []
    assert refused is not None
    assert (refused.status, reason in refused.reason) == (status, True), refused
    assert str(tmp_path) not in refused.reason


def test_folders_and_pipes_are_not_opened(tmp_path: Path):
    import os

    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("folder.mp4", "pipe.mp4", "gone.mp4"):
        frames, refused = take(tmp_path / name)
        assert (frames, refused.status if refused else "") == ([], "unreadable")


def test_too_many_frames_to_take_are_refused_before_any_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(video, "MAX_TAKEN", 5)
    path = put(tmp_path, "a.mp4", clip(9))
    frames, refused = take(path)
    assert (frames, refused.status if refused else "") == ([], "too_large")
    assert len(take(path, Sampling(frames=None, stride=2))[0]) == 5


def test_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(video, "MAX_PIXELS", 96 * 64 - 1)
    frames, refused = take(put(tmp_path, "a.mp4", clip(9)))
    assert (frames, refused.status if refused else "") == ([], "too_large")


@given(seed=st.integers(0, 10**9))
def test_damage_is_a_reason_and_never_another_error(seed: int):
    import tempfile

    rng = np.random.default_rng(seed)
    data = bytearray(clip(24))
    for place in rng.integers(0, len(data), rng.integers(1, 30)):
        data[place] = rng.integers(0, 256)
    with tempfile.TemporaryDirectory() as folder:
        frames, refused = take(put(Path(folder), "a.mp4", bytes(data)), Sampling(frames=6))
    assert frames or refused
    assert [f.index for f in frames] == sorted({f.index for f in frames})


def test_a_forged_video_is_sampled_where_its_target_is(tmp_path: Path):
    target, fake = put(tmp_path, "t.mp4", clip(40)), put(tmp_path, "f.mp4", clip(33))
    short, gone = put(tmp_path, "s.mp4", clip(9)), tmp_path / "gone.mp4"
    ten = Sampling(frames=10)
    paired, _ = take(fake, ten, target_path=target)
    assert [f.index for f in paired] == [i for i in ten.indices(40) if i < 33]
    assert [f.index for f in take(short, ten, target_path=target)[0]] == ten.indices(9)  # too few would be left
    assert [f.index for f in take(fake, ten, target_path=gone)[0]] == ten.indices(33)


def test_first_bytes_tell_format_and_size():
    assert format_of(clip(3)[:64]) == "iso"
    for name, kind in (("a.mkv", "matroska"), ("a.avi", "avi")):
        data = write_video((numbered(i) for i in range(3)), name=name, codec="mpeg4")
        assert format_of(data[:64]) == kind
        assert declared_bytes(data[:64]) == len(data)
    assert [format_of(head) for head in (b"", b"\xff\xd8\xff", b"RIFF1234WEBP", b"\x00\x00\x00\x18free"[:4])] == [
        None
    ] * 4
