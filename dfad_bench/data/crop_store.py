"""The crops of a run, where training can get at them quickly (`--cache`).

disk   decoded once into one memory-mapped array, which every run on the same faces shares (the default)
ram    the same, read into memory at the start
gpu    the same, resident on the accelerator, where a batch is gathered without a copy over the bus
none   nothing decoded is kept: the PNG bytes are held in memory, each batch is decoded by threads in the background

Whichever is taken, the pixels are the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.errors import ManifestError
from dfad_bench.core.files import content_hash
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.settings import Cache
from dfad_bench.data.crop_storage import AT_ONCE, ArrayPixels, DevicePixels, Pixels, PngPixels, sized
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.row_check import check_rows
from dfad_bench.data.side_array import Block, SideArray
from dfad_bench.data.stored_crop import StoredCrop

if TYPE_CHECKING:
    import torch

_CHECKED = "compared with crop_sha256"  # decoded before they were, they are decoded again
_ROOM = 0.6  # share of an accelerator's free memory that crops may take; the rest is for the model


class CropStore:
    """The crops of a run and the row of each face. `note` says why they are not in the cache that was asked for."""

    def __init__(self, pixels: Pixels | np.ndarray, sample_ids: Sequence[str], note: str | None = None) -> None:
        self.pixels = ArrayPixels(pixels) if isinstance(pixels, np.ndarray) else pixels
        self.note = note
        self._place = pd.Series(np.arange(len(sample_ids)), index=pd.Index(sample_ids))

    @property
    def array(self) -> np.ndarray:
        """(N, H, W, 3) uint8, for caches `disk` and `ram`."""
        if not isinstance(self.pixels, ArrayPixels):
            raise ValueError("only the caches disk and ram are arrays")
        return self.pixels.array

    @classmethod
    def open(
        cls,
        rows: pd.DataFrame,
        manifests: Sequence[Manifest],
        image_size: int,
        *,
        folder: Path | None = None,
        cache: Cache = "disk",
        device: str | torch.device = "cpu",
        progress: Progress = NoProgress(),  # noqa: B008  stateless
    ) -> CropStore:
        """The store of the given rows; decoded crops are made on first use and shared by every later run on them.

        Args:
            rows: needs `sample_id`, `dataset`, `crop_sha256`.
            manifests: where the crops are.
            image_size: side of the square crops; others are resized (Lanczos).
            folder: where decoded crops lie; default `$DFAD_CACHE`, else `tables/` of the first manifest.
            cache: see the top of this file.
            device: where cache `gpu` keeps the crops; too many for its free memory stay on disk, see `note`.
            progress: shows how many crops are decoded.

        Raises:
            ManifestError: a face is not in its manifest, or `folder` cannot be made.
            IntegrityError: a crop does not decode, or to other pixels than its row states; or the rows are not those
                of the manifest's content hash.
        """
        rows = rows.drop_duplicates("sample_id").sort_values("sample_id", kind="stable")
        ids = rows["sample_id"].tolist()
        if not ids:
            raise ManifestError("no faces to load")
        for manifest in manifests:
            check_rows(manifest)
        if cache == "none":
            found = {crop.sample_id: crop for crop in _stored_crops(rows, manifests)}
            return cls(PngPixels([found[name] for name in ids], image_size), ids)
        named = rows[["sample_id", "crop_sha256"]].fillna("").astype(str)  # one without a hash is refused when decoded
        key = content_hash([image_size, list(map(list, named.to_numpy()))])
        folder = folder or default_folder(manifests)
        stored = SideArray(folder / f"crops-{image_size}-{key[:16]}.npy", {"key": key, "pixels": _CHECKED})
        if not stored.is_whole():
            _prepare(folder)
            with stored.locked():  # other runs on these faces wait for it instead of decoding, too
                if not stored.is_whole():
                    _decode(stored, rows, manifests, image_size, progress)
        array = stored.open()
        if cache == "ram":
            return cls(np.array(array), ids)
        if cache == "gpu":
            return _resident_store(array, ids, device)
        return cls(array, ids)

    def places(self, sample_ids: Sequence[str]) -> np.ndarray:
        """Row of each face in the store.

        Raises:
            KeyError: a face is not in the store (a bug).
        """
        return self._place.loc[list(sample_ids)].to_numpy()

    def gather(self, places: np.ndarray) -> torch.Tensor:
        """(B, H, W, 3) uint8 of the given rows; on the accelerator for cache `gpu`, else on the CPU."""
        return self.pixels.gather(places)


def _resident_store(array: np.ndarray, ids: Sequence[str], device: str | torch.device) -> CropStore:
    import torch

    place = torch.device(device)
    if place.type == "cuda":
        free = torch.cuda.mem_get_info(place)[0]
        if array.nbytes > _ROOM * free:
            sizes = f"{array.nbytes / 2**30:.1f} GiB of crops, {free / 2**30:.1f} GiB free on {place}"
            return CropStore(array, ids, f"--cache gpu: {sizes}: they are read from disk")
    note = None if place.type == "cuda" else "--cache gpu: no GPU in use, the crops are held in memory"
    return CropStore(DevicePixels(array, place), ids, note)


def default_folder(manifests: Sequence[Manifest]) -> Path:
    """`$DFAD_CACHE`, or the side tables of the first manifest."""
    own = os.environ.get("DFAD_CACHE")
    return Path(own) if own else manifests[0].folder / "tables"


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ManifestError(f"{folder}: no room for decoded crops ({why}); set DFAD_CACHE to another folder") from error


def _stored_crops(rows: pd.DataFrame, manifests: Sequence[Manifest]) -> Iterator[StoredCrop]:
    """The crop of every row, not decoded yet.

    Raises:
        ManifestError: a face is in none of the manifests.
    """
    count = 0
    names = [manifest.name for manifest in manifests]
    for manifest in manifests:
        wanted = set(rows.loc[rows["dataset"] == manifest.name, "sample_id"])
        if names.count(manifest.name) > 1:  # each has some of the dataset's faces
            wanted &= set(manifest.frame(["sample_id"])["sample_id"])
        for crop in manifest.crops(wanted) if wanted else ():
            count += 1
            yield crop
    if count < len(rows):
        raise ManifestError(f"{len(rows) - count} chosen faces are in none of the manifests")


def _decode(
    stored: SideArray, rows: pd.DataFrame, manifests: Sequence[Manifest], side: int, progress: Progress
) -> None:
    rows = rows.reset_index(drop=True)
    place = {sample: index for index, sample in enumerate(rows["sample_id"])}
    shape = (len(rows), side, side, 3)

    def work(left: np.ndarray) -> Iterator[Block]:
        stored = _stored_crops(rows.loc[left], manifests)
        with ThreadPoolExecutor(usable_cores()) as pool:
            while some := list(islice(stored, AT_ONCE)):
                crops = pool.map(lambda crop: sized(crop, side), some)  # Pillow and hashing let other threads run
                yield Block(np.array([place[crop.sample_id] for crop in some]), list(crops))

    label = f"Decoding crops ({math.prod(shape) / 2**20:,.0f} MiB)"
    stored.make(shape, "uint8", work, label=label, progress=progress)
