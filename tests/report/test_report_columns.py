"""The numbers of a board's row are those of the record, and its columns those asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.record import MetricValue
from dfad_bench.metrics import METRICS
from dfad_bench.report.board_columns import board_columns, default_columns, known_columns, row_numbers
from dfad_bench.report.headline import at_headline, headline_keys, scored_metrics
from dfad_bench.report.score import score

PROTOCOL = toy_protocol()


@pytest.fixture(scope="module")
def metrics() -> tuple[MetricValue, ...]:
    return score(toy_predictions(PROTOCOL, 20), PROTOCOL, resamples=50).metrics


def stated(metrics: tuple[MetricValue, ...], metric: str, subset: str, averaging: str) -> MetricValue:
    (value,) = [
        v
        for v in metrics
        if (v.metric, v.subset, v.averaging) == (metric, subset, averaging) and v.params.get("threshold", 0.9) == 0.9
    ]
    return value


def test_row_numbers_are_the_headlines_at_the_headline_threshold(metrics: tuple[MetricValue, ...]) -> None:
    row = row_numbers(metrics, PROTOCOL)
    assert row["seen_acc"] == row["seen_accuracy"] == stated(metrics, "seen_accuracy", "seen", "macro").value
    assert row["unseen_acc"] == stated(metrics, "unseen_accuracy", "unseen", "macro").value
    assert row["detection_auc"] == row["auc"] == stated(metrics, "auc", "unseen", "micro").value
    assert row["seen_auc"] == stated(metrics, "auc", "seen", "micro").value
    assert row["balanced_acc"] == stated(metrics, "balanced_accuracy", "unseen", "micro").value
    for name in scored_metrics():
        _, metric, subset, averaging = headline_keys(name)[0]
        assert row[name] == stated(metrics, metric, subset, averaging).value
    unseen, oscr = (
        stated(metrics, *key).ci95
        for key in (("unseen_accuracy", "unseen", "macro"), ("oscr", "seen-vs-unseen", "micro"))
    )
    assert (row["unseen_low"], row["unseen_high"]) == unseen
    assert row["unseen_pm"] == pytest.approx((unseen[1] - unseen[0]) / 2)
    assert row["oscr_half"] == pytest.approx((oscr[1] - oscr[0]) / 2)
    for group in PROTOCOL.unseen:
        assert row[f"unseen_acc:{group.key}"] == stated(metrics, "unseen_accuracy", group.key, "none").value


def test_what_a_record_lacks_is_none(metrics: tuple[MetricValue, ...]) -> None:
    row = row_numbers([v for v in metrics if v.metric == "auroc"], PROTOCOL)
    assert {key for key, value in row.items() if value is not None} == {"auroc"}
    without = [replace(value, ci95=None) for value in metrics]
    assert [row_numbers(without, PROTOCOL)[key] for key in ("unseen_low", "unseen_pm", "oscr_half")] == [None] * 3


def test_another_threshold_is_another_number(metrics: tuple[MetricValue, ...]) -> None:
    key = ("attribution", "unseen_accuracy", "unseen", "macro")
    assert at_headline(metrics, 0.7)[key].params["threshold"] == 0.7
    assert at_headline(metrics, 0.9)[key].params["threshold"] == 0.9
    assert len(at_headline(metrics, 0.5)) < len(at_headline(metrics, 0.7))


def test_default_columns_and_those_asked_for() -> None:
    shown = [column.key for column in board_columns(PROTOCOL, printed=False, per_group=False)]
    assert shown == [
        "model", "ranks", "seeds_shown", "seen_acc", "unseen_acc", "unseen_range", "unseen_acc@0.7", "auroc", "oscr",
        "detection_acc", "balanced_acc", "detection_auc", "seen_auc", "init_short", "status_shown", "checked_short",
    ]  # fmt: skip
    printed = [column.key for column in board_columns(PROTOCOL, printed=True, per_group=False)]
    assert printed == [*shown[:6], "unseen_printed", "unseen_acc@0.7", "unseen_printed@0.7", *shown[7:]]
    asked = board_columns(PROTOCOL, printed=True, per_group=False, chosen=["eer", "unseen_accuracy", "eer"])
    assert [(c.key, c.title) for c in asked[3:-3]] == [("eer", "eer"), ("unseen_accuracy", "unseen_accuracy @0.9")]
    assert [c.kind for c in asked] == ["text", "text", "text", "percent", "percent", "text", "text", "text"]
    every = [column.key for column in board_columns(PROTOCOL, printed=False, per_group=True)]
    assert every[: len(shown) - 2] == [*shown[:-3], "status"]
    assert {f"unseen_acc:{group.key}" for group in PROTOCOL.unseen} < set(every)
    assert {"rank", "rank_best", "rank_worst", "unseen_low", "oscr_half", "kind", "protocol_sha256"} < set(every)


def test_units_that_are_no_shares_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "nats", replace(METRICS["ece"], unit="nat"))
    (column,) = board_columns(PROTOCOL, printed=False, per_group=False, chosen=["nats"])[3:-3]
    assert column.kind == "number"


def test_unknown_names_are_refused() -> None:
    assert known_columns()[: len(default_columns())] == default_columns()
    assert set(known_columns()) == {*default_columns(), *scored_metrics()}
    with pytest.raises(UnknownNameError, match="no column named 'ocsr'. Did you mean oscr"):
        board_columns(PROTOCOL, printed=False, per_group=False, chosen=["ocsr"])
    with pytest.raises(UnknownNameError, match="no metric named 'paired_cosine'"):
        headline_keys("paired_cosine")
