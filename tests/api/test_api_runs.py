"""The functions of `import dfad_bench` on toy runs: what commands do, and objects to go on with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner
from helpers.toy import RECIPE, toy_manifests, toy_protocol, toys_registered

import dfad_bench as dfad
from dfad_bench.api import views
from dfad_bench.api.runs import leaderboards
from dfad_bench.api.training import TeamError
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError, IntegrityError, UnknownNameError
from dfad_bench.core.record import plain, read_record
from dfad_bench.engine import launch as launching

SETTINGS = dfad.TrainSettings(
    model="toy", protocol=toy_protocol(), recipe=replace(RECIPE, epochs=1), device="cpu", logs=()
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("api")
    toy_manifests(folder / "manifests")
    (folder / "toy.yaml").write_text(yaml.safe_dump(plain(toy_protocol())))
    with toys_registered():
        dfad.train(SETTINGS, faces(folder), folder / "runs" / "toy")
        yield folder


def faces(work: Path) -> list[Path]:
    return [work / "manifests" / name for name in ("synthetic", "synthetic-outdoor")]


def test_training_gives_folders_records_and_a_table(work: Path, tmp_path: Path) -> None:
    said: list[str] = []
    opened = [dfad.open_manifest(path) for path in faces(work)]
    made = dfad.train(replace(SETTINGS, max_steps=2), opened, str(tmp_path / "run"), report=said.append)
    assert [run.out for run in made.runs] == [tmp_path / "run"]
    assert made.records == (read_record(tmp_path / "run" / "record.json"),)
    assert said == ["Partial: limit of 2 steps in all; the record is not ranked"]
    assert made.table is not None
    assert "always fake" in str(made.table)
    said.clear()
    whole = dfad.train(SETTINGS, faces(work), tmp_path / "run", report=said.append)
    assert whole.runs[0].fresh
    again = dfad.train(SETTINGS, faces(work), tmp_path / "run", report=said.append)
    assert not again.runs[0].fresh
    assert len(said) == 1
    assert said[0].startswith(f"{tmp_path / 'run'}: finished before with the same settings; nothing to do")
    assert again.records == whole.records
    with pytest.raises(IntegrityError, match=r"other settings \(seed\)"):
        dfad.train(replace(SETTINGS, seed=1), faces(work), tmp_path / "run")


def test_seeds_are_several_runs_and_their_mean(work: Path, tmp_path: Path) -> None:
    made = dfad.train(replace(SETTINGS, seeds=(2, 0)), faces(work), tmp_path)
    assert [run.out.name for run in made.runs] == ["seed-2", "seed-0"]
    assert [record.run.seed for record in made.records] == [2, 0]
    assert made.full_table is not None
    assert len(made.full_table.rows) > len(made.table.rows)  # type: ignore[union-attr]
    one = read_record(work / "runs" / "toy" / "record.json")
    assert made.records[1].metrics == one.metrics
    for seeds in ((1, 1), (-1,)):
        with pytest.raises(ConfigError, match="0 or more, each once"):
            replace(SETTINGS, seeds=seeds)


def test_settings_of_views_that_no_model_reads_are_told(work: Path, tmp_path: Path) -> None:
    said: list[str] = []
    given = replace(SETTINGS, views={"gaze": {"estimator": "l2cs"}}, max_steps=1)
    dfad.train(given, faces(work), tmp_path / "run", report=said.append)
    assert said[0] == "--estimator is not used: toy reads no gaze"


def test_a_run_is_a_folder_or_loaded(work: Path) -> None:
    folder = work / "runs" / "toy"
    run = dfad.load_run(folder)
    assert run.record == read_record(folder / "record.json")
    assert dfad.scores(run).rows == dfad.scores(str(folder)).rows
    frame = dfad.scores(run).to_frame()
    value = frame.query("metric == 'auroc' and averaging == 'micro' and subset == 'seen-vs-unseen'")["value"].item()
    assert value == run.record.metric("auroc", "seen-vs-unseen").value  # type: ignore[union-attr]
    shown = CliRunner().invoke(command, ["scores", "--run", str(folder), "--table", "metrics", "--format", "csv"])
    assert shown.stdout == dfad.scores(run).render("csv")
    for runs in (work / "runs", [run], str(work / "runs")):
        board = dfad.leaderboard(toy_protocol(), runs)
        assert [row["model"] for row in board.rows if row["kind"] == "measured"] == ["Toy"]
    assert list(leaderboards(work / "runs")) == ["toy"]
    assert dfad.leaderboard(toy_protocol(), run, columns=["auroc"]).to_frame()["auroc"].notna().any()
    assert dfad.compare(run, folder, resamples=100).rows[0].difference == 0


def test_tables_are_frames_of_raw_values(work: Path) -> None:
    table = dfad.leaderboard(toy_protocol(), work / "runs")
    frame = table.to_frame()
    assert list(frame.columns) == [column.key for column in table.columns]
    assert len(frame) == len(table.rows)
    pd.testing.assert_frame_equal(frame, pd.DataFrame([dict(row) for row in table.rows])[frame.columns.tolist()])
    assert str(table) == table.render("rich")


def test_what_a_notebook_shows_of_results_is_short(work: Path) -> None:
    folder = work / "runs" / "toy"
    assert repr(dfad.load_run(folder)) == f"LoadedRun(toy, paper, seed 0, {toy_protocol().name}, {str(folder)!r})"
    assert len(repr(dfad.train(SETTINGS, faces(work), folder))) < 1000


def test_a_study_without_manifests_is_refused() -> None:
    with pytest.raises(ConfigError, match="no manifest to study"):
        dfad.gaze_study([])


@pytest.mark.heavy
def test_other_faces_and_corrupted_ones(work: Path, tmp_path: Path) -> None:
    run = dfad.load_run(work / "runs" / "toy")
    other = replace(toy_protocol(unseen=toy_protocol().unseen[1:], test_per_group=5), name="fewer")
    found = dfad.evaluate(run, faces(work), dfad.EvaluateSettings(protocol=other, device="cpu"))
    assert found.record == read_record(found.folder / "record.json")
    assert found.record.protocol.name == "fewer"
    assert found.folder.parent == work / "runs" / "toy" / "evaluations"
    settings = dfad.RobustnessSettings(corruptions=("jpeg",), severities=(5,), device="cpu", workers=0)
    corrupted = dfad.robustness([run], faces(work), settings, labels=["mine"], out=tmp_path / "curves")
    assert {row["run"] for row in corrupted.table.rows} == {"always fake, never sure", "majority class", "mine"}
    assert {path.name for path in (tmp_path / "curves").iterdir()} >= {"robustness.csv", "robustness.md"}
    record = read_record(corrupted.results[0].out / "robustness.json")
    value = record.metric("auroc", "seen-vs-unseen", task="robustness", corruption="jpeg", severity=5)
    assert value is not None
    measured = corrupted.table.to_frame().query("run == 'mine' and severity == '5'")
    assert measured["auroc"].astype(float).tolist() == [value.value]
    checked, folders = dfad.rescore(run)
    assert checked.record.source.trust == "recomputed"
    assert folders == [corrupted.results[0].out]


def test_mistakes_are_one_class_of_errors(work: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean toy"):
        dfad.train(replace(SETTINGS, model="toyy"), faces(work), tmp_path / "run")
    with pytest.raises(dfad.DFADError, match="no such manifest"):
        dfad.open_manifest(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="not the folder of a finished run"):
        dfad.scores(tmp_path)
    with pytest.raises(ConfigError, match="no table 'metric'"):
        dfad.scores(work / "runs" / "toy", "metric")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no such folder"):
        dfad.leaderboard("synthetic", [tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="must be one of auto, fp32, bf16, fp16, got 'fp8'"):
        replace(SETTINGS, precision="fp8")


def test_views_for_evaluation_are_those_of_training() -> None:
    assert views.views_of_run({"estimator": "l2cs", "weights": "l2cs.pkl"}, {}) == {
        "gaze": {"estimator": "l2cs", "weights": "l2cs.pkl"}
    }
    assert views.views_of_run({"estimator": "geometric", "weights": None}, {}) == {"gaze": {"estimator": "geometric"}}
    asked = {"gaze": {"estimator": "l2cs", "weights": "/data/l2cs.pkl"}}
    assert views.views_of_run({"estimator": "geometric", "weights": None}, asked) == asked
    assert views.views_of_run({}, {}) == {}
    both = {"parsing": {"sha256": "0"}, "gaze": {"estimator": "faze", "weights": None}}
    assert views.views_of_run(both, {"parsing": {"folder": "p"}}) == {
        "parsing": {"folder": "p"}, "gaze": {"estimator": "faze"}
    }  # fmt: skip


def test_a_team_that_fails_passes_its_exit_code_on(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def launch(arguments: list[str], processes: int, **_: object) -> int:
        asked.append([str(processes), *arguments])
        return 4

    monkeypatch.setattr("dfad_bench.api.training.launch", launch)
    assert launching.launch is not launch
    settings = replace(SETTINGS, processes=2, logs=("tensorboard",))
    with pytest.raises(TeamError, match="exit code 4") as error:
        dfad.train(settings, faces(work), tmp_path / "run")
    assert error.value.exit_code == 4
    assert asked[0][:2] == ["2", "train"]
    assert asked[0][-4:] == ["--manifest", str(faces(work)[0]), "--manifest", str(faces(work)[1])]
    line = ["train", "--model", "toy", "--protocol", str(work / "toy.yaml"), "--device", "cpu", "--processes", "2"]
    line += [word for path in faces(work) for word in ("--manifest", str(path))]
    result = CliRunner().invoke(command, [*line, "--out", str(tmp_path / "run")])
    assert (result.exit_code, result.output) == (4, "")


def test_names_are_listed() -> None:
    assert "gazeclip" in dfad.list_models()
    assert "gazeclip-df40" in dfad.list_protocols()
    assert "genface" in dfad.list_datasets()
