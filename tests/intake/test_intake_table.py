"""Tables of others are read whole, within bounds, and every cell that is used is checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.intake import table as reading
from dfad_bench.intake.table import read_raw_table

FRAME = pd.DataFrame({"file": ["a,b.png", "é.png", "c.png"], "label": ["real", "fake", ""], "p_fake": [0.25, 1.0, 0.5]})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_cells(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    if suffix == ".jsonl":
        FRAME.to_json(path, orient="records", lines=True)
    elif suffix == ".parquet":
        FRAME.assign(label=FRAME["label"].astype("category")).to_parquet(path)
    else:
        FRAME.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    found = read_raw_table(path)
    assert found.texts("file").tolist() == FRAME["file"].tolist()
    assert found.texts("label").tolist() == ["real", "fake", ""]
    np.testing.assert_array_equal(found.probabilities("p_fake"), FRAME["p_fake"])


def test_a_semicolon_divides_where_the_head_has_no_comma(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufefffile;p_fake\na;0.5\n".encode())
    assert read_raw_table(path).names == ["file", "p_fake"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.txt", "a", "read from .csv"),
        ("t.csv", "", "not readable as csv"),
        ("t.csv", "a,b\n1\n", "not readable as csv"),
        ("t.csv", "a,a\n1,2\n", "twice: a"),
        ("t.csv", "a,b\n", "no rows"),
        ("t.parquet", "PAR1nothing", "not readable as parquet"),
        ("t.jsonl", '{"a": {"b": 1}}\n', "line 1 is no object of plain values"),
        ("t.jsonl", '{"a": 1, "a": 2}\n', "occurs twice"),
        ("t.jsonl", "[1]\n", "no object"),
        ("t.jsonl", '{"a": NaN}\n', "not readable"),
    ],
)
def test_what_is_no_table_is_one_line(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_raw_table(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cell", ["1.01", "-0.1", "nan", "inf", "", "high"])
def test_only_probabilities_are_probabilities(cell: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"file,p_fake\na,0.5\nb,{cell}\n")
    with pytest.raises(ConfigError, match="row 2: p_fake"):
        read_raw_table(tmp_path / "t.csv").probabilities("p_fake")


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("file,p_fake\n" + "a,0.5\n" * 9)
    FRAME.to_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(reading, "ROWS", 2)
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(ConfigError, match="at most 2 of 2,000 are read"):
            read_raw_table(tmp_path / name)
    monkeypatch.setattr(reading, "BYTES", 10)
    with pytest.raises(ConfigError, match="bytes, more than the 10"):
        read_raw_table(path)
    monkeypatch.setattr(reading, "BYTES", 1 << 20)
    monkeypatch.setattr(reading, "ROWS", 100)
    monkeypatch.setattr(reading, "UNPACKED_BYTES", 10)
    with pytest.raises(ConfigError, match="unpacked"):
        read_raw_table(tmp_path / "t.parquet")
    path.write_text("file\n" + "x" * 1001 + "\n")
    with pytest.raises(ConfigError, match="a cell of 1,001 characters"):
        read_raw_table(path).texts("file")


def test_damaged_files_are_an_error_of_the_user_or_read(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "t.parquet")
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    rng = np.random.default_rng(0)
    for name in ("t.parquet", "t.csv"):
        whole = bytearray((tmp_path / name).read_bytes())
        for _ in range(60):
            broken = bytearray(whole)
            for place in rng.integers(0, len(broken), 3):
                broken[place] = int(rng.integers(0, 256))
            broken = broken[: int(rng.integers(1, len(broken) + 1))]
            (tmp_path / name).write_bytes(broken)
            try:
                found = read_raw_table(tmp_path / name)
                for column in found.names:
                    found.texts(column)
            except DFADError:
                pass
