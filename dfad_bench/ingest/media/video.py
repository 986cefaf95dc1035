"""Videos by PyAV, whose FFmpeg may open nothing but this one file.

A frame's index is its position in the order of presentation. The times of all packets, read without decoding, say how
many frames there are and where the keyframes lie; decoding then begins at the keyframe before a wanted frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.files import sha256_file
from dfad_bench.data.images import MAX_PIXELS, VIDEO_EXTENSIONS, ImageRefused
from dfad_bench.ingest.media.base import Frame, Sampling
from dfad_bench.ingest.media.ffmpeg import SeekMissed, decode_frames, open_video
from dfad_bench.ingest.media.frame_index import Index, read_index
from dfad_bench.ingest.media.turning import turn_upright
from dfad_bench.ingest.sample import RawSample

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 16 << 30
MAX_TAKEN = 4096  # frames taken of one video: they become rows of one part


def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The sampled frames of a video.

    A forged video whose target is a video (`target_path`) is sampled at the frames of its target, so that pairs
    exist; at its own frames where it has fewer than half of those. Rotation metadata is applied; pixels are assumed
    to be square.

    Raises:
        ImageRefused: no video of a known kind, too large, damaged or truncated; frames before the damage are yielded.
    """
    path = sample.path
    check_file(path, VIDEO_EXTENSIONS)
    try:
        digest, size = sha256_file(path), path.stat().st_size
    except OSError as error:
        raise ImageRefused("unreadable", error.strerror or type(error).__name__) from error
    try:
        index = read_index(path)
        if not index.count:
            raise ImageRefused("unreadable", index.cut or "no frames")
        wanted = frames_to_take(sample, sampling, index.count)
        try:
            for number, image in pictures(path, index, wanted):
                yield Frame(image, digest, number, size)
        except ImageRefused as refused:
            if index.cut and refused.status == "unreadable":
                raise ImageRefused("unreadable", index.cut) from refused
            raise
        if index.cut:
            raise ImageRefused("unreadable", index.cut)
    except ImageRefused as refused:
        refused.source_sha256 = digest
        raise


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


def check_file(path: Path, extensions: tuple[str, ...], max_bytes: int = MAX_BYTES) -> None:
    """Check type, size and extension of a file before a decoder opens it.

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
    if path.suffix[1:].lower() not in extensions:  # refused with its hash, so that an audit finds its copies
        reason = f"extension {path.suffix!r} is none of {', '.join(extensions)}"
        raise ImageRefused("unsupported_format", reason, _digest(path))


def _digest(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:  # not readable: refused all the same, without a hash
        return None


def pictures(path: Path, index: Index, wanted: Sequence[int]) -> Iterator[tuple[int, Image.Image]]:
    """The wanted frames (ascending indices) as upright RGB images, by seeking where that saves decoding.

    The same images as by decoding everything.

    Raises:
        ImageRefused: damaged; the frames before the damage are yielded.
    """
    left = list(wanted)
    needed = {index.times[number] for number in wanted} if index.times else set()
    try:
        if index.times:
            with open_video(path) as (container, stream):
                for key, run in index.runs(wanted):
                    if key is not None:
                        container.seek(index.times[key], stream=stream, backward=True, any_frame=False)
                    for number, image in _run(container, stream, index, run, needed):
                        yield number, image
                        left.remove(number)
            return
    except SeekMissed:
        pass  # decode the rest from the beginning: slower, but as reliable as decoding everything
    with open_video(path) as (container, stream):
        for number, image in _run(container, stream, index, list(left), set(), thorough=True):
            yield number, image
            left.remove(number)
    if left:
        raise ImageRefused("unreadable", f"frames {', '.join(map(str, left[:5]))} cannot be decoded")


def _run(
    container: Any, stream: Any, index: Index, wanted: list[int], needed: set[int], *, thorough: bool = False
) -> Iterator[tuple[int, Image.Image]]:
    """Decode from the current position; with `thorough` (from the beginning) frames may be missing without an error."""
    places = {time: number for number, time in enumerate(index.times)}
    left = deque(wanted)
    for count, frame in enumerate(decode_frames(container, stream, needed)):
        number = places.get(frame.pts, -1) if index.times else count
        while left and left[0] < number and thorough:
            left.popleft()
        if left and left[0] < number:
            raise SeekMissed
        if left and left[0] == number:
            yield left.popleft(), _image(frame, stream.codec_context.name)
        if not left:
            return
    if not thorough:
        raise SeekMissed


def _image(frame: Any, codec: str) -> Image.Image:
    if frame.width * frame.height > MAX_PIXELS:
        raise ImageRefused("too_large", f"{frame.width}x{frame.height} pixels, at most {MAX_PIXELS}")
    if frame.is_corrupt:
        raise ImageRefused("unreadable", "a damaged frame")
    image = turn_upright(frame.to_image(threads=1), frame.side_data.get("DISPLAYMATRIX"))
    image.format = codec.upper()
    return image
