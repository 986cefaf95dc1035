"""Gaze of several manifests by several estimators, and what there is of it in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.api.manifests import open_manifests
from dfad_bench.core.errors import DFADError, UnknownNameError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.gaze.estimators.base import GazeFlag
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.table import extract, stored_remarks, table_path
from dfad_bench.gaze.without import why_no_gaze
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd

Estimators = str | Sequence[str] | Mapping[str, str | None]


@dataclass(frozen=True)
class GazeTables:
    """What `extract_gaze_tables` made: a row an estimator and manifest, remarks on them, and estimators left out."""

    table: Table
    remarks: tuple[str, ...]
    failed: dict[str, DFADError]
    without: tuple[str, ...] = ()  # manifests none of whose faces has a gaze, and why


def extract_gaze_tables(
    manifests: Sequence[Path | str | Manifest],
    estimators: Estimators = "geometric",
    *,
    device: str = "auto",
    progress: Progress = NoProgress(),  # noqa: B008  stateless
    report: Callable[[str], None] = lambda line: None,
) -> GazeTables:
    """Gaze of every face of several manifests by several estimators; those that cannot be used are left out.

    Args:
        manifests: folders, or open manifests.
        estimators: names, or names with their weight files.
        device: auto, cpu, cuda or cuda:N.
        progress: shows faces done.
        report: called with each remark on a table as soon as the table is there.

    Raises:
        UnknownNameError: no such estimator.
        DFADError: the only estimator cannot be used.
    """
    rows: list[Mapping[str, Any]] = []
    remarks: list[str] = []
    without: list[str] = []
    failed: dict[str, DFADError] = {}
    opened, named = open_manifests(manifests), weights_of(estimators)
    for estimator, file in named.items():
        try:
            built = build_estimator(estimator, file)
            for manifest in opened:
                table = extract(manifest, estimator, weights=file, device=device, progress=progress)
                rows.append(_row(built.name, manifest.name, table, str(table_path(manifest, built))))
                without += [line] if (line := why_no_gaze(manifest, table, built.name)) else []
                for remark in stored_remarks(manifest, built):
                    remarks.append(f"{built.name}, {manifest.name}: {remark}")
                    report(remarks[-1])
        except UnknownNameError:
            raise
        except DFADError as error:
            if len(named) == 1:
                raise
            failed[estimator] = error
    return GazeTables(Table("Gaze vectors", _columns(), rows, names=2), tuple(remarks), failed, tuple(without))


def weights_of(estimators: Estimators) -> dict[str, str | None]:
    """Each estimator with its weight file.

    >>> weights_of("geometric"), weights_of(["l2cs", "faze"])
    ({'geometric': None}, {'l2cs': None, 'faze': None})
    """
    if isinstance(estimators, Mapping):
        return dict(estimators)
    return dict.fromkeys([estimators] if isinstance(estimators, str) else estimators)


def _row(estimator: str, dataset: str, table: pd.DataFrame, file: str) -> dict[str, Any]:
    counts = {str(flag.name).lower(): int((table["flags"] & flag.value != 0).sum()) for flag in GazeFlag if flag}
    known = int(np.isfinite(table["yaw_rad"]).sum())
    return {"estimator": estimator, "dataset": dataset, "faces": len(table), "known": known, **counts, "file": file}


def _columns() -> tuple[Column, ...]:
    flags = [str(flag.name) for flag in GazeFlag if flag]
    return (
        Column("estimator", "Estimator", "text"),
        Column("dataset", "Dataset", "text"),
        Column("faces", "Faces", "count"),
        Column("known", "With a gaze", "count"),
        *(Column(name.lower(), name.replace("_", " ").lower(), "count") for name in flags),
        Column("file", "Table", "text"),
    )
