"""Numbers of a run by a column of its faces: of its predictions, of manifests, or of a table of annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.runs import Run, folder_of, record_of
from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.data.manifest import Manifest
from dfad_bench.report.by_value import by_value_table
from dfad_bench.report.run_record import protocol_of, read_predictions
from dfad_bench.report.table import Table


def scores_by(
    run: Run,
    column: str,
    *,
    manifests: Sequence[Path | str | Manifest] = (),
    facts: Path | str | None = None,
    resamples: int = 1000,
) -> Table:
    """Detection and attribution for each value of a column: the worst value, and gaps with intervals over sources.

    Args:
        run: its folder, or the loaded run.
        column: of `facts` where that is given, else of the predictions (`dfad import-predictions --keep`), else of the
            manifests (generator, family, forgery, source, split, ...).
        manifests: of the faces it was tested on.
        facts: CSV, JSON lines or Parquet with `sample_id` and the column.
        resamples: of the bootstrap over sources.

    Raises:
        ConfigError: no such column, or fewer than 2 or more than 40 values.
        IntegrityError: the predictions are not those of the record.
    """
    folder, record = folder_of(run), record_of(run)
    frame = read_predictions(folder, {"path": record.predictions.path, "sha256": record.predictions.sha256})
    ids = frame["sample_id"].to_numpy(dtype=object)
    if facts is not None:
        values = _facts_of(Path(facts), column, ids)
    elif column in frame and not column.startswith("p_"):
        values = np.array(["" if value is None else str(value) for value in frame[column]], dtype=object)
    elif manifests:
        values = _manifest_values(open_manifests(manifests), column, ids)
    else:
        own = [name for name in map(str, frame) if not name.startswith("p_")]
        raise ConfigError(f"--by {quoted(column)}: the predictions have {listed(own)}; others by --facts or --manifest")
    protocol = protocol_of({"protocol": {"config": record.protocol.config}}, str(folder))
    name = f"{record.model.display or record.model.name}, seed {record.run.seed_text}, {protocol.name}: by {column}"
    heads = record.model.heads
    return by_value_table(frame, values, protocol, column=column, title=name, heads=heads, resamples=resamples)


def _facts_of(path: Path, column: str, ids: np.ndarray) -> np.ndarray:
    """The cell of each face in a table of annotations."""
    from dfad_bench.intake.prepared import refuse_doubles
    from dfad_bench.intake.table import read_raw_table

    table = read_raw_table(path)
    if absent := [name for name in ("sample_id", column) if name not in table.names]:
        raise ConfigError(f"{path}: no column {quoted(absent[0])}; it has {listed(table.names)}")
    names = table.texts("sample_id")
    refuse_doubles(names, str(path))
    found = dict(zip(names, table.texts(column), strict=True))
    return np.array([found.get(face, "") for face in ids], dtype=object)


def _manifest_values(manifests: Sequence[Manifest], column: str, ids: np.ndarray) -> np.ndarray:
    """The cell of each face in the manifests."""
    found: dict[str, str] = {}
    for manifest in manifests:
        rows = manifest.frame(["sample_id", column])
        cells = ("" if value is None or value != value else str(value) for value in rows[column])
        found |= dict(zip(rows["sample_id"], cells, strict=True))
    return np.array([found.get(face, "") for face in ids], dtype=object)
