"""Gaze, parsing maps and captions: what each gives, refuses, and becomes when a face is flipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from helpers.toy import RECIPE, SIDE, toy_manifests, toy_protocol
from helpers.training import run_evaluation, run_training
from helpers.views import toy_views_registered
from PIL import Image

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError, UnknownNameError
from dfad_bench.core.record import plain
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import read_config
from dfad_bench.views.base import Faces
from dfad_bench.views.captions import read_captions
from dfad_bench.views.options import view_settings
from dfad_bench.views.provider import ViewProvider
from dfad_bench.views.registry import example_views, view_class, view_names


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return toy_manifests(tmp_path_factory.mktemp("manifests"), identities=4)


@pytest.fixture(scope="module")
def ids(manifests: list[Manifest]) -> list[str]:
    return [name for manifest in manifests for name in manifest.frame(["sample_id"])["sample_id"]]


@pytest.fixture
def labels(ids: list[str], tmp_path: Path) -> Path:
    """A label map for every face but three; the label is the number of the face, in rows that differ."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for number, name in enumerate(ids[:-3]):
        Image.fromarray(label_map(number)).save(folder / f"{name}.png")
    return folder


def label_map(number: int, side: int = SIDE) -> np.ndarray:
    return ((np.arange(side)[:, None] + np.arange(side) * 2 + number) % 19).astype(np.uint8)


def crops_of(index: np.ndarray) -> Any:
    raise AssertionError("a stored view needs no crops")


def test_label_maps_are_those_of_the_files_and_missing_ones_are_absent(
    manifests: list[Manifest], ids: list[str], labels: Path
) -> None:
    source = ViewProvider(manifests, {"parsing": {"folder": str(labels)}}).source("parsing", ids, SIDE)
    assert source.present.tolist() == [True] * (len(ids) - 3) + [False] * 3
    index = np.array([5, 0, len(ids) - 1, 5])
    values = source.gather(index, crops_of)
    assert (values.dtype, values.shape) == (torch.uint8, (4, 1, SIDE, SIDE))
    assert torch.equal(values[0, 0], torch.from_numpy(label_map(5)))
    assert torch.equal(values[2], torch.zeros(1, SIDE, SIDE, dtype=torch.uint8))
    small = ViewProvider(manifests, {"parsing": {"folder": str(labels)}}).source("parsing", ids, SIDE // 2)
    halved = small.gather(index, crops_of)
    assert halved.shape == (4, 1, SIDE // 2, SIDE // 2)
    assert set(halved[1].unique().tolist()) <= set(np.unique(label_map(0)).tolist()), "labels are never mixed"


def test_a_flipped_label_map_has_left_and_right_exchanged(labels: Path) -> None:
    view = view_class("parsing")({"folder": str(labels)})
    row = torch.tensor([[[[1, 2, 4, 8, 17]]]], dtype=torch.uint8)
    assert view.mirrored(row).flatten().tolist() == [17, 7, 5, 3, 1]
    assert torch.equal(view.mirrored(view.mirrored(row)), row)
    own = view_class("parsing")({"folder": str(labels), "classes": 5, "swapped": [[1, 4]]})
    assert own.mirrored(row % 5).flatten().tolist() == [2, 3, 1, 2, 4]
    gaze = view_class("gaze")()
    assert gaze.mirrored(torch.tensor([[0.1, 0.2]])).tolist() == pytest.approx(np.array([[0.1, -0.2]]))
    captions = view_class("captions")({"file": "c.csv"})
    assert captions.mirrored(("a face",)) == ("a face",)


def wrong_size(path: Path) -> None:
    Image.fromarray(label_map(0, SIDE * 2)).save(path)


def colours(path: Path) -> None:
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(path)


def sixteen_bits(path: Path) -> None:
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint16)).save(path)


def unknown_label(path: Path) -> None:
    Image.fromarray(np.full((SIDE, SIDE), 19, np.uint8)).save(path)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def jpeg(path: Path) -> None:
    Image.fromarray(label_map(0)).save(path, format="JPEG")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (wrong_size, "64x64 pixels, its face's crop has 32x32"),
        (colours, "mode RGB; a label map has 8 bits and one channel"),
        (sixteen_bits, "mode I;16; a label map has 8 bits"),
        (unknown_label, r"label 19, classes are 0 to 18 \(--view parsing.classes=N\)"),
        (damaged, "not readable as a PNG"),
        (jpeg, "not readable as a PNG"),
    ],
)
def test_label_maps_are_checked(manifests, ids, labels: Path, spoil: Any, message: str) -> None:
    spoil(labels / f"{ids[2]}.png")
    with pytest.raises(IntegrityError, match=f"{ids[2]}.png: {message}"):
        ViewProvider(manifests, {"parsing": {"folder": str(labels)}}).source("parsing", ids, SIDE)


