"""Scoring is what the table of metrics says: a poisoned entry changes its numbers, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.toy import toy_predictions
from helpers.toy_metrics import PROTOCOL, brier, gap, toy

from dfad_bench.core.record import MetricValue
from dfad_bench.metrics import METRICS, SCORED, Metric
from dfad_bench.report.attribution import NEARNESS
from dfad_bench.report.headline import headline_keys
from dfad_bench.report.score import numbers, score
from dfad_bench.report.scored_faces import Number

SCORED_METRICS = [name for name, metric in METRICS.items() if metric.on in SCORED]


def frame(seed: int = 0, size: int = 24) -> pd.DataFrame:
    """Predictions with ties, groups of different sizes, and videos."""
    made = toy_predictions(PROTOCOL, {g.key: size + 5 * i for i, g in enumerate(PROTOCOL.groups)}, seed)
    made["p_fake"] = made["p_fake"].round(2)
    return made.assign(video=made["group"] + (made.groupby("group").cumcount() // 3).astype(str))


def poisoned(*_: object, **__: object) -> float:
    return 0.123


@cache
def scored_before() -> dict[str, list[MetricValue]]:
    return by_metric(score(frame(), PROTOCOL, resamples=0).metrics)


def by_metric(values: Sequence[MetricValue]) -> dict[str, list[MetricValue]]:
    found: dict[str, list[MetricValue]] = {}
    for value in values:
        found.setdefault(value.metric, []).append(value)
    return found


def test_every_metric_of_predictions_is_in_every_score_and_no_other() -> None:
    assert set(by_metric(score(frame(), PROTOCOL, resamples=0).metrics)) == set(SCORED_METRICS)


@pytest.mark.parametrize("by", ["entry", "function"])
@pytest.mark.parametrize("name", SCORED_METRICS)
def test_poisoning_an_entry_poisons_its_numbers_and_only_those(
    name: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(scored_before())
    if by == "entry":
        monkeypatch.setitem(METRICS, name, replace(METRICS[name], function=f"{__name__}:poisoned"))
    else:
        module, _, function = METRICS[name].function.partition(":")
        monkeypatch.setattr(f"{module}.{function}", poisoned)
    after = by_metric(score(frame(), PROTOCOL, resamples=0).metrics)
    defined = [value for value in before[name] if value.value is not None]
    assert defined
    assert {value.value for value in after[name] if value.value is not None} == {0.123}
    assert sum(value.value is not None for value in after[name]) == len(defined)
    if by == "entry":  # a function may serve other metrics, too
        del before[name], after[name]
        assert after == before


@pytest.mark.parametrize("name", [name for name in SCORED_METRICS if METRICS[name].per_face])
def test_poisoning_what_an_entry_averages_poisons_its_draws(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [n for n in numbers(frame(), PROTOCOL, resamples=5)[1] if n.value.metric == name and n.draws is not None]
    before = [number.draws() for number in whole if number.draws is not None]
    assert before
    monkeypatch.setitem(METRICS, name, replace(METRICS[name], per_face=f"{__name__}:all_wrong"))
    after = [
        number.draws()
        for number in numbers(frame(), PROTOCOL, resamples=5)[1]
        if number.value.metric == name and number.draws is not None
    ]
    assert all((draws == 0).all() for draws in after)
    assert not all((draws == 0).all() for draws in before)


def all_wrong(**arrays: Any) -> np.ndarray:
    return np.zeros(len(next(arrays[key] for key in ("probs", "labels", "p_fake") if key in arrays)), dtype=bool)


@cache
def numbers_before() -> list[Number]:
    return numbers(frame(3), PROTOCOL, resamples=12)[1]


@pytest.mark.parametrize("name", SCORED_METRICS)
def test_fast_draws_are_the_metric_on_each_resample(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weighted sums and shared sorts against the metric's own function, called on the rows of every resample."""
    fast = [n for n in numbers_before() if n.value.metric == name]
    monkeypatch.setitem(METRICS, name, replace(METRICS[name], per_face=None, draws=None))
    slow = [n for n in numbers(frame(3), PROTOCOL, resamples=12)[1] if n.value.metric == name]
    compared = 0
    for one, other in zip(fast, slow, strict=True):
        assert one.value == other.value
        if one.draws is not None and one.value.value is not None:
            assert other.draws is not None
            np.testing.assert_allclose(one.draws(), other.draws(), rtol=0, atol=1e-9)
            compared += 1
    assert compared
    assert all(number.draws is not None for number in slow if number.value.value is not None)


