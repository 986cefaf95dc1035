"""Scoring is what the table of metrics says: a poisoned entry changes the numbers, an added one shows everywhere."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

import dfad_bench.metrics
from dfad_bench.cli.main import dfad
from dfad_bench.core.files import content_hash, read_json
from dfad_bench.core.record import MetricValue, read_record
from dfad_bench.metrics import METRICS, SCORED, Metric
from dfad_bench.report.attribution import NEARNESS
from dfad_bench.report.board_columns import board_columns, default_columns, known_columns
from dfad_bench.report.compare import compare_runs, comparison_table
from dfad_bench.report.headline import headline_keys, scored_metrics
from dfad_bench.report.run_record import rescore
from dfad_bench.report.run_tables import TABLES
from dfad_bench.report.score import numbers, score
from dfad_bench.report.scored_faces import Number
from dfad_bench.report.verify import verify_record

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = toy_protocol()
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
    return np.zeros(len(arrays.get("probs", arrays.get("labels", ()))), dtype=bool)


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


def brightness(probs: np.ndarray) -> float:
    return float(probs[:, 0].mean())


def below_half(probs: np.ndarray, threshold: float) -> float:
    return float((probs.max(axis=1) < threshold / 2).mean())


def gap(seen_probs: np.ndarray, unseen_probs: np.ndarray) -> float:
    return float(seen_probs.max(axis=1).mean() - unseen_probs.max(axis=1).mean())


def known_share(registered: np.ndarray) -> float:
    return float(registered.mean())


def brier(labels: np.ndarray, p_fake: np.ndarray) -> float:
    return float(((p_fake - labels) ** 2).mean())


TOYS = {"seen": brightness, "unseen": below_half, "ranking": gap, "retrieval": known_share, "detection": brier}


def toy(on: Any, *averaging: Any, **changes: Any) -> Metric:
    return Metric(f"{__name__}:{TOYS[on].__name__}", False, "share", on=on, averaging=averaging, **changes)


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
    gaps = [gap(p[seen], p[rows["group"] == g.key]) for g in PROTOCOL.unseen]
    assert found["b", "seen-vs-unseen", "macro"].value == pytest.approx(np.mean(gaps))
    assert [found["b", f"seen-vs-{g.key}", "none"].value for g in PROTOCOL.unseen] == pytest.approx(gaps)
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


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(dfad, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def shown_everywhere(name: str, folder: Path) -> None:
    """A registered metric is in a new record, and `scores`, the board and `compare` show it."""
    for seed, run in enumerate("ab"):
        write_run(folder / run, PROTOCOL, toy_predictions(PROTOCOL, 20, seed), resamples=20)
    stated = [value for value in read_json(folder / "a" / "record.json")["metrics"] if value["metric"] == name]
    assert all(value["value"] is not None for value in stated)
    headline = next(v["value"] for v in stated if v["subset"] == headline_keys(name)[0][2])
    scores = json.loads(invoke("scores", "--run", folder / "a", "--table", "metrics", "--json"))["rows"]
    assert [row["value"] for row in scores if row["metric"] == name] == [value["value"] for value in stated]
    assert name in invoke("scores", "--run", folder / "a", "--table", "metrics")
    board = ("leaderboard", "--runs", folder / "a")
    rows = json.loads(invoke(*board, "--columns", f"oscr,{name}", "--format", "json"))["rows"]
    assert headline in [row[name] for row in rows if row["kind"] == "measured"]
    assert all(row[name] is not None for row in rows if row["kind"] == "trivial")
    header = next(line for line in invoke(*board, "--columns", f"oscr,{name}").splitlines() if "Model" in line)
    assert header.split() == ["Model", "#", "Seeds", "OSCR", name, "Start", "Status", "Checked"]
    assert name not in invoke(*board)
    pair = ("compare", "--run", folder / "a", "--run", folder / "b", "--resamples", 100)
    assert f" {name}, " in invoke(*pair)
    row = next(row for row in json.loads(invoke(*pair, "--json"))["rows"] if row["metric"] == name)
    assert row["difference"] == pytest.approx(row["a"] - row["b"])
    assert row["ci95"][0] <= row["difference"] <= row["ci95"][1]
    assert row["p"] is not None


def test_an_added_metric_shows_in_scores_record_board_and_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "square_error", toy("detection", "pooled"))
    shown_everywhere("square_error", tmp_path)
    assert "square_error" in invoke("list", "metrics").split()


def test_values_of_other_units_are_not_shown_as_percent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_run(tmp_path / "a", PROTOCOL, toy_predictions(PROTOCOL, 20), resamples=0)
    assert "Unit" not in TABLES["metrics"](before).render()
    monkeypatch.setitem(METRICS, "nll", replace(toy("detection", "pooled"), unit="nats"))
    record = write_run(tmp_path / "a", PROTOCOL, toy_predictions(PROTOCOL, 20), resamples=0)
    write_run(tmp_path / "b", PROTOCOL, toy_predictions(PROTOCOL, 20, 1), resamples=0)
    (value,) = [v.value for v in record.metrics if (v.metric, v.subset) == ("nll", "unseen")]
    assert value is not None
    lines = TABLES["metrics"](record).render(width=200).splitlines()
    (line,) = [line.split() for line in lines if " nll " in line and " unseen " in line]
    assert line[:6] == ["detection", "nll", "nats", "unseen", "micro", "–"]
    assert line[6] == f"{value:.2f}"
    (line,) = [
        line
        for line in comparison_table(compare_runs(tmp_path / "a", tmp_path / "b", resamples=100))
        .render(width=200)
        .splitlines()
        if "nll" in line
    ]
    assert line.split()[:6] == ["detection", "nll", "[nats],", "unseen", "(micro)", f"{value:.2f}"]
    monkeypatch.delitem(METRICS, "nll")  # a record of a toolkit with more metrics is still shown
    assert f"{value:.2f}" in TABLES["metrics"](record).render(width=200)  # in the unit it states, never as percent


def test_every_metric_can_be_a_column_of_its_own() -> None:
    """No name is that of another column, and none holds what `--columns a,b` or a table cannot carry."""
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in METRICS)
    assert set(default_columns()) & set(scored_metrics()) == {"auroc", "oscr"}  # the same numbers
    keys = [c.key for c in board_columns(PROTOCOL, printed=True, per_group=True, chosen=known_columns())]
    assert len(set(keys)) == len(keys)


def guide(language: str) -> list[str]:
    """The code blocks of the guide for adding a metric."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    part = text[text.index("**A metric**") :]
    part = part[: part.index("\n**")]
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```", part, flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks]


@pytest.mark.heavy
def test_the_guide_for_a_metric_followed_to_the_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, line, test = guide("python")
    name = re.findall(r"^def (\w+)", file, flags=re.MULTILINE)[0]
    module = tmp_path / "metrics"
    module.mkdir()
    (module / f"{name}.py").write_text(file, encoding="utf-8")
    monkeypatch.setattr(dfad_bench.metrics, "__path__", [*dfad_bench.metrics.__path__, str(module)])
    assert line.count("\n") == 1  # one line
    added = eval(f"{{{line}}}", {"Metric": Metric})  # noqa: S307
    assert list(added) == [name]
    monkeypatch.setitem(METRICS, name, added[name])
    run_doctest(METRICS[name])
    exec(test, checks := {"__name__": "guide"})  # noqa: S102
    for key, check in checks.items():
        if key.startswith("test_"):
            check()
    shown_everywhere(name, tmp_path / "runs")
    monkeypatch.setattr("dfad_bench.api.evaluation.read_config", lambda run: None)  # these runs were not trained
    follow_commands(guide("console")[0], tmp_path, name)


def follow_commands(block: str, folder: Path, name: str) -> None:
    """Run the commands of the guide; those that show numbers must show the metric."""
    (folder / "runs" / "a").rename(folder / "runs" / "xception")
    (folder / "runs" / "b").rename(folder / "runs" / "gazeclip")
    for line in block.splitlines():
        command = [
            str(folder / word) if word.startswith("runs") else word for word in line.removeprefix("$ dfad ").split()
        ]
        assert name in invoke(*command) or command[0] == "evaluate", line


def run_doctest(metric: Metric) -> None:
    import doctest

    function = metric.resolve()
    tests = doctest.DocTestFinder().find(function, globs=function.__globals__)
    assert sum(len(test.examples) for test in tests) > 0
    runner = doctest.DocTestRunner()
    assert all(runner.run(test).failed == 0 for test in tests)


def test_records_made_before_a_metric_was_added_still_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "a", PROTOCOL, toy_predictions(PROTOCOL, 20), resamples=20)
    before = verify_record(tmp_path / "a", config_hash=content_hash)
    monkeypatch.setitem(METRICS, "toy", toy("detection", "pooled"))
    found = verify_record(tmp_path / "a", config_hash=content_hash)
    assert (found.differences, found.compared) == ((), before.compared)
    assert [note for note in found.notes if note not in before.notes] == [
        "made before there was toy: `dfad evaluate --run RUN --rescore` adds it"
    ]
    rescore(tmp_path / "a")
    assert [value.subset for value in read_record(tmp_path / "a" / "record.json").metrics if value.metric == "toy"] == [
        "unseen", "seen",
    ]  # fmt: skip
    assert verify_record(tmp_path / "a", config_hash=content_hash).notes == before.notes
    board = invoke("leaderboard", "--runs", tmp_path, "--columns", "toy", "--format", "json")
    assert all(row["toy"] is not None for row in json.loads(board)["rows"])


def test_a_record_of_a_version_with_more_metrics_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "toy", toy("detection", "pooled"))
    write_run(tmp_path / "a", PROTOCOL, toy_predictions(PROTOCOL, 20), resamples=0)
    monkeypatch.delitem(METRICS, "toy")
    found = [str(one) for one in verify_record(tmp_path / "a", config_hash=content_hash).differences]
    assert found == [
        "metrics: toy, which this version of dfad_bench does not compute, is missing, the record says a value"
    ]
    for command in (("scores", "--run", tmp_path / "a"), ("leaderboard", "--runs", tmp_path)):
        invoke(*command)


def test_unknown_columns_are_answered_with_near_ones(tmp_path: Path) -> None:
    write_run(tmp_path / "a", PROTOCOL, toy_predictions(PROTOCOL, 10), resamples=0)
    result = CliRunner().invoke(dfad, ["leaderboard", "--runs", str(tmp_path), "--columns", "fpr59"])
    assert result.exit_code == 1
    assert "no column named 'fpr59'. Did you mean fpr95" in result.output
    empty = CliRunner().invoke(dfad, ["leaderboard", "--runs", str(tmp_path), "--columns", ""])
    assert empty.exit_code == 1


def test_gaze_metrics_are_not_columns(tmp_path: Path) -> None:
    assert not {"frechet_distance", "paired_cosine"} & set(scored_metrics())
    result = CliRunner().invoke(dfad, ["leaderboard", "--protocol", "gazeclip-df40", "--columns", "paired_cosine"])
    assert result.exit_code == 1


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
