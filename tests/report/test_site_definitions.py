from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.boards import fewer_faces
from helpers.sites import site_board, site_protocol

from dfad_bench.core.protocol import load_protocol
from dfad_bench.metrics import METRICS
from dfad_bench.report.board_columns import row_numbers
from dfad_bench.report.site import definitions
from dfad_bench.report.site.definitions import METRIC_TEXTS, column_definitions, metric_range, metric_text
from dfad_bench.report.site.metrics_page import metrics_table
from dfad_bench.report.trivial import ALWAYS_FAKE, planned_scores


def test_every_metric_has_a_formula_a_range_and_a_trivial_value() -> None:
    assert set(METRIC_TEXTS) == set(METRICS)
    for row in metrics_table().rows:
        assert all(row[key] for key in ("what", "formula", "range", "trivial"))
        assert row["range"].endswith("higher is better") == METRICS[row["metric"]].higher_is_better


def test_stated_trivial_values_are_what_constant_answers_score() -> None:
    """As many faces in each group, nine of ten test groups forged."""
    protocol = fewer_faces(load_protocol("gazeclip-df40"))
    found = row_numbers(planned_scores(protocol)[ALWAYS_FAKE].metrics, protocol)
    classes, forged = protocol.num_generators, 0.9
    stated = {
        "seen_accuracy": ("1/K", 1 / classes), "unseen_accuracy": ("100 %", 1), "auroc": ("50 %", 0.5),
        "oscr": ("1/(2K)", 0.5 / classes), "fpr95": ("100 %", 1), "fpr95_openood": ("100 %", 1),
        "accuracy": ("the share of forged faces", forged), "balanced_accuracy": ("50 %", 0.5), "tpr": ("100 %", 1),
        "auc": ("50 %", 0.5), "ap": ("the share of forged faces", forged), "eer": ("50 %", 0.5),
        "ece": ("the share of real faces", 1 - forged),
    }  # fmt: skip
    for name, (words, value) in stated.items():
        assert METRIC_TEXTS[name].trivial.startswith(words), name
        assert found[name if name in found else name] == pytest.approx(value), name


def test_a_metric_of_another_package_is_described_by_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "METRICS", {"mine": replace(METRICS["auc"])})
    assert (
        metric_text("mine").what
        == "Area under the ROC curve: P(score of a positive > score of a negative), ties count a half."
    )
    assert metric_range("mine") == "0 to 100 %, higher is better"


def test_columns_say_at_which_threshold_they_are() -> None:
    protocol = site_protocol()
    found = column_definitions(site_board(protocol, []).table, protocol)
    assert "t = 0.9." in found["unseen_acc"]
    assert "t = 0.7." in found["unseen_acc@0.7"]
    assert "t = " not in found["oscr"]
    assert "seen generators" in found["seen_auc"]
