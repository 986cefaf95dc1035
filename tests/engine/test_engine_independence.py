"""No batch tells a model what its faces are: they are predicted in a mixed order, each as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.batch_effects import LATER, PLANTED, SharedTrace, WeakTrace, switched
from helpers.toy import RECIPE, SIDE, Toy, ToyConfig, toy_protocol
from helpers.training import run_evaluation, run_robustness, run_training
from sklearn.metrics import roc_auc_score

import baselines
from dfad_bench.core import registry
from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import read_json
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset, in_order, mixed_batches, mixed_order
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import select
from dfad_bench.engine import predict as predict_module
from dfad_bench.engine.devices import Place
from dfad_bench.engine.independence import require_independent, require_repeatable
from dfad_bench.engine.predict import predict
from dfad_bench.engine.repredict import repredict
from dfad_bench.report.run_record import build_record

CPU = Place(torch.device("cpu"))
SHORT = replace(RECIPE, epochs=1)
REFUSED = "answers depend on the other faces of the batch"


@pytest.fixture(scope="module")
def faces(manifests: list[Manifest]) -> tuple[FaceDataset, pd.Series]:
    rows = select(toy_protocol(), manifests).tested
    return FaceDataset(rows, CropStore.open(rows, manifests, SIDE), toy_protocol()), rows["source_key"]


@contextmanager
def planted(kind: type[Toy]) -> Iterator[None]:
    """The name `planted` is this model, as after an edit of its file."""
    baselines.DFAD_MODELS.update(switched(kind))
    registry.model_table.cache_clear()
    yield


def train(manifests: list[Manifest], out: Path, **changes: object):
    return run_training("planted", toy_protocol(), manifests, out, recipe=SHORT, device="cpu", **changes)


def test_the_order_is_every_row_once_and_the_same_for_every_model(faces) -> None:
    dataset, _ = faces
    order = mixed_order(dataset.sample_ids, 0)
    assert sorted(order) == list(range(len(dataset)))
    assert np.array_equal(order, mixed_order(dataset.sample_ids, 0))
    assert not np.array_equal(order, mixed_order(dataset.sample_ids, 1))
    turned = np.arange(len(dataset))[::-1]  # whatever the order of the rows
    assert dataset.sample_ids[turned][mixed_order(dataset.sample_ids[turned], 0)].tolist() == (
        dataset.sample_ids[order].tolist()
    )


def test_no_batch_is_of_one_group(faces) -> None:
    dataset, _ = faces
    pure = [len(set(dataset.groups[rows])) for rows in in_order(len(dataset), 9)]
    assert pure == [1] * 5  # what selections give: one group after another
    for seed in range(5):
        assert min(len(set(dataset.groups[rows])) for rows in mixed_batches(dataset, 9, seed)) >= 3


def test_a_mean_over_the_batch_gained_by_batches_of_one_group(faces, monkeypatch: pytest.MonkeyPatch) -> None:
    def auc(model: Toy) -> float:
        frame = predict(model, *faces, place=CPU, batch_size=9)
        return roc_auc_score(frame["detection_label"], frame["p_fake"])

    alone = auc(WeakTrace(3, ToyConfig()))
    mixed = auc(SharedTrace(3, ToyConfig()))
    monkeypatch.setattr(predict_module, "mixed_batches", lambda dataset, size, seed: in_order(len(dataset), size))
    before = auc(SharedTrace(3, ToyConfig()))
    assert auc(WeakTrace(3, ToyConfig())) == alone
    assert before > alone + 0.1
    assert mixed < alone + 0.05


@pytest.mark.parametrize("name", PLANTED)
def test_models_that_look_at_the_batch_are_refused(faces, name: str) -> None:
    torch.manual_seed(0)
    dataset, _ = faces
    order = mixed_order(dataset.sample_ids, 0)
    with pytest.raises(DFADError, match=REFUSED) as caught:
        require_independent(PLANTED[name](3, ToyConfig()), dataset, order, CPU)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("name", LATER)
def test_models_that_change_once_predictions_count_are_refused(faces, name: str) -> None:
    torch.manual_seed(0)
    model, (dataset, keys) = LATER[name](3, ToyConfig()), faces
    with torch.no_grad():
        for parameter in model.experts.parameters():
            parameter.mul_(10.0)  # as sure as a trained model
    order = mixed_order(dataset.sample_ids, 0)
    require_independent(model, dataset, order, CPU)  # nothing to see before
    frame = predict(model, dataset, keys, place=CPU)
    with pytest.raises(DFADError, match=REFUSED) as caught:
        require_repeatable(model, dataset, order, frame, CPU)
    assert "when predicted again" in str(caught.value)
    sound = Toy(3, ToyConfig())
    require_repeatable(sound, dataset, order, predict(sound, dataset, keys, place=CPU), CPU)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sound_models_are_not_refused(faces, precision: str) -> None:
    dataset, _ = faces
    for seed in range(3):
        torch.manual_seed(seed)
        model = Toy(3, ToyConfig())
        with torch.no_grad():
            for parameter in model.experts.parameters():
                parameter.mul_(10.0 ** (3 * seed - 3))  # logits from 1e-4 to 1e2
        place = Place(torch.device("cpu"), precision)
        require_independent(model, dataset, mixed_order(dataset.sample_ids, seed), place)
        require_independent(model, dataset, mixed_order(dataset.sample_ids, seed)[:1], place)


def test_a_constant_added_to_all_logits_hides_nothing(faces) -> None:
    class Lifted(PLANTED["BatchMean"]):
        def forward(self, inputs):
            output = super().forward(inputs)
            return replace(output, detection_logits=output.detection_logits + 1e4)

    dataset, _ = faces
    torch.manual_seed(0)
    with pytest.raises(DFADError, match=REFUSED):
        require_independent(Lifted(3, ToyConfig()), dataset, mixed_order(dataset.sample_ids, 0), CPU)


def test_a_class_that_is_never_named_hides_nothing(faces) -> None:
    class Masked(PLANTED["BatchMean"]):
        def forward(self, inputs):
            output = super().forward(inputs)
            logits = output.attribution_logits.clone()
            logits[:, 0] = -1e6
            return replace(output, attribution_logits=logits, detection_logits=logits[:, 1:] * 0)

    dataset, _ = faces
    torch.manual_seed(0)
    model = Masked(3, ToyConfig())
    with torch.no_grad():
        for parameter in model.experts.parameters():
            parameter.mul_(10.0)
    with pytest.raises(DFADError, match=REFUSED):
        require_independent(model, dataset, mixed_order(dataset.sample_ids, 0), CPU)


def test_too_little_memory_is_not_taken_for_a_fault_of_the_model(faces) -> None:
    class Full(Toy):
        def embed(self, inputs):
            if len(inputs) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            return super().embed(inputs)

    dataset, _ = faces
    with pytest.raises(DFADError, match="^out of GPU memory while comparing"):
        require_independent(Full(3, ToyConfig()), dataset, mixed_order(dataset.sample_ids, 0), CPU)


def test_training_keeps_the_weights_and_goes_on_once_the_model_is_mended(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with planted(PLANTED["BatchNormInTraining"]):
        with pytest.raises(DFADError, match=f"^Toy: {REFUSED}.*trained weights are kept.*run the same command again$"):
            train(manifests, out)
        weights = (out / "checkpoint" / "model.safetensors").read_bytes()
        assert not (out / "run.json").exists()
        assert not (out / "predictions.parquet").exists()
        with pytest.raises(DFADError, match="not the folder of a finished run"):
            run_evaluation(out, manifests, device="cpu")
    with planted(Toy):
        steps = (out / "trace.csv").read_text()
        assert train(manifests, out).status == "complete"
        assert (out / "trace.csv").read_text() == steps  # nothing is trained again
        assert (out / "checkpoint" / "model.safetensors").read_bytes() == weights
        assert read_json(out / "run.json")["samples"]["evaluated"] == 45


@pytest.mark.heavy
def test_evaluations_of_all_kinds_refuse_and_go_on_once_the_model_is_mended(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with planted(Toy):
        train(manifests, out)
        build_record(out, resamples=10)
        honest = run_robustness(out, manifests, names=["contrast"], severities=[3], device="cpu")
        for path in (honest.out / "cells").iterdir():
            path.unlink()
    with planted(PLANTED["BatchMean"]):
        with pytest.raises(DFADError, match=REFUSED):  # the clean faces are predicted already
            run_robustness(out, manifests, names=["contrast"], severities=[3], device="cpu")
        with pytest.raises(DFADError, match=REFUSED):
            run_evaluation(out, manifests, device="cpu")
        with pytest.raises(DFADError, match=REFUSED):
            repredict(out / "record.json", manifests)
        assert not any((honest.out / "cells").iterdir())
    with planted(Toy):
        assert run_evaluation(out, manifests, device="cpu").fresh
        assert run_robustness(out, manifests, names=["contrast"], severities=[3], device="cpu").made == 1
        found = repredict(out / "record.json", manifests)
        stored = pd.read_parquet(out / "predictions.parquet")
        assert found.frame["sample_id"].tolist() == stored["sample_id"].tolist()
        assert found.frame["p_fake"].tolist() == stored["p_fake"].tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_sound_models_are_not_refused_on_a_gpu(faces, precision: str) -> None:
    dataset, _ = faces
    place = Place(torch.device("cuda"), precision)
    model = place.move(Toy(3, ToyConfig()))
    require_independent(model, dataset, mixed_order(dataset.sample_ids, 0), place)
