"""Gaze of a manifest's faces, estimated once: a Parquet side table keyed by sample, estimator and its fingerprint.

    <manifest>/tables/gaze-<estimator>-<fingerprint8>.parquet    the rows, and beside it
    <manifest>/tables/gaze-<estimator>-<fingerprint8>.json       what they were made from, and their hash

A run that was stopped leaves `….parts/` and goes on from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.core.device import find_device
from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError
from dfad_bench.core.files import atomic_path, check_hash, read_json, sha256_file, sweep_temporaries, write_json
from dfad_bench.core.progress import Progress, Silent
from dfad_bench.data.images import decode_crop
from dfad_bench.gaze.estimators.base import GazeEstimator, GazeFlag, remarks_of
from dfad_bench.gaze.estimators.build import build_estimator

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.manifest import Manifest

VERSION = 1
VALUES = ("pitch_rad", "yaw_rad", "confidence", "flags", "head_pitch_rad", "head_yaw_rad")
COLUMNS = ("sample_id", *VALUES)
_BATCH = 64  # crops in memory
_PART = 1024  # faces between two commits
_PART_SECONDS = 60.0  # or so long: a large network on a CPU needs more than an hour for 1024
_LOCK_SECONDS = 3600
_SILENT = Silent()


def extract(
    manifest: Manifest,
    estimator: str,
    *,
    weights: str | None = None,
    device: str = "cpu",
    progress: Progress = _SILENT,
) -> pd.DataFrame:
    """Gaze of every usable face of `manifest`, from its side table or estimated now.

    Args:
        manifest: whose crops to look at.
        estimator: a name of `gaze.estimators.ESTIMATORS`.
        weights: the estimator's weight file, by name or path.
        device: torch device, or "auto".
        progress: told about every batch.

    Returns:
        Columns `COLUMNS`, sorted by `sample_id`; angles are nan where a face has no gaze (see `flags`).

    Raises:
        UnknownNameError: no such estimator.
        WeightsError: its weights are missing or do not fit.
        ConfigError: gaze has to be estimated, and there is no such device.
        IntegrityError: the stored table is damaged.
    """
    built = build_estimator(estimator, weights)
    found = read(manifest, built)
    if found is not None:
        return found
    path = table_path(manifest, built)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            found = read(manifest, built)  # another process may have made it while this one waited
            return _make(manifest, built, path, str(find_device(device)), progress) if found is None else found
    except PermissionError as error:
        raise DFADError(f"{path.parent}: not writable; gaze is stored beside the manifest") from error


def table_path(manifest: Manifest, estimator: GazeEstimator) -> Path:
    """Where the side table of an estimator is."""
    return manifest.folder / "tables" / f"gaze-{estimator.name}-{estimator.fingerprint[:8]}.parquet"


def read(manifest: Manifest, estimator: GazeEstimator) -> pd.DataFrame | None:
    """The stored table; None where there is none, or only one of another state of the manifest.

    Raises:
        IntegrityError: the table is not what was stored.
    """
    import pandas as pd

    path = table_path(manifest, estimator)
    record_path = path.with_suffix(".json")
    if not record_path.is_file():
        return None
    try:
        record = read_json(record_path)
    except ConfigError as error:
        raise IntegrityError(f"{error}; delete it, the gaze is estimated again") from error
    if not isinstance(record, dict) or record.get("identity") != _identity(manifest, estimator):
        return None
    if not path.is_file():
        return None
    try:
        check_hash(path, str(record.get("sha256")))
    except IntegrityError as error:
        raise IntegrityError(f"{error}; delete it and {record_path.name}, the gaze is estimated again") from error
    return pd.read_parquet(path)


def stored_remarks(manifest: Manifest, estimator: GazeEstimator) -> tuple[str, ...]:
    """What the record of a stored table says about it besides the card; nothing where there is no table."""
    path = table_path(manifest, estimator).with_suffix(".json")
    return tuple(read_json(path).get("remarks", ())) if path.is_file() else ()


def _make(manifest: Manifest, estimator: GazeEstimator, path: Path, device: str, progress: Progress) -> pd.DataFrame:
    import pandas as pd

    parts = path.with_name(f"{path.stem}.parts")
    _prepare(parts, _identity(manifest, estimator))
    sweep_temporaries(path.parent)
    done = [pd.read_parquet(part) for part in sorted(parts.glob("*.parquet"))]
    seen = {identity for part in done for identity in part["sample_id"]}
    rows = _faces(manifest)
    left = rows[~rows["sample_id"].isin(seen)].set_index("sample_id")
    progress.start(f"gaze {estimator.name} {manifest.name}", len(rows))
    progress.advance(len(seen))
    try:
        batches = _batches(manifest, left, estimator, device, progress)
        number = max((int(part.stem) + 1 for part in parts.glob("*.parquet")), default=0)
        while bundle := list(_until_commit(batches)):
            done.append(pd.concat(bundle, ignore_index=True))
            _write(parts / f"{number:06d}.parquet", done[-1])
            number += 1
    finally:
        progress.finish()
    table = pd.concat([_empty(), *done], ignore_index=True).sort_values("sample_id", kind="stable")
    table = table.astype(_empty().dtypes.to_dict()).reset_index(drop=True)
    _write(path, table)
    write_json(path.with_suffix(".json"), _record(manifest, estimator, table, sha256_file(path)))
    shutil.rmtree(parts)
    return table


def _until_commit(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    begun = time.monotonic()
    for batch in islice(batches, _PART // _BATCH):
        yield batch
        if time.monotonic() - begun > _PART_SECONDS:
            return


def _batches(
    manifest: Manifest, rows: pd.DataFrame, estimator: GazeEstimator, device: str, progress: Progress
) -> Iterator[pd.DataFrame]:
    """Estimate `rows` batch by batch; crops of one size go together."""
    import pandas as pd

    images = manifest.images(set(rows.index)) if len(rows) else iter(())
    while batch := list(islice(images, _BATCH)):
        names = np.array([name for name, _ in batch])
        crops = [decode_crop(png) for _, png in batch]
        shapes = np.array([crop.shape[:2] for crop in crops])
        frames = []
        for shape in np.unique(shapes, axis=0):
            of_shape = np.flatnonzero((shapes == shape).all(axis=1))
            landmarks, scale = crop_landmarks(rows.loc[names[of_shape]])
            stacked = np.stack([crops[index] for index in of_shape])
            result = estimator.estimate(stacked, landmarks, device, source_scale=scale)
            values = {column: getattr(result, column) for column in VALUES}
            frames.append(pd.DataFrame({"sample_id": names[of_shape].astype(object), **values}))
        progress.advance(len(batch))
        yield pd.concat(frames, ignore_index=True)


def crop_landmarks(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (N, 5, 2) in crop pixels and source pixels a crop pixel (N,) of manifest rows; nan where unknown.

    Args:
        rows: columns landmarks (source pixels) and crop_affine (from there into the crop).
    """

    def numbers(column: str, count: int) -> np.ndarray:
        values = [np.full(count, np.nan) if value is None else np.asarray(value, float) for value in rows[column]]
        return np.array(values).reshape(len(rows), count)

    points, affine = numbers("landmarks", 10).reshape(-1, 5, 2), numbers("crop_affine", 6).reshape(-1, 2, 3)
    mapped = points @ affine[:, :, :2].transpose(0, 2, 1) + affine[:, None, :, 2]
    return mapped, 1 / np.hypot(affine[:, 0, 0], affine[:, 1, 0])


