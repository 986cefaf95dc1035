"""The shortcut test: can a small classifier predict the labels from facts of the files only, without any pixel?

A detector that learns from such files may learn their size or codec instead of the forgery.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.errors import listed
from dfad_bench.data.audit.file_facts import files
from dfad_bench.data.audit.findings import Finding, Findings, Kind
from dfad_bench.data.audit.subject import Subject
from dfad_bench.data.pools import effective_sources

_COLUMNS: dict[str, Kind] = {
    "question": "text", "facts": "text", "files": "count", "classes": "count", "balanced accuracy": "percent",
    "chance": "percent", "told apart": "text",
}  # fmt: skip
FACTS = {
    "size": ("source_width", "source_height"),
    "format": ("format",),
    "compression": ("bytes_per_pixel",),
    "all": ("source_width", "source_height", "format", "source_bytes", "bytes_per_pixel"),
}
_PLAIN = ("size", "format")  # facts that are independent of the image content; bytes per pixel depend on it a little
_FOLDS = 5
_FEWEST_FILES = 10  # per class, and ...
_FEWEST_SOURCES = 5
_MOST_FILES = 2000  # per class: more would not change the verdict
_MARGIN = 0.1  # a warning needs an accuracy this much above chance, and ...
_DEVIATIONS = 4  # ... this many standard errors of guessing above it
_TOLD_APART = 0.9  # balanced accuracy against the rest from which on a class counts as told apart


@dataclass(frozen=True)
class Verdict:
    """How well some facts predict the classes of files whose sources were not in training.

    `accuracy` is the mean of the classes' recalls; `told_apart` maps a class to its balanced accuracy against the rest.
    """

    accuracy: float
    chance: float
    error: float  # standard error of guessing, over sources
    files: int
    told_apart: dict[str, float]

    @property
    def shortcut(self) -> bool:
        """Whether the accuracy is clearly better than guessing."""
        return self.accuracy - self.chance > max(_MARGIN, _DEVIATIONS * self.error)


def check(subject: Subject) -> Findings:
    """Classify real against forged, and the groups, from file facts; cross-validated by source."""
    facts = files(subject)
    labelled = facts[facts["detection_label"] >= 0]
    questions = {
        "real or forged": (labelled, labelled["detection_label"].map({0: "real", 1: "forged"})),
        "which group": (facts, facts["group"].astype(str)),
    }
    rows: list[dict[str, Any]] = []
    remarks: list[Finding] = []
    for question, (files_of, labels) in questions.items():
        usable, left = _usable_classes(files_of, labels)
        if left:
            few = f"fewer than {_FEWEST_FILES} files or {_FEWEST_SOURCES} sources"
            text = f"{question}: {', '.join(left)} left out ({few})"
            remarks.append(Finding("info", text))
        if usable["label"].nunique() < 2:
            remarks.append(Finding("info", f"{question}: fewer than two classes to tell apart"))
            continue
        verdicts = {name: classify(usable, columns, subject.seed) for name, columns in FACTS.items()}
        rows += [_row(question, name, verdict) for name, verdict in verdicts.items()]
        remarks += _remarks(question, verdicts)
    title = "Shortcut test: labels predicted from facts of the files only"
    return Findings("shortcut", title, _COLUMNS, rows, tuple(remarks))


def classify(rows: pd.DataFrame, columns: tuple[str, ...], seed: int) -> Verdict:
    """Train a shallow tree that predicts `label` from `columns`, tested on sources it was not trained on.

    Args:
        rows: one per file: `label`, `source_key`, width, height, bytes, format.
        columns: facts it may use; `format` becomes one column per format.
        seed: seed of the folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    numbers = [name for name in columns if name != "format"]
    features = rows[numbers].astype(float)
    if "format" in columns:
        features = features.join(pd.get_dummies(rows["source_format"], prefix="format", dtype=float))
    labels = rows["label"].to_numpy()
    tree = DecisionTreeClassifier(max_depth=6, min_samples_leaf=5, class_weight="balanced", random_state=seed)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    groups = rows["source_key"].to_numpy()
    guessed = cross_val_predict(tree, features.to_numpy(), labels, groups=groups, cv=folds)
    names = np.unique(labels)
    recalls = np.array([(guessed[labels == name] == name).mean() for name in names])
    alarms = np.array([(guessed[labels != name] == name).mean() for name in names])
    chance = 1 / len(names)
    # files of one source share their facts, so that a class has as many guesses as it has sources
    sources = np.array([effective_sources(groups[labels == name]) for name in names])
    error = float(np.sqrt((chance * (1 - chance) / sources).mean() / len(names)))
    told_apart = {str(name): float((r + 1 - a) / 2) for name, r, a in zip(names, recalls, alarms, strict=True)}
    return Verdict(float(recalls.mean()), chance, error, len(rows), told_apart)


def _usable_classes(rows: pd.DataFrame, labels: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Rows of classes with enough files and sources, large classes reduced by hash, and the names of the others."""
    rows = rows.assign(label=labels, rank=rows["sample_id"].map(_rank))
    kept, left = [], []
    for name, here in rows.groupby("label"):
        enough = len(here) >= _FEWEST_FILES and here["source_key"].nunique() >= _FEWEST_SOURCES
        if enough:
            kept.append(here.nsmallest(_MOST_FILES, "rank"))
        else:
            left.append(str(name))
    usable = pd.concat(kept) if kept else rows.iloc[:0]
    return usable.sort_values("rank", kind="stable"), left


def _rank(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def _row(question: str, facts: str, verdict: Verdict) -> dict[str, Any]:
    told_apart = sorted(
        ((share, name) for name, share in verdict.told_apart.items() if share >= _TOLD_APART), reverse=True
    )
    shown = listed([f"{name} {share:.0%}" for share, name in told_apart], 4)
    return {
        "question": question, "facts": facts, "files": verdict.files, "classes": len(verdict.told_apart),
        "balanced accuracy": verdict.accuracy, "chance": verdict.chance, "told apart": shown,
    }  # fmt: skip


def _remarks(question: str, verdicts: dict[str, Verdict]) -> list[Finding]:
    found: list[Finding] = []
    for name in (*_PLAIN, "compression", "all"):
        verdict = verdicts[name]
        told_apart = ", ".join(sorted(label for label, share in verdict.told_apart.items() if share >= _TOLD_APART))
        if not verdict.shortcut or (name == "all" and found):
            continue
        by = {"all": "file facts together predict", "compression": "bytes per pixel alone predict"}.get(
            name, f"{name} alone predicts"
        )
        text = (
            f"{question}: {by} the classes with {verdict.accuracy:.1%} balanced accuracy (chance {verdict.chance:.1%})"
            + (f", above all {told_apart}" if told_apart else "")
            + ": a model may learn that instead of the forgery"
        )
        found.append(Finding("warning", text))
    return found
