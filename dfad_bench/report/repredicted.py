"""Stored predictions against those made again from the checkpoint: the same faces, labels, probabilities and numbers.

Rounding differs between devices, threads and versions, so probabilities may differ by `TOLERANCES`. Answers that
lie closer together than that could be put into any order within the tolerance; so the numbers that follow from the new
predictions must agree with the stated ones, too, within `NUMBERS` or one face.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from dfad_bench.core.files import safe_relative
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.run_parquet import read_predictions
from dfad_bench.core.settings import Precision
from dfad_bench.report.record_diff import Difference, metric_name
from dfad_bench.report.score import score

TOLERANCES = {"fp32": 1e-4, "fp16": 5e-3, "bf16": 3e-2}  # of a probability, by the precision of the forward pass
NUMBERS = {"fp32": 0.005, "fp16": 0.01, "bf16": 0.02}  # of a share computed from predictions that agree so
_ABOUT = ("group", "source_key", "attribution_label", "detection_label", "video")
OF_REFERENCES = 1e-6  # of a probability of a reference predictor, with the same scikit-learn
_NAMED = 3  # faces named one by one


def predicted_in(record: ResultRecord) -> Precision:
    """The number format that the record's predictions were made in."""
    return record.environment.precision or record.run.precision or "fp32"


@dataclass(frozen=True)
class Repredicted:
    """How predictions made here compare with the stored ones.

    `largest` is the largest difference of a probability (None where no face is common), `exact` whether all are equal
    to the bit; `unlike` says in what device, threads, versions and code differ from those the record states.
    """

    faces: int
    exact: bool
    largest: float | None
    tolerance: float
    unlike: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        if self.largest is None:
            return "predicted again: no face is the same"
        if self.differences:
            return (
                f"predicted again: {self.faces} faces, and not what is stored (largest difference {self.largest:.2g})"
            )
        if self.exact:
            return f"predicted again: {self.faces} faces, equal to the bit"
        why = f"unlike here: {'; '.join(self.unlike)}" if self.unlike else "with the same device, threads and versions"
        return (
            f"predicted again: {self.faces} faces, equal within {self.tolerance:g} (largest difference"
            f" {self.largest:.2g}; {why})"
        )


def compare_predictions(
    record: ResultRecord,
    protocol: Protocol,
    stated: pd.DataFrame,
    made: pd.DataFrame,
    *,
    unlike: Sequence[str] = (),
    manifest_sha256: str | None = None,
    parts: Mapping[str, str] | None = None,
) -> Repredicted:
    """Compare a record's predictions with those made again.

    Args:
        record: states precision, faces and numbers.
        protocol: of the record.
        stated: the stored predictions, a row a face.
        made: the new ones, as `engine.predict.predict` gives them.
        unlike: in what device, threads, versions and code differ.
        manifest_sha256: hash of the manifests that were predicted.
        parts: content hashes of the rows that the protocol chooses from them, by part.
    """
    tolerance = TOLERANCES[predicted_in(record)]
    found = list(_same_faces(record, manifest_sha256, parts or {}))
    a, b = (frame.set_index("sample_id").sort_index() for frame in (stated, made))
    found += _face_differences(a, b)
    common = a.index[a.index.isin(b.index)]
    if a.index.has_duplicates or not len(common):
        found += [Difference("predictions: faces that are there twice", int(a.index.duplicated().sum()), 0)]
        return Repredicted(len(common), False, None, tolerance, tuple(unlike), tuple(found))
    a, b = a.loc[common], b.loc[common]
    found += _labels(a, b)
    columns = [name for name in map(str, b) if name.startswith("p_")]
    if lacking := [name for name in columns if name not in a]:
        found.append(Difference("predictions: columns", ", ".join(map(str, a)), f"{', '.join(lacking)} as well"))
        return Repredicted(len(common), False, None, tolerance, tuple(unlike), tuple(found))
    old, new = a[columns].to_numpy(float), b[columns].to_numpy(float)
    gaps = np.nan_to_num(np.abs(old - new), nan=np.inf)  # (N, x + 1)
    exact = bool((old == new).all())
    if not exact:
        found += _probability_differences(common, columns, old, new, gaps, tolerance)
        found += _numbers(record, protocol, made)
    return Repredicted(len(common), exact, float(gaps.max()), tolerance, tuple(unlike), tuple(found))


