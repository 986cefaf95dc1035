"""FFmpeg, told to open nothing but one file; whatever it raises is a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import DFADError, need
from dfad_bench.data.images import MAX_PIXELS, ImageRefused
from dfad_bench.ingest.media.container import HEAD, demuxers, format_of

_DROPS_EXACTLY = ("h264",)  # decoders that leave out frames no other needs without any effect on those others


class Missed(Exception):  # noqa: N818  a seek did not lead where the packets' times said
    """A wanted frame does not come where it should."""


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
    except av.error.FFmpegError as error:  # also "not enough memory", where damaged bytes ask for too much
        raise ImageRefused("unreadable", said(error)) from error
    except (ImageRefused, MemoryError, DFADError, Missed):
        raise
    except Exception as error:  # demuxers and decoders of damaged bytes raise nearly anything
        raise ImageRefused("unreadable", said(error)) from error


def said(error: Exception) -> str:
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


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream that hold anything."""
    return (packet for packet in container.demux(stream) if packet.size)


def decoded(container: Any, stream: Any, needed: set[int]) -> Iterator[Any]:
    """Frames as they are shown; where damage begins, what the decoder still holds, then the error.

    Of frames that are not `needed`, those no other frame depends on are left out; an empty set leaves out none.
    """
    context = stream.codec_context
    drops = bool(needed) and context.name in _DROPS_EXACTLY
    damage: Exception | None = None
    try:
        for packet in packets_of(container, stream):
            if drops:
                context.skip_frame = "DEFAULT" if packet.pts in needed else "NONREF"
            yield from packet.decode()
    except Exception as error:  # demuxers and decoders of damaged bytes raise nearly anything
        damage = error
    yield from context.decode(None)
    if damage is not None:
        raise damage
