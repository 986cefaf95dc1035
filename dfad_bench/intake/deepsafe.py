"""The prediction matrix of deepsafe-bench: a row a file, a column a detector, as its wheel holds it (version 1.0.0).

`id, modality, label, generator, ensemble_score, ...`, then `prob_NAME` and `lat_NAME` (milliseconds) of each detector.
`label` is real or fake; `generator` of real rows is the collection they are from. Detectors of other media have no
value in a row. The layout is read off the file's head line; no code of the project was read. Its licence, PolyForm
Noncommercial, is that of the matrix, too: it is never shipped here, and summaries of it are all that may be kept.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.intake.table import RawTable

REQUIRED = ("id", "modality", "label", "generator", "ensemble_score")
DETECTOR = "prob_"  # how columns of detectors begin
LICENCE = "the matrix of deepsafe-bench is for noncommercial use (PolyForm Noncommercial 1.0.0)"
_LABELS = ("real", "fake")


def matrix_table(table: RawTable) -> RawTable:
    """The same rows with the columns that `intake.columns` knows; `p_fake` is the ensemble's score.

    Raises:
        ConfigError: not such a file, or a label that is neither real nor fake.
    """
    if absent := [name for name in REQUIRED if name not in table.names]:
        raise ConfigError(
            f"{table.path}: no matrix of deepsafe-bench: no column {quoted(absent[0])}; it has {listed(table.names)}"
        )
    labels, generators = table.texts("label"), table.texts("generator")
    if odd := sorted({*labels} - {*_LABELS}):
        raise ConfigError(f"{table.path}: column 'label': {quoted(odd[0])} is neither real nor fake")
    forged = labels == "fake"
    made = {
        "file": table.texts("id"), "label": labels, "modality": table.texts("modality"),
        "generator": np.where(forged, generators, ""), "source": np.where(forged, "", generators),
    }  # fmt: skip
    detectors = [name for name in table.names if name.startswith(DETECTOR) or name == "ensemble_score"]
    kept = {name: table.rows.column(name) for name in detectors} | {"p_fake": table.rows.column("ensemble_score")}
    rows = pa.table({**{name: pa.array(values) for name, values in made.items()}, **kept})
    return RawTable(table.path, table.format, table.sha256, rows)
