"""The frames of a video without decoding: how many there are, where the keyframes lie, whether the file is complete."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.media.container import HEAD, declared_bytes
from dfad_bench.ingest.media.ffmpeg import codec_of, error_text, open_video, packets_of
from dfad_bench.ingest.media.packet_order import MAX_COUNT, order_by_decoding

# codecs with one packet per shown frame: not VP8 (hidden frames) nor MPEG-4 Part 2 (packed and empty frames)
_IN_ORDER = ("mjpeg", "prores", "ffv1", "dnxhd", "rawvideo", "png", "qtrle")
_PACKET_IS_FRAME = (*_IN_ORDER, "h264", "hevc", "vp9", "av1")
_REORDER = 2  # frames at the end of a truncated file without times whose order is uncertain
_SEEK_GAIN = 12  # frames a seek must save to pay: it empties the decoder, which must fill again


@dataclass(frozen=True)
class Index:
    """The frames of a video in order of presentation.

    With `numbered`, packets do not tell which frames they hold: `times` are the numbers of the packets, and all of the
    video has to be decoded. `times` is empty where the frames do not carry these either.
    """

    count: int
    times: tuple[int, ...]
    keys: tuple[int, ...]  # indices of keyframes, ascending
    cut: str = ""  # what is missing compared with the header
    numbered: bool = False
    uncertain: frozenset[int] = frozenset()  # frames that may be others, since one near them is lost

    @cached_property
    def key_places(self) -> frozenset[int]:
        """The indices of keyframes."""
        return frozenset(self.keys)

    def key(self, frame: int) -> int | None:
        """The last keyframe at or before a frame."""
        place = bisect_right(self.keys, frame)
        return self.keys[place - 1] if place else None

    def runs(self, wanted: Sequence[int]) -> list[tuple[int | None, list[int]]]:
        """Wanted frames (ascending) by the keyframe to start at, None for the file's beginning.

        >>> Index(100, tuple(range(100)), (0, 30, 60)).runs([0, 40, 55, 61, 99])
        [(None, [0]), (30, [40, 55, 61, 99])]
        """
        runs: list[tuple[int | None, list[int]]] = [(None, [])]
        at = -1
        for frame in wanted:
            key = self.key(frame)
            if key is not None and key - at > _SEEK_GAIN:
                runs.append((key, [frame]))
            else:
                runs[-1][1].append(frame)
            at = frame
        return [run for run in runs if run[1]]


def read_index(path: Path) -> Index:
    """Count the frames of a video and find its keyframes, without decoding where the packets suffice.

    Raises:
        ImageRefused: no such video, or damaged.
    """
    times: list[int | None] = []
    keys: list[int | None] = []
    missing = _missing_bytes(path)
    try:
        with open_video(path) as (container, stream):
            cut = _gather(container, stream, missing, times, keys)
            codec, kind = codec_of(stream), container.format.name
            reordered = bool(stream.codec_context.has_b_frames)
    except ImageRefused as refused:
        if refused.status == "unreadable" and missing:
            raise ImageRefused("unreadable", missing) from refused
        raise
    known = [time for time in times if time is not None]
    # AVI stores no presentation times
    packets_suffice = codec in (_IN_ORDER if kind == "avi" else _PACKET_IS_FRAME)
    if not packets_suffice or len(set(known)) < len(times):
        count, packets, uncertain, damage = order_by_decoding(path, times)
        cut = cut or damage
        count = max(0, count - _REORDER) if cut and reordered else count
        return Index(count, packets[:count], (), cut, numbered=True, uncertain=uncertain)
    known.sort()
    place = {time: number for number, time in enumerate(known)}
    starts = sorted(place[time] for time in keys if time in place)
    return Index(len(known), tuple(known), tuple(starts), cut)


def _gather(container: Any, stream: Any, cut: str, times: list[int | None], keys: list[int | None]) -> str:
    """Collect the presentation times of all packets and of keyframes; returns what is missing (`cut`, so far).

    At the end of a truncated file, frames stored ahead of others that are shown before them are left out: some of
    the others may be missing, so that the positions are unknown. As soon as a frame is shown later than all before
    it, no frame before the latest of those can be missing.
    """
    discarded, latest, complete_until = 0, None, None
    packets = packets_of(container, stream)
    while True:
        packet, error = _next_packet(packets)
        if packet is None or packet.is_corrupt:  # corrupt: a frame cut in the middle
            if packet or error:
                cut = f"damaged after {len(times)} frames" + (f": {error_text(error)}" if error else "")
            break
        if packet.is_discard:  # cut off by an edit list
            discarded += 1
            continue
        times.append(packet.pts)
        if packet.pts is not None and (latest is None or packet.pts > latest):
            latest, complete_until = packet.pts, latest
        if packet.is_keyframe:
            keys.append(packet.pts)
        if len(times) > MAX_COUNT:
            raise ImageRefused("too_large", f"more than {MAX_COUNT} frames")
    declared = stream.frames - discarded if "mp4" in container.format.name else 0
    if declared > len(times):
        cut = f"cut short: {len(times)} of {declared} frames are there"
    if cut and complete_until is not None:
        times[:] = [time for time in times if time is None or time <= complete_until]
    return cut


def _next_packet(packets: Iterator[Any]) -> tuple[Any, Exception | None]:
    try:
        return next(packets, None), None
    except Exception as error:  # demuxers of damaged bytes raise nearly anything
        return None, error


def _missing_bytes(path: Path) -> str:
    try:
        with path.open("rb") as file:
            declared = declared_bytes(file.read(HEAD))
        size = path.stat().st_size
    except OSError as error:
        raise ImageRefused("unreadable", error.strerror or type(error).__name__) from error
    return f"cut short: {size} of {declared} bytes are there" if declared > size else ""
