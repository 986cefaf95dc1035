"""Commands and functions that take a run take the folder of `train --seeds`, too: each seed, and the mean."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from click.testing import CliRunner, Result
from helpers.toy import RECIPE, toy_manifests, toy_protocol, toys_registered

import dfad_bench as dfad
from dfad_bench.api.runs import draw_sweeps
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.record import read_record
from dfad_bench.core.run_folder import runs_in
from dfad_bench.report.trivial import MAJORITY

SEEDS = (0, 2, 10)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("seeds")
    toy_manifests(folder / "manifests")
    settings = dfad.TrainSettings(
        model="toy", protocol=toy_protocol(), recipe=replace(RECIPE, epochs=1), device="cpu", logs=(), seeds=SEEDS
    )
    with toys_registered():
        dfad.train(settings, faces(folder), folder / "seeds")
        yield folder


@pytest.fixture
def seeds(work: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(work / "seeds", tmp_path / "seeds"))


def faces(work: Path) -> list[Path]:
    return [work / "manifests" / name for name in ("synthetic", "synthetic-outdoor")]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def ok(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_folder_of_seeds_stands_for_its_runs_in_their_order(work: Path) -> None:
    assert [path.name for path in runs_in(work / "seeds")] == ["seed-0", "seed-2", "seed-10"]
    assert runs_in(work / "seeds" / "seed-2") == [work / "seeds" / "seed-2"]


@pytest.mark.parametrize("table", ["metrics", "groups", "sweep", "confusion"])
def test_scores_shows_each_seed_and_the_mean(work: Path, table: str) -> None:
    rows = json.loads(ok("scores", "--run", work / "seeds", "--table", table, "--json"))["rows"]
    alone = [
        json.loads(ok("scores", "--run", run, "--table", table, "--json"))["rows"] for run in runs_in(work / "seeds")
    ]
    each = [[{k: v for k, v in row.items() if k != "seed"} for row in rows if row["seed"] == str(s)] for s in SEEDS]
    assert each == alone
    means = [row for row in rows if row["seed"] == "mean"]
    assert len(means) == len(alone[0])
    for mean, *same in zip(means, *alone, strict=True):
        for key, value in mean.items():
            values = [row.get(key) for row in same]
            if key in ("seed", "sd", "low", "high", "null_reason"):
                continue
            if isinstance(values[0], float):
                assert value == pytest.approx(fmean(values))
            elif len(set(values)) == 1:
                assert value == values[0]
    shown = ok("scores", "--run", work / "seeds", "--table", table)
    assert {"0", "2", "10", "mean"} <= {line.split()[0] for line in shown.splitlines() if line.split()}
    assert ok("scores", "--run", work / "seeds", "--table", table, "--format", "csv").startswith("seed,")
    assert list(dfad.scores(work / "seeds", table).to_frame()["seed"])[-1] == "mean"


def test_figures_name_the_model_and_where_needed_the_seed(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("dfad_bench.report.figures.sweep.draw_sweep", lambda path, sweeps: drawn.extend(sweeps))
    ok("scores", "--run", work / "seeds", "--figure", tmp_path / "a.png")
    assert drawn == ["Toy, seed 0", "Toy, seed 2", "Toy, seed 10", "Toy, mean of 3 seeds"]
    drawn.clear()
    draw_sweeps([work / "seeds" / "seed-2"], tmp_path / "b.png")
    assert drawn == ["Toy"]
    drawn.clear()
    copy = shutil.copytree(work / "seeds" / "seed-2", tmp_path / "copy")
    draw_sweeps([work / "seeds" / "seed-2", copy], tmp_path / "c.png")
    assert drawn == ["Toy, seed 2 (seed-2)", "Toy, seed 2 (copy)"]


def test_compare_tests_the_means_and_each_seed(work: Path) -> None:
    found = dfad.compare(work / "seeds", work / "seeds" / "seed-0", resamples=100)
    assert (found.a, found.b) == ("Toy, mean of seeds 0, 2, 10", "Toy, seed 0")
    assert [one.a for one in found.of_seeds] == ["Toy, seed 0", "Toy, seed 2", "Toy, seed 10"]
    for place, row in enumerate(found.rows):
        of_seeds = [one.rows[place] for one in found.of_seeds]
        assert row.a == pytest.approx(fmean(one.a for one in of_seeds))
        assert row.difference == pytest.approx(fmean(one.difference for one in of_seeds))
        assert row.test in ("bootstrap t", None)
    assert any("count the spread over faces and over seeds" in note for note in found.notes)
    assert "B has one seed: its spread over seeds is not known, and not in these tests." in found.notes
    for one in found.of_seeds:
        assert any("spread over seeds is not part" in note for note in one.notes)
    pairs = json.loads(
        ok("compare", "--run", work / "seeds", "--run", work / "seeds" / "seed-2", "--resamples", 100, "--json")
    )
    assert len(pairs["of_seeds"]) == 3
    assert "mean of seeds 0, 2, 10" in ok(
        "compare", "--run", work / "seeds", "--run", work / "seeds" / "seed-2", "--resamples", 100
    )


def test_seeds_are_compared_with_the_same_seeds(work: Path, seeds: Path) -> None:
    shutil.rmtree(seeds / "seed-10")
    found = dfad.compare(work / "seeds", seeds, resamples=100)
    assert [(one.a, one.b) for one in found.of_seeds] == [
        ("Toy, seed 0", "Toy, seed 0"),
        ("Toy, seed 2", "Toy, seed 2"),
    ]
    assert all(row.difference == 0 for one in found.of_seeds for row in one.rows if row.difference is not None)
    assert any("A has seeds 0, 2, 10, B 0, 2" in note for note in found.notes)


@pytest.mark.heavy
def test_verify_checks_every_seed_and_the_mean(seeds: Path) -> None:
    whole, one = (dfad.verify_record(path) for path in (seeds, seeds / "seed-2"))
    assert whole.differences == ()
    assert whole.compared > 3 * one.compared
    summary = read_json(seeds / "seeds.json")
    summary["rows"][0]["mean"] = 0.123
    write_json(seeds / "seeds.json", summary)
    result = invoke("verify-record", "--run", seeds)
    assert result.exit_code == 4
    assert "seeds.json.rows[0].mean" in result.output
    raw = read_json(seeds / "seed-2" / "record.json")
    raw["run"]["steps"] += 1
    write_json(seeds / "seed-2" / "record.json", raw)
    assert {d.name for d in dfad.verify_record(seeds).differences} >= {"seed-2: record_id", "seed-2: run.steps"}
    (seeds / "seeds.json").unlink()
    assert any("no mean to check" in note for note in dfad.verify_record(seeds).notes)


@pytest.mark.heavy
def test_evaluate_predicts_with_every_seed_and_averages(work: Path, seeds: Path) -> None:
    found = dfad.evaluate(seeds, faces(work), dfad.EvaluateSettings(device="cpu"))
    assert [one.record.run.seed for one in found.seeds] == list(SEEDS)
    assert "Toy, protocol toy: 3 seeds" in str(found.table)
    records = [read_record(path) for path in sorted(seeds.glob("seed-*/evaluations/*/record.json"))]
    assert len(records) == 3
    (summary,) = seeds.glob("evaluations/*/seeds.json")
    rows = read_json(summary)["rows"]
    at = next(row for row in rows if (row["metric"], row["subset"], row["averaging"]) == ("auc", "unseen", "micro"))
    assert at["mean"] == pytest.approx(fmean(record.metric("auc", "unseen").value for record in records))


@pytest.mark.heavy
def test_evaluate_prints_the_mean_and_where_it_lies(work: Path, seeds: Path) -> None:
    given = [part for path in faces(work) for part in ("--manifest", path)]
    result = invoke("evaluate", "--run", seeds, *given, "--device", "cpu", "--quiet")
    assert result.exit_code == 0, result.output
    assert "Toy, protocol toy: 3 seeds" in result.stdout
    assert result.stderr.count("Record: ") == 3
    (summary,) = seeds.glob("evaluations/*/seeds.json")
    assert f"Means: {summary}" in result.stderr
    shown = json.loads(ok("evaluate", "--run", seeds, *given, "--device", "cpu", "--quiet", "--json"))["rows"]
    assert len(shown) == len(read_json(summary)["rows"])


def test_an_evaluation_carries_the_training_counts_of_its_run(work: Path, seeds: Path) -> None:
    """The majority row after `evaluate` is the one on the board."""
    run = seeds / "seed-0"
    found = dfad.evaluate(run, faces(work), dfad.EvaluateSettings(device="cpu"))
    train = read_record(run / "record.json").manifest.splits["train"].generators
    assert "train" not in found.record.manifest.splits
    assert found.record.run.trained_on == {key.partition("/")[2]: n for key, n in train.items()}
    rows = dfad.leaderboard(toy_protocol(), run).rows
    on_board, after = ([row for row in some if row["model"] == MAJORITY] for some in (rows, found.table.rows))
    assert after[0]["detection_acc"] is not None
    assert after[0]["detection_acc"] == on_board[0]["detection_acc"]
    assert dfad.verify_record(found.folder).differences == ()


@pytest.mark.heavy
def test_rescore_computes_every_seed_and_the_mean_again(seeds: Path) -> None:
    (seeds / "seeds.json").unlink()
    result = invoke("evaluate", "--run", seeds, "--rescore")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("the record follows from the predictions") == 3
    assert {read_record(run / "record.json").source.trust for run in runs_in(seeds)} == {"recomputed"}
    assert dfad.verify_record(seeds).differences == ()


@pytest.mark.heavy
def test_robustness_draws_every_seed_and_the_mean(work: Path, seeds: Path) -> None:
    settings = dfad.RobustnessSettings(corruptions=("jpeg",), severities=(5,), device="cpu", workers=0)
    found = dfad.robustness(seeds, faces(work), settings)
    assert found.out.is_relative_to(seeds / "evaluations")
    labels = ["Toy, seed 0", "Toy, seed 2", "Toy, seed 10", "Toy, mean of 3 seeds"]
    assert list(dict.fromkeys(row["run"] for row in found.table.rows))[2:] == labels
    cells = [row for row in found.table.rows if (row["corruption"], row.get("severity")) == ("JPEG *", "5")]
    assert cells[-1]["auroc"] == pytest.approx(fmean(row["auroc"] for row in cells[:-1]))
    given = [part for path in faces(work) for part in ("--manifest", path)]
    again = invoke(
        "evaluate",
        "--run",
        seeds,
        *given,
        "--corruptions",
        "jpeg",
        "--severities",
        "5",
        "--device",
        "cpu",
        "--workers",
        "0",
        "--quiet",
    )
    assert again.exit_code == 0, again.output


def test_unfinished_and_mixed_seeds_are_one_line(seeds: Path, work: Path) -> None:
    (seeds / "seed-2" / "record.json").unlink()
    result = invoke("scores", "--run", seeds)
    assert (result.exit_code, "seed-2: no record.json" in result.output) == (1, True)
    with pytest.raises(ConfigError, match="give one of them, such as"):
        dfad.load_run(seeds)  # a model is one run's
