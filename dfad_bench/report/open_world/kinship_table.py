"""What an unseen generator is called: a class of its family, of its forgery type? Beside what chance would give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dfad_bench.core.labels import FAKE, Family, ForgeryType
from dfad_bench.report.open_world.run_arrays import UNTRAINED, RunArrays
from dfad_bench.report.open_world.shares import share_of_sources
from dfad_bench.report.table import Column, Table

ABOUT = (
    "Share of faces named as a seen generator of the same family (by the papers' grouping) or forgery type; none where"
    " no seen generator is of it, or the taxonomy knows none. Each source counts once.",
    "Chance: a seen class drawn evenly. By names: a class drawn as often as this model gives it to all unseen"
    " generators alike, so that a model which calls everything by one name gains nothing.",
)
KINDS = {"family": "Family", "forgery": "Forgery type"}


def kinship_table(runs: Mapping[str, RunArrays]) -> Table:
    """A row an unseen generator of each run, and their mean."""
    rows: list[dict[str, Any]] = []
    for label, run in runs.items():
        if run.record.model.heads == "detection":
            rows.append({"model": label, "group": f"not defined: {UNTRAINED}"})
            continue
        own = _rows(run)
        rows += [{"model": label, **row} for row in own]
        rows += [{"model": label, **_mean_row(own)}] if own else []
    columns = [Column("model", "Model", "text"), Column("group", "Unseen generator", "text")]
    columns += [Column("n", "Faces", "count"), Column("sources", "Sources", "count")]
    for key, title in KINDS.items():
        columns += [Column(f"own_{key}", title, "text"), Column(key, "same", "percent")]
        columns += [Column(f"{key}_low", "from", "percent"), Column(f"{key}_high", "to", "percent")]
        columns += [Column(f"{key}_chance", "chance", "percent"), Column(f"{key}_by_names", "by names", "percent")]
    columns.append(Column("real", "Named real", "percent"))
    return Table("Kin of unseen generators", tuple(columns), rows, ABOUT, names=2)


def _rows(run: RunArrays) -> list[dict[str, Any]]:
    faces, groups = run.test, {group.key: group for group in run.protocol.groups}
    classes = [group.taxon for group in sorted(run.protocol.seen, key=lambda group: group.label)]
    forged = [key for key in faces.averaged if groups[key].taxon.detection_label == FAKE]
    if not forged:
        return []
    # how often each class is named, generators counting alike
    counts = [np.bincount(faces.predicted[faces.of([key])], minlength=len(classes)) for key in forged]
    named = np.mean([count / count.sum() for count in counts], axis=0)
    real = np.array([taxon.detection_label != FAKE for taxon in classes])
    rows = []
    for key in forged:
        taxon, chosen = groups[key].taxon, faces.of([key])
        row: dict[str, Any] = {"group": key, "n": int(chosen.sum()), "sources": len(set(faces.source[chosen]))}
        kin = {
            "family": None if taxon.grouping is Family.NONE else [c.grouping is taxon.grouping for c in classes],
            "forgery": None if taxon.forgery is ForgeryType.NONE else [c.forgery is taxon.forgery for c in classes],
        }
        row |= {"own_family": taxon.grouping.value, "own_forgery": taxon.forgery.value}
        for kind, same in kin.items():
            if same is None or not any(same):
                continue
            hits = np.array(same)[faces.predicted[chosen]]
            row |= share_of_sources(hits, faces.source[chosen]).cells(kind)
            row |= {f"{kind}_chance": float(np.mean(same)), f"{kind}_by_names": float(named[np.array(same)].sum())}
        row["real"] = float(real[faces.predicted[chosen]].mean())
        rows.append(row)
    return rows


def _mean_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over generators, each kind over those that have it."""
    mean: dict[str, Any] = {"group": f"mean of {len(rows)}", "n": sum(row["n"] for row in rows)}
    for key in [*KINDS, *(f"{kind}_{of}" for kind in KINDS for of in ("chance", "by_names")), "real"]:
        values = [row[key] for row in rows if row.get(key) is not None]
        mean[key] = float(np.mean(values)) if values else None
    return mean
