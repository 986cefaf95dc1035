from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.runs import resealed, write_run
from helpers.toy import toy_predictions, toy_protocol
from scipy.stats import binomtest

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.record import MetricValue, read_record, write_record
from dfad_bench.metrics import METRICS, detection, few_sources
from dfad_bench.metrics.paired import mcnemar
from dfad_bench.metrics.spread import Spread
from dfad_bench.report.compare import Comparison, compare_runs, comparison_table
from dfad_bench.report.headline import headline_keys, scored_metrics
from dfad_bench.report.paired_numbers import (
    Compared,
    Sources,
    _spread,
    _tested,
    compared,
    corrected,
    mean_number,
    place_of,
)
from dfad_bench.report.ranks import seed_variance
from dfad_bench.report.score import numbers
from dfad_bench.report.scored_faces import Number
from dfad_bench.report.table import FORMATS, render

PROTOCOL = toy_protocol()


def better(frame: pd.DataFrame, amount: float, seed: int = 0) -> pd.DataFrame:
    """The same faces, detected better by `amount` logits."""
    noise = np.random.default_rng(seed).normal(size=len(frame)) * 0.3
    logits = np.log(frame["p_fake"] / (1 - frame["p_fake"])) + amount * (2 * frame["detection_label"] - 1) + noise
    return frame.assign(p_fake=1 / (1 + np.exp(-logits)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    frame = toy_predictions(PROTOCOL, 60)
    alone = frame.assign(source_key=frame["sample_id"])
    write_run(folder / "a", PROTOCOL, frame, resamples=0)
    write_run(folder / "b", PROTOCOL, better(frame, 1.5).sample(frac=1, random_state=0), resamples=0)
    write_run(folder / "a_alone", PROTOCOL, alone, resamples=0)
    write_run(folder / "b_alone", PROTOCOL, better(alone, 1.5), resamples=0)
    return folder


def row(found: Comparison, metric: str, subset: str, averaging: str = "micro") -> Compared:
    rows = [r for r in found.rows if (r.metric, r.subset, r.averaging) == (metric, subset, averaging)]
    assert len(rows) == 1
    return rows[0]


def test_the_better_detector_is_found_and_attribution_is_not(runs: Path) -> None:
    found = compare_runs(runs / "a", runs / "b", resamples=1000)
    assert {row(found, name, "unseen").better for name in ("accuracy", "auc", "balanced_accuracy", "eer")} == {"b"}
    assert row(found, "eer", "unseen").difference > 0  # lower is better
    assert {r.better for r in found.rows if r.task == "attribution"} == {None}
    assert all(r.difference == 0 for r in found.rows if r.task == "attribution")
    for r in found.rows:
        assert r.p_holm >= r.p
        assert r.ci95 is None or r.ci95[0] - 1e-12 <= r.difference <= r.ci95[1] + 1e-12
    assert any("sources" in note for note in found.notes)


def test_numbers_are_those_of_the_records(runs: Path) -> None:
    found = compare_runs(runs / "a", runs / "b", everything=True, resamples=100)
    for side, name in (("a", "a"), ("b", "b")):
        record = read_record(runs / name / "record.json")
        stated = {(m.task, m.metric, m.subset, m.averaging, m.params.get("threshold")): m.value for m in record.metrics}
        mine = {(r.task, r.metric, r.subset, r.averaging, r.threshold): getattr(r, side) for r in found.rows}
        assert mine == pytest.approx(stated)


def test_swapping_the_runs_swaps_the_signs_and_nothing_else(runs: Path) -> None:
    one, other = (compare_runs(runs / x, runs / y, resamples=200) for x, y in (("a", "b"), ("b", "a")))
    for a, b in zip(one.rows, other.rows, strict=True):
        assert a.difference == pytest.approx(-b.difference)
        assert a.p == pytest.approx(b.p)
        assert a.ci95 == (None if b.ci95 is None else pytest.approx((-b.ci95[1], -b.ci95[0])))
        assert {a.better, b.better} in ({None}, {"a", "b"})


def test_a_run_against_itself_shows_nothing(runs: Path) -> None:
    found = compare_runs(runs / "a", runs / "a", resamples=100)
    assert {r.p for r in found.rows} == {1.0}
    assert {r.better for r in found.rows} == {None}


def test_tests_are_the_published_ones_where_every_face_is_its_own_source(runs: Path) -> None:
    found = compare_runs(runs / "a_alone", runs / "b_alone", resamples=100)
    frames = [pd.read_parquet(runs / f"{name}_alone" / "predictions.parquet") for name in "ab"]
    unseen = frames[0]["group"].isin([g.key for g in PROTOCOL.unseen])
    right = [(f["p_fake"] > 0.5) == (f["detection_label"] == 1) for f in frames]
    wins, losses = int((right[0] & ~right[1] & unseen).sum()), int((right[1] & ~right[0] & unseen).sum())
    exact = row(found, "accuracy", "unseen")
    assert exact.test == "mcnemar exact"
    assert exact.p == pytest.approx(binomtest(wins, wins + losses).pvalue)
    area = row(found, "auc", "unseen")
    assert area.test == "delong"
    assert area.a == pytest.approx(detection.auc(frames[0].detection_label[unseen], frames[0].p_fake[unseen]))
    assert row(found, "oscr", "seen-vs-unseen").test == "bootstrap t"
    assert not any("come from" in note for note in found.notes)


def test_holm_counts_the_tests_of_the_table(runs: Path) -> None:
    found = compare_runs(runs / "a", runs / "b", resamples=100)
    smallest = min(found.rows, key=lambda r: r.p)
    assert smallest.p_holm == pytest.approx(min(1, smallest.p * len(found.rows)))
    assert f"over the {len(found.rows)} tests" in found.notes[0]


def test_runs_that_cannot_be_compared_are_refused_in_one_line(runs: Path, tmp_path: Path) -> None:
    frame = toy_predictions(PROTOCOL, 60)
    manifest = {"name": "m", "content_sha256": "b" * 64, "rows": 1, "leakage": {}, "splits": {}}
    write_run(tmp_path / "protocol", replace(PROTOCOL, seed=3), frame, resamples=0)
    write_run(tmp_path / "manifest", PROTOCOL, frame, resamples=0, manifest=manifest)
    write_run(tmp_path / "faces", PROTOCOL, frame[2:], resamples=0)
    write_run(tmp_path / "labels", PROTOCOL, frame.assign(source_key="one"), resamples=0)
    for name, text in (
        ("protocol", "other protocols, toy version 1"),
        ("manifest", "other manifests, aaaaaaaa and bbbbbbbb"),
        ("faces", "other test faces .2 only in the first, 0 only in the second"),
        ("labels", "other groups, sources or labels"),
    ):
        with pytest.raises(ConfigError, match=text) as caught:
            compare_runs(runs / "a", tmp_path / name)
        assert "\n" not in str(caught.value)
    for name, text in (
        ("manifest", "other manifests, bbbbbbbb and aaaaaaaa"),
        ("faces", "other test faces .0 only in the first, 2 only in the second"),
    ):  # whichever of the two comes first
        with pytest.raises(ConfigError, match=text):
            compare_runs(tmp_path / name, runs / "a")
    with pytest.raises(ConfigError, match="not the folder of a finished run"):
        compare_runs(runs / "a", tmp_path / "nowhere")
    (tmp_path / "faces" / "predictions.parquet").write_bytes(b"")
    with pytest.raises(IntegrityError, match="damaged or changed"):
        compare_runs(tmp_path / "faces", runs / "a")


def test_partial_runs_and_untrained_heads_are_said(runs: Path, tmp_path: Path) -> None:
    frame = toy_predictions(PROTOCOL, 60)
    model = {
        "name": "half", "registry_sha256": "0" * 64, "params_total": 1, "params_trainable": 1, "heads": "attribution",
        "checkpoint_sha256": None, "init": {"kind": "random"},
    }  # fmt: skip
    write_run(tmp_path / "half", PROTOCOL, frame, resamples=0, status="partial", model=model)
    found = compare_runs(runs / "a", tmp_path / "half", resamples=100)
    untrained = row(found, "auc", "unseen")
    assert (untrained.p, untrained.difference) == (None, None)
    assert untrained.null_reason == "the detection expert was not trained"
    assert any(note.startswith("B is partial") for note in found.notes)
    for format in FORMATS:
        assert "not trained" in render(comparison_table(found), format)


def test_differences_of_too_few_sources_have_no_interval_and_are_counted(tmp_path: Path) -> None:
    frame = toy_predictions(PROTOCOL, 60)
    for few in (1, 30):
        place = frame.groupby("group").cumcount().to_numpy()
        grouped = frame.assign(source_key=frame["group"] + (place % few).astype(str))
        for name, rows in (("a", grouped), ("b", better(grouped, 1.0))):
            write_run(tmp_path / str(few) / name, PROTOCOL, rows, resamples=0)
    alone = compare_runs(tmp_path / "1" / "a", tmp_path / "1" / "b", resamples=100)
    assert {r.ci95 for r in alone.rows} == {None}
    assert all(r.ci_reason.startswith("no interval: ") for r in alone.rows)
    assert any("differences have no interval: " in note for note in alone.notes)
    enough = compare_runs(tmp_path / "30" / "a", tmp_path / "30" / "b", resamples=100)
    assert {r.metric for r in enough.rows if r.ci95 is None} == {"ap"}  # 40 are needed
    assert f"300 faces come from {5 * 30} sources: all tests and intervals treat a source as one." in enough.notes


def test_the_winner_is_of_the_difference_that_is_printed(tmp_path: Path) -> None:
    """Groups of 2000, 40 and 40 faces: most faces favour A, the mean over groups does not."""
    sizes = dict(zip([g.key for g in PROTOCOL.seen], (2000, 40, 40), strict=True))
    frame = toy_predictions(PROTOCOL, {**sizes, **{g.key: 20 for g in PROTOCOL.unseen}})
    frame = frame.assign(source_key=frame["sample_id"])
    large, runs = frame["group"] == PROTOCOL.seen[0].key, []
    for shares, seed in (((0.80, 0.70), 1), ((0.72, 0.80), 2)):  # exactly so many right in each group, in any order
        mixed = frame.groupby("group")["sample_id"].transform(
            lambda names, seed=seed: np.random.default_rng(seed).permutation(len(names)) / len(names)
        )
        right = mixed < np.where(large, *shares)
        named = np.where(right, frame["attribution_label"].clip(0), (frame["attribution_label"].clip(0) + 1) % 3)
        runs.append(frame.assign(**{f"p_{k}": np.where(named == k, 0.8, 0.1) for k in range(3)}))
    for name, rows in zip("ab", runs, strict=True):
        write_run(tmp_path / name, PROTOCOL, rows, resamples=0)
    seen = row(compare_runs(tmp_path / "a", tmp_path / "b", resamples=500), "seen_accuracy", "seen", "macro")
    right = [rows[[f"p_{k}" for k in range(3)]].to_numpy().argmax(1) == rows["attribution_label"] for rows in runs]
    test_of_faces = mcnemar(*(side[frame["attribution_label"] >= 0] for side in right))
    assert test_of_faces.only_a > test_of_faces.only_b  # the faces counted alike name A,
    assert test_of_faces.p < 1e-6
    assert seen.difference < 0  # against the printed effect
    assert seen.better is None
    assert seen.ci95[0] < seen.difference < 0 < seen.ci95[1]
    assert (seen.p < 0.05) == (not seen.ci95[0] < 0 < seen.ci95[1])


def test_the_table_shows_what_was_compared(runs: Path) -> None:
    found = compare_runs(runs / "a", runs / "b", resamples=100)
    assert (found.faces, found.sources) == (
        300,
        pd.read_parquet(runs / "a" / "predictions.parquet").source_key.nunique(),
    )
    table = comparison_table(found)
    for shown, value in zip(table.rows, found.rows, strict=True):
        at = "" if value.threshold is None else f" @{value.threshold:g}"
        unit = METRICS[value.metric].unit
        name = value.metric if unit == "share" else f"{value.metric} [{unit}]"
        assert shown["number"] == f"{value.task} {name}{at}, {value.subset} ({value.averaging})"
        assert (shown["low"], shown["high"]) == (value.ci95 or (None, None))
        assert shown["verdict"] == {"a": "A", "b": "B", None: "not shown"}[value.better]
    expected = {
        ("seen_accuracy", "seen", "macro"),
        ("unseen_accuracy", "unseen", "macro"),
        *((name, "seen-vs-unseen", mean) for name in ("auroc", "oscr") for mean in ("micro", "macro")),
        ("fpr95", "seen-vs-unseen", "micro"),
        ("accuracy", "unseen", "micro"),
        ("balanced_accuracy", "unseen", "micro"),
        ("auc", "unseen", "micro"),
        ("auc", "unseen", "macro"),
        ("ap", "unseen", "micro"),
        ("eer", "unseen", "micro"),
        ("auc", "seen", "micro"),
    }
    known = {name for name, _, _ in expected} | {"tpr", "tnr", "ece", "prototype_retrieval"}
    known.add("false_alarms")  # of processed real faces, of which this protocol has none
    added = [name for name in scored_metrics() if name not in known and METRICS[name].main]
    expected |= {key[1:] for name in added for key in headline_keys(name)}
    assert {(r.metric, r.subset, r.averaging) for r in found.rows} == expected


def test_deviations_from_the_protocol_are_named(runs: Path, tmp_path: Path) -> None:
    made = write_run(tmp_path / "c", PROTOCOL, toy_predictions(PROTOCOL, 60), resamples=0)
    deviating = resealed(made, {"protocol.deviations": ["fewer faces", "b", "c", "d"]})
    write_record(tmp_path / "c" / "record.json", deviating)
    notes = compare_runs(runs / "a", tmp_path / "c", resamples=100).notes
    assert "B departs from the protocol: fewer faces; b; c and 1 more." in notes
    assert not any(note.startswith("A departs") for note in notes)


def test_other_protocols_are_named_with_version_and_hash(runs: Path, tmp_path: Path) -> None:
    other = replace(PROTOCOL, version=2)
    write_run(tmp_path / "other", other, toy_predictions(PROTOCOL, 60), resamples=0)
    mine, theirs = f"toy version 1 ({PROTOCOL.sha256[:8]})", f"toy version 1 ({other.sha256[:8]})"
    with pytest.raises(ConfigError) as caught:
        compare_runs(runs / "a", tmp_path / "other")
    assert f"other protocols, {mine} and {theirs}; train both under one" in str(caught.value)


def test_runs_trained_elsewhere_are_named_and_others_are_not(runs: Path, tmp_path: Path) -> None:
    here = compare_runs(runs / "a", runs / "b", resamples=100)
    assert not any(note.startswith(("A was", "B was", "A is", "B is")) for note in here.notes)
    made = write_run(tmp_path / "c", PROTOCOL, toy_predictions(PROTOCOL, 60), resamples=0)
    config = {**made.run.config, "protocol": "far", "protocol_sha256": "b" * 64, "manifests": {"x": "c" * 64}}
    write_record(tmp_path / "c" / "record.json", resealed(made, {"run.config": config}))
    notes = compare_runs(runs / "a", tmp_path / "c", resamples=100).notes
    assert [note for note in notes if note.startswith("B was trained under far (bbbbbbbb) on faces ")]
    assert not any(note.startswith("A was") for note in notes)


def test_a_test_of_two_models_needs_what_it_compares_of_both() -> None:
    value = MetricValue("detection", "auc", "unseen", 0.5, 4, True)
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.2, 0.4, 0.6])
    bare = Number(value)
    ranked = Number(value, ranked=(labels, scores), sources=np.arange(4))
    shares = Number(value, hits=labels == 1, sources=np.arange(4))
    of = Spread(0.1, 9)
    for full, test in ((ranked, "delong"), (shares, "mcnemar exact")):
        assert _tested(full, full, 0.0, of, None, 4)[0]["test"] == test
        for a, b in ((full, bare), (bare, full)):
            assert _tested(a, b, 0.0, of, None, 4)[0]["test"] == "bootstrap t"
    assert _tested(bare, bare, 0.0, None, None, 4)[0]["p"] is None


