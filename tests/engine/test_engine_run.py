from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.toy import RECIPE, SEEN, toy_protocol, toy_rows
from helpers.training import run_evaluation, run_training
from helpers.views import made_up

from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError, ProtocolError, UnknownNameError
from dfad_bench.core.files import read_json
from dfad_bench.core.protocol import Group
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.engine.config import locked, read_config
from dfad_bench.engine.fit import Limits

SHORT = replace(RECIPE, epochs=2)


def train(manifests: list[Manifest], out: Path, name: str = "toy", **changes):
    settings = {"recipe": SHORT, "device": "cpu", **changes}
    return run_training(name, settings.pop("protocol", toy_protocol()), manifests, out, **settings)


@pytest.fixture(scope="module")
def run(manifests: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "toy"
    assert train(manifests, out).status == "complete"
    return out


def test_the_folder_holds_everything_and_facts_agree(manifests: list[Manifest], run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        ".lock", "checkpoint", "config.yaml", "predictions.parquet", "run.json", "selection.parquet", "trace.csv",
        "outputs-test.parquet", "outputs-validation.parquet", "outputs-training.parquet", "validation.parquet",
        "last-layer.parquet",
    }  # fmt: skip
    facts, config = read_json(run / "run.json"), read_config(run)
    assert facts["run"]["config_sha256"] == config.sha256
    assert facts["run"]["steps"] == len((run / "trace.csv").read_text().splitlines()) - 1
    counted = {"expected": 45, "evaluated": 45, "failed": 0, "refused": {}, "sources": 6}
    assert facts["samples"] == {**counted, "without_view": {}, "missing_views": {}}
    assert facts["manifest"]["splits"]["train"]["rows"] + facts["manifest"]["splits"]["validation"]["rows"] == 63
    assert facts["manifest"]["leakage"]["exact_duplicates_train_test"] == 0
    assert facts["protocol"]["sha256"] == toy_protocol().sha256
    assert facts["model"]["checkpoint_sha256"] == read_json(run / "checkpoint" / "model.json")["sha256"]
    assert config.manifests == {manifest.name: manifest.sha256 for manifest in manifests}


def test_a_finished_run_is_left_alone_and_other_settings_are_refused(manifests: list[Manifest], run: Path) -> None:
    before = (run / "run.json").stat().st_mtime_ns
    again = train(manifests, run)
    assert (again.fresh, again.status) == (False, "complete")
    assert (run / "run.json").stat().st_mtime_ns == before
    with pytest.raises(IntegrityError, match=r"other settings \(seed\); use another --out"):
        train(manifests, run, seed=1)
    with pytest.raises(IntegrityError, match=r"other settings \(heads, options\)"):
        train(manifests, run, heads="detection", options={"width": 4})


def test_a_run_by_another_name_of_its_recipe_is_the_same_run(manifests: list[Manifest], tmp_path: Path) -> None:
    train(manifests, tmp_path, recipe="paper", epochs=1)
    assert read_json(tmp_path / "run.json")["run"]["config"]["recipe"]["name"] == "default"
    assert not train(manifests, tmp_path, recipe="default", epochs=1).fresh


def test_a_folder_of_something_else_is_refused(manifests: list[Manifest], tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(IntegrityError, match="holds other files and no run"):
        train(manifests, tmp_path)


def test_a_lost_prediction_file_is_made_again(manifests: list[Manifest], tmp_path: Path) -> None:
    train(manifests, tmp_path / "run")
    (tmp_path / "run" / "predictions.parquet").write_bytes(b"damaged")
    again = train(manifests, tmp_path / "run")
    assert again.fresh
    assert len(pd.read_parquet(tmp_path / "run" / "predictions.parquet")) == 45


def test_a_limited_run_is_partial_and_goes_on(manifests: list[Manifest], run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(manifests, out, limits=Limits(max_steps=4)).status == "partial"
    assert read_json(out / "run.json")["run"]["stopped"] == "limit of 4 steps in all"
    assert train(manifests, out).status == "complete"
    assert read_json(out / "run.json")["predictions"] == read_json(run / "run.json")["predictions"]


def test_two_processes_cannot_work_in_one_folder(manifests: list[Manifest], tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(DFADError, match="another process works in this folder"):
        train(manifests, tmp_path / "run")


def test_views_come_from_the_provider(manifests: list[Manifest], tmp_path: Path) -> None:
    asked = []

    def angles(names: Sequence[str], crops: np.ndarray | None) -> np.ndarray:
        asked.append(len(names))
        values = np.tile([0.0, 0.1], (len(names), 1))
        values[-3:] = np.nan
        return values

    made = {"estimator": "fake"}
    result = train(manifests, tmp_path / "run", "gaze_toy", views=made_up(manifests, angles, identity=made))
    assert asked == [len(manifest.frame(["sample_id"])) for manifest in manifests], "once a manifest"
    assert any("have no gaze: nothing is added" in warning for warning in result.warnings)
    assert read_config(tmp_path / "run").views == made
    with pytest.raises(ConfigError, match="needs the view 'gaze'"):
        train(manifests, tmp_path / "other", "gaze_toy")


def test_partial_selection_makes_a_partial_run(manifests: list[Manifest], tmp_path: Path) -> None:
    protocol = toy_protocol(unseen=(*toy_protocol().unseen, Group("real", "ffhq")))
    with pytest.raises(ProtocolError, match="ffhq"):
        train(manifests, tmp_path / "run", protocol=protocol)
    assert not (tmp_path / "run" / "config.yaml").exists()
    elsewhere = toy_protocol(seen=tuple(replace(group, dataset="ffhq") for group in toy_protocol().seen), unseen=())
    with pytest.raises(ProtocolError, match="given are synthetic"):
        train(manifests, tmp_path / "run", protocol=elsewhere)
    result = train(manifests, tmp_path / "run", protocol=protocol, allow_partial=True)
    assert result.status == "partial"
    assert read_json(tmp_path / "run" / "run.json")["protocol"]["deviations"] == ["missing group ffhq/real"]


def test_unknown_names_and_options(manifests: list[Manifest], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean toy"):
        train(manifests, tmp_path / "run", "toyy")
    with pytest.raises(ConfigError, match="unknown key 'widht'"):
        train(manifests, tmp_path / "run", options={"widht": 3})


def test_evaluation_under_the_same_rules_repeats_the_predictions(manifests: list[Manifest], run: Path) -> None:
    result = run_evaluation(run, manifests, device="cpu")
    a, b = (pd.read_parquet(folder / "predictions.parquet") for folder in (run, result.out))
    pd.testing.assert_frame_equal(a, b)
    counts = read_json(run / "run.json")["manifest"]["splits"]["train"]["generators"]
    stated = {"trained_on": {key.partition("/")[2]: n for key, n in counts.items()}}  # an evaluation has no such split
    mine, theirs = (read_json(folder / "run.json")["run"] for folder in (result.out, run))
    files = mine.pop("files"), theirs.pop("files")  # each folder's own
    assert mine == {**theirs, **stated}
    assert [set(hashes) for hashes in files] == [
        {"selection.parquet", "outputs-test.parquet"},
        {
            "config.yaml", "selection.parquet", "trace.csv", "checkpoint/model.safetensors", "checkpoint/model.json",
            "outputs-test.parquet", "outputs-validation.parquet", "outputs-training.parquet", "validation.parquet",
            "last-layer.parquet",
        },
    ]  # fmt: skip


def test_evaluation_leaves_out_what_was_trained_on(manifests: list[Manifest], run: Path, tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN, identities=14)  # identities 7 to 9 are trained on now
    wider = [write_manifest(tmp_path / "synthetic", "synthetic", [{**row, "split": "test"} for row in rows])]
    result = run_evaluation(run, wider, protocol=toy_protocol(unseen=()), device="cpu")
    frame = pd.read_parquet(result.out / "predictions.parquet")
    learnt = pd.read_parquet(run / "selection.parquet").query("part != 'test'")
    assert not set(frame["source_key"]) & set(learnt["source_key"])
    assert any("left out" in warning for warning in result.warnings)
    assert set(frame["source_key"]) == {f"synthetic/id{n:04d}" for n in range(7, 14)}
    short = [f"short group synthetic/{name}: 21 of 42 test faces" for name in SEEN]
    assert read_json(result.out / "run.json")["protocol"]["deviations"] == short
    strict = toy_protocol(unseen=(), on_short="error", name="strict")
    with pytest.raises(ProtocolError, match=r"without faces the run was trained on: .*21 of 42.*--allow-partial"):
        run_evaluation(run, wider, protocol=strict, device="cpu")
    partial = run_evaluation(run, wider, protocol=strict, device="cpu", allow_partial=True)
    assert partial.status == "partial"


def test_evaluation_refuses_other_classes_and_damaged_weights(
    manifests: list[Manifest], run: Path, tmp_path: Path
) -> None:
    others = toy_protocol(seen=tuple(replace(g, label=(g.label + 1) % 3) for g in toy_protocol().seen))
    with pytest.raises(ProtocolError, match="learnt the generators real, synthetic-gan-a"):
        run_evaluation(run, manifests, protocol=others, device="cpu")
    with pytest.raises(ConfigError, match="not the folder of a finished run"):
        run_evaluation(tmp_path, manifests, device="cpu")
    train(manifests, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="damaged or changed"):
        run_evaluation(tmp_path / "run", manifests, device="cpu")
