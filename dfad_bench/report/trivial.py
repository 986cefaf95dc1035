"""The rows every table starts with: scores of constant answers, by the function that scores models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.score import Score, score

ALWAYS_FAKE = "always fake, never sure"
MAJORITY = "majority class"


def trivial_scores(
    protocol: Protocol, tested: Mapping[str, int], trained: Mapping[str, int] | None = None
) -> dict[str, Score]:
    """Scores of constant answers.

    "Always fake, never sure" spreads attribution evenly, which the threshold rule calls unseen every time (the papers'
    unseen ACC of 100 %), and calls every face fake. "Majority class" answers with the seen generator that has most
    training faces, and with the more frequent of real and fake.

    Args:
        protocol: groups and thresholds.
        tested: test faces of each group.
        trained: training faces of each seen group; evenly spread where not known.
    """
    classes = protocol.num_generators
    seen = sorted(protocol.seen, key=lambda group: group.label)
    counts = [(trained or {}).get(group.key, 1 if trained is None else 0) for group in seen]
    fakes = sum(n for n, group in zip(counts, seen, strict=True) if group.taxon.detection_label == FAKE)
    reals = sum(n for n, group in zip(counts, seen, strict=True) if group.taxon.detection_label == REAL)
    even = np.full(classes, 1 / classes)
    most = np.eye(classes)[int(np.argmax(counts))]
    return {
        ALWAYS_FAKE: score(_constant(protocol, tested, even, 1.0), protocol, resamples=0),
        MAJORITY: score(_constant(protocol, tested, most, float(fakes > reals)), protocol, resamples=0),
    }


def trivial_scores_of(record: ResultRecord, protocol: Protocol) -> dict[str, Score]:
    """The same for the faces of a record."""
    train = record.manifest.splits.get("train")
    tested = {key: group.n for key, group in record.groups.items()}
    return trivial_scores(protocol, tested, train.generators if train else None)


def planned(protocol: Protocol) -> dict[str, int]:
    """Test faces a group as the protocol asks for them; one a group where it takes all there are."""
    return {g.key: (g.test if g.test is not None else protocol.test_per_group) or 1 for g in protocol.groups}


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