@pytest.fixture
def _every_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_sources, "LEAST_OF_DIFFERENCES", {})


def test_a_difference_may_need_more_sources_for_its_interval_than_the_numbers() -> None:
    frame = toy_predictions(PROTOCOL, 12)
    frame = frame.assign(source_key=frame["sample_id"])
    sides = [numbers(side, PROTOCOL, resamples=60)[1] for side in (frame, better(frame, 0.5))]
    one, other = (next(n for n in side if place_of(n.value)[1:4] == ("auc", "unseen", "micro")) for side in sides)
    assert one.with_interval(60, 0).ci95 is not None
    found = compared(one, other, Sources(frame)(one.value))
    assert (found.ci95, found.test) == (None, "delong")
    assert found.ci_reason == "no interval: 12 forged sources, 20 are needed"


@pytest.mark.usefixtures("_every_interval")
def test_an_interval_and_the_test_beside_it_say_the_same() -> None:
    """Of few sources the normal quantile, or another standard error, would show what the interval does not."""
    wanted, shown = {("auc", "unseen", "micro"), ("balanced_accuracy", "unseen", "micro")}, set()
    for seed in range(8):
        frame = toy_predictions(PROTOCOL, 12, seed=seed)
        place = frame.groupby("group").cumcount().to_numpy()
        grouped = frame.assign(source_key=frame["group"] + (place % 4).astype(str))
        sides = [
            {place_of(one.value)[1:4]: one for one in numbers(side, PROTOCOL, resamples=60)[1]}
            for side in (grouped, better(grouped, 0.25 * seed, seed))
        ]
        for key in wanted:
            one = sides[0][key]
            found = compared(one, sides[1][key], Sources(grouped)(one.value))
            assert found.test in ("delong", "bootstrap t")
            assert (found.p < 0.05) == (not found.ci95[0] <= 0 <= found.ci95[1])
            shown.add(found.p < 0.05)
    assert shown == {True, False}


