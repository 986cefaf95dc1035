"""Reading unverified image files: Pillow only, few formats, bounded size, one colour space.

Every failure is an `ImageRefused` with a status and a reason; no other exception leaves these functions.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # JPEG opens MPO, too
_NETPBM = ("ppm", "pgm", "pbm", "pnm")  # read under these names only, so that no row of an earlier build changes
_PLUGINS = ("Jpeg", "Png", "WebP", "Bmp", "Tiff", "Gif", "Ppm")
EXTENSIONS = (
    "jpg",
    "jpeg",
    "jfif",
    "jpe",
    "png",
    "webp",
    "bmp",
    "tif",
    "tiff",
    "mpo",
    "gif",
    "ppm",
    "pgm",
    "pbm",
    "pnm",
)
VIDEO_EXTENSIONS = ("mp4", "avi", "mov", "mkv", "webm", "m4v")
ANIMATION_EXTENSIONS = ("gif", "webp", "apng")
LFS_POINTER = b"version https://git-lfs"  # how the stand-in of a file begins that was not fetched
IN_LFS = "Git LFS pointer in place of the data: run `git lfs pull`"
SHEET = "dfad_bench contact sheet"  # PNG text of pictures that must not become faces of a manifest
MAX_PIXELS = 40_000_000
MAX_BYTES = 64 << 20
_ORIENTATION = 0x0112
_OPAQUE = ("RGB", "L", "1", "CMYK", "YCbCr", "LAB", "HSV")


class ImageRefused(Exception):  # noqa: N818  a result for one file, which becomes a row, not an error of the run
    """One file cannot be used. `status` is a manifest status, `reason` one line for the user.

    `source_sha256` is the hash of the file's bytes where they could be read.
    """

    def __init__(self, status: str, reason: str, source_sha256: str | None = None) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.source_sha256 = source_sha256
        self.reason = " ".join(reason.split())[:200]


def read_source(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of at most `max_bytes`.

    Raises:
        ImageRefused: `unreadable` (missing, no permission, empty, a link, a pipe or a device) or `too_large`.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise ImageRefused("too_large", f"{size} bytes, at most {max_bytes}")
            data = file.read(max_bytes)
    except OSError as error:
        raise ImageRefused("unreadable", error.strerror or type(error).__name__) from error
    if not data:
        raise ImageRefused("unreadable", "empty file")
    return data


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a link is not followed, since listing has resolved the path.

    Raises:
        ImageRefused: `unreadable`: a link, a pipe, a folder or a device.
        OSError: missing, or no permission.
    """
    try:
        # without waiting: opening a pipe would block
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            why = "a link, which is not followed" if path.exists() else "a link to nothing"
            raise ImageRefused("unreadable", why) from error
        if error.errno in (errno.ENXIO, errno.ENODEV):
            raise ImageRefused("unreadable", "not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ImageRefused("unreadable", "not a regular file")
    return os.fdopen(handle, "rb")


def formats_of(name: str) -> tuple[str, ...]:
    """Pillow's formats in which a file of this name may be.

    >>> formats_of("a.PPM"), formats_of("a.png") == FORMATS
    (('PPM',), True)
    """
    return ("PPM",) if name.lower().rpartition(".")[2] in _NETPBM else FORMATS


def decode_image(
    source: Path | bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    formats: tuple[str, ...] = FORMATS,
) -> Image.Image:
    """One image as 8-bit RGB, upright.

    Of an animation the first frame; EXIF orientation applied, a broken EXIF block ignored; 16-bit grey scaled
    to 8 bits, not clipped; transparency composed over white. `format` stays that of the source. The pixel count is
    checked before anything is decoded, and truncated files are refused instead of filled with grey.

    Raises:
        ImageRefused: `unsupported_format`, `too_large` or `unreadable`.
    """
    from PIL import Image, UnidentifiedImageError

    for plugin in _PLUGINS:  # Pillow knows a format only after its plugin is imported
        import_module(f"PIL.{plugin}ImagePlugin")
    data = read_source(source, max_bytes=max_bytes) if isinstance(source, Path) else source
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about EXIF, palettes and decompression bombs; the size is checked below
        try:
            image = Image.open(io.BytesIO(data), formats=formats)
            width, height = image.size
            if image.info.get("Software") == SHEET:
                raise ImageRefused("unsupported_format", "a contact sheet of this toolkit")
            if width * height > max_pixels:
                raise ImageRefused("too_large", f"{width}x{height} pixels, at most {max_pixels}")
            image.load()
            rgb = to_rgb(_turn_upright(image))
            rgb.format = image.format
            return rgb
        except ImageRefused:
            raise
        except UnidentifiedImageError as error:
            if data.startswith(LFS_POINTER):
                raise ImageRefused("unreadable", IN_LFS) from error
            raise ImageRefused("unsupported_format", f"no image of the formats {', '.join(formats)}") from error
        except Image.DecompressionBombError as error:
            raise ImageRefused("too_large", str(error)) from error
        except Exception as error:  # decoders of damaged bytes raise nearly anything
            raise ImageRefused("unreadable", f"{type(error).__name__}: {error}") from error


def encode_png(array: np.ndarray) -> bytes:
    """A (H, W, 3) uint8 array as PNG bytes; equal arrays give equal bytes.

    Run-length strategy only: on filtered photographs it takes a fifth of the time of the default for 3 % more bytes.
    One filter (Paeth) for all rows: trying all five takes half as long again for 1 % fewer bytes.
    """
    import cv2

    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {array.dtype} {array.shape}")
    how = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]
    _, data = cv2.imencode(".png", array[:, :, ::-1], how)
    return bytes(data)


