from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.toy import SIDE, Toy, ToyConfig, toy_manifests, toy_protocol

from dfad_bench.core.contract import Output
from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import sha256_file
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.data.select import select
from dfad_bench.engine.devices import Place
from dfad_bench.engine.predict import predict

CPU = Place(torch.device("cpu"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory):
    manifests = toy_manifests(tmp_path_factory.mktemp("manifests"))
    rows = select(toy_protocol(), manifests).tested
    return FaceDataset(rows, CropStore.open(rows, manifests, SIDE), toy_protocol()), rows["source_key"]


def test_every_face_once_whatever_the_batch_size(faces) -> None:
    torch.manual_seed(0)
    model, (dataset, keys) = Toy(3, ToyConfig()), faces
    frames = [predict(model, dataset, keys, place=CPU, batch_size=size) for size in (1, 7, 64)]
    for frame in frames:
        assert frame["sample_id"].tolist() == dataset.sample_ids.tolist()
        assert np.allclose(frame[["p_0", "p_1", "p_2"]].sum(axis=1), 1)
        assert np.allclose(frame.filter(like="p_"), frames[0].filter(like="p_"), atol=1e-6)
    with torch.no_grad():
        output = model.eval()(dataset.inputs(np.arange(len(dataset))))
    assert np.allclose(frames[0]["p_fake"], output.detection_logits.softmax(1)[:, 1], atol=1e-6)


def test_columns_and_types_of_the_file(faces, tmp_path: Path) -> None:
    dataset, keys = faces
    frame = predict(Toy(3, ToyConfig()), dataset, keys, place=CPU)
    digest = write_predictions(tmp_path / "predictions.parquet", frame)
    assert digest == sha256_file(tmp_path / "predictions.parquet")
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert table.column_names == [
        "sample_id", "group", "source_key", "attribution_label", "detection_label", "p_0", "p_1", "p_2", "p_fake"
    ]  # fmt: skip
    assert table.to_pandas()["source_key"].tolist() == keys.tolist()


def test_predictions_that_are_no_numbers_name_the_faces(faces) -> None:
    class Broken(Toy):
        def forward(self, inputs):
            out = super().forward(inputs)
            return Output(out.attribution_logits * float("nan"), out.detection_logits, out.embedding)

    dataset, keys = faces
    with pytest.raises(DFADError, match=f"{len(dataset)} predictions are NaN or inf .faces {dataset.sample_ids[0]}"):
        predict(Broken(3, ToyConfig()), dataset, keys, place=CPU)
    for precision, advice in (("fp32", "the weights are damaged"), ("bf16", "train with --precision fp32")):
        with pytest.raises(DFADError, match=f"{advice}$"):
            predict(Broken(3, ToyConfig()), dataset, keys, place=Place(torch.device("cpu"), precision))
