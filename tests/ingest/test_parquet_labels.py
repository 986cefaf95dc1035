"""Labels of Parquet files: read as codes, so that no file makes many copies of a long one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.dataset_trees import draw
from helpers.parquet_sets import rows, write_set

from dfad_bench.core.errors import ConfigError
from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.media import parquet
from dfad_bench.ingest.media.parquet_file import open_parquet, read_columns
from dfad_bench.ingest.sources import hf_parquet
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import load_dataset_spec

ROWS, LETTERS = 4096, 1 << 14  # a small file; unfolded its labels take 64 MiB


def repeated(path: Path, label: str, *, coded: bool, metadata: bool = False) -> Path:
    """A file of rows that all have one label, which the writer keeps once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codes = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), ROWS), pa.array([label]))
    nothing = [pa.nulls(ROWS, pa.binary()), pa.nulls(ROWS, pa.string())]
    pictures = pa.StructArray.from_arrays(nothing, ["bytes", "path"])
    names = pa.array([f"{number}.png" for number in range(ROWS)])
    first = {"file_name": names} if metadata else {"image": pictures}
    pq.write_table(pa.table({**first, "label": codes if coded else codes.cast(pa.string())}), path, compression="zstd")
    return path


@pytest.mark.parametrize("coded", [True, False])
def test_a_long_label_of_many_rows_is_refused_before_it_is_copied(tmp_path: Path, coded: bool):
    path = repeated(tmp_path / "data/train-00000-of-00001.parquet", "A" * LETTERS, coded=coded)
    assert path.stat().st_size < 10_000
    pool = pa.default_memory_pool()
    tracemalloc.start()
    before = pool.bytes_allocated()
    listing = list_source(load_dataset_spec("hf_parquet"), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert pool.bytes_allocated() - before < 8 << 20
    (told,) = listing.examples["Parquet file beyond the limits"]
    assert f"Parquet file beyond the limits: {told}" in listing.notes
    assert told.endswith(f"a label of {LETTERS:,} bytes in column label, at most 4,096")


def test_a_long_label_of_a_metadata_file_is_refused(tmp_path: Path):
    draw(tmp_path / "0.png")
    repeated(tmp_path / "metadata.parquet", "A" * LETTERS, coded=True, metadata=True)
    with pytest.raises(ConfigError, match=r"metadata.parquet: cannot be read .*a label of 16,384 bytes"):
        list_source(load_dataset_spec("image_folder"), tmp_path)


def test_columns_that_are_not_read_may_hold_anything(tmp_path: Path):
    draw(tmp_path / "a.png")
    columns = {"file_name": ["a.png"], "label": ["real"], "prompt": ["x" * 9999], "boxes": [[1, 2]]}
    pq.write_table(pa.table(columns), tmp_path / "metadata.parquet")
    assert [s.generator for s in list_source(load_dataset_spec("image_folder"), tmp_path).samples] == ["real"]


def test_rows_share_one_label(tmp_path: Path):
    path = repeated(tmp_path / "a.parquet", "stylegan2", coded=False)
    ((first, *others),) = read_columns(open_parquet(path), ["label"])
    assert first == {"label": "stylegan2"}
    assert len(others) == ROWS - 1
    assert all(row["label"] is first["label"] for row in others)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_text_of_every_kind_with_gaps_and_over_row_groups(tmp_path: Path, kind: pa.DataType):
    words = [None, "real", "fake", "", "real", None, "flux"] * 3
    column = pa.array(words).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(words, kind)
    pq.write_table(
        pa.table({"label": column, "n": pa.array([1, None] * 10 + [3])}), tmp_path / "a.parquet", row_group_size=4
    )
    read = [
        row for batch in read_columns(open_parquet(tmp_path / "a.parquet"), ["label", "n"], rows=3) for row in batch
    ]
    assert [row["label"] for row in read] == words
    assert [row["n"] for row in read] == [1, None] * 10 + [3]


@pytest.mark.parametrize("value", [["real"], {"x": "real"}, b"real"])
def test_columns_of_other_types_are_no_labels(tmp_path: Path, value: object):
    pq.write_table(pa.table({"label": [value]}), tmp_path / "a.parquet")
    with pytest.raises(ImageRefused, match="column label holds .*, no label"):
        list(read_columns(open_parquet(tmp_path / "a.parquet"), ["label"]))
    write_set(tmp_path / "data" / "a.parquet", rows(1), {"label": [value]})
    with pytest.raises(ConfigError, match="column 'label' holds .*, no label"):
        list_source(load_dataset_spec("hf_parquet"), tmp_path / "data")


def test_labels_that_unpack_to_far_more_than_they_take_are_refused(tmp_path: Path):
    words = [f"{number}" + "A" * 4000 for number in range(9000)]
    pq.write_table(pa.table({"label": words}), tmp_path / "a.parquet", compression="zstd")
    with pytest.raises(ImageRefused, match="that unpack to"):
        list(read_columns(open_parquet(tmp_path / "a.parquet"), ["label"]))


def test_rows_are_limited_over_all_files_of_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in "abc":
        write_set(tmp_path / f"data/{name}.parquet", rows(1, 2), {"label": ["real"] * 2})
    monkeypatch.setattr(hf_parquet, "MAX_ROWS", 5)
    listing = list_source(load_dataset_spec("hf_parquet"), tmp_path)
    assert len(listing.samples) == 4
    (told,) = listing.examples["Parquet file beyond the limits"]
    assert told == "data/c.parquet: 6 rows with the files before it, at most 5"


def test_a_file_of_rows_without_pictures_is_counted_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    repeated(tmp_path / "data/a.parquet", "real", coded=True)
    monkeypatch.setattr(parquet, "_MANY", ROWS)
    assert len(list_source(load_dataset_spec("hf_parquet"), tmp_path).samples) == ROWS  # each a row with its reason
    monkeypatch.setattr(parquet, "_MANY", ROWS - 1)
    listing = list_source(load_dataset_spec("hf_parquet"), tmp_path)
    assert listing.ignored == {"Parquet file beyond the limits": 1}
    assert "hardly a picture" in listing.notes[0]
