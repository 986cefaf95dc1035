from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.robustness import CELLS, SETTINGS, toy_evaluation, toy_grid
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.errors import ConfigError, IntegrityError, UnknownNameError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.record import MetricValue, identity, plain, read_record, seal, write_record
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.metrics import openset
from dfad_bench.report.figures.robustness import draw_robustness, save_robustness_figures
from dfad_bench.report.leaderboard import find_records
from dfad_bench.report.robustness.scores import (
    FILE,
    METRICS_KEPT,
    TOLERANCE,
    _is_same_number,
    build_robustness,
    read_robustness,
    rescore_robustness,
    score_robustness,
)
from dfad_bench.report.robustness.tables import NUMBERS, curves, robustness_grid, robustness_table
from dfad_bench.report.score import score
from dfad_bench.report.table import FORMATS, render


def test_every_cell_is_scored_as_if_it_were_alone() -> None:
    protocol, frame = toy_protocol(), toy_grid()
    scored = score_robustness(frame, protocol, SETTINGS, resamples=20)
    assert {value.task for value in scored.metrics} == {"robustness"}
    assert list(dict.fromkeys((v.params["corruption"], v.params["severity"]) for v in scored.metrics)) == CELLS
    for k, (name, severity) in enumerate(CELLS):
        alone = score(toy_predictions(protocol, seed=k), protocol, resamples=20)
        mine = [v for v in scored.metrics if (v.params["corruption"], v.params["severity"]) == (name, severity)]
        assert {v.metric for v in mine} >= {"seen_accuracy", "unseen_accuracy", "auroc", "accuracy", "auc"}
        theirs = {
            (v.task, v.metric, v.subset, v.averaging, v.params.get("threshold")): (v.value, v.ci95, v.n)
            for v in alone.metrics
        }
        for v in mine:
            key = (v.params["of"], v.metric, v.subset, v.averaging, v.params.get("threshold"))
            assert theirs[key] == (v.value, v.ci95, v.n)
        rows = frame[(frame["corruption"] == name) & (frame["severity"] == severity)]
        seen = rows["attribution_label"] >= 0
        probs = rows[["p_0", "p_1", "p_2"]].to_numpy()
        (auroc,) = [v.value for v in mine if v.metric == "auroc" and v.averaging == "micro"]
        assert auroc == pytest.approx(openset.auroc(probs[seen], probs[~seen]))
    assert scored.groups == score(toy_predictions(protocol), protocol, resamples=0).groups
    strengths = {v.params.get("strength") for v in scored.metrics if v.params["corruption"] == "jpeg"}
    assert strengths == {80, 10}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="severity"), "lack columns .'severity'."),
        (lambda f: f[f["corruption"] != "blur"], "do not name the same cells.*blur"),
        (lambda f: f[(f["corruption"] != "blur") | (np.arange(len(f)) % 2 == 0)], "holds other faces than severity 0"),
    ],
)
def test_grids_that_are_not_whole_are_refused(change: Any, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        score_robustness(change(toy_grid()), toy_protocol(), SETTINGS, resamples=0)


def test_an_untrained_expert_has_no_numbers() -> None:
    scored = score_robustness(toy_grid(), toy_protocol(), SETTINGS, heads="attribution", resamples=0)
    detection = [value for value in scored.metrics if value.params["of"] == "detection"]
    assert detection
    assert all(value.value is None and value.null_reason for value in detection)


def test_settings_decide_the_hash_in_every_number() -> None:
    changed = {**SETTINGS, "seed": 1}
    digests = [
        {v.params["settings_sha256"] for v in score_robustness(toy_grid(), toy_protocol(), s, resamples=0).metrics}
        for s in (SETTINGS, changed, json.loads(json.dumps(SETTINGS)))
    ]
    assert digests[0] == digests[2] != digests[1]
    assert all(len(found) == 1 for found in digests)


@pytest.mark.heavy
def test_the_figure_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    evaluations = [(name, *toy_evaluation(tmp_path / name, seed)) for seed, name in enumerate(("a", "b"))]
    first = save_robustness_figures(evaluations, tmp_path / "one", ["auroc"])
    second = save_robustness_figures(evaluations, tmp_path / "two", ["auroc"])
    assert [path.name for path in first] == ["robustness-auroc.png", "robustness-auroc.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    figure = draw_robustness("auroc", evaluations)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["JPEG *", "Blur"]
    line = panels[0].get_lines()[0]
    expected = curves(evaluations[0][1], "auroc")["jpeg"]
    assert line.get_xdata().tolist() == [0, 1, 5]
    assert np.allclose(line.get_ydata(), [100 * value.value for value in expected])


def test_the_record_is_written_and_follows_from_its_predictions(tmp_path: Path) -> None:
    record, settings = toy_evaluation(tmp_path)
    assert record.record_id == identity(record)
    assert settings == SETTINGS
    again = rescore_robustness(tmp_path)
    assert again.source.trust == "recomputed"
    assert again.metrics == record.metrics
    assert not find_records([tmp_path], with_shipped=False)[0], "leaderboards are not for grids"


def change_number(folder: Path) -> None:
    raw = read_json(folder / FILE)
    raw["metrics"][7]["value"] = 0.123
    write_json(folder / FILE, raw)


def change_number_and_seal(folder: Path) -> None:
    from dfad_bench.core.record import plain, seal, write_record

    record = read_record(folder / FILE)
    metrics = [replace(value, value=0.123) if k == 7 else value for k, value in enumerate(record.metrics)]
    write_record(folder / FILE, seal({**plain(record), "metrics": metrics}))


def leave_out_the_last_number(folder: Path) -> None:
    from dfad_bench.core.record import plain, seal, write_record

    record = read_record(folder / FILE)
    write_record(folder / FILE, seal({**plain(record), "metrics": record.metrics[:-1]}))


def change_counts(folder: Path) -> None:
    from dfad_bench.core.record import plain, seal, write_record

    record = read_record(folder / FILE)
    first = next(iter(record.groups))
    groups = {**record.groups, first: replace(record.groups[first], tp=record.groups[first].tp + 1)}
    write_record(folder / FILE, seal({**plain(record), "groups": groups}))


def change_prediction(folder: Path) -> None:
    frame = toy_grid()
    frame.loc[3, "p_fake"] = 0.5
    write_predictions(folder / "predictions.parquet", frame)


def change_settings(folder: Path) -> None:
    write_json(folder / "settings.json", {**SETTINGS, "corrupt_at": 224})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_number, "changed after it was written"),
        (change_number_and_seal, "does not follow from its predictions: none 0"),
        (leave_out_the_last_number, "does not follow from its predictions: counts"),
        (change_counts, "does not follow from its predictions: counts"),
        (change_prediction, "damaged or changed"),
        (change_settings, "does not follow from its predictions"),
    ],
)
def test_what_was_changed_is_noticed(change: Any, message: str, tmp_path: Path) -> None:
    toy_evaluation(tmp_path)
    change(tmp_path)
    with pytest.raises(IntegrityError, match=message):
        rescore_robustness(tmp_path)


