"""From a set of faces and a metric to a number that knows how its interval and its paired test are made.

Which way that is follows from the metric's entry in the table: a formula or weighted sums where the entry says what
is averaged or which statistic of the bootstrap it is; otherwise the metric's function is called on every resample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.metrics import METRICS, Metric
from dfad_bench.metrics.interval import RANKINGS, clustered_wilson, stratified_wilson
from dfad_bench.metrics.over_real_sources import LEAST_REAL_SOURCES, RealPlacements, real_placements
from dfad_bench.metrics.paired import auc_covariance, fewest_of_a_class
from dfad_bench.metrics.spread import Spread, interval, share_interval
from dfad_bench.report.face_set import FaceSet, Part
from dfad_bench.report.real_sources import stated_params
from dfad_bench.report.scored_faces import Interval, Number, number

_Z95 = 1.959963984540054
Value = Callable[[Metric, np.ndarray], tuple[float | None, str | None]]


def pooled_number(faces: FaceSet, name: str) -> Number:
    """A metric of all faces of the set together."""
    metric = METRICS[name]
    value, reason = faces.value(metric, np.flatnonzero(faces.rows))
    facts = faces.facts(metric, faces.rows, faces.members, "micro")
    return number(
        faces.task,
        name,
        faces.name,
        value,
        reason,
        facts,
        **_about(faces, metric, faces.rows),
        **_pooled_support(faces, metric),
    )


def part_number(faces: FaceSet, name: str, part: Part) -> Number:
    """A metric of one group of the set."""
    metric = METRICS[name]
    value, reason = faces.value(metric, np.flatnonzero(part.rows))
    facts = faces.facts(metric, part.rows, part.members, "none")
    return number(
        faces.task,
        name,
        part.name,
        value,
        reason,
        facts,
        **_about(faces, metric, part.rows),
        **_part_support(faces, metric, part),
    )


def macro_number(faces: FaceSet, name: str) -> Number:
    """The mean of a metric over the groups of the set."""
    metric = METRICS[name]
    value, reason = faces.mean_value(metric, np.flatnonzero(faces.rows))
    facts = faces.facts(metric, faces.rows, faces.members, "macro")
    support = _macro_support(faces, metric) if faces.parts else {}
    support |= _about(faces, metric, faces.rows) | {"counts": faces.sources_by_part(metric)}
    placed = _real_placements(faces, metric)
    if placed is not None and value is not None:
        facts["params"] |= stated_params(placed)
        support["placed"] = placed
    return number(faces.task, name, faces.name, value, reason, facts, **support)


def _real_placements(faces: FaceSet, metric: Metric) -> RealPlacements | None:
    """Of a mean of areas against real faces of several collections: where each real face lies among forged ones.

    None of other numbers, of fewer collections than are drawn, and for records of schema 1.1, which have none.
    """
    rows, every = faces.rows, faces.faces
    reals = set(faces.params.get("reals", ()))
    few = len(reals) < LEAST_REAL_SOURCES or every.earlier
    if few or metric.draws != "auc" or faces.positive is None or faces.scores is None:
        return None
    real = ~faces.positive[rows]
    placed = real_placements(real, faces.scores[rows], every.group[rows])
    return RealPlacements(placed, every.group[rows][real], every.source[rows][real])


def _about(faces: FaceSet, metric: Metric, rows: np.ndarray) -> dict[str, Any]:
    """The fields of `Number` that every number of some rows (n,) bool has."""
    every = faces.faces
    return {
        "bootstrap": lambda: every.bootstrap(rows), "counts": faces.sources(metric, rows), "earlier": every.earlier,
    }  # fmt: skip


def _pooled_support(faces: FaceSet, metric: Metric) -> dict[str, Any]:
    """The fields of `Number` for all faces together."""
    rows, every = faces.rows, faces.faces
    if metric.per_face is not None:
        return _share_support(faces, metric)
    if metric.draws in RANKINGS and faces.positive is not None and faces.scores is not None:
        support: dict[str, Any] = {"draws": lambda: faces.ranking_draws(str(metric.draws)), "biased": metric.biased}
        if metric.draws == "auc":
            ranked = (faces.positive[rows].astype(int), faces.scores[rows])
            support |= {"ranked": ranked, "sources": every.source[rows]}
        return support
    if metric.draws == "ece":

        def calibration_draws() -> np.ndarray:
            return every.bootstrap(rows).ece_draws(every.truth[rows], every.p_fake[rows], **metric.settings)

        return {"draws": calibration_draws, "biased": metric.biased}
    return _resampled_support(faces, metric, rows, faces.value)


def _share_support(faces: FaceSet, metric: Metric) -> dict[str, Any]:
    """The same for a metric that is a mean of values of faces."""
    rows, every = faces.rows, faces.faces
    hits, group, sources = faces.values_by_face(metric, rows), every.group[rows], every.source[rows]
    truth = every.truth[rows]
    columns = {"forged": [truth == FAKE], "real": [truth == REAL], "both": [truth == FAKE, truth == REAL]}
    among = np.stack(columns.get(metric.needs, [np.ones(len(truth), dtype=bool)]), axis=1)  # (rows, means)

    def draws() -> np.ndarray:
        return every.bootstrap(rows).ratios_draws(hits[:, None] * among, among)

    def wilson_fallback() -> Interval:
        each = [stratified_wilson(hits[c], group[c], sources[c], macro=False) or (np.nan, np.nan) for c in among.T]
        low, high = np.mean(each, axis=0).tolist()
        return low, high

    support: dict[str, Any] = {"draws": draws, "biased": metric.biased}
    if hits.dtype == bool:
        support["wilson_fallback"] = wilson_fallback
        support |= {"hits": hits, "sources": sources} if metric.needs in ("any", "classes") else {}
    return support


def _part_support(faces: FaceSet, metric: Metric, part: Part) -> dict[str, Any]:
    """The fields of `Number` for one group."""
    rows, sources, earlier = part.rows, faces.faces.source[part.rows], faces.faces.earlier
    hits = faces.values_by_face(metric, rows) if metric.per_face is not None and metric.needs == "any" else None
    if hits is not None and hits.dtype == bool:
        made: Any = (clustered_wilson(hits, sources), "wilson") if earlier else _share_formula(hits, sources)
        right = hits

        def share_draws() -> np.ndarray:
            return faces.faces.bootstrap(rows).macro_share_draws(right)

        return {"formula": made, "draws": share_draws, "hits": hits, "sources": sources}
    if metric.draws == "auc" and faces.positive is not None and faces.scores is not None:
        ranked = (faces.positive[rows].astype(int), faces.scores[rows])
        made = (_delong(*ranked, sources), "delong") if earlier else (_delong_t(*ranked, sources), "delong_t")

        def auc_draws() -> np.ndarray:  # where DeLong's variance is zero: the rows of predictors that are constants
            return faces.faces.bootstrap(rows).ranking_draws(ranked[0] == 1, ranked[1], only=("auc",))["auc"]

        return {"draws": auc_draws, "biased": metric.biased, "formula": made, "ranked": ranked, "sources": sources}
    if metric.draws in RANKINGS and faces.positive is not None and faces.scores is not None:
        statistic, positive, scores = metric.draws, faces.positive[rows], faces.scores[rows]
        named = None if faces.right is None else faces.right[rows]

        def ranking_draws() -> np.ndarray:
            bootstrap = faces.faces.bootstrap(rows)
            return bootstrap.ranking_draws(positive, scores, right=named, only=(statistic,))[statistic]

        return {"draws": ranking_draws, "biased": metric.biased}
    return _resampled_support(faces, metric, rows, faces.value)


def _macro_support(faces: FaceSet, metric: Metric) -> dict[str, Any]:
    """The fields of `Number` for a mean over groups."""
    rows, every = faces.rows, faces.faces
    if len(faces.parts) == 1 and not every.earlier:  # the mean of one group is that group's number
        return _part_support(faces, metric, faces.parts[0])
    if metric.per_face is not None and faces.task == "attribution":  # detection groups share their real faces
        hits, group, sources = faces.values_by_face(metric, rows), every.group[rows], every.source[rows]

        def draws() -> np.ndarray:
            return every.bootstrap(rows).macro_share_draws(hits)

        def wilson_fallback() -> Interval | None:
            return stratified_wilson(hits, group, sources, macro=True)

        support: dict[str, Any] = {"draws": draws, "biased": metric.biased}
        if hits.dtype == bool:
            support |= {"wilson_fallback": wilson_fallback}
        return support
    if metric.draws in RANKINGS and faces.positive is not None:
        return {"draws": lambda: faces.mean_ranking_draws(str(metric.draws)), "biased": metric.biased}
    return _resampled_support(faces, metric, rows, faces.mean_value)


def _resampled_support(faces: FaceSet, metric: Metric, rows: np.ndarray, value: Value) -> dict[str, Any]:
    """The same for any metric: its function, called on each resample of some rows (n,) bool."""

    def draws() -> np.ndarray:
        numbers = np.flatnonzero(rows)
        found = (value(metric, numbers[chosen])[0] for chosen in faces.faces.bootstrap(rows).samples())
        return np.array([np.nan if one is None else one for one in found])

    return {"draws": draws, "biased": metric.biased}


def _share_formula(hits: np.ndarray, sources: np.ndarray) -> tuple[Interval | None, str]:
    """The interval of a share of one group, and the name of its method."""
    unclustered = len(np.unique(sources)) == len(sources)
    return share_interval(hits, sources), "wilson" if unclustered else "wilson_t"


def _delong_t(labels: np.ndarray, scores: np.ndarray, sources: np.ndarray) -> Interval | None:
    """The interval of one area by DeLong's variance, Student's t and logits; None where that variance is zero."""
    found = auc_covariance(labels, scores, sources)
    if found is None or found[1][0, 0] <= 1e-18:
        return None
    df = fewest_of_a_class(labels, sources) - 1
    return interval(float(found[0][0]), Spread(float(np.sqrt(found[1][0, 0])), df), (0.0, 1.0))


def _delong(labels: np.ndarray, scores: np.ndarray, sources: np.ndarray) -> Interval | None:
    """DeLong's interval of one area; None where it has no width, as for perfect and for constant scores."""
    found = auc_covariance(labels, scores, sources)
    if found is None or found[1][0, 0] <= 1e-18:
        return None
    area, half = float(found[0][0]), _Z95 * float(np.sqrt(found[1][0, 0]))
    return max(0.0, area - half), min(1.0, area + half)
