"""Parquet files of strangers: how much they hold is known before any of it is unpacked."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal

import pandas as pd

from dfad_bench.core.errors import IntegrityError, cut
from dfad_bench.core.run_parquet import PREDICTIONS, SELECTION, read_predictions, read_selection
from dfad_bench.report.entries.layout import COLUMNS, FILE_BYTES, ROWS, UNPACKED_BYTES

Kind = Literal["predictions", "selection"]
_GROUPS = 1_000  # of rows
_CHARACTERS = 300  # of a name of a face, group or source


def read_bounded(path: Path, kind: Kind) -> pd.DataFrame:
    """The rows of a file of an entry: "predictions" (of a model or a reference) or "selection".

    Raises:
        IntegrityError: not a plain file, larger than a file of an entry may be, damaged, or a column that scoring does
            not need, or a value that is none.
    """
    check_size(path)
    frame = read_selection(path) if kind == "selection" else read_predictions(path)
    known = SELECTION if kind == "selection" else PREDICTIONS
    if further := [name for name in frame if name not in known and not _is_class(str(name))]:
        raise IntegrityError(f"{path}: column {cut(str(further[0]))}, which scoring does not need")
    for name in ("sample_id", "group", "source_key"):
        if (longest := int(frame[name].str.len().max() if len(frame) else 0)) > _CHARACTERS:
            raise IntegrityError(f"{path}: column {name} has a text of {longest:,} characters")
    if twice := int(frame["sample_id"].duplicated().sum()):
        raise IntegrityError(f"{path}: {twice:,} faces are there twice")
    if kind != "selection":
        _check_probabilities(frame, path)
    return frame


def check_size(path: Path) -> None:
    """Refuse a file that is no plain one, or that says it holds more than an entry may.

    Raises:
        IntegrityError: says what, and the bound.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode):
            raise IntegrityError(f"{path}: not a file but a link, folder or device")
        if about.st_size > FILE_BYTES:
            raise IntegrityError(f"{path}: {about.st_size:,} bytes, more than {FILE_BYTES:,}")
        found = pq.ParquetFile(path).metadata
        groups = [found.row_group(place) for place in range(min(found.num_row_groups, _GROUPS + 1))]
        unpacked = sum(group.total_byte_size for group in groups)
    except (pa.ArrowException, OSError, ValueError) as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise IntegrityError(f"{path}: damaged or no Parquet file ({cut(why[0], 120)})") from error
    for value, most, what in (
        (found.num_rows, ROWS, "rows"), (found.num_columns, COLUMNS, "columns"),
        (found.num_row_groups, _GROUPS, "groups of rows"), (unpacked, UNPACKED_BYTES, "bytes unpacked"),
    ):  # fmt: skip
        if not 0 <= value <= most:
            raise IntegrityError(f"{path}: {value:,} {what}; at most {most:,} are read")


def _is_class(name: str) -> bool:
    return name.startswith("p_") and name[2:].isdecimal()


def _check_probabilities(frame: pd.DataFrame, path: Path) -> None:
    classes = [name for name in frame if _is_class(str(name))]
    values = frame[[*classes, *(["p_fake"] if "p_fake" in frame else [])]].to_numpy(dtype=float)
    bad = int((~((values >= 0) & (values <= 1))).any(axis=1).sum()) if values.size else 0  # NaN is neither
    if bad:
        raise IntegrityError(f"{path}: {bad:,} faces with a probability that is not from 0 to 1")