def _faces(manifest: Manifest) -> pd.DataFrame:
    return manifest.frame(["sample_id", "landmarks", "crop_affine"])


def _identity(manifest: Manifest, estimator: GazeEstimator) -> dict[str, object]:
    return {
        "version": VERSION,
        "manifest_sha256": manifest.sha256,
        "estimator": estimator.name,
        "fingerprint": estimator.fingerprint,
    }


def _record(manifest: Manifest, estimator: GazeEstimator, table: pd.DataFrame, sha256: str) -> dict[str, object]:
    flags = table["flags"].to_numpy()
    counts = {str(flag.name).lower(): int((flags & flag.value != 0).sum()) for flag in GazeFlag if flag}
    return {
        "identity": _identity(manifest, estimator),
        "dataset": manifest.name,
        "rows": len(table),
        "flags": counts,
        "sha256": sha256,
        "remarks": list(remarks_of(estimator)),
        "card": {"display": estimator.card.display, "limits": estimator.card.limits, "licence": estimator.card.licence},
    }


def _prepare(parts: Path, identity: dict[str, object]) -> None:
    """An empty folder for parts, or the one an interrupted run of the same identity left."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    marker = parts / "identity.json"
    if parts.is_dir():
        try:
            same = read_json(marker) == identity
        except ConfigError:
            same = False
        if not same:
            shutil.rmtree(parts)
    parts.mkdir(exist_ok=True)
    write_json(marker, identity)
    for part in parts.glob("*.parquet"):
        try:
            pq.read_table(part, page_checksum_verification=True)
        except (pa.ArrowException, OSError):
            part.unlink()  # damaged: its faces are estimated again


def _write(path: Path, table: pd.DataFrame) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        content = pa.Table.from_pandas(table, preserve_index=False)
        pq.write_table(content, temporary, compression="zstd", write_page_checksum=True)


def _empty() -> pd.DataFrame:
    import pandas as pd

    kinds = {"sample_id": "str", "flags": "int16"}
    return pd.DataFrame({column: pd.Series(dtype=kinds.get(column, "float64")) for column in COLUMNS})


def _locked(path: Path):  # type: ignore[no-untyped-def]
    from filelock import FileLock

    return FileLock(path.with_suffix(".lock"), timeout=_LOCK_SECONDS)
