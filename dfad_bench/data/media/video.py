"""Videos by PyAV, whose FFmpeg is told to open nothing but this one file.

A frame's index is its place in the order of presentation. The times of all packets, read without decoding, say how
many frames there are and where the keyframes lie; decoding then begins at the keyframe before a wanted frame.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.errors import ConfigError, need
from dfad_bench.core.files import sha256_file
from dfad_bench.data.images import MAX_PIXELS, ImageRefused
from dfad_bench.data.media import VIDEO_EXTENSIONS, Frame, Sampling
from dfad_bench.data.media.container import HEAD, declared_bytes, demuxers, format_of
from dfad_bench.data.media.turning import upright
from dfad_bench.data.sources.base import RawSample

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 16 << 30
MAX_COUNT = 5_000_000  # frames in a file
MAX_TAKEN = 4096  # frames taken of one: they become rows of one part
# one packet is one frame shown: not so in VP8 (hidden frames), nor in MPEG-4 Part 2 (packed and empty ones)
_PACKET_IS_FRAME = ("h264", "hevc", "vp9", "av1", "mjpeg", "prores", "ffv1", "dnxhd", "rawvideo", "png", "qtrle")
_DROPS_EXACTLY = ("h264",)  # decoders that leave out frames no other needs without any effect on those others
_SEEK_GAIN = 12  # frames a seek must save: it empties the decoder, which must fill again


@dataclass(frozen=True)
class Index:
    """The frames of a video in order of presentation; `times` is empty where only decoding tells them."""

    count: int
    times: tuple[int, ...]
    keys: tuple[int, ...]  # indices of keyframes, ascending
    cut: str = ""  # what is missing against the header

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


class _Missed(Exception):  # noqa: N818  a seek did not lead where the packets' times said
    pass


def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The sampled frames of a video.

    A forged video whose target is a video (`target_path`) is sampled at its target's frames, so that pairs exist,
    as far as it goes; at its own where that leaves fewer than half. Rotation metadata is applied; pixels are taken
    as square.

    Raises:
        ImageRefused: no video of a known kind, too large, damaged or cut short; frames before the damage are given.
    """
    path = sample.path
    check_file(path, VIDEO_EXTENSIONS)
    try:
        digest, size = sha256_file(path), path.stat().st_size
    except OSError as error:
        raise ImageRefused("unreadable", error.strerror or type(error).__name__) from error
    try:
        index = read_index(path)
        for number, image in pictures(path, index, taken(sample, sampling, index.count)):
            yield Frame(image, digest, number, size)
        if index.cut:
            raise ImageRefused("unreadable", index.cut)
    except ImageRefused as refused:
        refused.source_sha256 = digest
        raise


def taken(sample: RawSample, sampling: Sampling, count: int) -> list[int]:
    """The indices of the frames to take of a video with `count` frames.

    Raises:
        ImageRefused: `too_large`: more than `MAX_TAKEN` frames.
    """
    own = sampling.indices(count)
    if sample.target_path is not None:
        from dfad_bench.data.media.counting import count_frames

        shared = [frame for frame in sampling.indices(count_frames(sample.target_path)) if frame < count]
        own = shared if 2 * len(shared) >= len(own) else own
    if len(own) > MAX_TAKEN:
        raise ImageRefused("too_large", f"{len(own)} frames to take, at most {MAX_TAKEN}; use a longer stride")
    return own


def check_file(path: Path, extensions: tuple[str, ...], max_bytes: int = MAX_BYTES) -> None:
    """Look at a file from outside, before any decoder does.

    Raises:
        ImageRefused: not a regular file, empty, too large, or of another extension.
    """
    try:
        facts = path.stat()
        if not path.is_file():
            raise ImageRefused("unreadable", "not a regular file")
    except OSError as error:
        raise ImageRefused("unreadable", error.strerror or type(error).__name__) from error
    if not facts.st_size:
        raise ImageRefused("unreadable", "empty file")
    if facts.st_size > max_bytes:
        raise ImageRefused("too_large", f"{facts.st_size} bytes, at most {max_bytes}")
    if path.suffix[1:].lower() not in extensions:
        raise ImageRefused("unsupported_format", f"extension {path.suffix!r} is none of {', '.join(extensions)}")


def read_index(path: Path) -> Index:
    """Count the frames of a video and find its keyframes, without decoding where packets tell.

    Raises:
        ImageRefused: no such video, or damaged.
    """
    times: list[int | None] = []
    keys: list[int | None] = []
    discarded, cut = 0, ""
    with opened(path) as (container, stream):
        packets = _packets(container, stream)
        while True:
            packet, error = _next(packets)
            if packet is None:
                cut = f"damaged after {len(times)} frames: {_said(error)}" if error else cut
                break
            if packet.is_corrupt:  # what a cut left of a frame
                cut = f"damaged after {len(times)} frames"
                break
            if packet.is_discard:
                discarded += 1  # cut off by an edit list
                continue
            times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
            if len(times) > MAX_COUNT:
                raise ImageRefused("too_large", f"more than {MAX_COUNT} frames")
        codec, declared = stream.codec_context.name, stream.frames - discarded
        if "mp4" in container.format.name and declared > len(times):
            cut = f"cut short: {len(times)} of {declared} frames are there"
    cut = cut or _missing_bytes(path)
    known = [time for time in times if time is not None]
    if codec not in _PACKET_IS_FRAME or len(set(known)) < len(times):
        return Index(_count_by_decoding(path), (), (), cut)
    known.sort()
    place = {time: number for number, time in enumerate(known)}
    starts = sorted(place[time] for time in keys if time is not None)
    return Index(len(known), tuple(known), tuple(starts), cut)


