"""Do the printed intervals hold the truth, and from how many sources on? Before: the rule of record schema 1.1.

Faces of k sources a group are drawn from a model of which the truth is known (a large draw), scored as predictions are,
and the share of intervals that hold the truth is counted, with their mean width. Four scenarios: one face a source;
eight alike faces a source; four faces a source, of targets that all forged groups share; sources of one to thirty alike
faces. The truth of retrieval is that of the generators as they are registered, over all queries there could be; it
is simulated in two scenarios, and not in the table, which counts all sources and not those that are asked for.

    python benchmarks/interval_coverage.py --out benchmarks/results/interval_coverage.json
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.files import json_text, write_json
from dfad_bench.core.protocol import AttributionRule, Group, Protocol
from dfad_bench.metrics import METRICS, few_sources
from dfad_bench.metrics.retrieval import prototype_retrieval
from dfad_bench.report.attribution import registered_sources
from dfad_bench.report.score import numbers

RETRIEVAL = "prototype_retrieval"
WANTED, NOMINAL = 0.93, 0.95
COUNTS = (2, 3, 5, 8, 12, 20, 40)
EARLIER_COUNTS = (2, 5, 20)
SCENARIOS = {
    "one face a source": {"faces": 1, "alike": 0.0, "shared": False},
    "eight faces a source": {"faces": 8, "alike": 1.0, "shared": False},
    "shared targets": {"faces": 4, "alike": 0.7, "shared": True},
    "uneven sources": {"faces": 5, "alike": 1.0, "shared": False, "uneven": True},
}
PROTOCOL = Protocol(
    "coverage", 1, "Simulated",
    seen=(Group("real", "a", 0), Group("synthetic-gan-a", "a", 1), Group("synthetic-diffusion-a", "a", 2)),
    unseen=(Group("real", "b"), Group("synthetic-gan-b", "a"), Group("synthetic-flow-a", "a")),
    attribution=AttributionRule(thresholds=(0.9,), headline=0.9),
)  # fmt: skip
NUMBERS = {
    ("seen_accuracy", "seen", "macro"), ("seen_accuracy", "a/synthetic-gan-a", "none"),
    ("unseen_accuracy", "unseen", "macro"), ("unseen_accuracy", "a/synthetic-flow-a", "none"),
    ("auroc", "seen-vs-unseen", "micro"), ("oscr", "seen-vs-unseen", "micro"), ("fpr95", "seen-vs-unseen", "micro"),
    ("fpr95_openood", "seen-vs-unseen", "micro"),
    *((name, "unseen", "micro") for name in ("accuracy", "balanced_accuracy", "tpr", "tnr", "auc", "ap", "eer")),
    ("auc", "unseen", "macro"), ("auc", "a/synthetic-flow-a", "none"),
}  # fmt: skip
OF_RETRIEVAL = {(RETRIEVAL, "unseen", "macro"), (RETRIEVAL, "all", "macro")}
RETRIEVED = ("one face a source", "uneven sources")


def drawn(sources: int, scenario: str, rng: np.random.Generator) -> pd.DataFrame:
    """Predictions of all groups, of so many sources each."""
    about = SCENARIOS[scenario]
    faces, alike = int(about["faces"]), float(about["alike"])
    targets = rng.normal(size=(sources, 2))  # how easy a source is to attribute and to detect
    parts = []
    for place, group in enumerate(PROTOCOL.groups):
        fake, seen = group.taxon.detection_label, group.label >= 0
        easy = targets if about["shared"] and fake else rng.normal(size=(sources, 2))
        sizes = np.full(sources, faces)
        if "uneven" in about:
            sizes = np.minimum(1 + rng.exponential(faces - 1, sources).astype(int), 30)
        effects = np.repeat(alike * easy, sizes, axis=0)
        n = int(sizes.sum())
        logits = rng.normal(size=(n, 3))
        named = group.label if seen else place % 3
        logits[:, named] += (2.2 if seen else 0.2) + 0.2 * place + effects[:, 0]
        p = np.exp(2 * logits) / np.exp(2 * logits).sum(1, keepdims=True)
        frame = pd.DataFrame(p, columns=["p_0", "p_1", "p_2"])
        sign = 2 * fake - 1
        score = sign * (0.6 + 0.15 * place) + sign * effects[:, 1] + rng.normal(size=n)
        names = "t" if about["shared"] and fake else f"{group.key}-"
        frame["p_fake"] = 1 / (1 + np.exp(-score))
        frame["group"], frame["attribution_label"], frame["detection_label"] = group.key, group.label, fake
        frame["sample_id"] = [f"{group.key}#{i}" for i in range(n)]
        frame["source_key"] = [f"{names}{i}" for i in np.repeat(np.arange(sources), sizes)]
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def scored(
    frame: pd.DataFrame, scenario: str, resamples: int, seed: int, *, earlier: bool = False
) -> dict[tuple[str, ...], Any]:
    """The wanted numbers, with intervals where `resamples` is not 0."""
    _, made = numbers(frame, PROTOCOL, resamples=resamples, seed=seed, earlier=earlier)
    names = NUMBERS | (OF_RETRIEVAL if scenario in RETRIEVED else set())
    wanted = [n for n in made if (n.value.metric, n.value.subset, n.value.averaging) in names]
    values = [n.with_interval(resamples, seed) if resamples else n.value for n in wanted]
    return {(v.metric, v.subset, v.averaging): v for v in values}


def truths(scenario: str, sources: int = 10_000) -> dict[tuple[str, ...], float]:
    """What the numbers would be on all faces there could be; of retrieval a number that is not used."""
    found = scored(drawn(sources, scenario, np.random.default_rng(0)), scenario, 0, 0)
    return {key: float(value.value) for key, value in found.items()}


def retrieval_truth(frame: pd.DataFrame, members: tuple[str, ...], queries: pd.DataFrame) -> float:
    """The share of all faces there could be that find their generator among those registered in a small draw."""
    columns = ["p_0", "p_1", "p_2"]
    known = frame[registered_sources(frame["source_key"].to_numpy(str), PROTOCOL.seed) & frame["group"].isin(members)]
    asked = queries[queries["group"].isin(members)]
    every = pd.concat([known, asked])
    marks = np.arange(len(every)) < len(known)
    hits = prototype_retrieval(every[columns].to_numpy(), every["group"].to_numpy(str), marks)[len(known) :]
    return float(np.mean([hits[(asked["group"] == key).to_numpy()].mean() for key in members]))


def cell(task: tuple[str, int, int, int, bool, dict[tuple[str, ...], float]]) -> list[dict[str, Any]]:
    """Coverage and width of every number for so many sources a group."""
    scenario, sources, repeats, resamples, earlier, truth = task
    few_sources.LEAST_SOURCES = dict.fromkeys(METRICS, 2)  # here every interval is made, to see whether it holds
    queries = drawn(3000, scenario, np.random.default_rng(1))
    tally = {key: {"held": 0, "printed": 0, "at_edge": 0, "width": 0.0} for key in truth}
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, sources, list(SCENARIOS).index(scenario)])
        frame = drawn(sources, scenario, rng)
        for key, value in scored(frame, scenario, resamples, repeat, earlier=earlier).items():
            counts = tally[key]
            if value.value is None or min(value.value, 1 - value.value) < 1e-9:
                counts["at_edge"] += 1
            elif value.ci95 is not None:
                counts["printed"] += 1
                at = retrieval_truth(frame, value.members, queries) if key[0] == RETRIEVAL else truth[key]
                counts["held"] += value.ci95[0] <= at <= value.ci95[1]
                counts["width"] += value.ci95[1] - value.ci95[0]
    return [
        {
            "metric": key[0], "subset": key[1], "averaging": key[2], "scenario": scenario, "sources": sources,
            "rule": "before" if earlier else "after", "printed": n["printed"], "at_edge": n["at_edge"],
            "coverage": round(n["held"] / n["printed"], 4) if n["printed"] else None,
            "width": round(n["width"] / n["printed"], 4) if n["printed"] else None,
        }
        for key, n in sorted(tally.items())
    ]  # fmt: skip


def enough(row: dict[str, Any]) -> bool:
    """Whether a cell covers what it should, less two Monte Carlo errors; one with few intervals says nothing."""
    if row["printed"] < 50:
        return True
    return bool(row["coverage"] >= WANTED - 2 * sqrt(NOMINAL * (1 - NOMINAL) / row["printed"]))


def least(rows: list[dict[str, Any]]) -> dict[str, int]:
    """For each metric the smallest number of sources from which on every number of it covers what it should."""
    found = {}
    for metric in sorted({row["metric"] for row in rows} - {RETRIEVAL}):
        mine = [row for row in rows if row["metric"] == metric and row["rule"] == "after"]
        bad = [row["sources"] for row in mine if not enough(row)]
        counts = sorted({row["sources"] for row in mine})
        found[metric] = next(k for k in counts if k > max(bad, default=0))
    return found


def tasks(repeats: int, resamples: int) -> Iterator[tuple[Any, ...]]:
    """Every cell, the slow ones first."""
    truth = {scenario: truths(scenario) for scenario in SCENARIOS}
    for sources in sorted(COUNTS, reverse=True):
        for scenario in SCENARIOS:
            for earlier in (False, True) if sources in EARLIER_COUNTS else (False,):
                yield scenario, sources, repeats, resamples, earlier, truth[scenario]


def parse_options(description: str | None, *, repeats: int) -> argparse.Namespace:
    """How often to draw and to resample, by how many processes, and where to write."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def write_or_print(result: dict[str, Any], out: Path | None) -> None:
    """The result as JSON, into a file or on stdout."""
    if out:
        write_json(out, result)
    else:
        print(json_text(result), end="")


def main() -> None:
    """Run all cells and print or write what was found."""
    options = parse_options(__doc__, repeats=240)
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        cells = pool.imap(cell, tasks(options.repeats, options.resamples))
        rows = [row for found in cells for row in found]
    result = {
        "repeats": options.repeats, "resamples": options.resamples, "wanted": WANTED,
        "least_sources": least(rows), "cells": rows,
    }  # fmt: skip
    write_or_print(result, options.out)


if __name__ == "__main__":
    main()
