"""A metric that is added to the table shows in scores, records, boards and comparisons."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.runs import write_run
from helpers.toy import toy_predictions
from helpers.toy_metrics import PROTOCOL, toy

import dfad_bench.metrics
from dfad_bench.cli.main import dfad
from dfad_bench.core.files import content_hash, read_json
from dfad_bench.core.record import read_record
from dfad_bench.metrics import METRICS, Metric
from dfad_bench.report.board_columns import board_columns, default_columns, known_columns
from dfad_bench.report.compare import compare_runs, comparison_table
from dfad_bench.report.headline import headline_keys, scored_metrics
from dfad_bench.report.run_record import rescore
from dfad_bench.report.run_tables import TABLES
from dfad_bench.report.verify import verify_record

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.heavy
def test_gaze_metrics_are_not_columns(tmp_path: Path) -> None:
    assert not {"frechet_distance", "paired_cosine"} & set(scored_metrics())
    result = CliRunner().invoke(dfad, ["leaderboard", "--protocol", "synthetic", "--columns", "paired_cosine"])
    assert result.exit_code == 1
