"""Outputs kept beside predictions: all faces of test and validation, some of training, the model's own numbers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.toy import RECIPE, TOYS, Toy, toy_protocol
from helpers.training import run_evaluation, run_training

from dfad_bench.api.open_world import open_world
from dfad_bench.api.runs import verify_record
from dfad_bench.core.files import read_json, sha256_file
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_outputs import read_last_layer, read_outputs, write_outputs
from dfad_bench.core.run_parquet import read_predictions, read_selection
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.kept_outputs import faces_by_class
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.outputs_check import check_outputs, softmax
from dfad_bench.report.run_record import build_record


@pytest.fixture(scope="module")
def run(manifests: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("runs") / "toy"
    run_training("toy", toy_protocol(), manifests, out, recipe=RECIPE, epochs=1, device="cpu")
    build_record(out, resamples=20)
    return RunFolder(out)


def test_predictions_follow_from_the_outputs_of_the_selected_faces(run: RunFolder) -> None:
    selected = read_selection(run.selection)
    for part, path in (("test", run.predictions), ("validation", run.validation)):
        outputs, frame = read_outputs(run.outputs(part)), read_predictions(path)
        assert set(frame["sample_id"]) == set(selected.query("part == @part")["sample_id"])
        assert outputs.sample_id.tolist() == frame["sample_id"].tolist()
        assert np.allclose(softmax(outputs.logits), frame[["p_0", "p_1", "p_2"]], atol=1e-6)
        assert np.allclose(softmax(outputs.detection)[:, 1], frame["p_fake"], atol=1e-6)
    trained = read_outputs(run.outputs("training"))
    assert set(trained.sample_id) == set(selected.query("part == 'train'")["sample_id"])
    assert set(trained.label) == {0, 1, 2}


def test_logits_are_the_last_layer_of_the_embeddings(run: RunFolder) -> None:
    layer = read_last_layer(run.last_layer)
    for part in ("test", "validation", "training"):
        assert layer.explains(read_outputs(run.outputs(part)), 2e-3)


def test_every_file_is_hashed_in_the_record(run: RunFolder) -> None:
    stated = read_json(run.facts)["run"]["files"]
    kept = [*map(run.outputs, ("test", "validation", "training")), run.validation, run.last_layer]
    assert {path.name: sha256_file(path) for path in kept} == {path.name: stated[path.name] for path in kept}


def test_faces_of_a_class_are_bounded_and_chosen_by_name(run: RunFolder) -> None:
    names = [f"s{k}" for k in range(30)]
    rows = pd.DataFrame({"sample_id": names, "attribution_label": [0] * 25 + [1] * 5})
    few, shuffled = faces_by_class(rows, 0, 10), faces_by_class(rows.sample(frac=1, random_state=1), 0, 10)
    assert few["attribution_label"].value_counts().to_dict() == {0: 10, 1: 5}
    assert set(few["sample_id"]) == set(shuffled["sample_id"])
    assert set(few["sample_id"]) != set(faces_by_class(rows, 1, 10)["sample_id"])


def test_outputs_of_other_faces_or_another_model_do_not_fit(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "run")
    shutil.copytree(run.path, copy.path)
    record, frame = build_record(copy.path, resamples=20), read_predictions(copy.predictions)
    assert list(check_outputs(record, copy.path, frame)) == []
    validation = read_outputs(copy.outputs("validation"))
    write_outputs(copy.outputs("training"), validation)
    write_outputs(copy.outputs("test"), validation)
    logits = validation.logits + np.eye(len(validation), 3, dtype="float32")
    write_outputs(copy.outputs("validation"), replace(validation, logits=logits))
    found = [one.name for one in check_outputs(record, copy.path, frame)]
    assert found == [
        "outputs-test.parquet: faces as in the predictions",
        "outputs-validation.parquet: faces whose probabilities do not follow from their logits",
        "outputs: faces not selected for train",
    ]


def test_a_damaged_file_of_outputs_is_a_difference_and_no_end(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    copy.outputs("test").write_bytes(b"PAR1 and no more")
    found = verify_record(copy.path).differences
    assert {one.name.split(":")[0] for one in found} == {"run.files.outputs-test.parquet", "outputs"}


def test_an_evaluation_has_thresholds_and_training_faces_of_its_run(run: RunFolder, manifests: list[Manifest]) -> None:
    out = run_evaluation(run.path, manifests, protocol=toy_protocol(seed=3), device="cpu").out
    build_record(out, resamples=0)
    mine, whole = RunArrays(out, 0), RunArrays(run.path, 0)
    assert mine.own_run[0].path.samefile(run.path)
    assert np.array_equal(mine.validation.probs, whole.validation.probs)
    names = mine.outputs("test").sample_id.tolist()
    rows = [whole.outputs("test").sample_id.tolist().index(name) for name in names]
    for name in ("msp", "energy", "knn", "mahalanobis"):
        assert np.allclose(mine.score_part(name).values, whole.score_part(name).values[rows], atol=1e-4), name
    seeds = run.path.parent / "several"
    for seed in (0, 1):
        shutil.copytree(run.path, seeds / f"seed-{seed}")
    assert len({row["model"] for row in open_world(seeds, resamples=0).rows}) == 2


class Curved(Toy):
    """Its expert is linear, its logits are not those of the expert."""

    def forward(self, inputs):
        output = super().forward(inputs)
        return type(output)(output.attribution_logits**3, output.detection_logits, output.embedding)


def test_a_layer_that_did_not_make_the_logits_is_not_kept(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import baselines
    from dfad_bench.core import registry

    monkeypatch.setitem(baselines.DFAD_MODELS, "curved", f"{__name__}:Curved")
    assert "toy" in TOYS
    registry.model_table.cache_clear()
    run_training("curved", toy_protocol(), manifests, tmp_path / "a", recipe=RECIPE, epochs=1, device="cpu")
    registry.model_table.cache_clear()
    assert RunFolder(tmp_path / "a").outputs("training").is_file()
    assert not RunFolder(tmp_path / "a").last_layer.exists()


def test_none_are_kept_where_not_asked_for(manifests: list[Manifest], tmp_path: Path) -> None:
    run_training(
        "toy", toy_protocol(), manifests, tmp_path, recipe=RECIPE, epochs=1, max_steps=1, device="cpu", outputs=False
    )
    assert not list(tmp_path.glob("outputs-*"))
    assert not RunFolder(tmp_path).validation.exists()
    evaluated = RunFolder(run_evaluation(tmp_path, manifests, device="cpu").out)
    assert len(read_outputs(evaluated.outputs("test"))) == len(read_predictions(evaluated.predictions))
