"""Is every number of a record what a second, independent scorer says? Random protocols and predictions, both scorers.

Random records hold what data have and code forgets: equal scores, constant and certain answers, groups without a face,
one class only, no unseen generator, processed real faces, groups outside of averages, several faces of a source, frames
of videos beside still images. `second_scorer.py` has the definitions, in plain Python. Values, counts of faces, the
sweep over thresholds and the counts of groups are compared; intervals are not (see `interval_coverage.py`).

    python benchmarks/second_scores.py --records 10000 --out benchmarks/results/second_scores.json
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
import second_scorer

from dfad_bench.core.files import write_json
from dfad_bench.core.labels import FAKE
from dfad_bench.core.protocol import AttributionRule, Group, Protocol
from dfad_bench.core.taxonomy import REAL_KEY, taxonomy
from dfad_bench.report.score import Score, score

TOLERANCE = 1e-9
_PARTS = 64  # probabilities are multiples of 1/64 where ties are wanted: sums of them are exact
_FORGED = [row.key for row in taxonomy() if row.detection_label == FAKE and row.key != "fake"]
_PROCESSED = [row.key for row in taxonomy() if row.processed]


def random_protocol(rng: np.random.Generator) -> Protocol:
    """One to four seen groups, none to six unseen ones, real, forged and processed."""
    forged = list(rng.choice(_FORGED, 9, replace=False))
    names = [REAL_KEY] * bool(rng.random() < 0.85) + [forged.pop() for _ in range(rng.integers(0, 4))]
    names = names or [forged.pop()]
    seen = tuple(Group(str(name), "a", label) for label, name in enumerate(names))
    unseen = [Group(str(forged.pop()), "b", in_average=bool(rng.random() < 0.85)) for _ in range(rng.integers(0, 5))]
    unseen += [Group(REAL_KEY, "b", in_average=bool(rng.random() < 0.5))] * bool(rng.random() < 0.5)
    unseen += [Group(str(rng.choice(_PROCESSED)), "c")] * bool(_PROCESSED and rng.random() < 0.3)
    asked = sorted(rng.choice([0.5, 0.7, 0.9], rng.integers(1, 4), replace=False).tolist())
    rule = AttributionRule(thresholds=tuple(asked), headline=asked[0])
    return Protocol("random", 1, "Random", seen, tuple(unseen), attribution=rule, seed=int(rng.integers(0, 9)))


def random_probabilities(rng: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    """(rows, classes): with ties, without, certain, or the same for all."""
    kind = rng.choice(["ties", "ties", "continuous", "certain", "constant"])
    if kind == "continuous":
        return rng.dirichlet(np.full(classes, rng.choice([0.2, 1.0, 5.0])), rows)
    if kind == "certain":
        return np.eye(classes)[rng.integers(0, classes, rows)]
    shares = rng.dirichlet(np.full(classes, 0.7), rows if kind == "ties" else 1)
    parts = np.array([rng.multinomial(_PARTS, share) for share in shares]) / _PARTS
    return np.repeat(parts, rows, axis=0) if kind == "constant" else parts


def random_frame(rng: np.random.Generator, protocol: Protocol) -> pd.DataFrame:
    """Predictions of up to nine faces a group; some groups have none."""
    some = [g for g in protocol.groups if rng.random() < 0.85] or list(protocol.groups[:1])
    groups = [g for g in some for _ in range(rng.integers(1, 10))]
    rows = len(groups)
    frame = pd.DataFrame(
        {
            "sample_id": [f"{k:03d}" for k in rng.permutation(rows)],
            "group": [g.key for g in groups],
            "source_key": [f"s{k}" for k in rng.integers(0, max(2, rows // rng.integers(1, 4)), rows)],
            "attribution_label": [g.label for g in groups],
            "detection_label": [g.taxon.detection_label for g in groups],
        }
    )
    for label, column in enumerate(random_probabilities(rng, rows, protocol.num_generators).T):
        frame[f"p_{label}"] = column
    grid = rng.choice([2, 8, _PARTS])
    p_fake = rng.random(rows) if rng.random() < 0.4 else rng.integers(0, grid + 1, rows) / grid
    frame["p_fake"] = 0.5 if rng.random() < 0.05 else p_fake
    if rng.random() < 0.4:
        names = [None if rng.random() < 0.3 else f"v{k}" for k in rng.integers(0, 4, rows)]
        frame["video"] = pd.Series(names, dtype=object)
    return frame


def plain_rows(frame: pd.DataFrame, classes: int) -> list[dict[str, Any]]:
    """Predictions as the second scorer takes them."""
    videos = frame["video"] if "video" in frame else pd.Series([None] * len(frame), dtype=object)
    probs = frame[[f"p_{k}" for k in range(classes)]].to_numpy().tolist()
    names = frame[["sample_id", "group", "source_key"]].to_dict("records")
    return [
        {**name, "p": p, "p_fake": float(fake), "video": video if isinstance(video, str) else None}
        for name, p, fake, video in zip(names, probs, frame["p_fake"], videos, strict=True)
    ]


def plain_groups(protocol: Protocol) -> list[dict[str, Any]]:
    """What the second scorer must know of the groups: facts of the taxonomy and the protocol."""
    return [
        {
            "key": g.key, "label": g.label, "fake": g.taxon.detection_label == FAKE, "processed": g.taxon.processed,
            "in_average": g.in_average, "family": g.taxon.grouping.value, "forgery": g.taxon.forgery.value,
        }
        for g in protocol.groups
    ]  # fmt: skip


class Tally:
    """The largest difference of each metric, and what does not fit at all."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = defaultdict(float)
        self.compared: dict[str, int] = defaultdict(int)
        self.undefined, self.faults = 0, list[str]()

    def compare(self, name: str, where: str, ours: float | None, theirs: float | None) -> None:
        """Two values of one number."""
        self.compared[name] += 1
        self.undefined += ours is None and theirs is None
        if (ours is None) != (theirs is None):
            self.faults.append(f"{where}: {ours} here, {theirs} there")
        elif ours is not None and theirs is not None:
            self.largest[name] = max(self.largest[name], abs(ours - theirs))
            if not abs(ours - theirs) <= TOLERANCE:
                self.faults.append(f"{where}: {ours!r} here, {theirs!r} there")

    def compare_record(self, where: str, made: Score, frame: pd.DataFrame, protocol: Protocol) -> None:
        """All numbers of a record."""
        rows, groups = plain_rows(frame, protocol.num_generators), plain_groups(protocol)
        thresholds = list(protocol.attribution.thresholds)
        theirs = second_scorer.score(rows, groups, thresholds, protocol.seed)
        ours = {(v.task, v.metric, v.subset, v.averaging, v.params.get("threshold")): v for v in made.metrics}
        if odd := ours.keys() ^ theirs.keys():
            self.faults.append(f"{where}: only one scorer has {sorted(map(str, odd))[:3]}")
        for key in ours.keys() & theirs.keys():
            value, faces = theirs[key]
            self.compare(key[1], f"{where} {key}", ours[key].value, value)
            self.compare("faces of a number", f"{where} {key} n", ours[key].n, faces)
        self._sweep(where, made, second_scorer.sweep(rows, groups, thresholds))
        self._counts(where, made, second_scorer.counts(rows, groups, thresholds))

    def _sweep(self, where: str, made: Score, theirs: dict[float, tuple[float | None, ...]]) -> None:
        assert made.sweep is not None
        lists = (made.sweep.unseen_accuracy, made.sweep.seen_kept, made.sweep.seen_right)
        if list(made.sweep.thresholds) != list(theirs):
            self.faults.append(f"{where}: other thresholds of the sweep")
        for place, (threshold, values) in enumerate(theirs.items()):
            for ours, value in zip(lists, values, strict=True):
                self.compare("sweep", f"{where} sweep at {threshold}", ours[place], value)

    def _counts(self, where: str, made: Score, theirs: dict[str, tuple[Any, ...]]) -> None:
        found = {
            key: (c.n, {float(t): n for t, n in c.below.items()}, c.correct, c.tp, c.fp, c.fn, c.tn, tuple(c.named))
            for key, c in made.groups.items()
        }
        self.compared["counts of a group"] += len(theirs)
        if found != theirs:
            self.faults.append(f"{where}: other counts of groups")


def run(records: int, seed: int) -> Tally:
    """Score random records by both scorers."""
    tally = Tally()
    for number in range(records):
        rng = np.random.default_rng([seed, number])
        protocol = random_protocol(rng)
        frame = random_frame(rng, protocol)
        tally.compare_record(f"record {number}", score(frame, protocol, resamples=0), frame, protocol)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    began = time.process_time()
    tally = run(asked.records, asked.seed)
    found = {
        "records": asked.records, "seed": asked.seed, "tolerance": TOLERANCE, "differences": len(tally.faults),
        "first_differences": tally.faults[:10], "compared": dict(sorted(tally.compared.items())),
        "undefined_in_both": tally.undefined, "largest_difference": dict(sorted(tally.largest.items())),
        "processor_seconds": round(time.process_time() - began),
    }  # fmt: skip
    if asked.out is not None:
        write_json(asked.out, found)
    for name, value in found.items():
        print(f"{name}: {value}")
    sys.exit(bool(tally.faults))


if __name__ == "__main__":
    main()
