"""Stored values of a view: made once for the faces of a manifest, kept beside it, found again by later runs.

    <manifest>/tables/<view>-<fingerprint8>.parquet                     vectors and texts, of every face
    <folder>/<view>-<fingerprint8>-<shape>-<faces16>.npy                images, of the faces a run needs
    <folder>/<view>-<fingerprint8>-<side>px-<shape>-<faces16>.npy       mapped vectors, made of images of this side

`<folder>` is `$DFAD_CACHE` or the manifest's `tables`. Images of further faces go to a further array; see
`data.side_table` for records, locks, and how a killed process goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.files import content_hash, read_json
from dfad_bench.core.progress import Progress
from dfad_bench.data.crop_store import default_folder
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pair_table import pairs_hash
from dfad_bench.data.side_array import Block, SideArray
from dfad_bench.data.side_table import SideTable
from dfad_bench.data.view_source import ViewValues
from dfad_bench.views.base import View, ViewTable

VERSION = 1
PART_ROWS, PART_SECONDS = 1024, 60.0  # faces between two commits, or so long
_COLUMNS = {"sample_id": "str", "present": "bool", "value": "object"}

# remaining sample ids -> tables of some of them at a time
Maker = Callable[[Sequence[str]], Iterator[tuple[tuple[str, ...], ViewValues]]]


def stored_table(view: View, manifest: Manifest, maker: Maker, progress: Progress) -> ViewTable:
    """Vectors or texts of every usable face of a manifest, from the side table or made now.

    Raises:
        IntegrityError: the stored table is damaged.
        DFADError: the folder beside the manifest cannot be written.
    """
    path = manifest.folder / "tables" / f"{view.name}-{view.fingerprint[:8]}.parquet"
    identity = _identity(view, manifest)
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _COLUMNS.items()})
    table = SideTable(path, identity, remake_text="the view is made again", empty=empty)
    found = table.read()
    if found is None:
        with _writable(path.parent, "they are stored beside the manifest"), table.locked():
            found = table.read()  # another process may have made it while this one waited
            if found is None:
                ids = manifest.frame(["sample_id"])["sample_id"].tolist()
                found = table.make(
                    ids,
                    lambda left: map(_frame, maker(left)),
                    label=f"{view.name} {manifest.name}",
                    facts=lambda made: {"dataset": manifest.name, "absent": int((~made["present"]).sum())},
                    progress=progress,
                    part_rows=PART_ROWS,
                    part_seconds=PART_SECONDS,
                )
    return ViewTable(found["sample_id"].tolist(), ViewValues(_column(view, found["value"]), _mask(found["present"])))


@dataclass(frozen=True)
class StoredImages:
    """An array with a row a face, and the faces it is of; those in `absent` have zeros."""

    array: np.ndarray  # (n, *shape) of `View.array_dtype`, mapped into memory
    sample_ids: Sequence[str]
    absent: frozenset[str]


def stored_images(
    view: View, manifest: Manifest, sample_ids: Sequence[str], side: int, maker: Maker, progress: Progress
) -> list[StoredImages]:
    """Arrays that together hold the images, or mapped vectors, of the given faces of one manifest; others are made.

    Raises:
        DFADError: the folder cannot be written, or the disk is full.
    """
    shape = view.shape(side)
    folder = default_folder([manifest])
    about = {"shape": list(shape)} if view.kind == "image" else {"shape": list(shape), "side": side}
    sized = "" if view.kind == "image" else f"{side}px-"  # an image's shape says it
    stem = f"{view.name}-{view.fingerprint[:8]}-{sized}{'x'.join(map(str, shape))}"
    found, left = _covering_arrays(view, manifest, folder, stem, about, sample_ids)
    if left:
        name = content_hash([manifest.sha256, left])[:16]
        stored = _array(view, manifest, folder / f"{stem}-{name}.npy", about, left)
        with _writable(folder, "set DFAD_CACHE to another folder"), stored.locked():
            if not stored.is_whole():
                _make_images(stored, view, manifest, left, shape, maker, progress)
        found.append(_opened(stored, left))
    return found


def _covering_arrays(
    view: View, manifest: Manifest, folder: Path, stem: str, about: Mapping[str, Any], sample_ids: Sequence[str]
) -> tuple[list[StoredImages], list[str]]:
    """Stored arrays that hold some of the faces, and the faces that none of them holds, sorted."""
    left, found = set(sample_ids), []
    for path in sorted(folder.glob(f"{stem}-*.npy")):
        record = path.with_suffix(".json")
        names = _names(record)
        if left.isdisjoint(names):
            continue
        stored = _array(view, manifest, path, about, names)
        if stored.is_whole():
            found.append(_opened(stored, names))
            left -= set(names)
    return found, sorted(left)


def _names(record: Path) -> list[str]:
    try:
        names = read_json(record)["sample_ids"]
    except (ConfigError, LookupError, TypeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _array(view: View, manifest: Manifest, path: Path, about: Mapping[str, Any], names: Sequence[str]) -> SideArray:
    identity = {**_identity(view, manifest), **about, "faces": content_hash(list(names))}
    return SideArray(path, identity, remake_text="the view is made again")


def _opened(stored: SideArray, names: Sequence[str]) -> StoredImages:
    record = stored.record()
    assert record is not None
    return StoredImages(stored.open(), names, frozenset(record["absent"]))


def _make_images(
    stored: SideArray,
    view: View,
    manifest: Manifest,
    names: list[str],
    shape: tuple[int, ...],
    maker: Maker,
    progress: Progress,
) -> None:
    place = {name: row for row, name in enumerate(names)}
    bytes_each = int(np.prod(shape)) * np.dtype(view.array_dtype).itemsize

    def work(left: np.ndarray) -> Iterator[Block]:
        for ids, made in maker([names[row] for row in left]):
            rows = np.array([place[name] for name in ids])
            assert isinstance(made.values, np.ndarray)
            yield Block(rows, made.values, tuple(rows[~made.present].tolist()))

    stored.make(
        (len(names), *shape),
        view.array_dtype,
        work,
        label=f"{view.name} {manifest.name} ({len(names) * bytes_each / 2**20:,.0f} MiB)",
        facts=lambda absent: {
            "dataset": manifest.name,
            "sample_ids": names,
            "absent": [names[row] for row in absent],
        },
        progress=progress,
        part_rows=PART_ROWS,
        part_seconds=PART_SECONDS,
    )


def _identity(view: View, manifest: Manifest) -> dict[str, Any]:
    return {
        "version": VERSION,
        "manifest_sha256": manifest.sha256,
        "view": view.name,
        "fingerprint": view.fingerprint,
        **({"pairs": pairs_hash(manifest)} if "targets" in view.asks else {}),  # found after the manifest was made
    }


def _frame(made: tuple[tuple[str, ...], ViewValues]) -> pd.DataFrame:
    ids, values = made
    column = list(values.values) if isinstance(values.values, tuple) else [row.ravel() for row in values.values]
    return pd.DataFrame({"sample_id": list(ids), "present": values.present, "value": pd.Series(column, dtype="object")})


def _column(view: View, column: pd.Series) -> np.ndarray | tuple[str, ...]:
    if view.kind == "text":
        return tuple(str(text) for text in column)
    return np.array(column.tolist(), dtype=view.dtype)  # flat; the source gives it its shape


def _mask(column: pd.Series) -> np.ndarray:
    return column.to_numpy(dtype=bool)


@contextmanager
def _writable(folder: Path, hint: str) -> Iterator[None]:
    """Make the folder; where it cannot be written the error is one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        why = error.strerror or type(error).__name__
        raise DFADError(f"{folder}: views cannot be stored here ({why}); {hint}") from error
