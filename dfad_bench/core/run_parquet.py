"""The Parquet files of a run, read as from outside: columns, types and missing values are checked before anything is.

A hash beside a file says that nothing changed by accident; an edit of the file can change the hash as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.files import atomic_path, sha256_file

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["text", "whole", "real"]
SELECTION: Mapping[str, Kind] = {
    "sample_id": "text", "part": "text", "group": "text", "source_key": "text", "crop_sha256": "text",
}  # fmt: skip
PREDICTIONS: Mapping[str, Kind] = {
    "sample_id": "text", "group": "text", "source_key": "text", "attribution_label": "whole",
    "detection_label": "whole", "p_fake": "real", "video": "text", "corruption": "text", "severity": "whole",
}  # fmt: skip
# columns of some predictions; `p_fake` lacks where imported ones hold no answer of detection
_NOT_IN_ALL = ("video", "corruption", "severity", "p_fake")
_WORDS = {"text": "text", "whole": "integers", "real": "real numbers"}


def read_selection(path: Path) -> pd.DataFrame:
    """The selected faces of a run: `SELECTION`.

    Raises:
        IntegrityError: damaged, a column is missing or of another type, or a value is missing.
    """
    return read_table(path, SELECTION)


def read_predictions(path: Path) -> pd.DataFrame:
    """Predictions: `PREDICTIONS`, and class probabilities `p_0`, `p_1`, ...

    Raises:
        IntegrityError: damaged, a column is missing or of another type, or a value is missing.
    """
    return read_table(path, PREDICTIONS, optional=_NOT_IN_ALL, nullable=("video",), reals="p_")


def prediction_files(path: Path) -> list[Path]:
    """The file of predictions, or its parts `NAME-00000.parquet`, ... in order where it is kept so; [] for none."""
    if path.is_file():
        return [path]
    found: list[Path] = []
    while (part := path.with_name(f"{path.stem}-{len(found):05d}{path.suffix}")).is_file():
        found.append(part)
    return found


def write_predictions(path: Path, frame: pd.DataFrame) -> str:
    """Write predictions as Parquet with page checksums; returns the file's hash."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({"dfad_predictions": "1"})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    return sha256_file(path)


def write_selection(path: Path, rows: pd.DataFrame) -> None:
    """Write the part of every face, so that a later evaluation can leave training faces out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(rows[list(SELECTION)], preserve_index=False)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)


def read_table(
    path: Path,
    columns: Mapping[str, Kind],
    *,
    optional: Collection[str] = (),
    nullable: Collection[str] = (),
    reals: str | None = None,
    only: Callable[[str], bool] | None = None,
) -> pd.DataFrame:
    """A Parquet file as a frame; further columns are kept as they are.

    Args:
        path: the file.
        columns: names and kinds.
        optional: columns that may be absent.
        nullable: columns whose values may be missing.
        reals: all columns that begin with this are real numbers, too.
        only: which columns are read; by default all.

    Raises:
        IntegrityError: damaged, a column is missing, there twice or of another type, or a value is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        table = file.read(None if only is None else [name for name in file.schema_arrow.names if only(name)])
        names = table.column_names
        if len(set(names)) < len(names):
            raise ValueError("a column is there twice")
        if absent := [name for name in columns if name not in names and name not in optional]:
            raise ValueError(f"no columns {', '.join(absent)}")
        kinds = {name: columns.get(name, "real" if reals and name.startswith(reals) else None) for name in names}
        for name, kind in kinds.items():
            if kind is not None:
                _check(table.column(name), name, kind, name in nullable)
        # index and types in pandas' metadata of the file are not to be trusted
        return table.replace_schema_metadata(None).to_pandas()
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError, OverflowError) as error:
        why = str(error).strip().splitlines()
        raise IntegrityError(
            f"{path}: damaged or changed ({ascii(why[0])[1:-1][:160] if why else type(error).__name__})"
        ) from error


def _check(column: object, name: str, kind: Kind, nullable: bool) -> None:
    import pyarrow as pa

    of = column.type.value_type if pa.types.is_dictionary(column.type) else column.type  # type: ignore[attr-defined]
    right = {"text": (pa.types.is_string, pa.types.is_large_string), "whole": (pa.types.is_integer,)}
    tests = right.get(kind, (pa.types.is_floating, pa.types.is_integer))
    if nullable and pa.types.is_null(of):
        return
    if not any(test(of) for test in tests):
        raise ValueError(f"column {name} must hold {_WORDS[kind]}, not {of}")
    if column.null_count and not nullable:  # type: ignore[attr-defined]
        raise ValueError(f"column {name} lacks {column.null_count} values")  # type: ignore[attr-defined]
