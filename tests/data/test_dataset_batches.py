from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.toy import SIDE, toy_face, toy_manifests, toy_protocol

from dfad_bench.core.errors import IntegrityError, ManifestError, ProtocolError
from dfad_bench.data import crop_store
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset, in_order, prefetch
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.prompts import class_prompts
from dfad_bench.data.select import Selection, select
from dfad_bench.data.view_source import HeldView
from dfad_bench.engine.fake_gpu import CUDA, FakeGPU


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return toy_manifests(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="module")
def chosen(manifests: list[Manifest]) -> Selection:
    return select(toy_protocol(), manifests)


@pytest.fixture(scope="module")
def store(manifests: list[Manifest], chosen: Selection) -> CropStore:
    return CropStore.open(chosen.rows, manifests, SIDE)


def test_batches_hold_the_very_pixels_of_the_faces(
    manifests: list[Manifest], chosen: Selection, store: CropStore
) -> None:
    dataset = FaceDataset(chosen.train, store, toy_protocol())
    origins = manifests[0].frame(["sample_id", "origin"]).set_index("sample_id")["origin"]
    index = np.array([5, 0, 17])
    batch = dataset.batch(index)
    for row, image in zip(index, batch.inputs.images, strict=True):
        _, generator, name = origins[dataset.sample_ids[row]].split("/")
        identity, shot = name.removeprefix("id").removesuffix(".png").split("_")
        face = torch.from_numpy(toy_face(generator, int(identity), int(shot))).permute(2, 0, 1) / 255
        assert torch.equal(image, face)
    assert batch.attribution.tolist() == chosen.train["attribution_label"].iloc[index].tolist()
    assert batch.detection.tolist() == [int(label > 0) for label in batch.attribution]
    assert batch.prompts == ()


