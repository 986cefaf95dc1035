"""Is a model right on newer generators? A row a generator, oldest first, with how its month is known.

Accuracy is of this generator's test faces: of detection the share called forged, of attribution the share named rightly
(seen) or called unseen by the papers' threshold (unseen). Generators without a month that places them in time are rows,
too, behind the others, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dfad_bench.core.labels import FAKE
from dfad_bench.core.protocol import Group
from dfad_bench.metrics.detection import called_fake
from dfad_bench.metrics.few_sources import too_few
from dfad_bench.metrics.openset import below_threshold
from dfad_bench.metrics.spread import share_interval
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.table import Column, Table

ANSWERS = {"detected": "Called forged", "attributed": "Attribution right"}
ABOUT = (
    "Called forged: at 0.5. Attribution right: faces of seen generators named rightly, faces of unseen ones below the"
    " protocol's threshold; the two do not compare. Intervals are over sources: other faces of this generator.",
    "A month is the first that is known of a paper, weights, code, product or announcement. Known: V read with the"
    " name, W read on a page of others, K (high, medium, low) read nowhere. Newer generators are not only newer: they"
    " differ in kind, quality and faces, so that a row of months shows no effect of time by itself.",
)
UNDATED = "{} of {} generators have no month that places them in time: {}."


def months_table(runs: Mapping[str, RunArrays]) -> Table:
    """A row for each generator of each run, by what runs are called, the oldest generators first."""
    rows: list[dict[str, Any]] = []
    for label, run in runs.items():
        rows += [{"model": label, **row} for row in _rows(run)]
    rows.sort(key=lambda row: (row["placed"] is None, row["placed"] or "", row["generator"]))
    names = {row["generator"]: row["placed"] for row in rows}
    undated = [name for name, month in names.items() if month is None]
    notes = (*ABOUT, *([UNDATED.format(len(undated), len(names), ", ".join(undated))] if undated else []))
    columns = [Column("model", "Model", "text"), Column("generator", "Generator", "text")]
    columns += [Column("month", "Month", "text"), Column("known", "Known", "text"), Column("of", "Of", "text")]
    columns += [Column("side", "In training", "text"), Column("n", "Faces", "count")]
    columns.append(Column("sources", "Sources", "count"))
    for key, title in ANSWERS.items():
        columns += [Column(key, title, "percent"), Column(f"{key}_low", "from", "percent")]
        columns.append(Column(f"{key}_high", "to", "percent"))
    columns.append(Column("remark", "Remark", "text"))
    return Table("Accuracy by release month", tuple(columns), rows, notes, names=3)


def _rows(run: RunArrays) -> Iterator[dict[str, Any]]:
    faces, heads = run.test, run.record.model.heads
    called, below = called_fake(faces.p_fake), below_threshold(faces.probs, run.protocol.attribution.headline)
    for group in run.protocol.groups:
        chosen = faces.of([group.key])
        if group.taxon.detection_label != FAKE or not chosen.any():
            continue
        seen = group.key in faces.seen
        row = {"group": group.key, "side": "seen" if seen else "unseen", "n": int(chosen.sum()), **_month(group)}
        row["sources"] = faces.sources_of(chosen)
        hits = {"detected": called, "attributed": faces.named_rightly if seen else below}
        for key, right in hits.items():
            if heads != {"detected": "attribution", "attributed": "detection"}[key]:
                row |= _share(key, right[chosen], faces.source[chosen])
        yield row


def _share(key: str, hits: np.ndarray, sources: np.ndarray) -> dict[str, float | None]:
    metric = "tpr" if key == "detected" else "unseen_accuracy"
    few = too_few(metric, {"sources": len(set(sources))})
    low, high = (None, None) if few else share_interval(hits, sources) or (None, None)
    return {key: float(hits.mean()), f"{key}_low": low, f"{key}_high": high}


def _month(group: Group) -> dict[str, Any]:
    """Its month and how that is known; `placed`: the month where it places the generator in time."""
    taxon = group.taxon
    why = taxon.undated_reason
    return {
        "generator": taxon.display, "month": taxon.released, "known": taxon.source_mark,
        "of": taxon.released_of if taxon.released else None, "placed": taxon.released if why is None else None,
        "remark": why or "",
    }  # fmt: skip
