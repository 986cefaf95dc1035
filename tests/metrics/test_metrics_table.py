"""The table of metrics: what its entries say is checked, and how their functions are called."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dfad_bench.metrics import METRICS, SCORED, SETS, Metric
from dfad_bench.metrics.entry import load

TOY = Metric("dfad_bench.metrics.detection:auc", True, "share", on="detection", averaging=("pooled",))


@pytest.mark.parametrize("name", METRICS)
def test_functions_take_the_arrays_of_their_set(name: str) -> None:
    metric = METRICS[name]
    for path in filter(None, (metric.function, metric.per_face)):
        parameters = inspect.signature(load(path)).parameters
        required = {key for key, parameter in parameters.items() if parameter.default is parameter.empty}
        assert required <= {*SETS[metric.on], *metric.settings}
        assert load(path).__doc__
    assert set(metric.settings) <= set(inspect.signature(metric.resolve()).parameters)


def arrays(on: str, seed: int = 0) -> dict[str, Any]:
    """Random arrays of a set of faces."""
    rng = np.random.default_rng(seed)
    p_fake = rng.random(60)
    return {
        "seen": {"probs": rng.dirichlet(np.ones(4), 60), "labels": rng.integers(0, 4, 60)},
        "unseen": {"probs": rng.dirichlet(np.ones(4), 60), "threshold": 0.5},
        "ranking": {
            "seen_probs": rng.dirichlet(np.ones(4), 60), "labels": rng.integers(0, 4, 60),
            "unseen_probs": rng.dirichlet(np.ones(4), 40),
        },
        "retrieval": {
            "probs": rng.dirichlet(np.ones(4), 60), "generators": rng.choice(list("abc"), 60),
            "registered": rng.random(60) < 0.5,
        },
        "detection": {"labels": rng.integers(0, 2, 60), "p_fake": p_fake, "scores": p_fake},
        "processed": {"p_fake": p_fake},
        "gaze-pairs": {"a": rng.normal(size=(60, 2)), "b": rng.normal(size=(60, 2))},
        "gaze-distributions": {
            "mean_a": np.zeros(2), "cov_a": np.eye(2), "mean_b": np.ones(2), "cov_b": 2 * np.eye(2),
        },
    }[on]  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_every_entry_can_be_computed_and_is_a_float(name: str) -> None:
    metric = METRICS[name]
    given = arrays(metric.on)
    value = metric.compute(**given)
    assert type(value) is float
    if metric.unit == "share":
        assert 0 < value < 1
    if metric.per_face is None:
        with pytest.raises(ValueError, match="no values by face"):
            metric.compute_per_face(**given)
        return
    values = metric.compute_per_face(**given).astype(float)
    among = {"forged": [1], "real": [0], "both": [1, 0]}.get(metric.needs)
    sides = [values if among is None else values[given["labels"] == label] for label in among or [None]]
    assert value == pytest.approx(np.mean([np.nanmean(side) for side in sides]))


def test_every_set_of_predictions_has_a_metric_and_gaze_is_not_scored() -> None:
    assert {metric.on for metric in METRICS.values()} == set(SETS)
    assert set(SETS) - set(SCORED) == {"gaze-distributions", "gaze-pairs"}


def nothing_known(labels: np.ndarray) -> float:
    return float("nan")


def infinite(labels: np.ndarray) -> np.float64:
    return np.float64("inf")


def none(labels: np.ndarray) -> None:
    return None


def counted(labels: np.ndarray, times: int = 1) -> int:
    return times * len(labels)


def everything(**offered: object) -> int:
    return len(offered)


def embeddings_wanted(embeddings: np.ndarray, labels: np.ndarray) -> float:
    return 0.0


def here(function: Any, **changes: Any) -> Metric:
    return replace(TOY, function=f"{__name__}:{function.__name__}", **changes)


def test_values_that_are_not_finite_are_not_defined() -> None:
    given = arrays("detection")
    assert [here(f).compute(**given) for f in (nothing_known, infinite, none)] == [None, None, None]


def text(labels: np.ndarray) -> str:
    return "0.5"


def by_face(labels: np.ndarray) -> np.ndarray:
    return labels / 2


@pytest.mark.parametrize(("function", "kind"), [(text, "str"), (by_face, "ndarray")])
def test_values_that_are_no_numbers_are_named(function: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f":{function.__name__} returns {kind}; a metric is a float, or None"):
        here(function).compute(**arrays("detection"))


def test_functions_get_what_they_name_and_settings() -> None:
    given = arrays("detection")
    assert here(counted).compute(**given) == 60.0
    assert here(counted, settings={"times": 3}).compute(**given) == 180.0
    assert here(everything, settings={"times": 3}).compute(**given) == len(given) + 1
    with pytest.raises(TypeError, match="takes embeddings; the set 'detection' has labels, p_fake, scores"):
        here(embeddings_wanted).compute(**given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"on": "video"}, "on='video', expected one of seen, unseen"),
        ({"averaging": "macro"}, "averaging must be a tuple of macro or pooled"),
        ({"averaging": ()}, "averaging must be a tuple"),
        ({"averaging": ("micro",)}, "averaging='micro', expected one of macro, pooled"),
        ({"needs": "fake"}, "needs='fake', expected one of any, forged, real, both"),
        ({"on": "seen", "needs": "both"}, "needs='both' is of detection labels"),
        ({"on": "seen", "draws": "auc"}, "'seen' is no set of two classes"),
        ({"averaging": ("pooled", "pooled")}, "averaging names 'pooled' twice"),
        ({"averaging": ("pooled", "macro", "macro")}, "averaging names 'macro' twice"),
        ({"draws": "oscr"}, "draws='oscr' is not a statistic of 'detection'"),
        ({"on": "ranking", "draws": "ece"}, "draws='ece' is not a statistic of 'ranking'"),
        ({"near_far": True}, "near_far is of unseen faces"),
        ({"on": "ranking", "per_face": "m:f"}, "'ranking' has two arrays of faces"),
        ({"settings": {"labels": 1}}, "settings name 'labels'"),
        ({"settings": {"threshold": 0.5}}, "settings name 'threshold'"),
        ({"draws": "auroc"}, "draws='auroc', expected one of auc, oscr"),
    ],
)
def test_entries_that_say_what_is_not_there_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        replace(TOY, **changes)
    assert TOY.function in str(caught.value)


def test_an_entry_says_what_it_must_and_the_rest_has_defaults() -> None:
    given = {"function": TOY.function, "higher_is_better": True, "unit": "share", "on": "detection"}
    expected = {"needs": "any", "settings": {}, "near_far": False, "per_face": None, "draws": None}
    assert vars(TOY) == {**given, "averaging": ("pooled",), **expected, "biased": False, "main": True, "note": ""}


def test_a_function_is_named_by_module_and_name() -> None:
    with pytest.raises(ValueError, match="not of the form module:function"):
        load("dfad_bench.metrics.detection.auc")
    with pytest.raises(AttributeError):
        load("dfad_bench.metrics.detection:auk")


def good_and_bad(on: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays of a model that is always right, and of one that is mostly wrong."""
    labels, own, other = np.arange(30) % 3, np.eye(3)[np.arange(30) % 3], np.eye(3)[(np.arange(30) + 1) % 3]
    even, truth = np.full((30, 3), 1 / 3), np.arange(30) % 2
    wrong = np.where(np.arange(30) < 4, truth, 1 - truth) * 0.8 + 0.1
    return {
        "seen": ({"probs": own, "labels": labels}, {"probs": other, "labels": labels}),
        "unseen": ({"probs": even, "threshold": 0.9}, {"probs": own, "threshold": 0.9}),
        "ranking": (
            {"seen_probs": own, "labels": labels, "unseen_probs": even},
            {"seen_probs": even, "labels": labels, "unseen_probs": own},
        ),
        "retrieval": tuple(
            {"probs": probs, "generators": labels, "registered": np.arange(30) < 9} for probs in (own, even)
        ),
        "detection": tuple({"labels": truth, "p_fake": p, "scores": p} for p in (truth * 1.0, wrong)),
        "processed": ({"p_fake": np.full(30, 0.1)}, {"p_fake": wrong}),
        "gaze-distributions": tuple(
            {"mean_a": np.zeros(2), "cov_a": np.eye(2), "mean_b": np.full(2, far), "cov_b": np.eye(2)} for far in (0, 1)
        ),
        "gaze-pairs": ({"a": own, "b": own}, {"a": own, "b": other}),
    }[on]  # type: ignore[return-value]


