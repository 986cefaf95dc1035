"""Curves that are read from the folders of runs: what is there is drawn, what is not is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.robustness import toy_evaluation
from helpers.runs import write_run
from helpers.sites import site_facts, site_protocol, site_records
from helpers.toy import toy_predictions

from dfad_bench.core.record import ResultRecord
from dfad_bench.metrics.selective import aurc
from dfad_bench.report.robustness.tables import curves
from dfad_bench.report.site.curve_plots import risk_of, robustness_of
from dfad_bench.report.site.render import site_files
from dfad_bench.report.site.run_curves import (
    COVERAGES,
    NOT_HERE,
    CorruptionCurve,
    RunCurves,
    TrainingCurve,
    read_curves,
    read_trace,
)

TRACE = "step,stage,epoch,lr,loss,dfa,gradient_norm,validation\n1,main,0,0.1,3.0,3.0,1,\n2,main,0,0.1,nan,2,1,1.5\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ResultRecord]:
    folder = tmp_path_factory.mktemp("run")
    record = write_run(folder, site_protocol(), toy_predictions(site_protocol(), 20), resamples=10)
    (folder / "trace.csv").write_text(TRACE)
    return folder, record


def test_a_trace_is_read_and_what_is_no_number_left_out(made: tuple[Path, ResultRecord]) -> None:
    assert read_trace(made[0] / "trace.csv") == TrainingCurve([(1, 3.0)], [(2, 1.5)])


def test_a_long_trace_is_averaged_to_its_mean(tmp_path: Path) -> None:
    lines = "".join(f"{k},{k}\n" for k in range(1, 1001))
    (tmp_path / "trace.csv").write_text(f"step,loss\n{lines}")
    found = read_trace(tmp_path / "trace.csv").loss
    assert len(found) == 32
    assert found[-1][0] == 1000
    assert sum(value for _, value in found) / 32 == pytest.approx(500.5, rel=0.01)


def test_risk_over_coverage_has_the_area_of_the_metric(made: tuple[Path, ResultRecord]) -> None:
    folder, record = made
    found = read_curves(folder, record)
    assert found.training is not None
    assert set(found.risk) == {"attribution", "detection", "both"}
    frame = toy_predictions(site_protocol(), 20)
    seen = frame[frame["attribution_label"] >= 0]
    probs = seen[[name for name in seen if name.startswith("p_") and name != "p_fake"]].to_numpy()
    area = aurc(probs.max(1), probs.argmax(1) != seen["attribution_label"].to_numpy())
    assert area is not None
    assert sum(found.risk["attribution"]) / len(COVERAGES) == pytest.approx(area, abs=0.05)
    assert found.risk["attribution"][-1] == pytest.approx((probs.argmax(1) != seen["attribution_label"]).mean())


@pytest.mark.parametrize(
    "text", ["", "step\n", "step,loss\nx,1\n", "loss\n1\n", 'step,loss\n"1', "step,loss\n1,1\n\x00"]
)
def test_what_is_no_trace_is_said_and_stops_nothing(tmp_path: Path, made: tuple[Path, ResultRecord], text: str) -> None:
    (tmp_path / "trace.csv").write_text(text)
    found = read_curves(tmp_path, made[1])
    assert found.training is None or found.training.loss == [(1, 1.0)]
    assert found.training is not None or "trace.csv" in found.no_training
    assert read_curves(tmp_path / "nowhere", made[1]).no_training == NOT_HERE


def test_files_that_were_changed_are_not_drawn(made: tuple[Path, ResultRecord], tmp_path: Path) -> None:
    folder, record = made
    stated = replace(record, run=replace(record.run, files={"trace.csv": "0" * 64}))
    assert "changed" in read_curves(folder, stated).no_training
    (tmp_path / record.predictions.path).write_bytes(b"x")
    found = read_curves(tmp_path, record)
    assert not found.risk
    assert "no risk over coverage" in found.problems[0]


def test_robustness_is_read_where_faces_rules_and_weights_are_those_of_the_record(tmp_path: Path) -> None:
    theirs, _ = toy_evaluation(tmp_path / "evaluations/toy-1/robustness-1")
    found = read_curves(tmp_path, theirs).robustness
    assert {curve.title for curve in found} == {"JPEG", "Blur"}
    jpeg = next(curve for curve in found if curve.name == "jpeg")
    wanted = {value.params["severity"]: value.value for value in curves(theirs, "auroc")["jpeg"]}
    assert jpeg.values["auroc"] == wanted
    assert set(wanted) == {0, 1, 5}
    assert "5: 10" in jpeg.settings
    assert read_curves(tmp_path / "evaluations/toy-1", theirs).robustness == found, "an evaluation of the run"
    other = replace(theirs, model=replace(theirs.model, checkpoint_sha256="1" * 64))
    assert read_curves(tmp_path, other).robustness == []
    (tmp_path / "evaluations/toy-1/robustness-1/settings.json").write_text("{}")
    damaged = read_curves(tmp_path, theirs)
    assert damaged.robustness == []
    assert "no robustness of robustness-1" in damaged.problems[-1]


def test_means_are_of_what_every_seed_has() -> None:
    lines = [CorruptionCurve("a", "A", "s", {"auroc": {0: at, 1: bad}}) for at, bad in ((0.8, 0.6), (0.6, None))]
    one = RunCurves(risk={"both": [0.2] * 20}, robustness=lines[:1])
    two = RunCurves(risk={"both": [0.4] * 20}, robustness=lines[1:])
    assert risk_of([one, two])["both"][0] == pytest.approx(0.3)
    values = robustness_of([one, two])["a", "s"].values["auroc"]
    assert values == {0: pytest.approx(0.7), 1: None}
    assert risk_of([one, RunCurves()]) == {}
    assert robustness_of([one, RunCurves()]) == {}
    other = RunCurves(robustness=[CorruptionCurve("a", "A", "other strengths", {"auroc": {0: 0.6}})])
    assert robustness_of([one, other]) == {}, "severities of other strengths are not averaged"


def test_pages_draw_what_was_read_and_say_what_is_missing() -> None:
    records = site_records(site_protocol())
    line = {"auroc": {0: 0.9, 3: 0.5}, "detection_auc": {0: 0.8, 3: 0.7}}
    blur = CorruptionCurve("blur", "Blur", "s", line)
    read = RunCurves(TrainingCurve([(1, 2.0)], []), "", {"both": [0.1] * 20}, [blur], ["bad file"])
    files = site_files(site_facts(records, site_protocol(), curves={one.record_id: read for one in records[:2]}))
    page = files["protocol-toy.html"]
    assert "Toy, seed 0: bad file" in page
    for name in ("risk-0", "robustness-0-auroc", "robustness-0-detection-auc"):
        assert files[f"protocol-toy-{name}.csv"].count("\n") > 2
        assert files[f"protocol-toy-{name}.svg"].startswith("<?xml")
        assert r"\toprule" in files[f"protocol-toy-{name}.tex"]
        assert f'href="protocol-toy-{name}.csv"' in page
    assert "Training curve" in files[f"run-{records[0].record_id[:16]}.html"]
    assert f"No training curve: {NOT_HERE}" in files[f"run-{records[2].record_id[:16]}.html"]
    assert "model-toy-training.csv" in files
    assert NOT_HERE in files["model-second.html"]
