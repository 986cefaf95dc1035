"""Which test faces a model mistook, the most confident mistakes first.

Attribution: a face of a seen generator whose most probable class is another one, and a face of an unseen group whose
confidence reaches the headline threshold, so that it is taken for a seen generator. Detection: a real face called
forged or the reverse, at 0.5. These are the mistakes that the accuracies of the record count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.labels import FAKE, REAL, UNSEEN
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.metrics.detection import called_fake
from dfad_bench.metrics.openset import below_threshold
from dfad_bench.report.score import with_untrained_columns
from dfad_bench.report.table import Column, Table

TASKS = ("attribution", "detection")
WRONG_NAME, TAKEN_FOR_SEEN = "named wrongly", "taken for seen"
KINDS = {REAL: "real", FAKE: "forged"}
_FACE = (
    Column("sample_id", "Face", "text"),
    Column("group", "Group", "text"),
    Column("origin", "File", "text"),
    Column("frame", "Frame", "count"),
    Column("source_key", "Source", "text"),
)
_ANSWER = (
    Column("mistake", "Mistake", "text"),
    Column("truth", "Is", "text"),
    Column("called", "Called", "text"),
    Column("confidence", "Confidence", "percent"),
)
_OTHER = {"attribution": Column("p_truth", "Probability of the right one", "percent"),
          "detection": Column("p_fake", "Probability of forged", "percent")}  # fmt: skip


def mistakes_tables(
    record: ResultRecord,
    predictions: pd.DataFrame,
    protocol: Protocol,
    files: Mapping[str, tuple[str, int | None]] | None = None,
) -> dict[str, Table]:
    """Mistaken faces by task, a row a face, the most confident first.

    Args:
        record: of the run.
        predictions: of the run.
        protocol: of the run.
        files: source file and frame of faces by `sample_id`, from manifests; those columns are empty without.

    Returns:
        A table for "attribution" and one for "detection"; `confidence` is the probability of the answer that was given.
    """
    predictions = with_untrained_columns(predictions, protocol, record.model.heads)
    made = {"attribution": _attribution(predictions, protocol), "detection": _detection(predictions)}
    untrained = {"attribution": "detection", "detection": "attribution"}.get(record.model.heads)
    name = f"{record.model.display or record.model.name}, seed {record.run.seed_text}, {protocol.name}"
    tables = {}
    for task, found in made.items():
        faces = int(found.attrs["faces"])
        notes = [f"{len(found):,} of {faces:,} faces; the most confident first."]
        if task == untrained:
            found, notes = found[:0], [f"the {task} expert was not trained"]
        elif task == "attribution":
            headline = protocol.attribution.headline
            notes.append(f"{TAKEN_FOR_SEEN}: an unseen face whose confidence is not below {headline:g}.")
        ordered = found.sort_values(["confidence", "sample_id"], ascending=[False, True], kind="stable")
        rows = [_row(row, files) for row in ordered.to_dict("records")]
        columns = (*_FACE, *_ANSWER, _OTHER[task])
        tables[task] = Table(f"{name}: mistakes of {task}", columns, rows, tuple(notes))
    return tables


def _attribution(frame: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    processed = [group.key for group in protocol.unseen if group.taxon.processed]
    frame = frame[~frame["group"].isin(processed)]  # of no class, whatever a model answers
    seen = sorted(protocol.seen, key=lambda group: group.label)
    names = np.array([group.taxon.display for group in seen])
    probs = frame[[f"p_{k}" for k in range(len(seen))]].to_numpy(dtype=float)
    label, named = frame["attribution_label"].to_numpy(dtype=int), probs.argmax(axis=1)
    unseen = label == UNSEEN
    wrong = np.where(unseen, ~below_threshold(probs, protocol.attribution.headline), named != label)
    display = {group.key: group.taxon.display for group in protocol.groups}
    own = probs[np.arange(len(probs)), np.where(unseen, 0, label)]
    found = frame.assign(
        mistake=np.where(unseen, TAKEN_FOR_SEEN, WRONG_NAME),
        truth=frame["group"].map(display),
        called=names[named],
        confidence=probs.max(axis=1),
        p_truth=np.where(unseen, np.nan, own),
    )[wrong]
    found.attrs["faces"] = len(frame)
    return found


def _detection(frame: pd.DataFrame) -> pd.DataFrame:
    known = frame[frame["detection_label"].isin([REAL, FAKE])]
    p_fake, forged = known["p_fake"].to_numpy(dtype=float), called_fake(known["p_fake"].to_numpy())
    truth = known["detection_label"].to_numpy(dtype=int)
    kinds = np.array([KINDS[REAL], KINDS[FAKE]])
    found = known.assign(
        mistake=np.where(forged, "called forged", "called real"),
        truth=kinds[(truth == FAKE).astype(int)],
        called=kinds[forged.astype(int)],
        confidence=np.where(forged, p_fake, 1 - p_fake),
    )[forged != (truth == FAKE)]
    found.attrs["faces"] = len(known)
    return found


def _row(row: Mapping[Any, Any], files: Mapping[str, tuple[str, int | None]] | None) -> dict[str, Any]:
    keys = ("sample_id", "group", "source_key", "mistake", "truth", "called")
    made: dict[str, Any] = {key: str(row[key]) for key in keys}
    made["origin"], made["frame"] = (files or {}).get(made["sample_id"], (None, None))
    for key in ("confidence", "p_truth", "p_fake"):
        value = row.get(key)
        made[key] = None if value is None or np.isnan(value) else float(value)
    return made