def test_wrong_settings_are_one_line(manifests, ids, labels: Path, tmp_path: Path) -> None:
    def source(name: str, **settings: Any) -> None:
        ViewProvider(manifests, {name: settings}).source(name, ids, SIDE)

    with pytest.raises(ConfigError, match=r"view 'parsing' \(--view parsing.KEY=VALUE\): no parser: give weights"):
        source("parsing")
    with pytest.raises(ConfigError, match="unknown key 'foldr'; did you mean 'folder'"):
        source("parsing", foldr="x")
    with pytest.raises(ConfigError, match="classes must be 2 to 256, got 1"):
        source("parsing", folder=str(labels), classes=1)
    with pytest.raises(ConfigError, match=r"no label maps \(<sample_id>.png\) in this folder"):
        source("parsing", folder=str(tmp_path / "nowhere"))
    (tmp_path / "other").mkdir()
    Image.fromarray(label_map(0)).save(tmp_path / "other" / "somebody.png")
    with pytest.raises(ConfigError, match=f"none of the {len(ids)} faces is in the files it is read from"):
        source("parsing", folder=str(tmp_path / "other"))
    with pytest.raises(ConfigError, match="no such file"):
        source("captions", file="nowhere.csv")
    with pytest.raises(UnknownNameError, match="no view named 'parsin'. Did you mean parsing"):
        source("parsin")
    with pytest.raises(UnknownNameError, match="no estimator named"):
        source("gaze", estimator="gepmetric")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_captions_come_from_a_table(manifests, ids, tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame({"sample_id": ids[:-1], "caption": [f" a face, “{name}” " for name in ids[:-2]] + [""]})
    path = tmp_path / f"captions.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    source = ViewProvider(manifests, {"captions": {"file": str(path)}}).source("captions", ids, SIDE)
    assert source.gather(np.array([3, len(ids) - 1]), crops_of) == (f"a face, “{ids[3]}”", "")
    assert source.present.tolist() == [True] * (len(ids) - 2) + [False] * 2
    first = view_class("captions")({"file": str(path)}).fingerprint
    path.rename(tmp_path / f"moved.{suffix}")
    assert view_class("captions")({"file": str(tmp_path / f"moved.{suffix}")}).fingerprint == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample_id,text\na,b\n", "no column 'caption'; it has sample_id, text"),
        ("sample_id,caption\na,b\na,c\n", "face a occurs twice"),
        ("", "not readable as a table"),
        ('sample_id,caption\na,"b\n', "not readable as a table"),
    ],
)
def test_damaged_captions_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_captions(tmp_path / "c.csv")


def test_captions_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"sample_id": ["a"], "caption": [3]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(ConfigError, match="column 'caption' must hold texts"):
        read_captions(tmp_path / "c.parquet")


def test_other_files_are_another_view(labels: Path) -> None:
    def fingerprint(**settings: Any) -> str:
        return view_class("parsing")({"folder": str(labels), **settings}).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert fingerprint(classes=20) != first
    path = sorted(labels.glob("*.png"))[0]
    Image.fromarray(label_map(7)).save(path)
    changed = fingerprint()
    assert changed != first
    path.unlink()
    assert fingerprint() not in (first, changed)


def test_a_parser_with_a_name_is_kept_with_the_run(labels: Path) -> None:
    kind, before = view_class("parsing"), view_class("parsing")({"folder": str(labels)})
    named = kind({"folder": str(labels), "parser": "SegFace, Swin-B"})
    assert named.identity()["parser"] == "SegFace, Swin-B"
    assert "parser" not in before.identity()  # and so it has the fingerprint of runs made before
    assert named.fingerprint != before.fingerprint


