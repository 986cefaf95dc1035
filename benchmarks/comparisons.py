"""Does a comparison name a winner where there is none, and do means over seeds hold the truth? Before and after.

- `groups`: two models, equal in the mean over groups of 2000, 40 and 40 faces, one better in the large group: how
  often is a winner named? Before: McNemar's test, which counts faces, beside the sign of the mean over groups.
- `pairs`: two models of k sources a group, that err alike on average or of which B detects and attributes better: how
  often does the interval of the difference hold the true one, how often is p below 0.05, how often does that not agree
  with whether the interval holds 0? Before: percentiles of the paired draws.
- `seeds`: a mean over k seeds of a number with noise of sources and of seeds: how often does its interval hold the
  truth? Before: the normal quantile for both. The interval of one seed is of faces alone, and boards say so.
- `lucky`: four equal models of three seeds, and the best of 50 single seeds of a fifth one: how often does that stand
  alone at rank 1? Before: without the variance between seeds.

    python benchmarks/comparisons.py --out benchmarks/results/comparisons.json
"""

from __future__ import annotations

import multiprocessing
import sys
from math import hypot, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from interval_coverage import NUMBERS, PROTOCOL, SCENARIOS, drawn, least, parse_options, write_or_print

from dfad_bench.metrics import METRICS, few_sources
from dfad_bench.metrics.interval import bounds
from dfad_bench.metrics.paired import least_p, mcnemar
from dfad_bench.metrics.spread import Spread
from dfad_bench.report.board_ranks import rank_rows
from dfad_bench.report.paired_numbers import LEVEL, Sources, compared
from dfad_bench.report.ranks import half_width, rank_intervals, seeds_spread
from dfad_bench.report.score import numbers
from dfad_bench.report.scored_faces import Number

SIZES = (2000, 40, 40)  # faces of the three seen groups
COUNTS = (2, 3, 4, 5, 8, 12, 20, 40)
MARGINS = (0.0, 1.0)  # logits by which B is better
SEEDS = (1, 2, 3, 5)
OF_SEEDS = (0.5, 1.0, 3.0)  # the deviation between seeds over the standard error over sources
SOURCES = 30
_Z95 = 1.959963984540054
Key = tuple[str, str, str]


def numbers_of(frame: pd.DataFrame, resamples: int, seed: int) -> dict[Key, Number]:
    """The numbers of some predictions, those of the smaller simulation."""
    made = numbers(frame, PROTOCOL, resamples=resamples, seed=seed)[1]
    keys = {(n.value.metric, n.value.subset, n.value.averaging): n for n in made}
    return {key: keys[key] for key in sorted(NUMBERS) if key[::2] != ("auc", "none")}


def groups(repeats: int, resamples: int) -> dict[str, Any]:
    """How often a winner is named of two models that are equal in the mean over groups."""
    keys = [group.key for group in PROTOCOL.seen]
    right = {"a": (0.80, 0.70, 0.70), "b": (0.70, 0.75, 0.75)}  # shares of faces named rightly: both means 0.7333
    wins = {"before": 0, "after": 0}
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, 1])
        sides = {name: _of_shares(keys, shares, rng) for name, shares in right.items()}
        a, b = (_seen_accuracy(sides[name], resamples, repeat) for name in ("a", "b"))
        after = compared(a, b, Sources(sides["a"])(a.value))
        assert after.p is not None
        wins["after"] += after.p < LEVEL
        hits = [side["right"].to_numpy(bool) for side in sides.values()]
        wins["before"] += mcnemar(hits[0], hits[1], sides["a"]["source_key"].to_numpy(str)).p < LEVEL
    return {rule: round(count / repeats, 4) for rule, count in wins.items()}


def _of_shares(keys: list[str], shares: tuple[float, ...], rng: np.random.Generator) -> pd.DataFrame:
    parts = []
    for label, (key, size, share) in enumerate(zip(keys, SIZES, shares, strict=True)):
        right = rng.random(size) < share
        named = np.where(right, label, (label + 1) % 3)
        probs = np.full((size, 3), 0.1)
        probs[np.arange(size), named] = 0.8
        frame = pd.DataFrame(probs, columns=["p_0", "p_1", "p_2"])
        kind = PROTOCOL.seen[label].taxon.detection_label
        frame = frame.assign(
            p_fake=0.5, group=key, attribution_label=label, detection_label=kind, right=right,
            sample_id=[f"{key}#{i}" for i in range(size)], source_key=[f"{key}-{i}" for i in range(size)],
        )  # fmt: skip
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def _seen_accuracy(frame: pd.DataFrame, resamples: int, seed: int) -> Number:
    made = numbers(frame.drop(columns="right"), PROTOCOL, resamples=resamples, seed=seed)[1]
    return next(n for n in made if (n.value.metric, n.value.averaging) == ("seen_accuracy", "macro"))


