"""The rows every table starts with: scores of constant answers, by the function that scores models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import gcd

import numpy as np
import pandas as pd

from dfad_bench.core.labels import FAKE, REAL, generator_counts
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.record_diff import without_interval
from dfad_bench.report.score import Score, score

ALWAYS_FAKE = "always fake, never sure"
MAJORITY = "majority class"
_SAME = 1e-12
_LEAST = 8  # faces of a group, so that some can be registered for retrieval


NOT_COUNTED = "the training faces of each seen generator are not known here"
NOT_FIXED = "the protocol tests as many faces as there are in some groups"


def trivial_scores(
    protocol: Protocol, tested: Mapping[str, int], trained: Mapping[str, int] | None = None
) -> dict[str, Score]:
    """Scores of constant answers.

    "Always fake, never sure" spreads attribution evenly, which the threshold rule calls unseen every time (the papers'
    unseen ACC of 100 %), and calls every face fake. "Majority class" answers with the seen generator that has most
    training faces (of several equal ones the first), and with the more frequent of real and fake.

    Args:
        protocol: groups and thresholds.
        tested: test faces of each group.
        trained: training faces of each seen group; where they are not known, None, and numbers that depend on which
            class is the majority are null with a reason.
    """
    always = _score(protocol, tested, np.full(protocol.num_generators, 1 / protocol.num_generators), 1.0)
    if trained is None:
        answers, fewer = _answers(protocol), _reduced_counts(tested)
        possible = [_score(protocol, fewer, *answer, intervals=False) for answer in answers]
        majority = agreed(_score(protocol, tested, *answers[0]), possible, NOT_COUNTED)
    else:
        majority = _score(protocol, tested, *_majority(protocol, trained))
    return {ALWAYS_FAKE: always, MAJORITY: majority}


def trivial_scores_of(
    record: ResultRecord, protocol: Protocol, others: Iterable[ResultRecord] = ()
) -> dict[str, Score]:
    """The same for the faces of a record; `others` may hold the record of the run that it evaluates."""
    runs = (record, *(other for other in others if other.run.config_sha256 == record.run.config_sha256))
    known = next((counts for run in runs if (counts := training_counts(run)) is not None), None)
    tested = {key: group.n for key, group in record.groups.items()}
    trained = None if known is None else {group.key: known.get(group.generator, 0) for group in protocol.seen}
    return trivial_scores(protocol, tested, trained)


def training_counts(record: ResultRecord) -> dict[str, int] | None:
    """Training faces of each seen generator, of a run or as its evaluation states them; None where it does not."""
    train = record.manifest.splits.get("train")
    if train is None:
        return record.run.trained_on
    return generator_counts(train.generators)


def planned_scores(protocol: Protocol) -> dict[str, Score]:
    """The same for the faces a protocol asks for; a number that depends on counts it leaves open is null."""
    counts = [group.train if group.train is not None else protocol.train_per_group for group in protocol.seen]
    known = {group.key: n for group, n in zip(protocol.seen, counts, strict=True) if n is not None}
    trained = known if len(known) == len(protocol.seen) else None
    tested = planned(protocol)
    scored = trivial_scores(protocol, tested, trained)
    open_counts = [
        g.key for g in protocol.groups if (g.test if g.test is not None else protocol.test_per_group) is None
    ]
    if not open_counts:
        return scored
    others = {**tested, **{key: 2 + 3 * place % 7 for place, key in enumerate(open_counts)}}
    other = trivial_scores(protocol, others, trained)
    return {name: agreed(scored[name], [scored[name], other[name]], NOT_FIXED) for name in scored}


def planned(protocol: Protocol) -> dict[str, int]:
    """Test faces a group as the protocol asks for them; one a group where it takes all there are."""
    return {g.key: (g.test if g.test is not None else protocol.test_per_group) or 1 for g in protocol.groups}


def agreed(shown: Score, possible: Sequence[Score], reason: str) -> Score:
    """`shown`, where all possible scores agree; a number in which they differ is null, because of `reason`."""
    metrics = []
    for place, number in enumerate(shown.metrics):
        values = [score.metrics[place].value for score in possible]
        known = [value for value in values if value is not None]
        same = len(known) in (0, len(values)) and (not known or max(known) - min(known) < _SAME)
        metrics.append(number if same else replace(without_interval(number), value=None, null_reason=reason))
    alike = all(score.groups == possible[0].groups for score in possible)
    return Score(tuple(metrics), shown.groups if alike else {}, shown.sweep if alike else None)


def trivial_notes(scores: Mapping[str, Score]) -> list[str]:
    """A line for each constant answer of which some numbers are not known here, and why."""
    found: dict[str, None] = {}
    for name, scored in scores.items():
        for number in scored.metrics:
            if number.null_reason in (NOT_COUNTED, NOT_FIXED):
                found[f"{name}: a dash where {number.null_reason}."] = None
    return list(found)


def _majority(protocol: Protocol, trained: Mapping[str, int]) -> tuple[np.ndarray, float]:
    """Class probabilities (x,) and the probability of fake."""
    seen = sorted(protocol.seen, key=lambda group: group.label)
    counts = [trained.get(group.key, 0) for group in seen]
    fakes = sum(n for n, group in zip(counts, seen, strict=True) if group.taxon.detection_label == FAKE)
    reals = sum(n for n, group in zip(counts, seen, strict=True) if group.taxon.detection_label == REAL)
    return np.eye(protocol.num_generators)[int(np.argmax(counts))], float(fakes > reals)


def _answers(protocol: Protocol) -> list[tuple[np.ndarray, float]]:
    """Every class as the majority, and both answers of detection; attribution does not depend on these."""
    classes = np.eye(protocol.num_generators)
    answers = [(most, float(place > 0)) for place, most in enumerate(classes)]
    return answers if len(answers) > 1 else [(classes[0], 0.0), (classes[0], 1.0)]


def _reduced_counts(tested: Mapping[str, int]) -> dict[str, int]:
    """Fewer faces in the same proportions, where there are such: constant answers score the same on them."""
    divisor = gcd(*tested.values()) or 1
    return {key: n // divisor * min(divisor, _LEAST) for key, n in tested.items()}


def _score(
    protocol: Protocol, tested: Mapping[str, int], probs: np.ndarray, p_fake: float, *, intervals: bool = True
) -> Score:
    return score(_constant(protocol, tested, probs, p_fake), protocol, resamples=0, intervals=intervals)


def _constant(protocol: Protocol, tested: Mapping[str, int], probs: np.ndarray, p_fake: float) -> pd.DataFrame:
    groups = [group for group in protocol.groups if tested.get(group.key)]
    repeats = [tested[group.key] for group in groups]
    names = [str(number) for number in range(sum(repeats))]
    return pd.DataFrame(
        {
            "sample_id": names,
            "group": np.repeat([group.key for group in groups], repeats),
            "source_key": names,
            "attribution_label": np.repeat([group.label for group in groups], repeats),
            "detection_label": np.repeat([group.taxon.detection_label for group in groups], repeats),
            **{f"p_{k}": value for k, value in enumerate(probs)},
            "p_fake": p_fake,
        }
    )