def test_only_what_is_not_stored_yet_is_made(manifests, ids, labels: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DFAD_CACHE", str(tmp_path / "cache"))
    made: list[str] = []
    kind = view_class("parsing")
    plain_make = kind.make

    def make(self: Any, faces: Faces) -> Any:
        made.extend(faces.sample_ids)
        return plain_make(self, faces)

    monkeypatch.setattr(kind, "make", make)
    settings = {"parsing": {"folder": str(labels)}}
    half = ids[: len(ids) // 2]
    ViewProvider(manifests, settings).source("parsing", half, SIDE)
    assert sorted(made) == sorted(half)
    whole = ViewProvider(manifests, settings).source("parsing", ids[::-1], SIDE)
    assert sorted(made) == sorted(ids), "the first half was there"
    values = whole.gather(np.arange(len(ids)), crops_of)
    for row, name in enumerate(ids[::-1]):
        number = ids.index(name)
        expected = label_map(number) if number < len(ids) - 3 else np.zeros((SIDE, SIDE), np.uint8)
        assert np.array_equal(values[row, 0].numpy(), expected)
    path = next((tmp_path / "cache").glob("parsing-*.npy"))
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    made.clear()
    ViewProvider(manifests, settings).source("parsing", ids, SIDE)
    assert 0 < len(made) < len(ids), "a damaged array is made again, the others are kept"


def test_a_folder_that_cannot_be_written_is_one_line(manifests, ids, labels: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DFAD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DFADError, match="views cannot be stored here.*set DFAD_CACHE"):
        ViewProvider(manifests, {"parsing": {"folder": str(labels)}}).source("parsing", ids, SIDE)


@pytest.mark.parametrize("name", view_names())
def test_examples_have_the_shape_and_dtype_a_view_says(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    value = example_views([name], 5, 64, generator)[name]
    view = view_class(name).stand_in()
    assert view.meaning
    if view.kind == "text":
        assert isinstance(value, tuple)
        assert all(isinstance(text, str) for text in value)
    else:
        assert value.shape == (5, *view.shape(64))
        assert str(value.dtype) == f"torch.{view.dtype}"
        on_meta = example_views([name], 1, 64, device="meta")[name]
        assert on_meta.shape == (1, *view.shape(64))
    assert len(value) == 5


def test_settings_of_the_command_line() -> None:
    given = view_settings(["parsing.folder=a=b", "parsing.classes=11"], estimator="l2cs", gaze_weights="w.pth")
    assert given == {"parsing": {"folder": "a=b", "classes": 11}, "gaze": {"estimator": "l2cs", "weights": "w.pth"}}
    for wrong in (["parsing"], ["parsing=x"], [".folder=x"], ["parsing.=x"]):
        with pytest.raises(ConfigError, match=r"expected NAME.KEY=VALUE, as in parsing.folder=labels"):
            view_settings(wrong)
    with pytest.raises(ConfigError, match="--view gaze.estimator and --estimator: give one of them"):
        view_settings(["gaze.estimator=l2cs"], estimator="geometric")
    with pytest.raises(ConfigError, match="--view parsing.folder: given twice"):
        view_settings(["parsing.folder=a", "parsing.folder=b"])


def dfad_run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(dfad, [str(argument) for argument in (*arguments, "--device", "cpu", "--quiet")])


@pytest.mark.heavy
def test_a_model_that_needs_parsing_trains_and_is_evaluated_by_command(manifests, labels: Path, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(plain(toy_protocol())))
    faces = [text for manifest in manifests for text in ("--manifest", manifest.folder)]
    train = ["train", "--model", "parsing_toy", "--protocol", tmp_path / "toy.yaml", "--recipe", "quick", "--epochs", 1]
    train += [*faces, "--out", tmp_path / "run"]
    where = ("--view", f"parsing.folder={labels}")
    with toy_views_registered():
        refused = dfad_run(*train)
        assert (refused.exit_code, "parsing.KEY=VALUE): no parser: give weights" in refused.stderr) == (1, True)
        result = dfad_run(*train, *where)
        assert result.exit_code == 0, result.output
        assert "faces have no parsing: nothing is added" in result.stderr
        kept = read_config(tmp_path / "run").views["parsing"]
        assert kept["classes"] == 19
        assert str(labels) not in str(kept)
        evaluated = dfad_run("evaluate", "--run", tmp_path / "run", *faces, *where)
        assert evaluated.exit_code == 0, evaluated.output
        corrupted = [*faces, *where, "--corruptions", "jpeg", "--severities", 1, "--workers", 0]
        live = dfad_run("evaluate", "--run", tmp_path / "run", *corrupted)
        assert live.exit_code == 1
        assert "the view 'parsing' of corrupted faces, and nothing makes it from their crops" in live.stderr
        next(labels.glob("*.png")).unlink()
        other = dfad_run("evaluate", "--run", tmp_path / "run", *faces, *where)
        assert (other.exit_code, "trained on parsing from" in other.stderr) == (1, True)


@pytest.mark.heavy
def test_a_run_is_evaluated_on_other_faces_with_their_files_and_without_those_for_training(
    manifests, labels: Path, tmp_path: Path
) -> None:
    """A model that sees parsing maps, and one that only learns from them."""
    others = toy_manifests(tmp_path / "others", identities=13)
    there = tmp_path / "labels_there"
    there.mkdir()
    for name in (name for manifest in others for name in manifest.frame(["sample_id"])["sample_id"]):
        Image.fromarray(label_map(3)).save(there / f"{name}.png")
    with toy_views_registered():
        for model, views in (("parsing_toy", {"parsing": {"folder": str(there)}}), ("parsing_trained_toy", {})):
            run_training(
                model, toy_protocol(), manifests, tmp_path / model, recipe=replace(RECIPE, epochs=1), device="cpu",
                views=ViewProvider(manifests, {"parsing": {"folder": str(labels)}}),
            )  # fmt: skip
            result = run_evaluation(
                tmp_path / model, others, device="cpu", allow_partial=True, views=ViewProvider(others, views)
            )
            lines = [line for line in result.warnings if "read from other files than in training" in line]
            assert len(lines) == (model == "parsing_toy")
