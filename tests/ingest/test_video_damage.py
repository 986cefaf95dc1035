"""Damaged videos: one refused row a frame, with its number, and so for those that depend on it; the rest is read."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.video_reading import decoded, put, sample_of, take
from helpers.video_trees import number_of, numbered, write_video
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.ingest.media.base import Frame, LostFrame, Sampling
from dfad_bench.ingest.media.damage import trace_damage
from dfad_bench.ingest.media.packet_order import presentation_order, without_hidden
from dfad_bench.ingest.shard import crop_sample


def flip_bytes(data: bytes, packet: int, rng: np.random.Generator, number: int = 12) -> bytes:
    """The same video with bytes in the middle of a packet flipped."""
    with av.open(io.BytesIO(data)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    start, size = places[packet]
    damaged = bytearray(data)
    for place in rng.integers(start + size // 4, start + size, number):
        damaged[place] ^= 0x55
    return bytes(damaged)


def test_one_damaged_frame_costs_only_those_that_depend_on_it(tmp_path: Path):
    whole = write_video((numbered(i) for i in range(24)), g="6", bf="0", sc_threshold="0")
    path = put(tmp_path, "a.mp4", flip_bytes(whole, 12, np.random.default_rng(0)))
    frames, refused = take(path)
    assert refused is None
    assert [f.index for f in frames] == list(range(24))
    assert {f.index: f.reason for f in frames if isinstance(f, LostFrame)} == {
        12: "frame 12 is damaged",
        **{number: f"frame {number} depends on damaged frame 12" for number in range(13, 18)},
    }
    few, _ = take(path, Sampling(frames=4))  # none of which is the damaged one
    assert [(f.index, isinstance(f, LostFrame)) for f in few] == [(0, False), (7, False), (15, True), (23, False)]
    [row] = [row for row in rows_of(path, Sampling(frames=4)) if row["status"] != "ok"]
    assert (row["status"], row["frame"], row["reason"]) == ("unreadable", 15, "frame 15 depends on damaged frame 12")


def rows_of(path: Path, sampling: Sampling) -> list[dict[str, Any]]:
    return crop_sample(sample_of(path), FaceCropper(load_crop_profile("raw-256")), 60, sampling)


GROUPS = {  # keyframes every eight frames
    "h264": ("a.mp4", {"g": "8", "bf": "0", "preset": "medium"}),
    "h264 with B-frames": ("a.mp4", {"g": "8", "bf": "2", "preset": "medium"}),
    "h264 in AVI": ("a.avi", {"g": "8", "bf": "2", "preset": "medium"}),
    "hevc": (
        "a.mp4",
        {
            "codec": "libx265",
            "x265-params": "keyint=8:min-keyint=8:open-gop=0:bframes=2:log-level=error:pools=1:frame-threads=1",
        },
    ),
    "vp8": ("a.webm", {"codec": "libvpx", "g": "8", "keyint_min": "8"}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "g": "8", "keyint_min": "8", "cpu-used": "8"}),
    "av1": ("a.mp4", {"codec": "libsvtav1", "g": "8", "preset": "12", "svtav1-params": "lp=1"}),
    "mpeg4 in AVI": ("a.avi", {"codec": "mpeg4", "g": "8", "bf": "0", "qmax": "4"}),
    "mpeg4 in AVI, B-frames": ("a.avi", {"codec": "mpeg4", "g": "8", "bf": "2", "qmax": "4"}),
    "mpeg4 in MP4, B-frames": ("a.mp4", {"codec": "mpeg4", "g": "8", "bf": "2", "qmax": "4"}),
    "mjpeg": ("a.mov", {"codec": "mjpeg", "pixels": "yuvj420p"}),
}


def grained(number: int) -> np.ndarray:
    grain = np.random.default_rng(number).integers(-8, 9, (64, 96, 1))
    return (numbered(number).astype(int) + grain).clip(0, 255).astype(np.uint8)


@cache
def grouped(kind: str) -> tuple[str, bytes]:
    name, options = GROUPS[kind]
    try:
        return name, write_video((grained(i) for i in range(40)), name=name, **options)
    except (av.codec.codec.UnknownCodecError, av.error.FFmpegError):
        pytest.skip(f"no encoder for {kind}")


def shown_packets(data: bytes) -> list[tuple[int, bool]]:
    """The number of each shown frame's packet, and whether it is a keyframe."""
    with av.open(io.BytesIO(data)) as container:
        stream, frames = container.streams.video[0], []
        for number, packet in enumerate(p for p in container.demux(stream) if p.size):
            packet.pts = number
            frames += packet.decode()
        frames += stream.codec_context.decode(None)
        return [(frame.pts, frame.key_frame) for frame in frames]