def test_settings_of_another_evaluation_are_refused(tmp_path: Path) -> None:
    toy_evaluation(tmp_path)
    change_settings(tmp_path)
    with pytest.raises(IntegrityError, match="not the settings"):
        read_robustness(tmp_path)


def test_a_record_that_called_one_frame_the_papers_video_compression_opens_and_has_a_star(tmp_path: Path) -> None:
    about = {"title": "Video compression", "paper_exact": True, "operator": "video_compression", "values": {"3": 35}}
    about |= {"meaning": "constant rate factor", "source": "the paper"}
    blur = SETTINGS["corruptions"][1]
    earlier = {**SETTINGS, "corruptions": [{"name": "video_compression", **about}, blur]}
    frame = toy_grid()
    frame = frame[frame["corruption"] != "jpeg"]
    coded = toy_grid(5).query("corruption == 'blur'").assign(corruption="video_compression")
    record, settings = toy_evaluation(tmp_path, settings=earlier, frame=pd.concat([frame, coded], ignore_index=True))
    assert settings["corruptions"][0]["paper_exact"] is True  # as it was written
    assert rescore_robustness(tmp_path).source.trust == "recomputed"
    table = robustness_table([("earlier", record, settings)])
    rows = {row["corruption"]: row for row in table.rows if row["run"] == "earlier"}
    assert list(rows) == ["none", "Video compression *", "Blur", "all as in the papers"]
    assert all(rows["all as in the papers"][key] == rows["Blur"][key] for key in NUMBERS)
    assert any("(video_compression)" in note for note in table.notes)


