"""Parquet files that unpack to more than they say, or say one long text very often."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.report.entries.layout import UNPACKED_BYTES
from dfad_bench.report.entries.pages import pages_of
from dfad_bench.report.entries.parquet import check_size, read_bounded


def zigzag(value: int, length: int = 0) -> bytes:
    """A number of Thrift's compact protocol; padded to a length, which readers take as well."""
    value, out = value << 1, bytearray()
    while value > 127 or len(out) + 1 < length:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def lying(path: Path, truth: int, lie: int) -> None:
    """Let the footer state another number; the pages stay as they are."""
    data = path.read_bytes()
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    old = zigzag(truth)
    assert old in data[begin:]
    path.write_bytes(data[:begin] + data[begin:].replace(old, zigzag(lie, len(old))))


def columns(folder: Path, **values: pa.Array) -> Path:
    path = folder / "file.parquet"
    table = pa.table(values)
    pq.write_table(
        table, path, compression="zstd", use_dictionary=[name for name in values if name == "group"],
        data_page_size=1 << 30, write_batch_size=1 << 30, row_group_size=1 << 30,
    )  # fmt: skip
    return path


def test_pages_of_honest_files_are_those_of_the_footer(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, toy_predictions(toy_protocol(), 40))
    data, found = path.read_bytes(), pq.ParquetFile(path).metadata
    for place in range(found.num_columns):
        column = found.row_group(0).column(place)
        start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        pages = list(pages_of(data, start, start + column.total_compressed_size))
        assert len(pages) == 1 + column.has_dictionary_page
        assert 0 <= column.total_uncompressed_size - sum(page.unpacked for page in pages) < 100 * len(pages)  # headers
    assert len(read_bounded(path, "predictions")) == len(toy_predictions(toy_protocol(), 40))


def test_a_page_that_unpacks_to_more_than_the_footer_says(tmp_path: Path) -> None:
    rows = UNPACKED_BYTES // 8 + 1
    path = columns(tmp_path, p_0=pa.array(np.zeros(rows)))
    assert path.stat().st_size < 1 << 20
    lying(path, rows, 500)
    size = pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
    lying(path, size, 9_000)
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size == 9_000
    with pytest.raises(IntegrityError, match="more than 268,435,456 bytes unpacked"):
        check_size(path)


def test_values_beyond_the_rows(tmp_path: Path) -> None:
    path = columns(tmp_path, p_0=pa.array(np.zeros(5_000)), p_1=pa.array(np.zeros(5_000)))
    data = path.read_bytes()
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    first = data.index(zigzag(5_000), begin)
    place = data.index(zigzag(5_000), first + 1)  # values of the first column
    path.write_bytes(data[:place] + zigzag(8_000) + data[place + 2 :])
    with pytest.raises(IntegrityError, match="not one value a row|do not have the rows"):
        check_size(path)


def test_one_long_text_very_often(tmp_path: Path) -> None:
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, dtype=np.int32)), pa.array(["x" * 4_000]))
    path = columns(tmp_path, group=long)
    assert path.stat().st_size < 1 << 20  # 4 GB of text
    with pytest.raises(IntegrityError, match="column group has a text of 4,000 bytes|bytes unpacked"):
        check_size(path)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_are_one_error(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, toy_predictions(toy_protocol(), 4))
    rng, data = np.random.default_rng(seed), bytearray(path.read_bytes())
    for place in rng.integers(0, len(data), size=rng.integers(1, 8)):
        data[place] = rng.integers(0, 256)
    path.write_bytes(bytes(data[: rng.integers(1, len(data))] if seed % 4 == 0 else data))
    with suppress(IntegrityError):  # a byte that nothing depends on may differ
        assert isinstance(read_bounded(path, "predictions"), pd.DataFrame)