@pytest.mark.parametrize("kind", GROUPS)
def test_damage_stays_in_its_group_and_does_not_depend_on_the_sampling(tmp_path: Path, kind: str):
    """Codecs have no checksums: what a decoder does not notice can only be told by other means."""
    name, whole = grouped(kind)
    expected = decoded(put(tmp_path, f"whole-{name}", whole))
    shown = shown_packets(whole)
    keys = [*(place for place, (_, key) in enumerate(shown) if key), 40]
    reach = 4 if "B-frames" in kind or kind in ("hevc", "h264 in AVI") else 0  # those before may be predicted from it
    rng = np.random.default_rng(1)
    noticed = 0
    for packet in (0, 9, 13, 30, 39):
        path = put(tmp_path, name, flip_bytes(whole, packet, rng))
        frames, refused = take(path)
        assert refused is None
        assert [f.index for f in frames] == list(range(40))
        place = [number for number, _ in shown].index(packet)
        end = min(key for key in keys if key > place) + (
            3 if kind == "h264 in AVI" else 0
        )  # the lost place is uncertain
        for frame in frames:
            outside = not place - reach <= frame.index < end
            if outside or ("mpeg" in kind and isinstance(frame, Frame)):  # whose decoders notice nearly everything
                assert isinstance(frame, Frame), (packet, frame.index)
                assert np.array_equal(np.asarray(frame.image), expected[frame.index]), (packet, frame.index)
            noticed += isinstance(frame, LostFrame)
        few, refused = take(path, Sampling(frames=9))
        assert refused is None
        assert [f.index for f in few] == Sampling(frames=9).indices(40)
        for frame in few:
            if isinstance(frame, LostFrame):
                assert isinstance(frames[frame.index], LostFrame)
    assert noticed or kind in ("vp8", "vp9")  # whose decoders take nearly any bits


def test_damage_that_motion_jpeg_would_fill_in_is_a_refused_row(tmp_path: Path):
    name, whole = grouped("mjpeg")
    expected = decoded(put(tmp_path, "whole.mov", whole))
    for seed in range(8):
        frames, refused = take(put(tmp_path, name, flip_bytes(whole, 12, np.random.default_rng(seed), number=3)))
        assert refused is None
        assert [f.index for f in frames] == list(range(40))
        for frame in frames:
            if isinstance(frame, Frame):
                assert np.array_equal(np.asarray(frame.image), expected[frame.index]), (seed, frame.index)
            else:
                assert (frame.index, frame.reason) == (12, "frame 12 cannot be decoded")


def overwrite(data: bytes, packet: int, start: bytes) -> bytes:
    """The same video with other first bytes in a packet."""
    with av.open(io.BytesIO(data)) as container:
        places = [p.pos for p in container.demux(video=0) if p.size]
    found = data.index(bytes(packets_of(data)[packet]), places[packet])  # Matroska names the block, not the frame
    return data[:found] + start + data[found + len(start) :]


def packets_of(data: bytes) -> list[bytes]:
    with av.open(io.BytesIO(data)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


def lost_of(path: Path, count: int = 40) -> dict[int, str]:
    """The frames that cannot be used; all others show their number."""
    frames, refused = take(path)
    assert refused is None
    assert [f.index for f in frames] == list(range(count))
    for frame in frames:
        assert isinstance(frame, LostFrame) or number_of(np.asarray(frame.image)) == frame.index
    return {f.index: f.reason for f in frames if isinstance(f, LostFrame)}


@pytest.mark.parametrize("kind", ["vp8", "vp9", "av1", "mpeg4 in AVI"])
def test_a_frame_that_cannot_be_decoded_has_its_number_and_decoding_goes_on(tmp_path: Path, kind: str):
    name, whole = grouped(kind)
    for packet in (12, 16):  # inside a group, and its keyframe
        nothing = b"\xfe" + b"\xff" * (len(packets_of(whole)[packet]) - 1)
        path = put(tmp_path, name, overwrite(whole, packet, nothing))
        end = 16 if packet == 12 else 24
        lost = lost_of(path)
        assert list(lost) == list(range(packet, end))
        assert lost.pop(packet) == f"frame {packet} cannot be decoded"
        assert all(
            reason in (f"frame {n} cannot be decoded", f"frame {n} depends on damaged frame {packet}")
            for n, reason in lost.items()
        )
        row = next(row for row in rows_of(path, Sampling(frames=None, stride=4)) if row["frame"] == packet)
        assert (row["status"], row["reason"]) == ("unreadable", f"frame {packet} cannot be decoded")


@pytest.mark.parametrize("kind", ["mpeg4 in AVI", "mpeg4 in AVI, B-frames", "mpeg4 in MP4, B-frames", "h264 in AVI"])
def test_whatever_packet_is_lost_no_frame_takes_the_number_of_another(tmp_path: Path, kind: str):
    name, whole = grouped(kind)
    expected = decoded(put(tmp_path, f"whole-{name}", whole))
    order = [number for number, _ in shown_packets(whole)]
    for packet in (*([0] if "mpeg4" in kind else []), *range(17, 33)):  # two groups and more
        path = put(tmp_path, name, overwrite(whole, packet, bytes(len(packets_of(whole)[packet]))))
        frames, refused = take(path)
        assert refused is None
        assert [f.index for f in frames] == list(range(40))
        for frame in frames:
            if isinstance(frame, Frame):
                assert np.array_equal(np.asarray(frame.image), expected[frame.index]), (packet, frame.index)
        lost = [frame.index for frame in frames if isinstance(frame, LostFrame)]
        assert order.index(packet) in lost
        assert max(lost) - min(lost) <= 8 + 3


def retimed(data: bytes, times: list[int]) -> bytes:
    """The same packets in WebM at other times, milliseconds."""
    out = io.BytesIO()
    with av.open(io.BytesIO(data)) as before, av.open(out, "w", "webm") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet, time in zip([p for p in before.demux(video=0) if p.size], times, strict=True):
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 1000), time, time
            after.mux(packet)
    return out.getvalue()


