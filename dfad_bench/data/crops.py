"""Crops decoded once into one memory-mapped array, so that an epoch costs no PNG decoding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, IntegrityError, ManifestError
from dfad_bench.core.files import atomic_path, content_hash, read_json, sha256_file, sweep_temporaries, write_json
from dfad_bench.core.progress import Progress, Silent
from dfad_bench.data.images import decode_crop
from dfad_bench.data.manifest import Manifest

_VERIFY_BYTES = 1 << 30  # larger files are checked by size only: hashing them takes longer than an epoch's start


class CropStore:
    """(N, H, W, 3) uint8 crops on disk, mapped into memory, and where each face lies in them."""

    def __init__(self, array: np.ndarray, sample_ids: Sequence[str]) -> None:
        self.array = array
        self._place = pd.Series(np.arange(len(sample_ids)), index=pd.Index(sample_ids))

    @classmethod
    def open(
        cls,
        rows: pd.DataFrame,
        manifests: Sequence[Manifest],
        image_size: int,
        *,
        folder: Path | None = None,
        progress: Progress = Silent(),  # noqa: B008  stateless
    ) -> CropStore:
        """The store of the given rows, made on first use and shared by every later run on the same rows.

        Args:
            rows: needs `sample_id`, `dataset`, `crop_sha256`.
            manifests: where the crops are.
            image_size: side of the square crops; others are resized (Lanczos).
            folder: where stores lie; default `$DFAD_CACHE`, else `tables/` of the first manifest.
            progress: told about each decoded crop.

        Raises:
            ManifestError: a face is not in its manifest, or `folder` cannot be made.
            IntegrityError: a crop does not decode.
        """
        rows = rows.drop_duplicates("sample_id").sort_values("sample_id", kind="stable")
        ids = rows["sample_id"].tolist()
        if not ids:
            raise ManifestError("no faces to load")
        key = content_hash([image_size, list(map(list, rows[["sample_id", "crop_sha256"]].astype(str).to_numpy()))])
        folder = folder or default_folder(manifests)
        path = folder / f"crops-{image_size}-{key[:16]}.npy"
        if not _valid(path, key):
            _prepare(folder)
            _decode(path, key, rows, manifests, image_size, progress)
        return cls(np.load(path, mmap_mode="r", allow_pickle=False), ids)

    def places(self, sample_ids: Sequence[str]) -> np.ndarray:
        """Row of each face in `array`.

        Raises:
            KeyError: a face is not in the store (a bug).
        """
        return self._place.loc[list(sample_ids)].to_numpy()


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
    sweep_temporaries(folder)


def _valid(path: Path, key: str) -> bool:
    """Whether the store at `path` is whole and of these rows."""
    facts_path = path.with_suffix(".json")
    if not path.is_file() or not facts_path.is_file():
        return False
    try:
        facts = read_json(facts_path)
    except ConfigError:
        return False
    size = path.stat().st_size
    if not isinstance(facts, dict) or facts.get("key") != key or facts.get("bytes") != size:
        return False
    return size > _VERIFY_BYTES or facts.get("sha256") == sha256_file(path)


def _decode(
    path: Path, key: str, rows: pd.DataFrame, manifests: Sequence[Manifest], side: int, progress: Progress
) -> None:
    place = {sample: index for index, sample in enumerate(rows["sample_id"])}
    progress.start("Decoding crops", len(place))
    try:
        with atomic_path(path) as temporary:
            array = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(place), side, side, 3))
            for manifest in manifests:
                wanted = set(rows.loc[rows["dataset"] == manifest.name, "sample_id"])
                for sample, png in manifest.images(wanted) if wanted else ():
                    array[place.pop(sample)] = _sized(png, side, sample)
                    progress.advance()
            if place:
                raise ManifestError(f"{len(place)} chosen faces are in none of the manifests")
            array.flush()
            del array
    finally:
        progress.finish()
    write_json(path.with_suffix(".json"), {"key": key, "bytes": path.stat().st_size, "sha256": sha256_file(path)})


def _sized(png: bytes, side: int, sample: str) -> np.ndarray:
    from PIL import Image

    from dfad_bench.data.images import ImageRefused

    try:
        crop = decode_crop(png)
    except ImageRefused as error:
        raise IntegrityError(
            f"the crop of {sample} does not decode ({error.reason}); build the manifest again"
        ) from error
    if crop.shape[:2] == (side, side):
        return crop
    return np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS))
