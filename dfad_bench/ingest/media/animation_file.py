"""An animated GIF, WebP or PNG file opened by Pillow: how many frames it has, and each frame as an image."""

from __future__ import annotations

import io
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.data.images import MAX_PIXELS, ImageRefused, read_source, to_rgb

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("GIF", "WEBP", "PNG")
MAX_BYTES = 512 << 20


def animation_length(path: Path) -> int:
    """The number of frames of a file.

    Raises:
        ImageRefused: see `open_animation`.
    """
    return number_of_frames(open_animation(read_source(path, max_bytes=MAX_BYTES)))


def open_animation(data: bytes) -> Image.Image:
    """The bytes of an animation as Pillow opens them.

    Raises:
        ImageRefused: no animation of a known format, too large, or damaged.
    """
    from PIL import Image, UnidentifiedImageError

    for plugin in ("Gif", "WebP", "Png"):  # Pillow knows a format only once its plugin is imported
        import_module(f"PIL.{plugin}ImagePlugin")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about palettes and decompression bombs; the size is checked below
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


def number_of_frames(image: Image.Image) -> int:
    """How many frames an opened animation has; 1 for a still image.

    Raises:
        ImageRefused: the frames cannot be counted.
    """
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:  # counting the frames of a GIF reads all of it
        raise ImageRefused("unreadable", f"{type(error).__name__}: {error}") from error


def frame_at(image: Image.Image, number: int) -> Image.Image:
    """Frame `number` (from 0) as RGB, composed as a viewer shows it, transparency over white.

    Raises:
        ImageRefused: the frame cannot be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.seek(number)
            shown = to_rgb(image.copy())
    except Exception as error:  # decoders of damaged bytes raise nearly anything
        raise ImageRefused("unreadable", f"frame {number}: {type(error).__name__}: {error}") from error
    shown.format = image.format
    return shown
