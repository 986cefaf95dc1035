"""Score files of deepfake-workbench (dfwb): `NAME.scores.csv` with `NAME.scores.meta.json` beside it, as it documents.

A row a video: `dataset, key, compression, label, score, status` and perhaps `method`, `logit`, `label_key`, `n_clips`,
`n_frames`, `x_...`. `score` is the probability of being forged; `status` is ok, missing or error, and only ok rows have
a score. The documentation says that labels of the mapping "binary" are 0 and 1, and not which of them is forged: that
is asked for, as of every table. Written from its page on score files, version 0.1.0b3; no code of it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.files import read_json
from dfad_bench.core.labels import REAL
from dfad_bench.intake.columns import Columns, detection_labels
from dfad_bench.intake.table import RawTable

ENDING = ".scores.csv"
REQUIRED = ("dataset", "key", "compression", "label", "score", "status")
STATUSES = ("ok", "missing", "error")
_SCHEMA = "dfwb.scores/1"
_META_BYTES = 1 << 20


class ScoreFile(NamedTuple):
    """A score file as a table of predictions: its scored rows, rows without a score by status, and notes."""

    table: RawTable
    without_score: dict[str, int]
    notes: tuple[str, ...]


def score_file(table: RawTable, labels: Mapping[str, str]) -> ScoreFile:
    """The scored rows of a score file, with the columns that `intake.columns` knows.

    `file` is dataset, key and compression; `source_key` the video, whatever its compression; `generator` of forged rows
    their method, else their dataset; `source` of real ones their dataset.

    Args:
        table: the CSV as it stands there.
        labels: what 0 and 1 mean, by name.

    Raises:
        ConfigError: not such a file, another label mapping than "binary", rows that the meta file counts otherwise, or
            a label without a name.
    """
    if absent := [name for name in REQUIRED if name not in table.names]:
        raise ConfigError(
            f"{table.path}: no score file of dfwb: no column {quoted(absent[0])}; it has {listed(table.names)}"
        )
    status = table.texts("status")
    if odd := sorted({*status} - {*STATUSES}):
        raise ConfigError(f"{table.path}: column 'status': {quoted(odd[0])} is none of {', '.join(STATUSES)}")
    notes = _meta_notes(table.path, len(table))
    without = {f"rows of status {name}": int((status == name).sum()) for name in STATUSES[1:] if (status == name).any()}
    if not (status == "ok").any():
        raise ConfigError(f"{table.path}: no row has a score (status ok)")
    return ScoreFile(_renamed(table.kept_rows(status == "ok"), labels), without, notes)


def _renamed(table: RawTable, labels: Mapping[str, str]) -> RawTable:
    """The same rows under the names of roles."""
    columns = Columns({"label": "label"}, {}, "detection")
    truth = detection_labels(table, columns, labels)
    assert truth is not None  # there is a column of labels
    dataset, key, compression = (table.texts(name) for name in ("dataset", "key", "compression"))
    method = table.texts("method") if "method" in table.names else np.full(len(table), "", dtype=object)
    forged = truth != REAL
    video = np.array([f"{d}/{k}" for d, k in zip(dataset, key, strict=True)], dtype=object)
    names = np.array([f"{v}/{c}" if c else v for v, c in zip(video, compression, strict=True)], dtype=object)
    made: dict[str, Any] = {
        "file": names, "source_key": video, "label": np.where(forged, "fake", "real"),
        "generator": np.where(forged, np.where(method == "", dataset, method), ""),
        "source": np.where(forged, "", dataset), "p_fake": table.probabilities("score"),
    }  # fmt: skip
    kept = {name: table.rows.column(name) for name in table.names if name not in made and name not in ("split", "seen")}
    rows = pa.table({**kept, **{name: pa.array(values) for name, values in made.items()}})
    return RawTable(table.path, table.format, table.sha256, rows)


def _meta_notes(path: Path, rows: int) -> tuple[str, ...]:
    """What the meta file says that a reader must know; it must agree with the rows.

    Raises:
        ConfigError: it is of another schema or mapping, or counts other rows.
    """
    meta = path.with_name(path.name.removesuffix(".csv") + ".meta.json")
    if not meta.is_file():
        return (f"no {meta.name} beside the score file: label mapping, detector and number of videos are not known",)
    if meta.stat().st_size > _META_BYTES:
        raise ConfigError(f"{meta}: {meta.stat().st_size:,} bytes, more than {_META_BYTES:,}")
    stated = read_json(meta)
    if not isinstance(stated, dict) or stated.get("schema") != _SCHEMA:
        raise ConfigError(f"{meta}: no meta file of schema {_SCHEMA}")
    if stated.get("labels") != "binary":
        raise ConfigError(f"{meta}: labels {quoted(stated.get('labels'))}; only the mapping 'binary' is read")
    coverage = stated.get("coverage")
    expected = coverage.get("expected") if isinstance(coverage, dict) else None
    if expected != rows:
        raise ConfigError(f"{meta}: states {quoted(expected)} videos, and {rows:,} rows are in {path.name}")
    return ("scores were calibrated (meta file)",) if stated.get("calibration") is not None else ()
