"""The shortcut test: can a tiny classifier tell the labels from facts of the files alone, without one pixel?

A detector that learns from such files may learn their size or codec in place of the forgery.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.data.audit.file_facts import files
from dfad_bench.data.audit.findings import Finding, Findings, Kind
from dfad_bench.data.audit.subject import Subject

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
_PLAIN = ("size", "format")  # those that say nothing of the picture; bytes a pixel depend on it a little
_FOLDS = 5
_FEWEST_FILES = 10  # of a class, and ...
_FEWEST_SOURCES = 5
_MOST_FILES = 2000  # of a class: more change no verdict
_MARGIN = 0.1  # above chance, and ...
_DEVIATIONS = 4  # standard errors of a guess, from which on it is a warning
_TOLD = 0.9  # one class against the rest


@dataclass(frozen=True)
class Verdict:
    """How well some facts tell the classes of files whose source was not learnt from.

    `accuracy` is the mean of the classes' recalls; `told` maps a class to its balanced accuracy against the rest.
    """

    accuracy: float
    chance: float
    error: float  # standard error of a guess
    files: int
    told: dict[str, float]

    @property
    def shortcut(self) -> bool:
        """Clearly better than guessing."""
        return self.accuracy - self.chance > max(_MARGIN, _DEVIATIONS * self.error)


def check(subject: Subject) -> Findings:
    """Real against forged, and group against group, from file facts; cross-validated by source."""
    facts = files(subject)
    vouched = facts[facts["detection_label"] >= 0]
    questions = {
        "real or forged": (vouched, vouched["detection_label"].map({0: "real", 1: "forged"})),
        "which group": (facts, facts["group"].astype(str)),
    }
    rows: list[dict[str, Any]] = []
    remarks: list[Finding] = []
    for question, (files_of, labels) in questions.items():
        usable, left = _usable(files_of, labels)
        if left:
            few = f"fewer than {_FEWEST_FILES} files or {_FEWEST_SOURCES} sources"
            text = f"{question}: {', '.join(left)} left out ({few})"
            remarks.append(Finding("info", text))
        if usable["label"].nunique() < 2:
            remarks.append(Finding("info", f"{question}: fewer than two classes to tell apart"))
            continue
        verdicts = {name: tell(usable, columns, subject.seed) for name, columns in FACTS.items()}
        rows += [_row(question, name, verdict) for name, verdict in verdicts.items()]
        remarks += _remarks(question, verdicts)
    title = "Shortcut test: labels told from facts of the files alone"
    return Findings("shortcut", title, _COLUMNS, rows, tuple(remarks))


def tell(rows: pd.DataFrame, columns: tuple[str, ...], seed: int) -> Verdict:
    """Train a shallow tree on `columns` to tell `label`, tested on sources it has not seen.

    Args:
        rows: one a file: `label`, `source_key`, width, height, bytes, format.
        columns: facts it may use; `format` becomes one column a format.
        seed: of the folds.
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
    names, sizes = np.unique(labels, return_counts=True)
    recalls = np.array([(guessed[labels == name] == name).mean() for name in names])
    alarms = np.array([(guessed[labels != name] == name).mean() for name in names])
    chance = 1 / len(names)
    error = float(np.sqrt((chance * (1 - chance) / sizes).mean() / len(names)))
    told = {str(name): float((r + 1 - a) / 2) for name, r, a in zip(names, recalls, alarms, strict=True)}
    return Verdict(float(recalls.mean()), chance, error, len(rows), told)


def _usable(rows: pd.DataFrame, labels: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Classes with enough files and sources, none with too many (chosen by hash), and the names of the others."""
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
    told = sorted(((share, name) for name, share in verdict.told.items() if share >= _TOLD), reverse=True)
    shown = ", ".join(f"{name} {share:.0%}" for share, name in told[:4]) + (" ..." if len(told) > 4 else "")
    return {
        "question": question, "facts": facts, "files": verdict.files, "classes": len(verdict.told),
        "balanced accuracy": verdict.accuracy, "chance": verdict.chance, "told apart": shown,
    }  # fmt: skip


def _remarks(question: str, verdicts: dict[str, Verdict]) -> list[Finding]:
    found: list[Finding] = []
    for name in (*_PLAIN, "compression", "all"):
        verdict = verdicts[name]
        told = ", ".join(sorted(label for label, share in verdict.told.items() if share >= _TOLD))
        if not verdict.shortcut or (name == "all" and found):
            continue
        by = {"all": "file facts together tell", "compression": "bytes a pixel alone tell"}.get(
            name, f"{name} alone tells"
        )
        text = (
            f"{question}: {by} the classes with {verdict.accuracy:.1%} balanced accuracy (chance {verdict.chance:.1%})"
            + (f", above all {told}" if told else "")
            + ": a model may learn that in place of the forgery"
        )
        found.append(Finding("warning", text))
    return found