def test_the_verdict_needs_the_interval_too() -> None:
    facts = ("detection", "accuracy", "unseen", "micro", None, 20, 0.9, 0.5, 0.4)
    shown = corrected([Compared(*facts, between, "mcnemar exact", 0.01) for between in ((-0.1, 0.7), (0.1, 0.7), None)])
    assert [one.better for one in shown] == [None, "a", "a"]


def test_the_spread_of_a_difference_needs_resamples_of_both() -> None:
    value = MetricValue("detection", "auc", "unseen", 0.5, 4, True)
    bare = Number(value)
    drawn = Number(value, draws=lambda: np.arange(5.0))
    for a, b in ((bare, drawn), (drawn, bare), (bare, bare), (drawn, drawn)):
        of, reason = _spread(a, b)
        assert of is None
        assert reason


@pytest.mark.parametrize("values", [(0.2, 0.4, 0.9), (0.2, 0.4)])
def test_the_variance_between_seeds_of_a_mean_is_theirs_over_their_number(values: tuple[float, ...]) -> None:
    numbers = [Number(MetricValue("detection", "auc", "unseen", one, 4, True)) for one in values]
    [(found, df)] = mean_number(numbers).of_seeds
    assert (found, df) == (pytest.approx(np.var(values, ddof=1) / len(values)), len(values) - 1)
    assert mean_number(numbers[:1]).of_seeds == ()
    assert seed_variance(values) == (pytest.approx(np.var(values, ddof=1)), len(values) - 1)
    assert seed_variance((*values, None)) is None
    assert mean_number([numbers[0]] * len(values)).of_seeds == ()  # equal seeds: nothing to add
