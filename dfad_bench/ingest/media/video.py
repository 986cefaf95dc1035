"""Videos by PyAV, whose FFmpeg may open nothing but this one file.

A frame's index is its position in the order of presentation. The times of all packets, read without decoding, say how
many frames there are and where the keyframes lie; decoding then begins at the keyframe before a wanted frame.
"""

from __future__ import annotations

import stat
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dfad_bench.core.errors import listed, quoted
from dfad_bench.core.files import sha256_file
from dfad_bench.data.images import MAX_PIXELS, VIDEO_EXTENSIONS, ImageRefused
from dfad_bench.ingest.media.base import Frame, LostFrame, Sampling
from dfad_bench.ingest.media.damage import trace_damage
from dfad_bench.ingest.media.ffmpeg import SeekMissed, decode_frames, open_video, skips_frames
from dfad_bench.ingest.media.frame_index import Index, read_index
from dfad_bench.ingest.media.turning import turn_upright
from dfad_bench.ingest.sample import RawSample

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 16 << 30
MAX_TAKEN = 4096  # frames taken of one video: they become rows of one part


def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame | LostFrame]:
    """The sampled frames of a video.

    A forged video whose target is a video (`target_path`) is sampled at the frames of its target, so that pairs
    exist; at its own frames where it has fewer than half of those. Rotation metadata is applied; pixels are assumed
    to be square. A frame that is damaged, or depends on one that is, is a `LostFrame`.

    Raises:
        ImageRefused: no video of a known kind, too large, or truncated; frames before the cut are yielded.
    """
    path = sample.path
    check_file(path, sample.origin, VIDEO_EXTENSIONS)
    try:
        digest, size = sha256_file(path), path.stat().st_size
    except OSError as error:
        raise ImageRefused("unreadable", error.strerror or type(error).__name__) from error
    try:
        index = read_index(path)
        if not index.count:
            raise ImageRefused("unreadable", index.cut or "no frames")
        wanted = frames_to_take(sample, sampling, index.count)
        yield from _take_frames(path, index, wanted, digest, size)
    except ImageRefused as refused:
        refused.source_sha256 = digest
        raise


def _take_frames(
    path: Path, index: Index, wanted: Sequence[int], digest: str, size: int
) -> Iterator[Frame | LostFrame]:
    held: list[Frame | LostFrame] = []
    try:
        for number, image in pictures(path, index, wanted):
            if isinstance(image, str):
                held.append(LostFrame(number, image, digest))
                if index.cut:
                    continue  # the last ones are lost to the cut, which is the reason for all that is missing
            else:
                held.append(Frame(image, digest, number, size))
            yield from held
            held.clear()
    except ImageRefused as refused:
        if index.cut and refused.status == "unreadable":
            raise ImageRefused("unreadable", index.cut) from refused
        raise
    if index.cut:
        raise ImageRefused("unreadable", index.cut)


def frames_to_take(sample: RawSample, sampling: Sampling, count: int) -> list[int]:
    """The indices of the frames to take of a video with `count` frames.

    Raises:
        ImageRefused: `too_large`: more than `MAX_TAKEN` frames.
    """
    own = sampling.indices(count)
    if sample.target_path is not None:
        from dfad_bench.ingest.media.counting import count_frames

        shared = [frame for frame in sampling.indices(count_frames(sample.target_path)) if frame < count]
        own = shared if 2 * len(shared) >= len(own) else own
    if len(own) > MAX_TAKEN:
        raise ImageRefused("too_large", f"{len(own)} frames to take, at most {MAX_TAKEN}; use a longer stride")
    return own


def check_file(path: Path, name: str, extensions: tuple[str, ...], max_bytes: int = MAX_BYTES) -> None:
    """Check type, size and extension of a file before a decoder opens it.

    `name` is what the file is called in the source folder: a link may lead to a file without an extension.

    Raises:
        ImageRefused: not a regular file, empty, too large, or of another extension.
    """
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise ImageRefused("unreadable", "not a regular file")
    except OSError as error:
        raise ImageRefused("unreadable", error.strerror or type(error).__name__) from error
    if not facts.st_size:
        raise ImageRefused("unreadable", "empty file")
    if facts.st_size > max_bytes:
        raise ImageRefused("too_large", f"{facts.st_size} bytes, at most {max_bytes}")
    suffix = PurePosixPath(name).suffix
    if suffix[1:].lower() not in extensions:  # refused with its hash, so that an audit finds its copies
        reason = f"extension {quoted(suffix)} is none of {', '.join(extensions)}"
        raise ImageRefused("unsupported_format", reason, _digest(path))