@pytest.mark.parametrize("name", METRICS)
def test_the_better_model_has_the_better_value(name: str) -> None:
    metric = METRICS[name]
    good, bad = (metric.compute(**given) for given in good_and_bad(metric.on))
    assert good is not None
    assert bad is not None
    assert (good > bad) == metric.higher_is_better
    assert good != bad


def test_companions_are_compared_on_request_only() -> None:
    assert {name for name, metric in METRICS.items() if not metric.main} >= {"tpr", "tnr", "ece", "prototype_retrieval"}
    main = {"seen_accuracy", "unseen_accuracy", "auroc", "oscr", "fpr95", "accuracy", "balanced_accuracy", "auc", "ap"}
    assert all(METRICS[name].main for name in main | {"eer"})
    assert METRICS["ece"].settings == {"bins": 15}


@pytest.mark.parametrize(
    ("fact", "names"),
    [
        ("biased", {"ece"}),
        ("near_far", {"unseen_accuracy", "auroc"}),
        ("per_face", {
            "seen_accuracy", "unseen_accuracy", "accuracy", "balanced_accuracy", "tpr", "tnr", "prototype_retrieval",
            "paired_cosine",
        }),
        ("draws", {"auroc", "oscr", "fpr95", "auc", "ap", "eer", "ece"}),
        ("needs_both", {"balanced_accuracy", "auc", "ap", "eer"}),
        ("no_share", {"frechet_distance", "paired_cosine"}),
    ],
)  # fmt: skip
def test_published_metrics_keep_what_their_entries_say(fact: str, names: set[str]) -> None:
    """Of the metrics that records made so far hold; one that is added may say what it likes."""
    published = {
        "seen_accuracy", "unseen_accuracy", "auroc", "oscr", "fpr95", "accuracy", "balanced_accuracy", "tpr", "tnr",
        "auc", "ap", "eer", "ece", "prototype_retrieval", "frechet_distance", "paired_cosine",
    }  # fmt: skip
    said = {
        "needs_both": lambda metric: metric.needs == "both",
        "no_share": lambda metric: metric.unit != "share",
    }.get(fact, lambda metric: bool(getattr(metric, fact)))
    assert {name for name in published if said(METRICS[name])} == names


def divided(labels: np.ndarray) -> float:
    return 1 / int(len(labels) - len(labels))


def test_a_metric_that_raises_is_named_and_keeps_its_error() -> None:
    for metric in (here(divided), here(divided, per_face=f"{__name__}:divided")):
        call = metric.compute if metric.per_face is None else metric.compute_per_face
        with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
            call(**arrays("detection"))
        assert caught.value.__notes__ == [f"in the metric {__name__}:divided, on the set 'detection'"]


@pytest.mark.parametrize(("on", "draws"), [("ranking", "ece"), ("detection", "oscr")])
def test_draws_of_the_other_set_are_refused_however_the_name_was_made(on: str, draws: str) -> None:
    with pytest.raises(ValueError, match="is not a statistic of"):
        replace(TOY, on=on, averaging=("pooled",), draws="".join(list(draws)))
