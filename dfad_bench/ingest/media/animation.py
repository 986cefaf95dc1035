"""Animated GIF, WebP and PNG as frames, by Pillow; a picture that does not move is one frame."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.data.images import MAX_PIXELS, ImageRefused, read_source, to_rgb
from dfad_bench.ingest.media import ANIMATION_EXTENSIONS, Frame, Sampling
from dfad_bench.ingest.media.video import check_file, taken
from dfad_bench.ingest.sources.base import RawSample

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("GIF", "WEBP", "PNG")
_MAX_BYTES = 512 << 20


def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The sampled frames, composed as they are shown, transparency over white.

    Raises:
        ImageRefused: no animation of a known format, too large, or damaged; frames before the damage are given.
    """
    check_file(sample.path, ANIMATION_EXTENSIONS, _MAX_BYTES)
    data = read_source(sample.path, max_bytes=_MAX_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    try:
        image = _open(data)
        for number in taken(sample, sampling, _count(image)):
            yield Frame(_frame(image, number), digest, number, len(data))
    except ImageRefused as refused:
        refused.source_sha256 = digest
        raise


def count(path: Path) -> int:
    """The number of frames of a file.

    Raises:
        ImageRefused: see `frames`.
    """
    return _count(_open(read_source(path, max_bytes=_MAX_BYTES)))


def _open(data: bytes) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    for plugin in ("Gif", "WebP", "Png"):  # Pillow knows a format only once its plugin is imported
        import_module(f"PIL.{plugin}ImagePlugin")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about palettes and bombs; what matters is checked here
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise ImageRefused("unsupported_format", "no animation of the formats GIF, WebP, PNG") from error
    except Image.DecompressionBombError as error:
        raise ImageRefused("too_large", str(error)) from error
    except Exception as error:  # decoders of damaged bytes raise nearly anything
        raise ImageRefused("unreadable", f"{type(error).__name__}: {error}") from error
    if image.width * image.height > MAX_PIXELS:
        raise ImageRefused("too_large", f"{image.width}x{image.height} pixels, at most {MAX_PIXELS}")
    return image


def _count(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:  # a GIF is gone through to count its frames
        raise ImageRefused("unreadable", f"{type(error).__name__}: {error}") from error


def _frame(image: Image.Image, number: int) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.seek(number)
            shown = to_rgb(image.copy())
    except Exception as error:  # decoders of damaged bytes raise nearly anything
        raise ImageRefused("unreadable", f"frame {number}: {type(error).__name__}: {error}") from error
    shown.format = image.format
    return shown