def _digest(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:  # not readable: refused all the same, without a hash
        return None


def pictures(path: Path, index: Index, wanted: Sequence[int]) -> Iterator[tuple[int, Image.Image | str]]:
    """The wanted frames (ascending indices) as upright RGB images, by seeking where that saves decoding.

    The same images as by decoding everything. In place of a frame that is damaged or depends on a damaged one, the
    reason; decoding goes on with the next keyframe.

    Raises:
        ImageRefused: the rest cannot be read; the frames before are yielded.
    """
    left = list(wanted)
    seekable = bool(index.times) and not index.numbered
    needed = {index.times[number] for number in wanted} if seekable else set()
    try:
        if seekable:
            with open_video(path) as (container, stream):
                for key, run in index.runs(wanted):
                    if key is not None:
                        container.seek(index.times[key], stream=stream, backward=True, any_frame=False)
                    for number, image in _run(container, stream, index, run, needed, key or 0):
                        yield number, image
                        left.remove(number)
            return
    except SeekMissed:
        pass  # decode the rest from the beginning: slower, but as reliable as decoding everything
    with open_video(path) as (container, stream):
        for number, image in _run(container, stream, index, list(left), set(), 0, thorough=True):
            yield number, image
            left.remove(number)
    if left and (index.cut or not index.times):
        raise ImageRefused("unreadable", f"frames {listed(left, 5)} cannot be decoded")
    yield from ((number, _lost_text(number, None)) for number in left)


def _run(
    container: Any,
    stream: Any,
    index: Index,
    wanted: list[int],
    needed: set[int],
    start: int,
    *,
    thorough: bool = False,
) -> Iterator[tuple[int, Image.Image | str]]:
    """Decode from frame `start`, where the container stands; with `thorough`, wanted ones may be missing.

    Without, a wanted frame that neither comes nor fails says that the seek went wrong.
    """
    left = deque(wanted)
    lost: set[int] = set()  # positions of frames that could not be decoded in this run
    decoded = _numbered(container, stream, index, needed, lost, start)
    for frame, number, damaged in trace_damage(decoded, lost, index.key_places):
        while left and left[0] < number and (thorough or left[0] in lost):
            missing = left.popleft()
            if index.times:
                yield missing, _lost_text(missing, None)
        if left and left[0] < number:
            raise SeekMissed
        if left and left[0] == number:
            left.popleft()
            if damaged is not None:
                yield number, _lost_text(number, damaged)
            elif number in index.uncertain:
                yield number, f"frame {number} may be another one: a frame near it cannot be decoded"
            else:
                yield number, _image(frame, stream.codec_context.name)
        if not left:
            return
    while left and left[0] in lost:
        yield left[0], _lost_text(left.popleft(), None)
    if left and not thorough:
        raise SeekMissed


def _numbered(
    container: Any, stream: Any, index: Index, needed: set[int], lost: set[int], start: int
) -> Iterator[tuple[Any, int]]:
    """Decoded frames with their positions; where times give these, those that do not come are `lost`."""
    if not index.times:
        yield from ((frame, count) for count, frame in enumerate(decode_frames(container, stream, needed)))
        return
    places = {time: number for number, time in enumerate(index.times)}
    skips = skips_frames(stream, needed)

    def lose(packet: Any) -> None:  # one that is not shown spoils the frame after it
        lost.add(places.get(packet.pts, bisect_left(index.times, packet.pts)))

    for frame in decode_frames(container, stream, needed, lose, numbered=index.numbered):
        if frame.pts in places:
            number = places[frame.pts]
            if not skips:
                lost.update(range(start, number))  # also those that are left out without an error
            start = max(start, number + 1)
            yield frame, number


def _lost_text(number: int, damaged: int | None) -> str:
    if damaged is None:
        return f"frame {number} cannot be decoded"
    return f"frame {number} is damaged" if damaged == number else f"frame {number} depends on damaged frame {damaged}"


def _image(frame: Any, codec: str) -> Image.Image:
    if frame.width * frame.height > MAX_PIXELS:
        raise ImageRefused("too_large", f"{frame.width}x{frame.height} pixels, at most {MAX_PIXELS}")
    image = turn_upright(frame.to_image(threads=1), frame.side_data.get("DISPLAYMATRIX"))
    image.format = codec.upper()
    return image
