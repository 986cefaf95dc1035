"""What does `dfad claim` say where training with and without something is equally good?

Models of several seeds are drawn that err alike on average, with noise of their faces, their sources and their
training, in pairs with and without: any verdict but "undecided" is false. Counted is the share of tables with a
verdict in some row (5 in 100 at most), and of tables whose mean over models is decided; with one face a source and
with 16, with three seeds and three models, two seeds and one model, one seed and five models.

Example: OMP_NUM_THREADS=1 python benchmarks/claims_coverage.py --out benchmarks/results/claims_coverage.json
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from comparisons import as_good
from interval_coverage import PROTOCOL, SCENARIOS, drawn, parse_options, write_or_print

from dfad_bench.report.claims_of_papers import CLAIMS
from dfad_bench.report.paired_numbers import Place, Sources, place_of
from dfad_bench.report.run_claims import ALL, AS_CLAIMED, OPPOSITE, judge_numbers
from dfad_bench.report.score import numbers
from dfad_bench.report.scored_faces import Number

SCENARIOS["sixteen faces a source"] = {"faces": 16, "alike": 1.0, "shared": False}
SOURCES = {"one face a source": 60, "sixteen faces a source": 20}
SHAPES = ((3, 3), (1, 2), (5, 1))  # models, seeds of each side
TRAINING = 0.35  # deviation between seeds, in logits of every class
CLAIM = CLAIMS["dfacc-lifts"]


def trained(base: pd.DataFrame, of: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Predictions of one more training of a model that errs as all others do."""
    made, columns = as_good(base, of, rng), ["p_0", "p_1", "p_2"]
    logits = np.log(made[columns].to_numpy() + 1e-12)
    logits[:, 0] += rng.normal(0, TRAINING)  # this training leans to one class,
    logits *= np.exp(rng.normal(0, TRAINING))  # and is more or less confident
    probs = np.exp(logits - logits.max(1, keepdims=True))
    made[columns] = probs / probs.sum(1, keepdims=True)
    return made


def by_place(frame: pd.DataFrame, resamples: int, seed: int) -> dict[Place, Number]:
    """The claim's numbers of some predictions."""
    made = {place_of(n.value): n for n in numbers(frame, PROTOCOL, resamples=resamples, seed=seed)[1]}
    return {place: number for place, number in made.items() if place[:4] in CLAIM.numbers}


def cell(task: tuple[str, int, int, int, int]) -> dict[str, Any]:
    """Shares of tables with false verdicts."""
    scenario, models, seeds, repeats, resamples = task
    decided = of_all = 0
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, models, seeds, list(SOURCES).index(scenario)])
        base = drawn(SOURCES[scenario], scenario, rng)
        of = pd.factorize(base["group"] + base["source_key"])[0]
        made = []
        for _ in range(models):
            sides: tuple[dict[Place, list[Number]], dict[Place, list[Number]]] = ({}, {})
            for side in sides:
                for _ in range(seeds):
                    for place, number in by_place(trained(base, of, rng), resamples, repeat).items():
                        side.setdefault(place, []).append(number)
            made.append(sides)
        rows = judge_numbers(CLAIM, [f"model {k}" for k in range(models)], made, Sources(base))
        false = [row for row in rows if row.verdict in (AS_CLAIMED, OPPOSITE)]
        decided += bool(false)
        of_all += any(row.scope == ALL or models == 1 for row in false)
    return {
        "scenario": scenario, "models": models, "seeds": seeds, "tables": repeats,
        "a_verdict_in_some_row": round(decided / repeats, 4), "a_verdict_over_all_models": round(of_all / repeats, 4),
    }  # fmt: skip


def main() -> None:
    """Run the simulation and print or write what was found."""
    options = parse_options(__doc__, repeats=200)
    tasks = [(s, models, seeds, options.repeats, options.resamples) for s in SOURCES for models, seeds in SHAPES]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        rows = list(pool.imap(cell, tasks))
    write_or_print({"repeats": options.repeats, "resamples": options.resamples, "claims": rows}, options.out)


if __name__ == "__main__":
    main()
