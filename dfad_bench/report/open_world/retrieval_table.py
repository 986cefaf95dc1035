"""Are unseen generators found again, once some of their faces are known? In two spaces, beside chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError
from dfad_bench.metrics.neighbours import neighbour_retrieval
from dfad_bench.report.attribution import registered_sources
from dfad_bench.report.open_world.run_arrays import UNTRAINED, RunArrays
from dfad_bench.report.open_world.shares import mean_of_groups
from dfad_bench.report.score import faces_of
from dfad_bench.report.table import Column, Table

ABOUT = (
    "Half of the sources of each unseen generator are registered, the same for every model; faces of the others rank"
    " the registered ones by cosine similarity. Rank-1: the nearest is of the same generator; mAP: mean average"
    " precision. Means over generators, by single faces; prototype retrieval of records takes means of probabilities.",
    "Probabilities: of square roots (Hellinger's). Chance of Rank-1: the share of registered faces of the generator.",
)
SPACES = ("probabilities", "embedding")


def retrieval_table(runs: Mapping[str, RunArrays]) -> Table:
    """Rank-1 and mAP of several runs in each space."""
    rows = [{"model": label, "space": space, **_cells(run, space)} for label, run in runs.items() for space in SPACES]
    columns = (
        Column("model", "Model", "text"), Column("space", "Space", "text"), Column("generators", "Generators", "count"),
        Column("registered", "Registered", "count"), Column("queries", "Queries", "count"),
        Column("rank1", "Rank-1", "percent"), Column("rank1_low", "from", "percent"),
        Column("rank1_high", "to", "percent"), Column("map", "mAP", "percent"), Column("chance", "Chance", "percent"),
        Column("remark", "Remark", "text"),
    )  # fmt: skip
    return Table("Retrieval of unseen generators", columns, rows, ABOUT, names=2)


def _cells(run: RunArrays, space: str) -> dict[str, Any]:
    faces = run.test
    if run.record.model.heads == "detection":
        return {"remark": f"not defined: {UNTRAINED}"}
    if space == "embedding":
        try:
            vectors = run.outputs("test", "retrieval in embedding space").embedding
        except ConfigError:
            return {"remark": "not defined: the run kept no embeddings"}
    else:
        vectors = np.sqrt(faces.probs)
    registered = registered_sources(faces.source, faces.protocol.seed)
    keys = [k for k in faces.averaged if registered[faces.of([k])].any() and not registered[faces.of([k])].all()]
    if len(keys) < 2:
        return {"remark": "not defined: needs two unseen groups of two sources"}
    rows = faces.of(keys)
    known, asked = rows & registered, rows & ~registered
    found = neighbour_retrieval(vectors[asked], faces.group[asked], vectors[known], faces.group[known])
    groups = faces.group[asked]
    hits = np.zeros(len(rows))
    hits[asked] = found.rank1
    whole = bool(np.isin(found.rank1, (0, 1)).all())  # shares of equally near faces have no interval of hits
    queried = faces_of(run.test_frame[asked].reset_index(drop=True), run.protocol, run.resamples)
    rank1 = mean_of_groups(queried, hits[asked] == 1, keys) if whole else None
    mean = {
        name: float(np.mean([values[groups == k].mean() for k in keys])) for name, values in found._asdict().items()
    }
    cells: dict[str, Any] = {"generators": len(keys), "registered": int(known.sum()), "queries": int(asked.sum())}
    cells |= {"rank1": mean["rank1"], "map": mean["precision"], "chance": mean["chance"]}
    return cells if rank1 is None else cells | rank1.cells("rank1")
