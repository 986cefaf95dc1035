"""Do the outputs beside a record's predictions belong to them? Same faces, probabilities that follow from logits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dfad_bench.core.errors import IntegrityError, cut
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_outputs import Outputs, read_outputs
from dfad_bench.core.run_parquet import read_predictions, read_selection
from dfad_bench.report.record_diff import Difference

TOLERANCE = 1e-5  # of a probability, from logits in float32


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, x) of logits, in float64.

    >>> softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    z = np.asarray(logits, dtype=np.float64)
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def check_outputs(record: ResultRecord, folder: Path, tested: pd.DataFrame) -> Iterator[Difference]:
    """What does not fit in the outputs that a record states and that are beside it.

    Args:
        record: states which files there are.
        folder: of the record.
        tested: its predictions.
    """
    try:
        yield from _checked_files(record, RunFolder(folder), tested)
    except IntegrityError as error:  # its hash, too, differs
        yield Difference(f"outputs: {cut(str(error), 160)}", "whole", "damaged")


def _checked_files(record: ResultRecord, files: RunFolder, tested: pd.DataFrame) -> Iterator[Difference]:
    stated = record.run.files
    pairs = [(files.outputs("test"), tested)]
    if files.validation.name in stated and files.validation.is_file():
        frame = read_predictions(files.validation)
        yield from _selected(files, "validation", frame["sample_id"], whole=True)
        pairs.append((files.outputs("validation"), frame))
    for path, frame in pairs:
        if path.name in stated and path.is_file():
            yield from _follow(path.name, read_outputs(path, embeddings=False), frame)
    path = files.outputs("training")
    if path.name in stated and path.is_file():
        yield from _selected(files, "train", pd.Series(read_outputs(path, embeddings=False).sample_id), whole=False)


def compare_outputs(record: ResultRecord, folder: Path, made: Outputs, tolerance: float) -> list[Difference]:
    """Stored outputs of test faces against those made again: faces whose logits or embeddings are others.

    Args:
        record: states which files there are.
        folder: of the record.
        made: the new ones.
        tolerance: of a value, as a share of the largest of its kind.
    """
    path = RunFolder(folder).outputs("test")
    if path.name not in record.run.files or not path.is_file():
        return []
    kept = read_outputs(path)
    order, back = np.argsort(kept.sample_id), np.argsort(made.sample_id)
    if kept.sample_id[order].tolist() != made.sample_id[back].tolist():
        return [Difference(f"{path.name}: faces of the new outputs", len(made), len(kept))]
    found = []
    for name in ("logits", "detection", "embedding"):
        a, b = (np.asarray(getattr(one, name), dtype=float) for one in (kept, made))
        if a.shape != b.shape:
            found.append(Difference(f"{path.name}: {name}, predicted again: numbers a face", a.shape[1], b.shape[1]))
            continue
        # rounding of a sum grows with its summands, of which the largest values tell
        allowed = tolerance * max(1.0, float(np.abs(b).max(initial=0.0))) * 10
        if wrong := int((~(np.abs(a[order] - b[back]) <= allowed).all(axis=1)).sum()):
            found.append(Difference(f"{path.name}: faces with other {name}, predicted again", 0, wrong))
    return found


def _follow(name: str, outputs: Outputs, frame: pd.DataFrame) -> Iterator[Difference]:
    """The probabilities of the predictions are those of the logits, face by face."""
    columns = [f"p_{k}" for k in range(outputs.logits.shape[1])]
    same = len(outputs) == len(frame) and {*columns} <= {*map(str, frame)}
    if not same or (outputs.sample_id != frame["sample_id"].to_numpy(dtype=str)).any():
        yield Difference(f"{name}: faces as in the predictions", len(frame), len(outputs))
        return
    found = np.column_stack([softmax(outputs.logits), softmax(outputs.detection)[:, 1]])
    gaps = np.abs(found - frame[[*columns, "p_fake"]].to_numpy(float)).max(axis=1)
    if wrong := int((~(gaps <= TOLERANCE)).sum()):
        yield Difference(f"{name}: faces whose probabilities do not follow from their logits", 0, wrong)
    for column, values in (("group", outputs.group), ("source_key", outputs.source)):
        if wrong := int((values != frame[column].to_numpy(dtype=str)).sum()):
            yield Difference(f"{name}: faces with another {column}", 0, wrong)


def _selected(files: RunFolder, part: str, names: pd.Series, *, whole: bool) -> Iterator[Difference]:
    """The faces are those (`whole`: all of those) selected for a part."""
    if not files.selection.is_file():
        return
    rows = read_selection(files.selection)
    chosen = set(rows.loc[rows["part"] == part, "sample_id"])
    if further := len(set(names) - chosen):
        yield Difference(f"outputs: faces not selected for {part}", 0, further)
    if whole and (lacking := len(chosen - set(names))):
        yield Difference(f"outputs: faces selected for {part} and not predicted", 0, lacking)
