"""Gaze of a manifest's faces, estimated once: a side table keyed by sample, estimator and its fingerprint.

    <manifest>/tables/gaze-<estimator>-<fingerprint8>.parquet    see `data.side_table`

A run that was stopped leaves `….parts/` and goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.device import find_device
from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import read_json
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.crop_batches import crop_batches, crop_landmarks
from dfad_bench.data.side_table import SideTable
from dfad_bench.gaze.estimators.base import GazeEstimator, GazeFlag, remarks_of
from dfad_bench.gaze.estimators.build import build_estimator

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.manifest import Manifest

__all__ = ["COLUMNS", "VALUES", "crop_landmarks", "extract", "read", "stored_remarks", "table_path"]

VERSION = 1
VALUES = ("pitch_rad", "yaw_rad", "confidence", "flags", "head_pitch_rad", "head_yaw_rad")
COLUMNS = ("sample_id", *VALUES)
_BATCH = 64  # crops in memory
_PART = 1024  # faces between two commits
_PART_SECONDS = 60.0  # or so long: a large network on a CPU needs more than an hour for 1024
_SILENT = NoProgress()


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
        manifest: the faces.
        estimator: a name of `gaze.estimators.ESTIMATORS`.
        weights: the estimator's weight file, by name or path.
        device: torch device, or "auto".
        progress: shows how many faces are done.

    Returns:
        Columns `COLUMNS`, sorted by `sample_id`; angles are nan where a face has no gaze (see `flags`).

    Raises:
        UnknownNameError: no such estimator.
        WeightsError: its weights are missing or do not fit.
        ConfigError: gaze has to be estimated, and there is no such device.
        IntegrityError: the stored table is damaged.
    """
    built = build_estimator(estimator, weights)
    table = _table(manifest, built)
    found = table.read()
    if found is not None:
        return found
    try:
        table.path.parent.mkdir(parents=True, exist_ok=True)
        with table.locked():
            found = table.read()  # another process may have made it while this one waited
            return _make(manifest, built, table, str(find_device(device)), progress) if found is None else found
    except PermissionError as error:
        raise DFADError(f"{table.path.parent}: not writable; gaze is stored beside the manifest") from error


def table_path(manifest: Manifest, estimator: GazeEstimator) -> Path:
    """Where the side table of an estimator is."""
    return manifest.folder / "tables" / f"gaze-{estimator.name}-{estimator.fingerprint[:8]}.parquet"


def read(manifest: Manifest, estimator: GazeEstimator) -> pd.DataFrame | None:
    """The stored table; None where there is none, or only one of another state of the manifest.

    Raises:
        IntegrityError: the table is not what was stored.
    """
    return _table(manifest, estimator).read()


def stored_tables(manifest: Manifest) -> dict[tuple[str, str], SideTable]:
    """Every table beside the manifest that is of its state now, by the estimator's name and fingerprint.

    No estimator is built. A record that cannot be read is passed over: its table is of no use.
    """
    found = {}
    for path in sorted((manifest.folder / "tables").glob("gaze-*.json")):
        try:
            record = read_json(path)
        except DFADError:
            continue
        identity = record.get("identity") if isinstance(record, dict) else None
        if isinstance(identity, dict) and path.with_suffix(".parquet").is_file():
            same = identity.get("version") == VERSION and identity.get("manifest_sha256") == manifest.sha256
            names = (identity.get("estimator"), identity.get("fingerprint"))
            if same and all(isinstance(name, str) for name in names):
                table = SideTable(path.with_suffix(".parquet"), identity, remake_text="the gaze is estimated again")
                found[str(names[0]), str(names[1])] = table
    return found


def stored_remarks(manifest: Manifest, estimator: GazeEstimator) -> tuple[str, ...]:
    """What the record of a stored table says about it besides the card; nothing where there is no table."""
    path = table_path(manifest, estimator).with_suffix(".json")
    return tuple(read_json(path).get("remarks", ())) if path.is_file() else ()


def _table(manifest: Manifest, estimator: GazeEstimator) -> SideTable:
    identity = {
        "version": VERSION,
        "manifest_sha256": manifest.sha256,
        "estimator": estimator.name,
        "fingerprint": estimator.fingerprint,
    }
    path = table_path(manifest, estimator)
    return SideTable(path, identity, remake_text="the gaze is estimated again", empty=_empty_table())


def _make(
    manifest: Manifest, estimator: GazeEstimator, table: SideTable, device: str, progress: Progress
) -> pd.DataFrame:
    rows = manifest.frame(["sample_id", "landmarks", "crop_affine"]).set_index("sample_id")
    return table.make(
        rows.index.tolist(),
        lambda left: _estimates(manifest, rows.loc[left], estimator, device),
        label=f"gaze {estimator.name} {manifest.name}",
        facts=lambda made: _facts(manifest, estimator, made),
        progress=progress,
        part_rows=_PART,
        part_seconds=_PART_SECONDS,
    )


def _estimates(manifest: Manifest, rows: pd.DataFrame, estimator: GazeEstimator, device: str) -> Iterator[pd.DataFrame]:
    """Gaze of `rows`, batch by batch."""
    import pandas as pd

    for batches in crop_batches(manifest, rows, _BATCH):
        frames = []
        for faces in batches:
            result = estimator.estimate(faces.crops, faces.landmarks, device, source_scale=faces.source_scale)
            values = {column: getattr(result, column) for column in VALUES}
            frames.append(pd.DataFrame({"sample_id": faces.sample_ids.astype(object), **values}))
        yield pd.concat(frames, ignore_index=True)


def _facts(manifest: Manifest, estimator: GazeEstimator, table: pd.DataFrame) -> dict[str, Any]:
    flags = table["flags"].to_numpy()
    counts = {str(flag.name).lower(): int((flags & flag.value != 0).sum()) for flag in GazeFlag if flag}
    return {
        "dataset": manifest.name,
        "flags": counts,
        "remarks": list(remarks_of(estimator)),
        "card": {"display": estimator.card.display, "limits": estimator.card.limits, "licence": estimator.card.licence},
    }


def _empty_table() -> pd.DataFrame:
    import pandas as pd

    kinds = {"sample_id": "str", "flags": "int16"}
    return pd.DataFrame({column: pd.Series(dtype=kinds.get(column, "float64")) for column in COLUMNS})