def test_a_hidden_frame_of_vp8_is_no_frame_and_spoils_those_after_it(tmp_path: Path):
    name, whole = grouped("vp8")
    first = packets_of(whole)[10][0]
    times = [40 * n for n in range(10)] + [361] + [40 * n for n in range(10, 39)]  # a hidden frame takes no time
    hidden = retimed(overwrite(whole, 10, bytes([first & ~0x10])), times)  # the bit show_frame
    frames, refused = take(put(tmp_path, name, hidden))
    assert refused is None
    assert [number_of(np.asarray(f.image)) for f in frames] == [n for n in range(40) if n != 10]
    frames, refused = take(put(tmp_path, name, overwrite(hidden, 10, b"\xff" * 5)))
    assert refused is None
    assert len(frames) == 39
    assert {f.index: f.reason for f in frames if isinstance(f, LostFrame)} == {
        10: "frame 10 is damaged",
        **{n: f"frame {n} depends on damaged frame 10" for n in range(11, 15)},
    }


def test_only_lost_frames_that_leave_a_gap_in_time_count():
    times = [0, 40, 80, 81, 120, 160, 200, None]
    assert without_hidden([0, 1, 2, 4, 5, 6], [3], times) == []
    assert without_hidden([0, 1, 4, 5, 6], [2, 3], times) == [2]
    assert without_hidden([0, 1, 2, 4, 6], [3, 5, 7], times) == [5, 7]  # nothing is known of the last
    assert without_hidden([0, 1, 2], [3], []) == [3]


@given(runs=st.lists(st.integers(0, 3), min_size=3, max_size=12), lost=st.sets(st.integers(0, 40), max_size=4))
def test_places_that_are_not_uncertain_are_right(runs: list[int], lost: set[int]):
    """`runs` are the numbers of B-frames in a row; they are stored behind the frame that is shown after them."""
    place = [0]  # of each packet
    for count in runs:
        begin = len(place)
        place += [begin + count, *range(begin, begin + count)]
    whole = [int(number) for number in np.argsort(place)]
    shown = [number for number in whole if number not in lost]
    order, uncertain = presentation_order(shown, lost & set(whole))
    assert sorted(order) == sorted(whole)
    if max(np.abs(np.argsort(np.argsort(shown)) - np.arange(len(shown))), default=0) >= max(runs):
        assert {at for at, number in enumerate(order) if number != whole[at]} <= uncertain


class Shown:
    """What `trace_damage` looks at."""

    def __init__(self, kind: str) -> None:
        self.key_frame, self.is_corrupt = kind.upper() == "I", kind.islower()
        self.pict_type = {"I": 1, "P": 2, "B": 3}[kind.upper()]


@pytest.mark.parametrize(
    ("kinds", "lost", "spoilt"),
    [
        ("IPPPIPP", [], {}),
        ("IPpPIPP", [], {2: 2, 3: 2}),
        ("IPPPiPPI", [], {4: 4, 5: 4, 6: 4}),
        ("IBBPBBpBBPI", [], {4: 6, 5: 6, 6: 6, 7: 6, 8: 6, 9: 6}),  # those before and after it
        ("IBBPBbPBI", [], {4: 5, 5: 5, 6: 5, 7: 5}),
        ("IPP PIP", [3], {4: 3}),  # 3 could not be decoded
        ("IBB BBPI", [3], {1: 3, 2: 3, 4: 3, 5: 3, 6: 3}),
        (" PPI", [0], {1: 0, 2: 0}),
        ("IPbb", [], {2: 2, 3: 3}),
    ],
)
def test_what_depends_on_a_damaged_frame(kinds: str, lost: list[int], spoilt: dict[int, int]):
    frames = [(Shown(kind), number) for number, kind in enumerate(kinds) if kind != " "]
    found = list(trace_damage(iter(frames), lost))
    assert [item.number for item in found] == [number for _, number in frames]
    assert {item.number: item.damaged for item in found if item.damaged is not None} == spoilt
