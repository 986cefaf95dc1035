"""FFmpeg, restricted to one file; whatever it raises becomes `ImageRefused`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import DFADError, need
from dfad_bench.data.images import MAX_PIXELS, ImageRefused, open_regular
from dfad_bench.ingest.media.container import HEAD, demuxers, format_of

_DROPS_EXACTLY = ("h264",)  # decoders that can skip non-reference frames without changing the others
_HIDES_DAMAGE = ("mjpeg",)  # decoders that fill in what is damaged and do not mark the frame by default


class SeekMissed(Exception):  # noqa: N818  handled by decoding from the beginning
    """A seek did not lead to the frame that the packets' times promised."""


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """A container and its video stream; whatever FFmpeg raises inside the block becomes `ImageRefused`.

    Raises:
        ImageRefused: no video by its first bytes, no video stream, too many pixels, or damaged.
    """
    av = need("av", "av", "reading videos")
    try:
        with open_regular(path) as file:  # FFmpeg gets bytes, not a name: it can open nothing else
            kind = format_of(file.read(HEAD))
            if kind is None:
                raise ImageRefused("unsupported_format", "its first bytes are not those of MP4, MOV, WebM, MKV or AVI")
            file.seek(0)
            options = {"format_whitelist": demuxers(kind), "protocol_whitelist": "file"}
            with av.open(file, options=options, buffer_size=1 << 18) as container:
                yield container, _video_stream(container)
    except av.error.FFmpegError as error:  # also "not enough memory", where damaged bytes ask for too much
        raise ImageRefused("unreadable", error_text(error)) from error
    except (ImageRefused, MemoryError, DFADError, SeekMissed):
        raise
    except Exception as error:  # demuxers and decoders of damaged bytes raise nearly anything
        raise ImageRefused("unreadable", error_text(error)) from error


def error_text(error: Exception) -> str:
    """The text of an error without the path, which must not end up in a manifest."""
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


def _video_stream(container: Any) -> Any:
    for stream in container.streams.video:
        if "attached_pic" in str(stream.disposition).lower():  # the cover image of an audio file
            continue
        context = stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise ImageRefused("too_large", f"{context.width}x{context.height} pixels, at most {MAX_PIXELS}")
        context.thread_count = 1  # workers use the other cores, and frames must not depend on the number of cores
        context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
        if codec_of(stream) in _HIDES_DAMAGE:
            context.options = {**context.options, "err_detect": "explode"}
        return stream
    raise ImageRefused("unsupported_format", "no video stream")


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream that are not empty."""
    return (packet for packet in container.demux(stream) if packet.size)


def codec_of(stream: Any) -> str:
    """The name of a stream's codec, whichever library decodes it: `av1`, not `libdav1d`."""
    return str(stream.codec_context.codec.canonical_name)


def _is_stand_in(frame: Any, codec: str) -> bool:
    """Whether FFmpeg made a frame up in place of a missing reference; of MPEG-4 Part 2 it gives these out."""
    return codec == "mpeg4" and not frame.pict_type


def skips_frames(stream: Any, needed: set[int]) -> bool:
    """Whether `decode_frames` leaves out frames that are not needed."""
    return bool(needed) and stream.codec_context.name in _DROPS_EXACTLY


def decode_frames(
    container: Any,
    stream: Any,
    needed: set[int],
    lose: Callable[[Any], None] | None = None,
    *,
    numbered: bool = False,
) -> Iterator[Any]:
    """Frames in order of presentation; at damage, the frames the decoder still holds, then the error.

    Args:
        container: an open container.
        stream: its video stream.
        needed: times of frames; others on which no frame depends are skipped. An empty set skips none.
        lose: takes packets that cannot be decoded; decoding then goes on. By default they are errors.
        numbered: frames have the number of their packet instead of a time.
    """
    context = stream.codec_context
    skips = skips_frames(stream, needed)
    damage: Exception | None = None
    try:
        for number, packet in enumerate(packets_of(container, stream)):
            if packet.is_corrupt:  # cut in the middle: the end of a truncated file
                break
            if numbered:
                packet.pts = number
            if skips:
                context.skip_frame = "DEFAULT" if packet.pts in needed else "NONREF"
            try:
                decoded = packet.decode()
            except ValueError:  # FFmpeg's "invalid data" is one
                if lose is None or packet.pts is None:
                    raise
                lose(packet)
            else:
                yield from (frame for frame in decoded if not _is_stand_in(frame, context.name))
    except Exception as error:  # demuxers and decoders of damaged bytes raise nearly anything
        damage = error
    yield from context.decode(None)
    if damage is not None:
        raise damage
