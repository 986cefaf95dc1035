"""A finished run as one file: its own predictions come out, facts are inside, nothing remains of a failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.toy import RECIPE, toy_protocol, toys_registered
from helpers.training import run_training
from PIL import Image

import dfad_bench as dfad
from dfad_bench.api.predict_onnx import predict_onnx
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.onnx_file import onnx_session
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.data.crop_storage import resized_pixels
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.stored_crop import StoredCrop
from dfad_bench.export import compare
from dfad_bench.export.facts import KEY, ExportFacts, read_facts
from dfad_bench.report.run_record import build_record


@pytest.fixture(scope="module")
def world(tiny_manifests: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run trained on the tiny manifests."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export")
    with toys_registered():
        opened = [dfad.open_manifest(path) for path in tiny_manifests]
        run_training("toy", toy_protocol(), opened, folder / "run", recipe=RECIPE, device="cpu", epochs=1)
        build_record(folder / "run", resamples=0)
        yield folder


def crops_of(manifest: Manifest, wanted: set[str]) -> Iterator[StoredCrop]:
    return manifest.crops(wanted & set(manifest.frame(["sample_id"])["sample_id"]))


@pytest.fixture(scope="module")
def tested(world: Path, tiny_manifests: tuple[Path, Path]) -> tuple[np.ndarray, pd.DataFrame]:
    """Crops of test faces as they are stored, and what the run predicted for them."""
    kept = pd.read_parquet(RunFolder(world / "run").predictions).set_index("sample_id")
    side = toy_protocol().image_size
    crops = {
        crop.sample_id: resized_pixels(crop.pixels(), side)
        for path in tiny_manifests
        for crop in crops_of(dfad.open_manifest(path), set(kept.index))
    }
    return np.stack([crops[name] for name in kept.index]), kept


@pytest.fixture(scope="module")
def onnx_file(world: Path, tiny_manifests: tuple[Path, Path]) -> Path:
    pytest.importorskip("onnxscript")
    out = world / "toy.onnx"
    dfad.export_run(world / "run", out, embedding=True, manifests=list(tiny_manifests))
    return out


def classes_of(kept: pd.DataFrame) -> np.ndarray:
    return kept[[name for name in kept if name.startswith("p_") and name != "p_fake"]].to_numpy()


@pytest.mark.heavy
def test_onnx_gives_the_predictions_of_the_run(onnx_file: Path, tested: tuple[np.ndarray, pd.DataFrame]) -> None:
    crops, kept = tested
    session = onnx_session(onnx_file)
    p_fake, p_generator, embedding = session.run(None, {"images": crops})
    assert np.abs(p_fake - kept["p_fake"]).max() < 1e-4
    assert np.abs(p_generator - classes_of(kept)).max() < 1e-4
    facts = read_facts(session.get_modelmeta().custom_metadata_map[KEY], "toy.onnx")
    assert facts.width == embedding.shape[1]
    assert_told(facts, world_run=onnx_file.parent / "run")
    assert facts.check["from"] == "+".join(sorted(facts.crops))
    assert set(facts.check["differences"]) == {"p_fake", "p_generator", "embedding"}
    assert str(Path.home()).encode() not in onnx_file.read_bytes()
    assert b"site-packages" not in onnx_file.read_bytes()


@pytest.mark.heavy
def test_predict_onnx_says_of_stored_crops_what_the_run_said(
    onnx_file: Path, tested: tuple[np.ndarray, pd.DataFrame], tmp_path: Path
) -> None:
    crops, kept = tested
    for name, pixels in zip(kept.index, crops, strict=True):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    rows = {Path(row["input"]).stem: row for row in predict_onnx(tmp_path, onnx_file, top=3)}
    assert set(rows) == set(kept.index)
    for name, expected in kept.iterrows():
        assert abs(rows[name]["p_fake"] - expected["p_fake"]) < 1e-4
        best = sorted((float(expected[f"p_{k}"]) for k in range(3)), reverse=True)
        assert [one["probability"] for one in rows[name]["top"]] == pytest.approx(best, abs=1e-4)


def assert_told(facts: ExportFacts, world_run: Path) -> None:
    record = dfad.load_run(world_run).record
    assert record is not None
    assert facts.run["record_id"] == record.record_id
    assert facts.model["checkpoint_sha256"] == record.model.checkpoint_sha256
    assert facts.protocol["sha256"] == record.protocol.sha256
    assert len(facts.classes) == 3
    assert facts.detection is not None
    assert facts.unseen is not None
    assert "0.5" in facts.detection.rule
    assert any("19 are needed" in point["remark"] for point in facts.points)
    assert facts.licence["weights"] == {}
    assert all(facts.licence["data"].values())


def test_torchscript_and_safetensors(world: Path, tested: tuple[np.ndarray, pd.DataFrame]) -> None:
    from safetensors import safe_open

    crops, kept = tested
    script = dfad.export_run(world / "run", world / "toy.pt", "torchscript")
    extra = {KEY: ""}
    loaded = torch.jit.load(str(script.path), _extra_files=extra)
    with torch.inference_mode():
        p_fake, p_generator = loaded(torch.from_numpy(crops))
    assert np.abs(p_fake.numpy() - kept["p_fake"]).max() < 1e-4
    assert np.abs(p_generator.numpy() - classes_of(kept)).max() < 1e-4
    assert read_facts(extra[KEY].decode(), "toy.pt") == script.facts  # type: ignore[attr-defined]  # torch gives bytes
    weights = dfad.export_run(world / "run", world / "toy.safetensors", "safetensors")
    with safe_open(weights.path, "pt") as file:
        assert read_facts(file.metadata()[KEY], "toy.safetensors") == weights.facts
        state = dfad.load_run(world / "run").model.state_dict()
        assert all(torch.equal(file.get_tensor(name), value) for name, value in state.items())


def test_a_file_that_differs_is_not_kept(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "TOLERANCE", -1.0)
    out = tmp_path / "a.pt"
    out.write_bytes(b"what was there")
    with pytest.raises(IntegrityError, match="as torchscript: p_fake of the file differs from torch") as found:
        dfad.export_run(world / "run", out, "torchscript")
    assert str(tmp_path) not in str(found.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert out.read_bytes() == b"what was there"


def test_bad_calls_are_one_line(world: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for out, form, words in (
        (tmp_path / "a.txt", "torchscript", "ends in .pt"),
        (file / "a.pt", "torchscript", "cannot be written"),
        (tmp_path / "a.pt", "pickle", "must be one of"),
    ):
        with pytest.raises(ConfigError, match=words):
            dfad.export_run(world / "run", out, form)  # type: ignore[arg-type]  # a bad one among them
    with pytest.raises(ConfigError, match="not the folder of a finished run"):
        dfad.export_run(tmp_path, tmp_path / "a.pt", "torchscript")
    folder = tmp_path / "b.pt"
    folder.mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        dfad.export_run(world / "run", folder, "torchscript")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.pt", "file"]


def test_the_command(world: Path, tmp_path: Path) -> None:
    given = ["export", "--run", str(world / "run"), "--format", "safetensors", "--quiet"]
    shown = CliRunner().invoke(command, [*given, "--out", str(tmp_path / "é.safetensors")])
    assert shown.exit_code == 0, shown.output
    assert "equal to the bit" in shown.output
    listed = CliRunner().invoke(command, [*given, "--out", str(tmp_path / "b.safetensors"), "--json"])
    assert json.loads(listed.stdout)["facts"]["classes"]
    wrong = CliRunner().invoke(command, [*given, "--out", str(tmp_path / "b.onnx")])
    assert wrong.exit_code == 1
    assert len(wrong.output.strip().splitlines()) == 1
