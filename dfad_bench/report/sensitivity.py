"""Does a result survive another margin, size or quality? One run on the same test faces, prepared in several ways.

Every condition (another crop profile, a corruption at a severity) is compared with the faces as the run learnt them, on
the faces that all conditions have: each number, its change, the change's interval paired by source, and a test.
Which faces a condition lost is said, so that no change of the population passes for one of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from dfad_bench.core.errors import IntegrityError, listed
from dfad_bench.core.protocol import Protocol
from dfad_bench.metrics import METRICS
from dfad_bench.report.headline import Key, headline_keys
from dfad_bench.report.paired_numbers import LEVEL, Compared, Sources, compared, corrected, place_of
from dfad_bench.report.score import numbers
from dfad_bench.report.scored_faces import Number
from dfad_bench.report.table import Column, Table

RESAMPLES = 1000
ALLOWED = 0.05  # a number holds where a loss of more than this can be ruled out
KEYS: tuple[Key, ...] = (
    *(headline_keys(name)[0] for name in ("seen_accuracy", "auroc", "balanced_accuracy", "auc")),
    ("detection", "auc", "seen", "micro"),
)
_LABELS = ("group", "source_key", "attribution_label", "detection_label")
_NAMES = {"seen_accuracy": "accuracy", "auroc": "AUROC", "balanced_accuracy": "balanced accuracy", "auc": "AUC"}
Kind = Literal["crops", "quality"]


@dataclass(frozen=True)
class Condition:
    """One way in which the test faces are prepared, and the predictions for them."""

    name: str
    kind: Kind
    frame: pd.DataFrame


@dataclass(frozen=True)
class Sensitivity:
    """What was compared: faces and sources that all conditions have, faces of each, and a row a number and condition.

    `counts` say of each condition its `faces`, and how many of those the run was tested on it `lost` and has `further`.
    """

    faces: int
    sources: int
    counts: tuple[dict[str, Any], ...]
    rows: tuple[dict[str, Any], ...]


def compare_conditions(
    learnt: Condition,
    conditions: Sequence[Condition],
    protocol: Protocol,
    *,
    heads: str = "both",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Sensitivity:
    """Compare a run's numbers under each condition with those on faces as it learnt them.

    Args:
        learnt: the test faces cropped as the training faces were, uncorrupted.
        conditions: the others; predictions of the same model.
        protocol: of the run.
        heads: see `score`.
        resamples: of the bootstrap by source.
        seed: of the bootstrap.

    Raises:
        IntegrityError: no face is in all conditions, or one has other labels or sources in some.
    """
    every = [learnt, *conditions]
    common = _common_faces(every)
    frames = [_rows(one.frame, common) for one in every]
    for one, frame in zip(every, frames, strict=True):
        if odd := [name for name in _LABELS if not frame[name].equals(frames[0][name].astype(frame[name].dtype))]:
            raise IntegrityError(f"{one.name}: faces have another {odd[0]} than in {learnt.name}")
    scored = [_numbers(frame, protocol, heads, resamples, seed) for frame in frames]
    sources, first = Sources(frames[0]), scored[0]
    places = [(key, name) for key in first for name in range(1, len(every))]
    tested = corrected([compared(scored[at][key], first[key], sources(first[key].value)) for key, at in places])
    found = dict(zip(places, tested, strict=True))
    rows = []
    for key, number in first.items():
        rows.append(_row(learnt, number, None, resamples, seed))
        rows += [
            _row(one, scored[at][key], found[key, at], resamples, seed) for at, one in enumerate(conditions, start=1)
        ]
    return Sensitivity(len(common), int(frames[0]["source_key"].nunique()), tuple(_counts(every)), tuple(rows))


def sensitivity_table(found: Sensitivity, title: str, notes: Sequence[str] = ()) -> Table:
    """The table of one run: a section a number, a row a condition."""
    columns = (
        Column("condition", "Faces", "text"),
        Column("value", "Value", "percent"),
        Column("low", "95 % from", "percent"),
        Column("high", "to", "percent"),
        Column("difference", "Change", "percent"),
        Column("difference_low", "95 % from", "percent"),
        Column("difference_high", "to", "percent"),
        Column("p_holm", "p (Holm)", "p_value", 4),
        Column("verdict", "Holds?", "text"),
    )
    sections: dict[int, str] = {}
    for index, row in enumerate(found.rows):
        if not index or row["number"] != found.rows[index - 1]["number"]:
            sections[index] = str(row["number"])
    return Table(title, columns, found.rows, (*_notes(found), *notes), sections)


def _common_faces(conditions: Sequence[Condition]) -> list[str]:
    """Names of the faces that all conditions have, in order."""
    names: set[str] = set.intersection(*(set(one.frame["sample_id"]) for one in conditions))
    if not names:
        raise IntegrityError(f"no face is in all of {listed([one.name for one in conditions], 6)}: nothing to compare")
    return sorted(names)


def _rows(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return frame.set_index("sample_id").loc[list(names)].reset_index()


def _numbers(frame: pd.DataFrame, protocol: Protocol, heads: str, resamples: int, seed: int) -> dict[Key, Number]:
    """The numbers that are compared, those first that come first in `KEYS`; without what was not trained."""
    _, made = numbers(frame, protocol, heads=heads, resamples=resamples, seed=seed)
    known = {place_of(one.value)[:4]: one for one in made}
    return {key: known[key] for key in KEYS if key in known}


def _row(one: Condition, number: Number, change: Compared | None, resamples: int, seed: int) -> dict[str, Any]:
    value = number.with_interval(resamples, seed)
    low, high = value.ci95 or (None, None)
    between = (None, None) if change is None else change.ci95 or (None, None)
    return {
        "number": f"{value.task} {_NAMES[value.metric]}, {value.subset} ({value.averaging})",
        "task": value.task, "metric": value.metric, "subset": value.subset, "averaging": value.averaging,
        "condition": one.name, "kind": one.kind, "n": value.n, "value": value.value, "low": low, "high": high,
        "difference": change and change.difference, "difference_low": between[0], "difference_high": between[1],
        "test": change and change.test, "p": change and change.p, "p_holm": change and change.p_holm,
        "verdict": _verdict(change),
    }  # fmt: skip


def _verdict(change: Compared | None) -> str | None:
    """Whether a number holds, drops or rises, or why nothing can be said; None of the faces as learnt."""
    if change is None:
        return None
    if change.difference is None or (change.ci95 is None and change.p_holm is None):
        return change.null_reason or change.ci_reason
    sign = 1 if METRICS[change.metric].higher_is_better else -1
    excludes_zero = (
        change.ci95 is None or not change.ci95[0] <= 0 <= change.ci95[1]
    )  # tests of few sources may say otherwise
    shown = change.p_holm is not None and change.p_holm < LEVEL and excludes_zero
    if shown and sign * change.difference > 0:
        return "rises"
    if change.ci95 is not None and min(sign * bound for bound in change.ci95) > -ALLOWED:
        return "holds"
    if shown and change.difference:
        return "drops"
    why = (change.ci_reason or "").removeprefix("no interval: ")
    return f"undecided: {why}" if why else "undecided"


def _counts(conditions: Sequence[Condition]) -> Iterator[dict[str, Any]]:
    first = set(conditions[0].frame["sample_id"])
    for one in conditions:
        mine = set(one.frame["sample_id"])
        about = {"condition": one.name, "faces": len(mine)}
        yield {**about, "lost": len(first - mine), "further": len(mine - first)}


def _notes(found: Sensitivity) -> Iterator[str]:
    yield (
        f"Compared on the {found.faces:,} faces of {found.sources:,} sources that all conditions have; changes are"
        " paired by source, and both their intervals and tests count sources."
    )
    for about in found.counts:
        if about["lost"] or about["further"]:
            yield (
                f"{about['condition']}: {about['lost']:,} of the faces the run was tested on are lost,"
                f" {about['further']:,} further ones are left out."
            )
    yield (
        f"holds: a loss of more than {100 * ALLOWED:g} points can be ruled out (95 %), which says nothing for a number"
        f" that is at chance. drops, rises: shown at {LEVEL:g} after Holm's correction over the table. undecided:"
        " neither."
    )
