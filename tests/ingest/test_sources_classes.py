"""Who made a picture is said by names, in folders, metadata files and tables alike; a bare 0 or 1 is refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.dataset_trees import draw
from helpers.listing import own

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.ingest.sources.classes import class_of
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import DatasetSpec, load_dataset_spec

BOTH = "--labels 0=real,1=fake or --labels 0=fake,1=real"
TABLE = """
name: rows
version: 1
title: Rows
licence: mine
layout: table
table: {file: list.csv, path: "{file}", generator: "{target}"}
"""


def generators(spec: DatasetSpec, root: Path) -> dict[str, str]:
    return {sample.origin: sample.generator for sample in list_source(spec, root).samples}


def test_folders_called_0_and_1_are_refused(tmp_path: Path):
    draw(tmp_path / "train/0/a.png")
    draw(tmp_path / "train/1/b.png")
    spec = load_dataset_spec("image_folder")
    with pytest.raises(ConfigError, match=f"folder of train/0/a.png.*{BOTH}"):
        list_source(spec, tmp_path)
    told = spec.with_labels({"0": "Fake", "1": "real"})
    assert generators(told, tmp_path) == {"train/0/a.png": "fake", "train/1/b.png": "real"}
    assert told.sha256 != spec.sha256


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_numbers_of_a_metadata_file_are_refused(tmp_path: Path, name: str):
    draw(tmp_path / "a.png")
    if name.endswith("csv"):
        (tmp_path / name).write_text("file_name,label\na.png,1\n")
    elif name.endswith("jsonl"):
        (tmp_path / name).write_text('{"file_name": "a.png", "label": 1}\n')
    else:
        pq.write_table(pa.table({"file_name": ["a.png"], "label": [1]}), tmp_path / name)
    spec = load_dataset_spec("image_folder")
    with pytest.raises(ConfigError, match=f"column label: .*{BOTH}"):
        list_source(spec, tmp_path)
    assert generators(spec.with_labels({"1": "flux"}), tmp_path) == {"a.png": "flux"}


def test_numbers_of_a_table_are_refused_unless_the_dataset_file_says_them(tmp_path: Path):
    draw(tmp_path / "data/a.png")
    (tmp_path / "data/list.csv").write_text("file,target\na.png,1\n")
    with pytest.raises(ConfigError, match=f"line 2: .*{BOTH}"):
        list_source(own(tmp_path, TABLE), tmp_path / "data")
    said = own(tmp_path, TABLE + "generators: {'0': real, '1': flux}\n")
    assert generators(said, tmp_path / "data") == {"a.png": "flux"}
    labelled = own(tmp_path, TABLE + "labels: {'0': flux, '1': real}\n")
    assert generators(labelled, tmp_path / "data") == {"a.png": "real"}


@pytest.mark.parametrize("value", ["0", "1", "1.0", "-1", "17", "True", "no"])
def test_no_bare_value_has_a_meaning_of_its_own(value: str):
    with pytest.raises(ConfigError, match="has no name"):
        class_of(load_dataset_spec("image_folder"), value, "here")


def test_labels_are_generators_and_of_layouts_that_have_some():
    with pytest.raises(UnknownNameError, match="nobody"):
        load_dataset_spec("image_folder").with_labels({"0": "nobody"})
    with pytest.raises(ConfigError, match="has no column of labels"):
        load_dataset_spec("ffhq").with_labels({"0": "real"})