def _next(packets: Iterator[Any]) -> tuple[Any, Exception | None]:
    try:
        return next(packets, None), None
    except Exception as error:  # demuxers of damaged bytes raise nearly anything
        return None, error


def _missing_bytes(path: Path) -> str:
    with path.open("rb") as file:
        declared = declared_bytes(file.read(HEAD))
    size = path.stat().st_size
    return f"cut short: {size} of {declared} bytes are there" if declared > size else ""


def pictures(path: Path, index: Index, wanted: Sequence[int]) -> Iterator[tuple[int, Image.Image]]:
    """The wanted frames (ascending indices) as upright RGB images, by seeking where that saves decoding.

    The same images as by decoding everything.

    Raises:
        ImageRefused: damaged; what comes before is given.
    """
    left = list(wanted)
    try:
        if index.times:
            for key, run in index.runs(wanted):
                for number, image in _run(path, index, key, run):
                    yield number, image
                    left.remove(number)
            return
    except _Missed:
        pass  # go through the rest from the beginning: slower, and as sure as a full decode
    for number, image in _run(path, index, None, left, thorough=True):
        yield number, image
        left.remove(number)
    if left:
        raise ImageRefused("unreadable", f"frames {', '.join(map(str, left[:5]))} cannot be decoded")


def _run(
    path: Path, index: Index, key: int | None, wanted: list[int], thorough: bool = False
) -> Iterator[tuple[int, Image.Image]]:
    """Decode from a keyframe (or the beginning) on; `thorough` leaves no frame out and may end with some missing."""
    places = {time: number for number, time in enumerate(index.times)}
    needed = {index.times[number] for number in wanted} if index.times else set()
    left = list(wanted)
    with opened(path) as (container, stream):
        if key is not None:
            container.seek(index.times[key], stream=stream, backward=True, any_frame=False)
        for count, frame in enumerate(_decoded(container, stream, needed if not thorough else set())):
            number = places.get(frame.pts, -1) if index.times else count
            while left and left[0] < number and thorough:
                left.pop(0)
            if left and left[0] < number:
                raise _Missed
            if left and left[0] == number:
                yield left.pop(0), _image(frame, stream.codec_context.name)
            if not left:
                return
    if left and not thorough:
        raise _Missed


def _decoded(container: Any, stream: Any, needed: set[int]) -> Iterator[Any]:
    """Frames as they are shown; where damage begins, what the decoder still holds, then the error.

    Of frames that are not `needed`, those no other frame depends on are left out; an empty set leaves out none.
    """
    context = stream.codec_context
    drops = bool(needed) and context.name in _DROPS_EXACTLY
    damage: Exception | None = None
    try:
        for packet in _packets(container, stream):
            if drops:
                context.skip_frame = "DEFAULT" if packet.pts in needed else "NONREF"
            yield from packet.decode()
    except Exception as error:  # demuxers and decoders of damaged bytes raise nearly anything
        damage = error
    yield from context.decode(None)
    if damage is not None:
        raise damage


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    return (packet for packet in container.demux(stream) if packet.size)


def _count_by_decoding(path: Path) -> int:
    count = 0
    try:
        with opened(path) as (container, stream):
            for _ in _decoded(container, stream, set()):
                count += 1
                if count > MAX_COUNT:
                    raise ImageRefused("too_large", f"more than {MAX_COUNT} frames")
    except ImageRefused as refused:
        if not count or refused.status == "too_large":
            raise
    return count


def _image(frame: Any, codec: str) -> Image.Image:
    if frame.width * frame.height > MAX_PIXELS:
        raise ImageRefused("too_large", f"{frame.width}x{frame.height} pixels, at most {MAX_PIXELS}")
    if frame.is_corrupt:
        raise ImageRefused("unreadable", "a damaged frame")
    image = upright(frame.to_image(threads=1), frame.side_data.get("DISPLAYMATRIX"))
    image.format = codec.upper()
    return image


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A container and its video stream.

    Whatever FFmpeg raises inside becomes `ImageRefused`.

    Raises:
        ImageRefused: no video by its first bytes, no video stream, too many pixels, or damaged.
    """
    av = need("av", "av", "reading videos")
    try:
        with path.open("rb") as file:  # FFmpeg gets bytes, no name: it can open nothing else
            kind = format_of(file.read(HEAD))
            if kind is None:
                raise ImageRefused("unsupported_format", "its first bytes are not those of MP4, MOV, WebM, MKV or AVI")
            file.seek(0)
            options = {"format_whitelist": demuxers(kind), "protocol_whitelist": "file"}
            with av.open(file, options=options, buffer_size=1 << 18) as container:
                yield container, _video_stream(container)
    except (ImageRefused, MemoryError, ConfigError, _Missed):
        raise
    except Exception as error:  # demuxers and decoders of damaged bytes raise nearly anything
        raise ImageRefused("unreadable", _said(error)) from error


def _said(error: Exception) -> str:
    """An error without the path, which is nobody's business in a manifest."""
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


def _video_stream(container: Any) -> Any:
    for stream in container.streams.video:
        if "attached_pic" in str(stream.disposition).lower():  # the cover picture of a sound file
            continue
        context = stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise ImageRefused("too_large", f"{context.width}x{context.height} pixels, at most {MAX_PIXELS}")
        context.thread_count = 1  # one process a core; and frames must not depend on how many cores there are
        context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
        return stream
    raise ImageRefused("unsupported_format", "no video stream")
