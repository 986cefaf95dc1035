"""Predictors that see no pixel: the classes of faces from a few facts of each, such as the size of its file.

They are references: a model that is not above them has not shown more than those facts. A fact that is not known is an
indicator of its own and never a zero; a format is one column a value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfad_bench.data.audit.file_facts import bytes_per_pixel
from dfad_bench.data.manifest import Manifest

FILE_FACTS = ("source_width", "source_height", "source_format", "bytes_per_pixel")
TREES = 25
_MOST_FACES = 2000  # per class, chosen by hash; more would not change the answer
_LEAF = 2


@dataclass(frozen=True)
class Fitted:
    """Class probabilities (n, classes) and probabilities of forged (n,) of the faces that were asked for."""

    attribution: np.ndarray
    fake: np.ndarray


def file_facts(manifests: Sequence[Manifest], sample_ids: Sequence[str]) -> pd.DataFrame:
    """`FILE_FACTS` of faces, indexed by `sample_id`, in the order given: pixels, name of the format, bytes a pixel.

    The frames of a video have the size, codec and bytes of its file. Null where the manifest does not know.
    """
    columns = ["sample_id", "source_width", "source_height", "source_format", "source_bytes"]
    rows = pd.concat([manifest.frame(columns) for manifest in manifests], ignore_index=True)
    rows = rows.drop_duplicates("sample_id").set_index("sample_id").reindex(list(sample_ids))
    return rows.assign(bytes_per_pixel=bytes_per_pixel(rows))[list(FILE_FACTS)]


def has_facts(facts: pd.DataFrame) -> pd.Series:
    """Which faces have any of the facts."""
    return facts.notna().any(axis=1)


def features(train: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """The facts of `rows` (n, columns) float64 as `train` says they are encoded.

    A number that is missing is the median of the training faces, and 1 in a column that says it is missing; a format
    is 1 in the column of its name, and none of them where training has no such format. A number that no training
    face has is left out.
    """
    columns: list[np.ndarray] = []
    for name in train.columns:
        if pd.api.types.is_numeric_dtype(train[name]):
            learnt = train[name].astype(float)
            if not learnt.notna().any():
                continue
            values = rows[name].astype(float)
            columns.append(values.fillna(learnt.median()).to_numpy())
        else:
            values = rows[name]
            columns += [(values == kind).to_numpy(float) for kind in sorted(train[name].dropna().unique())]
        columns.append(values.isna().to_numpy(float))
    return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0))


def predict_from_facts(
    train: pd.DataFrame, attribution: np.ndarray, detection: np.ndarray, rows: pd.DataFrame, classes: int
) -> Fitted:
    """Fit two random forests (Breiman, 2001), of the generators and of real against forged, and predict `rows`.

    Classes count alike, however many faces they have. The seed is fixed: equal facts give equal answers, in whatever
    order the training faces are.

    Args:
        train: facts of the training faces, indexed by `sample_id`; columns of numbers and of text.
        attribution: (n,) their classes, 0 to `classes` - 1.
        detection: (n,) 0 real, 1 forged.
        rows: facts of the faces to predict, the same columns.
        classes: generators in the protocol.
    """
    order = np.argsort(train.index.to_numpy(dtype=str), kind="stable")
    train, attribution, detection = train.iloc[order], np.asarray(attribution)[order], np.asarray(detection)[order]
    kept = _sampled_rows(train.index, attribution)
    train, attribution, detection = train[kept], attribution[kept], detection[kept]
    learnt, asked = features(train, train), features(train, rows)
    generators = _probabilities(learnt, attribution, asked, classes)
    return Fitted(generators, _probabilities(learnt, detection, asked, 2)[:, 1])


def _probabilities(learnt: np.ndarray, labels: np.ndarray, asked: np.ndarray, classes: int) -> np.ndarray:
    """(n, classes); a class without training faces has probability 0."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(TREES, min_samples_leaf=_LEAF, class_weight="balanced", random_state=0)
    forest.fit(learnt, labels)
    found = np.zeros((len(asked), classes))
    found[:, forest.classes_.astype(int)] = forest.predict_proba(asked)
    return found / found.sum(axis=1, keepdims=True)


def _sampled_rows(names: pd.Index, labels: np.ndarray) -> np.ndarray:
    """(n,) which faces are fitted on: of a large class those whose names have the smallest hashes."""
    kept = np.ones(len(labels), dtype=bool)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        if len(mine) > _MOST_FACES:
            ranked = [hashlib.sha256(str(name).encode()).digest() for name in names[mine]]
            order = sorted(range(len(mine)), key=ranked.__getitem__)
            kept[mine[order[_MOST_FACES:]]] = False
    return kept