def test_the_table_has_trivial_rows_first_and_means_that_recompute(tmp_path: Path) -> None:
    record, settings = toy_evaluation(tmp_path)
    table = robustness_table([("mine", record, settings)])
    rows = list(table.rows)
    assert [row["run"] for row in rows[:2]] == ["always fake, never sure", "majority class"]
    assert rows[0]["unseen_acc"] == 1.0
    assert [(row["corruption"], row["severity"]) for row in rows[2:]] == [
        ("none", "0"), ("JPEG *", "1"), ("JPEG *", "5"), ("JPEG *", "mean"), ("Blur", "3"),
        ("all as in the papers", "mean"),
    ]  # fmt: skip
    for key in NUMBERS:
        assert rows[5][key] == pytest.approx((rows[3][key] + rows[4][key]) / 2)
        assert rows[7][key] == rows[6][key], "JPEG is not the papers'"
    assert any("not shown to have the same effect" in note and "(jpeg)" in note for note in table.notes)
    assert table.sections == {0: "trivial models", 2: "mine"}
    for format_ in FORMATS:
        assert "Blur" in render(table, format_)
    grid = robustness_grid([("mine", record, settings)])
    assert len(grid.rows) == len(record.metrics)
    assert {row["group"] for row in grid.rows} >= {group.key for group in toy_protocol().groups}


@pytest.mark.parametrize(("key", "what"), [("seed", "corruption sizes or seeds"), ("corrupt_at", "corruption sizes")])
def test_grids_of_other_settings_never_stand_side_by_side(key: str, what: str, tmp_path: Path) -> None:
    mine = ("mine", *toy_evaluation(tmp_path / "mine"))
    other = ("other", *toy_evaluation(tmp_path / "other", 1, {**SETTINGS, key: 7}))
    with pytest.raises(ConfigError, match=f"mine and other have different {what}"):
        robustness_table([mine, other])


def test_numbers_are_the_same_within_the_tolerance_and_with_equal_names() -> None:
    value = MetricValue("robustness", "auc", "unseen", 0.5, 10, True, ci95=(0.4, 0.6), params={"corruption": "blur"})
    assert _is_same_number(value, value)
    assert _is_same_number(value, replace(value, value=0.5 + 0.9 * TOLERANCE))
    assert _is_same_number(replace(value, value=None, ci95=None), replace(value, value=None, ci95=None))
    for other in (
        replace(value, value=0.5 + 1.1 * TOLERANCE),
        replace(value, value=None, ci95=None),
        replace(value, value=None),
        replace(value, ci95=None),
        replace(value, ci95=(0.4 - 1.1 * TOLERANCE, 0.6)),
        replace(value, ci95=(0.4, 0.6 + 1.1 * TOLERANCE)),
        replace(value, n=11),
        replace(value, subset="seen"),
        replace(value, params={"corruption": "jpeg"}),
    ):
        assert not _is_same_number(value, other)
        assert not _is_same_number(other, value)


def test_further_metrics_are_kept_on_request_and_checked_again(tmp_path: Path) -> None:
    record, _ = toy_evaluation(tmp_path)
    assert {value.metric for value in record.metrics} == set(METRICS_KEPT)
    more = build_robustness(tmp_path, resamples=20, metrics=[*METRICS_KEPT, "oscr", "eer"])
    assert {value.metric for value in more.metrics} == {*METRICS_KEPT, "oscr", "eer"}
    assert {value.metric: value.n for value in record.metrics}.items() <= {v.metric: v.n for v in more.metrics}.items()
    assert rescore_robustness(tmp_path).metrics == more.metrics
    with pytest.raises(UnknownNameError, match="Did you mean oscr"):
        score_robustness(toy_grid(), toy_protocol(), SETTINGS, metrics=["osrc"])


def test_a_metric_that_was_taken_out_of_a_record_is_missed(tmp_path: Path) -> None:
    record, _ = toy_evaluation(tmp_path)
    rest = tuple(value for value in record.metrics if value.metric != "auroc")
    write_record(tmp_path / FILE, seal({**plain(record), "metrics": [plain(value) for value in rest]}))
    with pytest.raises(IntegrityError, match="does not follow from its predictions"):
        rescore_robustness(tmp_path)
