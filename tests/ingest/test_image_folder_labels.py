"""Metadata of an image folder against its folders and against itself; columns are named in any case."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.dataset_trees import draw

from dfad_bench.core.errors import ConfigError
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.settings import BuildSettings
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.survey import survey


def look(root: Path, metadata: str, *images: str) -> Listing:
    for image in images:
        draw(root / image)
    (root / "metadata.csv").write_text(metadata)
    return list_source(load_dataset_spec("image_folder"), root)


def made(listing: Listing) -> dict[str, str]:
    return {sample.origin: sample.generator for sample in listing.samples}


def test_a_folder_counts_where_the_metadata_contradict_it_and_the_doctor_tells_how_often(tmp_path: Path):
    text = "file_name,label\nreal/a.png,fake\nfake/b.png,real\nfake/c.png,flux\n"
    listing = look(tmp_path, text, "real/a.png", "fake/b.png", "fake/c.png")
    assert made(listing) == {"real/a.png": "real", "fake/b.png": "fake", "fake/c.png": "flux"}
    (told,) = (note for note in survey("image_folder", tmp_path).notes if "the folder counts" in note)
    assert told.startswith("2 pictures are real by their folder and forged by the metadata, or the other way round")


def test_reals_with_the_name_of_a_forger_are_told_and_not_built(tmp_path: Path):
    text = "file_name,generator,label\na.png,StyleGAN2,real\nb.png,laion,real\nc.png,FLUX,fake\n"
    listing = look(tmp_path / "set", text, "a.png", "b.png", "c.png")
    assert made(listing) == {"b.png": "real", "c.png": "flux"}
    assert listing.ignored == {"labelled real, with the name of a forger": 1}
    with pytest.raises(ConfigError, match="1 pictures are labelled real and have the name of a known forger"):
        build_manifest("image_folder", tmp_path / "set", tmp_path / "m", BuildSettings(workers=0))


@pytest.mark.parametrize(
    ("header", "values", "generator"),
    [
        ("is_fake,is_real", "1,1", None),
        ("is_fake,is_real", "0,0", None),
        ("is_fake,is_real", "1,0", "fake"),
        ("label,generator", "fake,Unknown", "fake"),
        ("label,generator", "fake,real", None),
        ("label,generator", "1,flux", "flux"),
        ("IS_FAKE", "1", "fake"),
        (" Generator ", "flux", "flux"),
    ],
)
def test_columns_of_one_row_together(tmp_path: Path, header: str, values: str, generator: str | None):
    listing = look(tmp_path, f"File_Name,{header}\na.png,{values}\n", "a.png")
    assert made(listing) == ({"a.png": generator} if generator else {})
    assert listing.ignored == ({} if generator else {"columns of labels contradict each other": 1})


def test_a_label_of_another_case_is_no_label_that_is_passed_over(tmp_path: Path):
    with pytest.raises(ConfigError, match="column label: .*has no name"):
        look(tmp_path, "file_name,Label\nfake/a.png,0\n", "fake/a.png")
    with pytest.raises(ConfigError, match="two columns of one name"):
        look(tmp_path, "file_name,Label,label\nfake/a.png,real,fake\n", "fake/a.png")
    (tmp_path / "metadata.csv").unlink()
    pq.write_table(pa.table({"File_Name": ["fake/a.png"], "Model": ["flux"]}), tmp_path / "metadata.parquet")
    assert made(list_source(load_dataset_spec("image_folder"), tmp_path)) == {"fake/a.png": "flux"}