def test_store_is_made_once_resized_and_made_again_when_damaged(
    manifests: list[Manifest], chosen: Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFAD_CACHE", str(tmp_path))
    calls = []
    decode = crop_store._decode
    monkeypatch.setattr(crop_store, "_decode", lambda *a: (calls.append(1), decode(*a)))
    first = np.array(CropStore.open(chosen.tested, manifests, 16).array)
    assert first.shape == (len(chosen.tested), 16, 16, 3)
    CropStore.open(chosen.tested.iloc[::-1], manifests, 16)
    assert len(calls) == 1
    path = next(tmp_path.glob("*.npy"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert np.array_equal(CropStore.open(chosen.tested, manifests, 16).array, first)
    assert len(calls) == 2


@pytest.mark.parametrize("cache", ["disk", "ram", "gpu", "none"])
def test_every_cache_gives_the_same_pixels(manifests: list[Manifest], chosen: Selection, tmp_path: Path, cache: str):
    """At the size of the crops and resized; `none` leaves nothing on the disk, `gpu` says that there is none."""
    for side in (SIDE, 16):
        expected = FaceDataset(chosen.tested, CropStore.open(chosen.rows, manifests, side), toy_protocol())
        found = CropStore.open(chosen.rows, manifests, side, folder=tmp_path, cache=cache)
        assert (found.note is not None) == (cache == "gpu")
        dataset = FaceDataset(chosen.tested, found, toy_protocol())
        index = np.array([7, 0, 7, 30])
        assert torch.equal(dataset.inputs(index).images, expected.inputs(index).images)
        if cache in ("gpu", "none"):
            with pytest.raises(ValueError, match="only the caches disk and ram are arrays"):
                found.array  # noqa: B018
    assert bool(list(tmp_path.glob("*.npy"))) == (cache != "none")


def test_crops_that_do_not_fit_on_the_gpu_stay_on_disk(store: CropStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (store.array.nbytes, 0))
    found = crop_store._resident_store(store.array, ["a"] * len(store.array), "cuda:0")
    assert found.array is store.array
    assert found.note is not None
    assert "GiB free on cuda:0: they are read from disk" in found.note


def test_batches_go_to_a_gpu_whole(chosen: Selection, store: CropStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda pixels: pixels)  # asks for a driver
    values = np.zeros((len(chosen.train), 2), np.float32)
    gaze = HeldView(values, np.arange(len(values)) > 2)
    held = FaceDataset(chosen.train, store, toy_protocol(), views={"gaze": gaze}, training_views={"angle": gaze})
    held.unlabelled = held
    with FakeGPU():
        batch = held.batch(np.array([5, 0, 17]), CUDA, np.array([1]))
    assert batch.unlabelled is not None
    tensors = [batch.attribution, batch.detection, *batch.views.values(), *batch.present.values()]
    for inputs in (batch.inputs, batch.unlabelled):
        tensors += [inputs.images, *inputs.views.values(), *inputs.present.values()]
    assert [str(tensor.device) for tensor in tensors] == ["cuda:0"] * 10
    assert (batch.inputs.images.shape, batch.inputs.images.dtype) == ((3, 3, SIDE, SIDE), torch.float32)


def test_a_face_in_no_manifest_is_one_line(manifests: list[Manifest], chosen: Selection, tmp_path: Path):
    rows = chosen.tested.assign(dataset="elsewhere")
    for cache in ("disk", "none"):
        with pytest.raises(ManifestError, match=f"{len(rows)} chosen faces are in none of the manifests"):
            CropStore.open(rows, manifests, SIDE, folder=tmp_path, cache=cache)


def test_a_crop_that_does_not_decode_is_named(tmp_path: Path) -> None:
    from helpers.toy import toy_rows

    rows = toy_rows("synthetic", ("real", "synthetic-gan-a", "synthetic-diffusion-a"))
    rows[0]["image"] = {"bytes": b"not a picture", "path": None}
    broken = [write_manifest(tmp_path / "m", "synthetic", rows)]
    chosen = select(toy_protocol(unseen=()), broken)
    with pytest.raises(
        IntegrityError, match=rf"part-00000.parquet, row \d+ \(sample '{rows[0]['sample_id']}'\): the picture is no PNG"
    ):
        CropStore.open(chosen.rows, broken, SIDE)
    assert not list((tmp_path / "m" / "tables").glob("*.npy"))


def test_a_folder_that_cannot_be_made_is_one_line(manifests: list[Manifest], chosen: Selection, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ManifestError, match="set DFAD_CACHE"):
        CropStore.open(chosen.tested, manifests, SIDE, folder=tmp_path / "file" / "tables")


def test_views_and_prompts_reach_the_batch_and_gaps_are_counted(chosen: Selection, store: CropStore) -> None:
    ids = chosen.train["sample_id"]
    gaze = pd.DataFrame({"sample_id": ids, "pitch_rad": 0.1, "yaw_rad": np.arange(len(ids)) / 100}).iloc[1:]
    gaze.loc[gaze.index[2], "yaw_rad"] = np.nan
    prompts = class_prompts(toy_protocol())
    known = gaze.set_index("sample_id").reindex(ids)[["pitch_rad", "yaw_rad"]].to_numpy(np.float32)
    present = np.isfinite(known).all(axis=1)
    source = HeldView(np.where(present[:, None], known, 0), present)
    dataset = FaceDataset(chosen.train, store, toy_protocol(), views={"gaze": source}, prompts=prompts)
    assert dataset.without_view == {"gaze": 2}
    batch = dataset.batch(np.array([0, 1, 3, 4]))
    assert dataset.presence("gaze", np.array([0, 1, 3, 4])).tolist() == [False, True, False, True]
    assert batch.inputs.views["gaze"].tolist() == pytest.approx(np.array([[0, 0], [0.1, 0.01], [0, 0], [0.1, 0.04]]))
    assert batch.inputs.present["gaze"].tolist() == batch.inputs.has("gaze").tolist() == [False, True, False, True]
    assert batch.inputs.has("another").tolist() == batch.has("mask").tolist() == [True] * 4
    whole = FaceDataset(chosen.train, store, toy_protocol(), views={"gaze": HeldView(np.where(known > 9, 0, 0.5))})
    assert not whole.inputs(np.arange(2)).present  # nothing to mask, nothing for a model to do
    hidden = FaceDataset(chosen.train, store, toy_protocol(), training_views={"gaze": source}).batch(np.array([0, 1]))
    assert (hidden.has("gaze").tolist(), hidden.inputs.present) == ([False, True], {})
    moved = hidden.to(torch.device("cpu"))
    assert torch.equal(moved.present["gaze"], hidden.present["gaze"])
    assert [list(row) for row in batch.prompts] == [list(prompts[label]) for label in batch.attribution]
    with pytest.raises(ValueError, match="view 'gaze' has 3 rows for"):
        FaceDataset(chosen.train, store, toy_protocol(), views={"gaze": np.zeros((3, 2))})


def test_unseen_faces_cannot_become_a_batch(chosen: Selection, store: CropStore) -> None:
    dataset = FaceDataset(chosen.test["synthetic/synthetic-flow-a"], store, toy_protocol())
    assert dataset.inputs(np.arange(3)).images.shape == (3, 3, SIDE, SIDE)
    with pytest.raises(ProtocolError, match="synthetic/synthetic-flow-a: not a group to train on"):
        dataset.batch(np.arange(3))


def test_prefetch_gives_every_batch_in_order(chosen: Selection, store: CropStore) -> None:
    dataset = FaceDataset(chosen.tested, store, toy_protocol())
    batches = in_order(len(dataset), 7)
    assert np.array_equal(np.concatenate(batches), np.arange(len(dataset)))
    got = list(prefetch(dataset, batches, torch.device("cpu"), training=False))
    assert all(torch.equal(a.images, dataset.inputs(i).images) for a, i in zip(got, batches, strict=True))
    assert list(prefetch(dataset, [], torch.device("cpu"), training=False)) == []