def decode_crop(png: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of a crop as a (H, W, 3) uint8 array.

    Raises:
        ImageRefused: the bytes are not a PNG image, or one of more than `max_pixels`.
    """
    return np.array(decode_image(png, formats=("PNG",), max_pixels=max_pixels))


def perceptual_hash(array: np.ndarray) -> int:
    """64 bits of the low cosine frequencies of a (H, W, 3) uint8 image, as a signed 64-bit integer.

    Near copies differ in few bits. The image is reduced to 32x32 grey values; each of the 8x8 lowest
    frequencies gives one bit, set where it exceeds their median.
    """
    from PIL import Image

    grey = np.asarray(Image.fromarray(array).convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    k, n = np.arange(8)[:, None], np.arange(32)[None, :]
    basis = np.cos(np.pi * k * (2 * n + 1) / 64)  # (8, 32), DCT-II
    low = np.round(basis @ grey @ basis.T, 6).ravel()
    bits = low > np.median(low[1:])
    return int(np.packbits(bits).view(">i8")[0])


def _turn_upright(image: Image.Image) -> Image.Image:
    from PIL import Image

    turn = Image.Transpose
    turns = {2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE}
    turns |= {6: turn.ROTATE_270, 7: turn.TRANSVERSE, 8: turn.ROTATE_90}
    try:
        method = turns.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block raises nearly anything; the pixels can be used all the same
        method = None
    return image if method is None else image.transpose(method)


def to_rgb(image: Image.Image) -> Image.Image:
    """A decoded image as 8-bit RGB: 16-bit grey scaled, transparency composed over white.

    Raises:
        ImageRefused: `unreadable`: grey values that are NaN, infinite or out of range.
    """
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    if image.mode in _OPAQUE and "transparency" not in image.info:
        return image.convert("RGB")
    colours = image.convert("RGBA")
    white = Image.new("RGBA", colours.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, colours).convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or more bits as 8 bits: divided by 257 where a value exceeds 255; floats in [0, 1] times 255."""
    from PIL import Image

    values: np.ndarray = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise ImageRefused("unreadable", "pixel values are not finite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        raise ImageRefused("unreadable", f"pixel values from {low:g} to {high:g}, expected 0 to 65535")
    if image.mode.startswith("I;16") or high > 255:
        values = values / 257
    elif image.mode == "F" and high <= 1:
        values = values * 255
    return Image.fromarray(np.round(values).astype(np.uint8))
