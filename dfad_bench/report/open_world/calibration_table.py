"""Calibration of attribution: as the model is, and with a temperature that validation faces give; by group, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError
from dfad_bench.metrics.calibration import (
    LEAST_TEMPERATURE,
    brier,
    classwise_ece,
    confidence_ece,
    equal_mass_bins,
    fitted_temperature,
    log_loss,
    scaled_probabilities,
    top_label_ece,
)
from dfad_bench.report.open_world.run_arrays import UNTRAINED, RunArrays
from dfad_bench.report.scored_faces import Faces
from dfad_bench.report.table import Column, Table

ABOUT = (
    "Of seen test faces; proper scores (log loss, Brier) first, since binned errors are biased upwards, the more"
    " the fewer faces: compare rows of the same faces only. 15 bins of as many faces each. No interval:"
    " resampling shifts them.",
    "Temperature: least log loss on seen validation faces, each source weighing as one face; accuracy does not change."
    " Validation faces may also have chosen the checkpoint. Of unseen faces the mean largest probability is shown.",
)
BY_GROUP = "Seen groups: mean confidence less accuracy. Unseen groups: mean confidence, which no share should equal."


def calibration_table(runs: Mapping[str, RunArrays]) -> Table:
    """Calibration of several runs, by what they are called: as they are, and with a temperature."""
    rows: list[dict[str, Any]] = []
    for label, run in runs.items():
        if run.record.model.heads == "detection":
            rows.append({"model": label, "remark": f"not defined: {UNTRAINED}"})
            continue
        for temperature, remark in _temperatures(run):
            row: dict[str, Any] = {"model": label, "temperature": temperature, "remark": remark}
            rows.append(row if temperature is None else row | _overall(run.test, temperature))
    columns = [Column("model", "Model", "text"), Column("temperature", "Temperature", "number", 3)]
    columns += [Column("n", "Seen faces", "count"), Column("sources", "Sources", "count")]
    columns += [Column("log_loss", "Log loss", "number", 3), Column("brier", "Brier", "number", 3)]
    columns += [Column("accuracy", "Accuracy", "percent"), Column("confidence", "Confidence", "percent")]
    columns += [Column("ece", "ECE", "percent"), Column("top_label_ece", "Top-label", "percent")]
    columns += [Column("classwise_ece", "Classwise", "percent")]
    columns += [Column("unseen_confidence", "Unseen: confidence", "percent"), Column("remark", "Remark", "text")]
    return Table("Calibration of attribution", tuple(columns), rows, ABOUT, names=2)


def reliability_table(runs: Mapping[str, RunArrays]) -> Table:
    """Reliability of several runs by group: confidence and accuracy in bins of confidence, of each group and of all."""
    rows: list[dict[str, Any]] = []
    for label, run in runs.items():
        if run.record.model.heads == "detection":
            rows.append({"model": label, "group": f"not defined: {UNTRAINED}"})
            continue
        faces = run.test
        place = equal_mass_bins(faces.confidence)
        sets = {"all seen": faces.of(faces.seen), **{key: faces.of([key]) for key in (*faces.seen, *faces.unseen)}}
        for name, chosen in sets.items():
            seen = name not in faces.unseen
            for bin_ in np.unique(place[chosen]):
                mine = chosen & (place == bin_)
                row: dict[str, Any] = {"model": label, "group": name, "bin": int(bin_) + 1, "n": int(mine.sum())}
                row |= {"sources": len(set(faces.source[mine])), "confidence": float(faces.confidence[mine].mean())}
                rows.append(row | ({"accuracy": float(faces.named_rightly[mine].mean())} if seen else {}))
    columns = (
        Column("model", "Model", "text"), Column("group", "Group", "text"), Column("bin", "Bin", "count"),
        Column("n", "Faces", "count"), Column("sources", "Sources", "count"),
        Column("confidence", "Confidence", "percent"), Column("accuracy", "Accuracy", "percent"),
    )  # fmt: skip
    return Table("Reliability of attribution", columns, rows, (BY_GROUP,), names=3)


def _temperatures(run: RunArrays) -> list[tuple[float | None, str]]:
    """Temperatures to show, or none with the reason."""
    found: list[tuple[float | None, str]] = [(1.0, "")]
    try:
        validation = run.validation
    except ConfigError:
        return [*found, (None, "no temperature: the run kept no predictions of validation faces")]
    seen = validation.of(validation.seen)
    fitted = fitted_temperature(validation.probs[seen], validation.label[seen], validation.source[seen])
    at_end = fitted is not None and not 1.01 * LEAST_TEMPERATURE < fitted < 0.99 / LEAST_TEMPERATURE
    return [*found, (fitted, "from validation" + (": the end of the search" if at_end else ""))]


def _overall(faces: Faces, temperature: float) -> dict[str, Any]:
    seen, unseen = faces.of(faces.seen), faces.of(faces.averaged)
    scaled = faces.probs if temperature == 1.0 else scaled_probabilities(faces.probs, temperature)
    p, labels = scaled[seen], faces.label[seen]
    return {
        "n": int(seen.sum()),
        "sources": len(set(faces.source[seen])),
        "log_loss": log_loss(p, labels),
        "brier": brier(p, labels),
        "accuracy": float(faces.named_rightly[seen].mean()) if seen.any() else None,
        "confidence": float(p.max(axis=1).mean()) if seen.any() else None,
        "ece": confidence_ece(p, labels),
        "top_label_ece": top_label_ece(p, labels),
        "classwise_ece": classwise_ece(p, labels),
        "unseen_confidence": float(scaled[unseen].max(axis=1).mean()) if unseen.any() else None,
    }