@pytest.mark.parametrize("on", SCORED)
def test_a_metric_on_any_set_is_scored_with_both_averagings(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = score(frame(), PROTOCOL, resamples=20)
    monkeypatch.setitem(METRICS, "toy", toy(on, "pooled", "macro", near_far=on in ("unseen", "ranking")))
    after = score(frame(), PROTOCOL, resamples=20)
    assert tuple(value for value in after.metrics if value.metric != "toy") == before.metrics
    mine = [value for value in after.metrics if value.metric == "toy"]
    for task, name, subset, averaging in headline_keys("toy"):
        found = [v for v in mine if (v.task, v.metric, v.subset, v.averaging) == (task, name, subset, averaging)]
        thresholds = [value.params.get("threshold") for value in found]
        assert thresholds == ([0.7, 0.9] if on == "unseen" else [None])
        for value in found:
            assert value.value is not None
            assert value.ci_method == "bootstrap_t" or value.ci95 is None
    keys = [(v.subset, v.averaging, v.params.get("threshold")) for v in mine]
    assert len(set(keys)) == len(keys)


def test_values_of_added_metrics_are_those_of_their_function(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = frame()
    p = rows[["p_0", "p_1", "p_2"]].to_numpy()
    seen = rows["attribution_label"].to_numpy() >= 0
    monkeypatch.setitem(METRICS, "a", toy("seen", "pooled", "macro"))
    monkeypatch.setitem(METRICS, "b", toy("ranking", "macro"))
    monkeypatch.setitem(METRICS, "c", toy("detection", "macro"))
    found = {(v.metric, v.subset, v.averaging): v for v in score(rows, PROTOCOL, resamples=0).metrics}
    groups = [g.key for g in PROTOCOL.seen]
    assert found["a", "seen", "micro"].value == pytest.approx(p[seen, 0].mean())
    means = [p[rows["group"] == key, 0].mean() for key in groups]
    assert found["a", "seen", "macro"].value == pytest.approx(np.mean(means))
    assert [found["a", key, "none"].value for key in groups] == pytest.approx(means)
    tested = [g.key for g in PROTOCOL.unseen if not g.taxon.processed]
    gaps = [gap(p[seen], p[rows["group"] == key]) for key in tested]
    assert found["b", "seen-vs-unseen", "macro"].value == pytest.approx(np.mean(gaps))
    assert [found["b", f"seen-vs-{key}", "none"].value for key in tested] == pytest.approx(gaps)
    both = rows[rows["group"].isin(["synthetic/synthetic-flow-a", "synthetic-outdoor/real"])]
    assert found["c", "synthetic/synthetic-flow-a", "none"].value == pytest.approx(
        brier(both["detection_label"].to_numpy(), both["p_fake"].to_numpy())
    )


def undefined(labels: np.ndarray) -> None:
    return None


def test_a_metric_that_is_not_defined_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = Metric(f"{__name__}:undefined", True, "share", on="detection", averaging=("pooled", "macro"))
    monkeypatch.setitem(METRICS, "toy", metric)
    mine = [v for v in score(frame(), PROTOCOL, resamples=10).metrics if v.metric == "toy"]
    assert {(v.value, v.ci95) for v in mine} == {(None, None)}
    reasons = {v.averaging: v.null_reason for v in mine}
    assert reasons == {
        "micro": "not defined on these faces", "none": "not defined on these faces",
        "macro": "not defined for every group",
    }  # fmt: skip


def first_probability(probs: np.ndarray) -> np.ndarray:
    return probs[:, 0]


def test_values_by_face_that_are_no_hits_are_bootstrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = toy("seen", "pooled", "macro", per_face=f"{__name__}:first_probability")
    monkeypatch.setitem(METRICS, "toy", metric)
    mine = [n for n in numbers(frame(), PROTOCOL, resamples=25)[1] if n.value.metric == "toy"]
    mine = [n for n in mine if "-videos" not in n.value.subset]
    assert {n.value.averaging for n in mine} == {"none", "macro", "micro"}
    for made in mine:
        assert (made.hits, made.formula, made.wilson_fallback) == (None, None, None)
        assert made.with_interval(25, 0).ci_method == "bootstrap_t"
    monkeypatch.setitem(METRICS, "toy", replace(metric, per_face=None))
    slow = [n for n in numbers(frame(), PROTOCOL, resamples=25)[1] if n.value.metric == "toy"]
    slow = [n for n in slow if "-videos" not in n.value.subset]
    for one, other in zip(mine, slow, strict=True):
        assert one.draws is not None
        assert other.draws is not None
        np.testing.assert_allclose(one.draws(), other.draws(), rtol=0, atol=1e-12)


def test_draws_are_those_of_seed_zero_unless_another_is_given() -> None:
    drawn = []
    for more in ({}, {"seed": 0}, {"seed": 1}):
        made = next(
            n for n in numbers(frame(), PROTOCOL, resamples=10, **more)[1] if n.value.subset == "seen" and n.draws
        )
        assert made.draws is not None
        drawn.append(made.draws().tolist())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("on", ["unseen", "ranking"])
@pytest.mark.parametrize("near_far", [False, True])
def test_near_and_far_faces_are_scored_where_the_entry_says_so(
    on: str, near_far: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "toy", toy(on, "pooled", near_far=near_far))
    subsets = {
        v.subset.removeprefix("seen-vs-") for v in score(frame(), PROTOCOL, resamples=0).metrics if v.metric == "toy"
    }
    expected = {"unseen", *NEARNESS} if near_far else {"unseen"}
    assert subsets == {*expected, *(f"{name}-videos" for name in expected)}
