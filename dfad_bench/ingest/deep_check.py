"""Checks that need decoding: is every picture that of its row, are files beside a manifest as they were stored?"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import check_hash, read_json
from dfad_bench.core.progress import Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.stored_crop import StoredCrop, stored_crops

_AT_ONCE = 64  # crops in memory
_KEPT = (".parquet", ".npy")  # side tables and side arrays


def check_deep(manifest: Manifest, progress: Progress) -> None:
    """Decode every crop by one thread per usable core, then hash every side table and cached array.

    A crop is compared with the size, the `crop_sha256` and the `phash` of its row; a refused row has no picture. All
    rows are looked at, so that the error says how many are wrong.

    Raises:
        IntegrityError: names part, row and sample of the first one, and the number of the others; or the side file.
    """
    rows, first, wrong = int(manifest.info["rows"]), "", 0
    progress.start(f"Decoding {manifest.name}", rows)
    try:
        with ThreadPoolExecutor(usable_cores()) as pool:  # Pillow and hashing let other threads run
            crops = _crops(manifest)
            while some := list(islice(crops, _AT_ONCE)):
                faults = [text for text in pool.map(_fault, some) if text]
                first, wrong = first or next(iter(faults), ""), wrong + len(faults)
                progress.advance(len(some), wrong=wrong)
    finally:
        progress.finish()
    if wrong:
        raise IntegrityError(first + (f" ({wrong - 1:,} more of {rows:,} rows are wrong)" if wrong > 1 else ""))
    _check_side_files(manifest)


def _crops(manifest: Manifest) -> Iterator[StoredCrop]:
    for path in manifest.parts:
        yield from stored_crops(path)


def _fault(crop: StoredCrop) -> str:
    try:
        crop.check()
    except IntegrityError as error:
        return str(error)
    return ""


def _check_side_files(manifest: Manifest) -> None:
    """Hash what is kept in `tables/`, also arrays that are too large to be hashed whenever they are opened."""
    for path in sorted((manifest.folder / "tables").glob("*.json")):
        made = next((path.with_suffix(kind) for kind in _KEPT if path.with_suffix(kind).is_file()), None)
        if made is None:
            continue
        try:
            record = read_json(path)
            check_hash(made, str(record.get("sha256")) if isinstance(record, dict) else "")
        except (ConfigError, IntegrityError) as error:
            raise IntegrityError(f"{error}; delete {made.name} and {path.name}, it is made again") from error