def as_good(base: pd.DataFrame, sources: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Predictions that err as others made of the same base do: noise of faces and of sources."""
    columns = ["p_0", "p_1", "p_2"]
    of_source = rng.normal(size=(int(sources.max()) + 1, 4))[sources]
    noise = 0.8 * rng.normal(size=(len(base), 4)) + 0.5 * of_source
    logits = np.log(base[columns].to_numpy() + 1e-9) + noise[:, :3]
    probs = np.exp(logits - logits.max(1, keepdims=True))
    fake = np.log(base["p_fake"] / (1 - base["p_fake"])) + noise[:, 3]
    made = base.copy()
    made[columns] = probs / probs.sum(1, keepdims=True)
    return made.assign(p_fake=1 / (1 + np.exp(-fake)))


def better(frame: pd.DataFrame, margin: float) -> pd.DataFrame:
    """The same predictions with so many logits more for what is right, of seen generators and of detection."""
    columns = ["p_0", "p_1", "p_2"]
    probs = frame[columns].to_numpy().copy()
    seen = np.flatnonzero(frame["attribution_label"] >= 0)
    probs[seen, frame["attribution_label"].to_numpy()[seen]] *= np.exp(margin)
    fake = np.log(frame["p_fake"] / (1 - frame["p_fake"])) + margin * (2 * frame["detection_label"] - 1)
    made = frame.assign(p_fake=1 / (1 + np.exp(-fake)))
    made[columns] = probs / probs.sum(1, keepdims=True)
    return made


def two_models(sources: int, scenario: str, margin: float, rng: np.random.Generator) -> list[pd.DataFrame]:
    """Predictions of A, and of B that is better by so many logits, for the same faces."""
    base = drawn(sources, scenario, rng)
    of = pd.factorize(base["group"] + base["source_key"])[0]
    sides = [as_good(base, of, rng) for _ in "ab"]
    return [sides[0], better(sides[1], margin)]


def true_differences(scenario: str, margin: float, sources: int = 6000) -> dict[Key, float]:
    """What the differences would be on all faces there could be."""
    if not margin:
        return {}
    a, b = (numbers_of(side, 0, 0) for side in two_models(sources, scenario, margin, np.random.default_rng(3)))
    return {key: a[key].value.value - b[key].value.value for key in a}


def pairs(task: tuple[str, float, dict[Key, float], int, int, int]) -> list[dict[str, Any]]:
    """Intervals and p-values of differences of two models whose true differences are known (default 0)."""
    scenario, margin, truth, sources, repeats, resamples = task
    few_sources.LEAST_OF_DIFFERENCES = {}
    few_sources.LEAST_SOURCES = dict.fromkeys(METRICS, 2)  # as in `interval_coverage.py`: every interval is made
    tally: dict[tuple[Key, str], list[tuple[bool, bool, bool, float]]] = {}
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, sources, 7, list(SCENARIOS).index(scenario)])
        frames = two_models(sources, scenario, margin, rng)
        sides, sources_of = [numbers_of(frame, resamples, repeat) for frame in frames], Sources(frames[0])
        for key, a in sides[0].items():
            b = sides[1][key]
            made = compared(a, b, sources_of(a.value))
            if not made.difference or made.ci95 is None:
                continue  # equal values, or no resample with a value
            draws, at = a.draws() - b.draws(), truth.get(key, 0.0)
            p = made.p if a.hits is not None or a.ranked is not None else bootstrap_p(draws, sources_of(a.value))
            for rule, between, of in (("after", made.ci95, made.p), ("before", bounds(draws), p)):
                test, holds_zero = of is not None and of < LEVEL, between[0] <= 0 <= between[1]
                found = (between[0] <= at <= between[1], test, test == holds_zero, between[1] - between[0])
                tally.setdefault((key, rule), []).append(found)
    return [
        {
            "metric": key[0], "subset": key[1], "averaging": key[2], "scenario": scenario, "sources": sources,
            "margin": margin, "rule": rule, "printed": len(rows),
            **{
                name: round(fmean(row[at] for row in rows), 4)
                for at, name in enumerate(("coverage", "rejected", "disagrees", "width"))
            },
        }
        for (key, rule), rows in sorted(tally.items())
    ]  # fmt: skip


def bootstrap_p(differences: np.ndarray, sources: int) -> float | None:
    """The earlier p-value: of paired draws against 0, never below what exchanging the models by source could show."""
    known = differences[~np.isnan(differences)]
    if not len(known) or np.ptp(known) < 1e-12:
        return None
    tail = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, max(2 * (tail + 1) / (len(known) + 1), least_p(sources))))


def least_of_differences(rows: list[dict[str, Any]]) -> dict[str, int]:
    """For each metric that needs more sources for differences than for numbers, the smallest number that holds."""
    found = least(rows)
    return {metric: count for metric, count in found.items() if count > few_sources.least_sources(metric)}


def of_seeds(rng: np.random.Generator, seeds: int, deviation: float) -> tuple[list[float], list[Spread]]:
    """A number of each seed, on the same sources, and its spread over them; the truth is 0."""
    own = rng.normal(size=SOURCES)
    rows = own + 0.5 * rng.normal(size=(seeds, SOURCES)) + deviation / sqrt(SOURCES) * rng.normal(size=(seeds, 1))
    spreads = [Spread(float(row.std(ddof=1)) / sqrt(SOURCES), SOURCES - 1) for row in rows]
    return [float(row.mean()) for row in rows], spreads


def _earlier_half(values: list[float], spreads: list[Spread]) -> float:
    faces = fmean(_Z95 * of.error for of in spreads)
    return hypot(faces, _Z95 * stdev(values) / sqrt(len(values))) if len(values) > 1 else faces


def seeds(repeats: int) -> list[dict[str, Any]]:
    """How often intervals of means over seeds hold the truth, and how wide they are."""
    rows = []
    for deviation in OF_SEEDS:
        for count in SEEDS:
            halves: dict[str, list[tuple[bool, float]]] = {"before": [], "after": []}
            for repeat in range(repeats):
                values, spreads = of_seeds(np.random.default_rng([repeat, count]), count, deviation)
                made = {"before": _earlier_half(values, spreads), "after": half_width(seeds_spread(spreads, values))}
                for rule, half in made.items():
                    assert half is not None
                    halves[rule].append((abs(fmean(values)) <= half, half))
            for rule, kept in halves.items():
                rows.append({
                    "seeds": count, "deviation": deviation, "rule": rule, "printed": repeats,
                    "coverage": round(fmean(held for held, _ in kept), 4),
                    "width": round(2 * fmean(half for _, half in kept), 4),
                })  # fmt: skip
    return rows


def lucky(repeats: int) -> list[dict[str, Any]]:
    """How often the best of 50 single seeds stands alone at rank 1 before four equal models of three seeds."""
    rows = []
    for deviation in OF_SEEDS:
        alone = {"before": 0, "after": 0}
        for repeat in range(repeats):
            rng = np.random.default_rng([repeat, 50])
            models = [of_seeds(rng, 3, deviation) for _ in range(4)]
            tried, spreads = of_seeds(rng, 50, deviation)
            best = int(np.argmax(tried))
            models.append(([tried[best]], [spreads[best]]))
            means = [fmean(values) for values, _ in models]
            halves = [_earlier_half(values, of) for values, of in models]
            alone["before"] += rank_intervals(means, halves)[-1] == (1, 1)
            ranked: list[dict[str, Any]] = [
                {"oscr": mean, "seeds": len(values), "_oscr_by_seed": (values, of)}
                for mean, (values, of) in zip(means, models, strict=True)
            ]
            rank_rows(sorted(ranked, key=lambda row: -row["oscr"]))
            alone["after"] += (ranked[-1]["rank_best"], ranked[-1]["rank_worst"]) == (1, 1)
        rows += [{"deviation": deviation, "rule": rule, "alone": round(n / repeats, 4)} for rule, n in alone.items()]
    return rows


def main() -> None:
    """Run all simulations and print or write what was found."""
    options = parse_options(__doc__, repeats=120)
    scenarios = ("one face a source", "shared targets")
    truth = {(scenario, margin): true_differences(scenario, margin) for scenario in scenarios for margin in MARGINS}
    tasks = [
        (scenario, margin, truth[scenario, margin], count, options.repeats, options.resamples)
        for count in sorted(COUNTS, reverse=True)
        for scenario, margin in truth
    ]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        rows = [row for part in pool.imap(pairs, tasks) for row in part]
    result = {
        "repeats": options.repeats, "resamples": options.resamples,
        "groups": groups(options.repeats, options.resamples), "pairs": rows,
        "least_of_differences": least_of_differences(rows), "seeds": seeds(10 * options.repeats),
        "lucky": lucky(5 * options.repeats),
    }  # fmt: skip
    write_or_print(result, options.out)


if __name__ == "__main__":
    main()
