"""One table of scores for "unseen": run by score, with AUROC, FPR at 95 % of seen faces kept, and OSCR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfad_bench.core.labels import FAKE
from dfad_bench.core.record import MetricValue
from dfad_bench.metrics.detection import auc
from dfad_bench.metrics.interval import ClusterBootstrap
from dfad_bench.metrics.openset import share_at_95, threshold_at_95
from dfad_bench.metrics.over_generators import spread_of_pooled, too_few_generators
from dfad_bench.metrics.over_real_sources import LEAST_REAL_SOURCES
from dfad_bench.metrics.spread import FEWEST_DRAWS, Spread, interval, spread
from dfad_bench.metrics.unseen import UNSEEN_SCORES
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.scored_faces import number
from dfad_bench.report.table import Column, Table

# title, and the metric of `METRICS` that the same number is called in records
NUMBERS = {"auroc": ("AUROC", "auroc"), "fpr_at_95_seen": ("FPR at 95 % seen", "fpr95"), "oscr": ("OSCR", "oscr")}
PAPERS = "msp"
ABOUT = (
    "msp (largest probability) is the papers' score, and what boards rank by. A threshold of one score says nothing of"
    " another's.",
    "FPR at 95 % seen: unseen faces accepted where 95 % of the seen ones are. Intervals are over sources: other faces"
    " of these generators.",
    "No score was chosen, and nothing of one tuned, on unseen faces; taking the best one after looking here is.",
)


OVER_GENERATORS = (
    "gen. from, to: for other generators of this kind, of which the unseen ones are taken for a sample; seen classes"
    f" are held fixed, and unseen real groups where they are fewer than {LEAST_REAL_SOURCES}."
)


@dataclass(frozen=True)
class RankedScores:
    """The three numbers of one score of one run, by the keys of `NUMBERS`; without values there is a `reason`.

    `over_generators`: their 95 % intervals over unseen generators, of which there are so many (`generators`), and
    `few` says why there is none.
    """

    score: str
    numbers: Mapping[str, MetricValue]
    reason: str = ""
    remark: str = ""
    over_generators: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    generators: int = 0
    few: str = ""


def ranked_scores(run: RunArrays, name: str) -> RankedScores:
    """How well a score tells the seen test faces of a run from its unseen ones.

    Args:
        run: with the outputs the score needs.
        name: of `UNSEEN_SCORES`.
    """
    scored, faces = run.score_part(name), run.test
    if scored.values is None:
        return RankedScores(name, {}, scored.reason)
    rows = faces.of([*faces.seen, *faces.averaged])
    seen = faces.of(faces.seen)[rows]
    if seen.all() or not seen.any():
        return RankedScores(name, {}, "needs seen and unseen faces")
    values, right = scored.values[rows], faces.named_rightly[rows]
    found = ranking_values(values, seen, right)
    bootstrap = faces.bootstrap(rows)
    sources = faces.source[rows]
    counts = {"seen sources": len(set(sources[seen])), "unseen sources": len(set(sources[~seen]))}
    kept: dict[str, np.ndarray] = {}

    def draws_of(metric: str) -> np.ndarray:
        if not kept:  # one sort for all three
            kept.update(bootstrap.ranking_draws(seen, values, right=right, only=("auc", "fpr95", "oscr")))
        return kept["auc" if metric == "auroc" else metric]

    placed, groups = unseen_placements(values, seen, right), faces.group[rows][~seen]
    drawn = [key for key in faces.averaged if faces.detection_label_of[key] == FAKE]
    reals = [key for key in faces.averaged if key not in drawn]
    numbers, between = {}, {}
    for key, (_, metric) in NUMBERS.items():
        about: dict[str, Any] = {"n": int(rows.sum()), "members": (*faces.seen, *faces.averaged)}
        made = number(
            "attribution", metric, "seen-vs-unseen", found[key], None, about,
            draws=lambda metric=metric: draws_of(metric), bootstrap=lambda: bootstrap, counts=counts,
        )  # fmt: skip
        numbers[key] = made.with_interval(run.resamples, faces.seed)
        over_sources = spread_of_draws(draws_of(metric), bootstrap) if run.resamples else None
        of = spread_of_pooled(placed[key], groups, sources[~seen], drawn, over_sources, reals)
        if of is not None and run.resamples:
            between[key] = interval(float(placed[key].mean()), of, (0.0, 1.0))
    few = too_few_generators(len(drawn)) or ""
    return RankedScores(name, numbers, "", scored.remark, between, len(drawn), few)


def spread_of_draws(draws: np.ndarray, bootstrap: ClusterBootstrap) -> Spread | None:
    """Over sources; where a group has a single one, which no draw varies, that of all others.

    What such a group brings by itself is in the spread over generators.
    """
    known = draws[~np.isnan(draws)]
    of, sizes = spread(draws, bootstrap), bootstrap.pool_sizes
    if of is not None or len(known) < FEWEST_DRAWS or sizes.max() < 2:
        return of
    error = float(known.std(ddof=1))
    return Spread(error, float(sizes[sizes > 1].min() - 1)) if error > 0 else None


def unseen_placements(scores: np.ndarray, seen: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """Of each unseen face what it adds to a number, whose mean over them is that number: by the keys of `NUMBERS`.

    The share of seen faces above it (of all, and of those named rightly among all), equal ones half; whether it is
    accepted where 95 % of the seen faces are. Arguments as of `ranking_values`.
    """
    asked, found = scores[~seen], {}
    for key, above in (("auroc", seen), ("oscr", seen & right)):
        known = np.sort(scores[above])
        below, up_to = (np.searchsorted(known, asked, side=side) for side in ("left", "right"))
        found[key] = (len(known) - (below + up_to) / 2) / seen.sum()
    found["fpr_at_95_seen"] = (asked >= threshold_at_95(scores[seen])).astype(float)
    return found


def ranking_values(scores: np.ndarray, seen: np.ndarray, right: np.ndarray) -> dict[str, float | None]:
    """AUROC, FPR at 95 % of seen faces, and OSCR of any score.

    Args:
        scores: (n,) larger being more like the seen classes.
        seen: (n,) bool.
        right: (n,) bool: named rightly.

    >>> two = np.array([True, False])
    >>> ranking_values(np.array([0.9, 0.1]), two, two)
    {'auroc': 1.0, 'fpr_at_95_seen': 0.0, 'oscr': 1.0}
    """
    area = auc(seen.astype(int), scores)
    named = seen & right
    chosen = named | ~seen
    share = float(named.sum() / seen.sum())
    ranked = auc(named[chosen].astype(int), scores[chosen]) if named.any() else 0.0
    return {
        "auroc": area,
        "fpr_at_95_seen": share_at_95(scores[seen], scores[~seen]),
        "oscr": None if ranked is None else share * ranked,
    }


def open_set_table(runs: Mapping[str, RunArrays], names: Sequence[str] = tuple(UNSEEN_SCORES)) -> Table:
    """Every score of several runs.

    Args:
        runs: by what they are called.
        names: the scores, of `UNSEEN_SCORES`.
    """
    columns = [Column("model", "Model", "text"), Column("score", "Score", "text")]
    for key, (title, _) in NUMBERS.items():
        columns += [Column(key, title, "percent"), Column(f"{key}_low", "from", "percent")]
        columns.append(Column(f"{key}_high", "to", "percent"))
    columns += [Column("sources", "Sources", "count"), Column("remark", "Remark", "text")]
    rows: list[dict[str, Any]] = []
    few: dict[str, None] = {}
    for label, run in runs.items():
        for name in names:
            ranked = ranked_scores(run, name)
            few |= {f"{label}: {ranked.few}.": None} if ranked.few else {}
            row: dict[str, Any] = {"model": label, "score": name, "display": UNSEEN_SCORES[name].display}
            for key, value in ranked.numbers.items():
                low, high = value.ci95 or (None, None)
                row |= {key: value.value, f"{key}_low": low, f"{key}_high": high, "sources": value.sources}
                low, high = ranked.over_generators.get(key, (None, None))
                row |= {f"{key}_generators_low": low, f"{key}_generators_high": high, "generators": ranked.generators}
            papers = "the papers'" if name == PAPERS else ""
            why = {value.ci_reason for value in ranked.numbers.values() if value.ci_reason}
            remarks = [f"not defined: {ranked.reason}" if ranked.reason else ranked.remark or papers, *sorted(why)]
            row["remark"] = "; ".join(filter(None, remarks))
            rows.append(row)
    if any(row.get(f"{key}_generators_low") is not None for row in rows for key in NUMBERS):
        columns = _with_generators(columns)
        few = {OVER_GENERATORS: None, **few}
    return Table('Scores for "unseen"', tuple(columns), rows, (*ABOUT, *few), names=2)


def _with_generators(columns: Sequence[Column]) -> list[Column]:
    """The same columns, each number's interval over generators behind that over sources."""
    made: list[Column] = []
    for column in columns:
        made.append(column)
        if (key := column.key.removesuffix("_high")) in NUMBERS and key != column.key:
            made.append(Column(f"{key}_generators_low", "gen. from", "percent"))
            made.append(Column(f"{key}_generators_high", "to", "percent"))
        made += [Column("generators", "Generators", "count")] if column.key == "sources" else []
    return made
