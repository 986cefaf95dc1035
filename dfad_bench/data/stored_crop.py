"""Crops as the parts of a manifest hold them, and whether their pixels are those their rows state.

`crop_sha256` is of the decoded pixels, `height * width * 3` bytes in rows, and a part is hashed with the text of that
hash, so only decoding shows whether a picture belongs to its row. All code that needs pixels gets them here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfad_bench.core.errors import IntegrityError
from dfad_bench.data.images import ImageRefused, decode_crop, perceptual_hash

OK = "ok"
MAX_SIDE = 4096  # pixels; no crop profile makes larger ones
# what Arrow raises on damaged files: its own errors, and errors of invalid names and offsets
DAMAGE = (pa.ArrowException, OSError, LookupError, ValueError, TypeError, OverflowError)
_COLUMNS = ("sample_id", "crop_sha256", "width", "height", "phash", "status", "image")
_AT_ONCE = 64  # rows in memory, whatever the size of the row groups
_RGB_8_BITS = b"\x08\x02"  # bit depth and colour type of a PNG header
_WORD = (1 << 64) - 1
_PHASH_BITS = 4  # that may differ: another version of Pillow may round another way


@dataclass(frozen=True)
class StoredCrop:
    """The picture of a row, and what the row states of it."""

    place: str  # part, row and sample, for messages
    sample_id: str
    status: str | None
    png: bytes | None
    sha256: str | None  # of the pixels
    width: int | None
    height: int | None
    phash: int | None

    def encoded(self) -> bytes:
        """The PNG as stored.

        Raises:
            IntegrityError: there is none.
        """
        if self.png is None:
            raise self._refusal("status ok, and no picture")
        return self.png

    def pixels(self) -> np.ndarray:
        """The crop (H, W, 3) uint8, decoded and compared with what its row states.

        Raises:
            IntegrityError: no picture, one of another size or kind, one that does not decode, or other pixels.
        """
        png, width, height = self.encoded(), self.width or 0, self.height or 0
        if self.sha256 is None or not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise self._refusal(f"no crop_sha256, or no size from 1 to {MAX_SIDE} pixels")
        if png[12:16] != b"IHDR" or png[24:26] != _RGB_8_BITS:
            raise self._refusal("the picture is no PNG of 8-bit RGB")
        try:
            found = decode_crop(png, max_pixels=width * height)
        except ImageRefused as error:
            raise self._refusal(f"the crop does not decode ({error.reason})") from error
        if found.shape != (height, width, 3):
            raise self._refusal(f"{found.shape[1]}x{found.shape[0]} pixels, the row says {width}x{height}")
        if hashlib.sha256(found.data).hexdigest() != self.sha256:
            raise self._refusal("the pixels are not those of its crop_sha256")
        return found

    def check(self) -> None:
        """Check everything about a row that can be computed again: its pixels, their perceptual hash, or their absence.

        Raises:
            IntegrityError: see `pixels`; or another perceptual hash, or a refused row with a picture.
        """
        if self.status != OK:
            if self.png is not None:
                raise self._refusal(f"a picture in a row that was refused ({str(self.status)[:40]!r})")
            return
        found = perceptual_hash(self.pixels())
        if self.phash is not None and ((found ^ self.phash) & _WORD).bit_count() > _PHASH_BITS:  # both are signed
            raise self._refusal("its phash is not that of the pixels")

    def _refusal(self, why: str) -> IntegrityError:
        return IntegrityError(f"{self.place}: {why}; build the manifest again")


def stored_crops(path: Path, wanted: Collection[str] | None = None) -> Iterator[StoredCrop]:
    """The rows of a part, a few in memory at a time.

    Args:
        path: the Parquet file.
        wanted: samples; None for all rows. Of a group of rows without one, only the names are read.

    Raises:
        IntegrityError: the part is damaged.
    """
    try:
        file, first = pq.ParquetFile(path, page_checksum_verification=True), 0
        for group in range(file.num_row_groups):
            if wanted is None or _any_of(file, group, wanted):
                yield from _rows(file, path, group, first, wanted)
            first += file.metadata.row_group(group).num_rows
    except DAMAGE as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> IntegrityError:
    """The error about a part that Arrow cannot read."""
    text = str(error).strip()
    why = text.splitlines()[0][:120] if text else type(error).__name__
    return IntegrityError(f"{path}: damaged ({why}); run the same build again")


def _any_of(file: pq.ParquetFile, group: int, wanted: Collection[str]) -> bool:
    names = file.read_row_group(group, columns=["sample_id"]).column("sample_id").to_pylist()
    return any(name in wanted for name in names)


def _rows(
    file: pq.ParquetFile, path: Path, group: int, first: int, wanted: Collection[str] | None
) -> Iterator[StoredCrop]:
    number = first
    for batch in file.iter_batches(_AT_ONCE, row_groups=[group], columns=list(_COLUMNS)):
        columns = [batch.column(name) for name in _COLUMNS[:-1]]
        for row, (name, sha256, width, height, phash, status) in enumerate(
            zip(*(column.to_pylist() for column in columns), strict=True)
        ):
            if wanted is None or name in wanted:
                picture = batch.column("image")[row].as_py() or {}
                place = f"{path}, row {number + row} (sample {str(name)[:40]!r})"
                yield StoredCrop(place, name, status, picture.get("bytes"), sha256, width, height, phash)
        number += batch.num_rows