def compare_references(
    record: ResultRecord, folder: Path, made: Mapping[str, pd.DataFrame], without: Sequence[str]
) -> tuple[list[Difference], list[str]]:
    """Stored predictions of the reference predictors against those of predictors fitted here: what differs, and notes.

    A weakened `facts-only` row would make every model look better. Another scikit-learn may grow other trees, so then
    nothing is said but that.

    Args:
        record: states where the stored ones lie.
        folder: of the record.
        made: the new ones by name.
        without: why some cannot be made here.
    """
    found: list[Difference] = []
    notes = [f"not fitted again: {line}" for line in without]
    for name, about in record.run.references.items():
        path = safe_relative(folder, about.path)
        if name not in made or not path.is_file():
            notes += [] if without else [f"{name} was not fitted again: not beside the record, or no facts here"]
            continue
        stated, here = about.about.get("scikit-learn"), version("scikit-learn")
        if stated != here:
            notes.append(f"{name} was not compared with one fitted here: scikit-learn {stated}, here {here}")
            continue
        a, b = (frame.set_index("sample_id").sort_index() for frame in (read_predictions(path), made[name]))
        columns = [column for column in map(str, b) if column.startswith("p_")]
        alike = a.index.equals(b.index) and set(columns) <= set(a)
        gaps = np.abs(a[columns].to_numpy(float) - b[columns].to_numpy(float)).max(axis=1) if alike else np.ones(len(b))
        if wrong := int((~(gaps <= OF_REFERENCES)).sum()):
            found.append(Difference(f"{name}, fitted again: faces that it predicts otherwise", 0, wrong))
    if "facts-only" in made and "facts-only" not in record.run.references:
        notes.append("the record has no facts-only reference, though these faces give one")
    return found, notes


def _same_faces(record: ResultRecord, manifests: str | None, parts: Mapping[str, str]) -> Iterator[Difference]:
    """The faces that were predicted here are those the record states."""
    if manifests not in (None, record.manifest.content_sha256):
        yield Difference("manifest.content_sha256 of the given manifests", record.manifest.content_sha256, manifests)
    for name, digest in parts.items():
        stated = record.manifest.splits.get(name)
        if stated is not None and stated.content_sha256 != digest:
            yield Difference(f"{name} faces that the protocol chooses", stated.content_sha256, digest)


def _face_differences(a: pd.DataFrame, b: pd.DataFrame) -> list[Difference]:
    lacking = int((~b.index.isin(a.index)).sum())
    further = int((~a.index.isin(b.index)).sum())
    found = [Difference("test faces without a stored prediction", 0, lacking)] if lacking else []
    return found + ([Difference("stored predictions of faces that are not tested", further, 0)] if further else [])


def _labels(a: pd.DataFrame, b: pd.DataFrame) -> Iterator[Difference]:
    """Groups, sources, videos and labels as the manifests have them; intervals depend on sources."""
    for name in _ABOUT:
        if name in a and name in b:
            wrong = a[name].astype(str) != b[name].astype(str)
            if wrong.any():
                yield Difference(f"predictions: faces with another {name}", 0, int(wrong.sum()))


def _probability_differences(
    names: pd.Index, columns: Sequence[str], old: np.ndarray, new: np.ndarray, gaps: np.ndarray, tolerance: float
) -> Iterator[Difference]:
    """The faces whose probabilities are too far apart, the worst ones by name."""
    worst = gaps.max(axis=1)  # (N,)
    if wrong := int((worst > tolerance).sum()):
        yield Difference(f"faces whose probabilities differ by more than {tolerance:g}", 0, wrong)
        for row in np.argsort(-worst, kind="stable")[: min(wrong, _NAMED)]:
            column = int(gaps[row].argmax())
            yield Difference(f"{columns[column]} of face {names[row]}", old[row, column], new[row, column])


def _numbers(record: ResultRecord, protocol: Protocol, made: pd.DataFrame) -> Iterator[Difference]:
    """Stated numbers that do not follow from the new predictions."""
    rescored = {metric_name(v): v.value for v in score(made, protocol, heads=record.model.heads, resamples=0).metrics}
    for value in record.metrics:
        new = rescored.get(metric_name(value))
        if value.value is None or new is None or not value.n:
            continue
        if abs(value.value - new) > max(NUMBERS[predicted_in(record)], 1 / value.n):
            yield Difference(f"{metric_name(value)}, of the new predictions,", value.value, new)
