"""Parquet image sets: what is real and what is forged is read from names, pictures within bounds, a row at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from helpers.parquet_sets import class_label, encoded, rows, write_set

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.media import parquet, parquet_file
from dfad_bench.ingest.sources.hf_schema import Card, split_name
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.survey import survey


def listed(root: Path, dataset: str = "hf_parquet", **labels: str) -> list[tuple[str, str | None]]:
    spec = load_dataset_spec(dataset)
    spec = spec.with_labels(labels) if labels else spec
    return [(s.generator, s.split) for s in list_source(spec, root).samples]


def shard(root: Path, split: str = "train") -> Path:
    return root / "data" / f"{split}-00000-of-00001.parquet"


@pytest.mark.parametrize(("names", "first"), [(("real", "fake"), "real"), (("Fake", "Real"), "fake")])
def test_class_labels_are_read_by_their_names(tmp_path: Path, names: tuple[str, str], first: str):
    write_set(shard(tmp_path), rows(1, 2), {"label": [0, 1]}, {"label": class_label(*names)})
    other = {"real": "fake", "fake": "real"}[first]
    assert listed(tmp_path) == [(first, "train"), (other, "train")]


@pytest.mark.parametrize("values", [[0, 1], [0.0, 1.0], ["0", "1"], [False, True]])
def test_numbers_without_names_are_refused_with_both_ways_to_say_it(tmp_path: Path, values: list[Any]):
    write_set(shard(tmp_path), rows(1, 2), {"label": values}, {"label": {"_type": "Value"}})
    no, yes = ("False", "True") if values[0] is False else ("0", "1")
    both = rf"--labels {no}=real,{yes}=fake or --labels {no}=fake,{yes}=real"
    with pytest.raises(ConfigError, match=both) as error:
        listed(tmp_path)
    assert "\n" not in str(error.value)
    assert listed(tmp_path, **{no: "fake", yes: "real"}) == [("fake", "train"), ("real", "train")]
    assert listed(tmp_path, **{no: "real", yes: "stylegan2"}) == [("real", "train"), ("stylegan2", "train")]


def test_the_refusal_is_one_line_of_both_commands(tmp_path: Path):
    write_set(shard(tmp_path), rows(1, 2), {"label": [0, 1]})
    for arguments in (["doctor"], ["build-manifest", "--out", str(tmp_path / "m"), "--quiet"]):
        asked = [*arguments, "--dataset", "hf_parquet", "--root", str(tmp_path / "data")]
        result = CliRunner().invoke(dfad, asked)
        assert result.exit_code == 1
        assert "1 is real in some data sets, fake in others" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    told = CliRunner().invoke(
        dfad, ["doctor", "--dataset", "hf_parquet", "--root", str(tmp_path), "--labels", "0=real,1=fake", "--json"]
    )
    assert {row["generator"]: row["found"] for row in json.loads(told.stdout)["coverage"]} == {"real": 1, "fake": 1}


def test_a_column_called_is_fake_says_what_its_numbers_mean(tmp_path: Path):
    write_set(shard(tmp_path), rows(1, 2), {"is_fake": [0, 1]})
    assert [generator for generator, _ in listed(tmp_path)] == ["real", "fake"]
    write_set(shard(tmp_path), rows(1, 2), {"is_real": [False, True]})
    assert [generator for generator, _ in listed(tmp_path)] == ["fake", "real"]


def test_names_of_the_readme_stand_in_for_those_of_the_schema(tmp_path: Path):
    write_set(tmp_path / "data" / "part.parquet", rows(1, 2, 3), {"label": [0, 1, -1]})
    front = (
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: validation\n    path: data/part*\n"
        "dataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n"
        "      class_label:\n        names:\n          '0': fake\n          '1': real\n"
        "  splits:\n  - name: validation\n    num_examples: 4\n---\n# A set\n"
    )
    (tmp_path / "README.md").write_text(front)
    assert listed(tmp_path) == [("fake", "val"), ("real", "val"), ("unlabelled", "val")]
    assert "README.md says that validation of default has 4 rows; 3 are here" in survey("hf_parquet", tmp_path).notes


@pytest.mark.parametrize(
    "text", ["---\na: &x [1]\nb: *x\n---\n", "---\n" + "[" * 99 + "\n---\n", "---\n: :\n- x\n---\n"]
)
def test_a_hostile_readme_is_told_and_passed_over(tmp_path: Path, text: str):
    write_set(shard(tmp_path), rows(1), {"label": ["real"]})
    (tmp_path / "README.md").write_text(text)
    assert any(
        note.startswith("README.md: its front matter is not read") for note in survey("hf_parquet", tmp_path).notes
    )
    assert listed(tmp_path) == [("real", "train")]


def test_who_made_a_picture_is_its_model_and_reals_are_real_whatever_their_model(tmp_path: Path):
    columns = {"label": ["real", "fake", "fake", "fake"], "model": ["laion", "FLUX.1", "nobody-7", "real"]}
    write_set(tmp_path / "core" / "test-00000-of-00009.parquet", rows(1, 2, 3, 4), columns)
    listing = list_source(load_dataset_spec("hf_parquet"), tmp_path)
    assert [(s.generator, s.split) for s in listing.samples] == [("real", "test"), ("flux", "test")]
    assert listing.ignored == {"unknown generator 'nobody-7'": 1, "label and generator contradict each other": 1}


def test_splits_and_source_keys_of_columns(tmp_path: Path):
    columns = {"label": ["real"] * 2, "split": ["valid", None], "source_key": ["people/1", None]}
    write_set(shard(tmp_path, "reddit"), rows(1, 2), columns)
    samples = list_source(load_dataset_spec("hf_parquet"), tmp_path).samples
    assert [(s.split, s.source_key) for s in samples] == [("val", "people/1"), ("reddit", None)]


@pytest.mark.parametrize(
    ("place", "split"),
    [
        ("data/train-00000-of-00001-f003d914d3491920.parquet", "train"),
        ("default/test/0000.parquet", "test"),
        ("validation.parquet", "validation"),
        ("train/of_the_test.parquet", None),
        ("contest.parquet", None),
    ],
)
def test_split_names(place: str, split: str | None):
    assert {"val": "validation"}.get(found := split_name(place, Card()), found) == split  # type: ignore[arg-type]  # a stub card


def test_pictures_of_every_form_and_missing_ones(tmp_path: Path):
    good = encoded(1, "JPEG")
    pictures = [
        {"bytes": good, "path": "../../etc/passwd"},  # a name, no path
        {"bytes": None, "path": "zip://a::b.png"},
        {"bytes": None, "path": None},
        {"bytes": b"no picture", "path": "x.png"},
        {"bytes": encoded(2, "WEBP"), "path": None},
    ]
    write_set(shard(tmp_path), pictures, {"label": ["fake"] * 5}, {})
    build_manifest("hf_parquet", tmp_path, tmp_path / "m", crop="raw-256", workers=0)
    told = Manifest.open(tmp_path / "m").frame(status=None).sort_values("origin")
    assert told["status"].tolist() == ["ok", "unreadable", "unreadable", "unsupported_format", "ok"]
    assert told["source_format"].tolist()[0] == "JPEG"
    assert "is a file elsewhere" in told["reason"].tolist()[1]
    assert told["source_bytes"].tolist()[0] == len(good)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_binary_column_is_a_picture(tmp_path: Path, kind: pa.DataType):
    write_set(shard(tmp_path), [encoded(1)], {"label": ["real"]}, kind=kind, image="image_data")
    build_manifest("hf_parquet", tmp_path, tmp_path / "m", crop="raw-256", workers=0)
    assert Manifest.open(tmp_path / "m").frame()["generator"].tolist() == ["real"]


def test_every_row_is_its_own_picture_whatever_the_row_groups(tmp_path: Path):
    seeds = list(range(23))
    for group in (1, 5, 100):
        root = tmp_path / str(group)
        write_set(shard(root), rows(*seeds), {"label": ["real"] * 23}, group=group)
        for row in (*seeds, 3, 22, 0):  # forward, and back
            assert parquet.read_value(shard(root), row, "image")["bytes"] == encoded(row)
    with pytest.raises(Exception, match="no row 23"):
        parquet.read_value(shard(root), 23, "image")


def test_labels_are_listed_without_reading_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[object] = []
    real = parquet_file.pq.ParquetFile.iter_batches

    def watched(self: object, *args: Any, **options: Any) -> Any:
        asked.append(options["columns"])
        return real(self, *args, **options)

    monkeypatch.setattr(parquet_file.pq.ParquetFile, "iter_batches", watched)
    write_set(shard(tmp_path), rows(1, 2), {"label": ["real", "fake"], "prompt": ["a", "b"]}, {})
    listed(tmp_path)
    assert asked == [["label"]]


def test_several_columns_of_pictures_need_a_name(tmp_path: Path):
    write_set(shard(tmp_path), rows(1), {"label": ["real"], "cam": [encoded(1)]}, image="face")
    with pytest.raises(ConfigError, match="pictures in face, cam; name one"):
        listed(tmp_path)
    write_set(shard(tmp_path), rows(1), {"label": ["real"], "cam": [encoded(1)]})  # `image` is among them
    assert listed(tmp_path) == [("real", "train")]


def test_a_set_without_labels_says_what_there_is(tmp_path: Path):
    write_set(shard(tmp_path), rows(1), {"prompt": ["x"]})
    with pytest.raises(ConfigError, match="no column says who made the pictures.*there are prompt"):
        listed(tmp_path)


def test_pointers_damage_and_limits_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_set(shard(tmp_path), rows(1), {"label": ["real"]})
    good = shard(tmp_path).read_bytes()
    (tmp_path / "data" / "lfs.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "data" / "cut.parquet").write_bytes(good[:-30])
    (tmp_path / "data" / "long.parquet").write_bytes(good[:-8] + (1 << 30).to_bytes(4, "little") + b"PAR1")
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    (tmp_path / "data" / "flip.parquet").write_bytes(good[:footer] + bytes(20) + good[footer + 20 :])
    (tmp_path / "data" / "x.arrow").write_bytes(b"ARROW1")
    listing = list_source(load_dataset_spec("hf_parquet"), tmp_path)
    assert listing.ignored == {
        "Git LFS pointer in place of the data: run `git lfs pull`": 1,
        "damaged Parquet file": 3,
        "Arrow file of `save_to_disk`: write it again with `to_parquet`": 1,
    }
    assert len(listing.samples) == 1
    assert listing.overlooked == 5  # none is left out on purpose
    monkeypatch.setattr(parquet_file, "MAX_ROWS", 0)
    assert not list_source(load_dataset_spec("hf_parquet"), tmp_path).samples
    monkeypatch.undo()
    monkeypatch.setattr(parquet_file, "_MAX_LABELS", 3)
    assert not list_source(load_dataset_spec("hf_parquet"), tmp_path).samples
    monkeypatch.undo()
    monkeypatch.setattr(parquet, "_MAX_CHUNK", 99)
    listing = list_source(load_dataset_spec("hf_parquet"), tmp_path)
    (told,) = listing.examples["Parquet file beyond the limits"]
    assert "write the file again with smaller row groups" in told


def test_a_picture_of_more_bytes_than_a_file_may_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parquet, "MAX_BYTES", 1000)
    small = [{"bytes": b"no picture", "path": None}] * 99
    write_set(shard(tmp_path), [*rows(1), *small], {"label": ["real"] * 100})
    build_manifest("hf_parquet", tmp_path, tmp_path / "m", crop="raw-256", workers=0)
    told = Manifest.open(tmp_path / "m").frame(status=None).sort_values("origin")
    assert told["status"].tolist() == ["too_large"] + ["unsupported_format"] * 99
