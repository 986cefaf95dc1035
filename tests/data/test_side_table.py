"""One mechanism for every file derived from a manifest: identity, parts, lock, hash; files of earlier versions open."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.toy import SIDE, toy_manifests, toy_protocol
from helpers.train_faults import Forked
from hypothesis import given, settings
from hypothesis import strategies as st

from dfad_bench.core.errors import DFADError, IntegrityError
from dfad_bench.core.files import read_json, sha256_file, write_json
from dfad_bench.data import side_array
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pair_table import read_pairs, write_pairs
from dfad_bench.data.select import select
from dfad_bench.data.side_array import Block, SideArray
from dfad_bench.data.side_table import SideTable

EMPTY = pd.DataFrame({"sample_id": pd.Series(dtype="str"), "value": pd.Series(dtype="float64")})
IDS = [f"{number:04d}" for number in range(40)]


class StoppedError(Exception):
    """As if the process had been killed here."""


def values(left: list[str], stop_after: int | None = None, size: int = 4) -> Iterator[pd.DataFrame]:
    for count, begin in enumerate(range(0, len(left), size)):
        if count == stop_after:
            raise StoppedError
        some = left[begin : begin + size]
        yield pd.DataFrame({"sample_id": some, "value": [float(name) ** 0.5 for name in some]})


def blocks(left: np.ndarray, stop_after: int | None = None, size: int = 4) -> Iterator[Block]:
    for count, begin in enumerate(range(0, len(left), size)):
        if count == stop_after:
            raise StoppedError
        some = left[::-1][begin : begin + size]  # in any order
        data = np.stack([np.full((2, 3), place, np.uint8) for place in some])
        yield Block(some, data, tuple(int(place) for place in some if place % 7 == 0))


@given(st.lists(st.integers(0, 6), max_size=3), st.integers(1, 12))
@settings(max_examples=5, deadline=None)
def test_however_often_it_is_interrupted_the_bytes_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], part_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("side")

    def table(name: str) -> SideTable:
        return SideTable(folder / f"{name}.parquet", {"of": 1}, empty=EMPTY)

    def array(name: str) -> SideArray:
        return SideArray(folder / f"{name}-array.npy", {"of": 1})

    def make(name: str, stop: int | None) -> None:
        if table(name).read() is None:
            with table(name).locked() as held:
                held.make(IDS[::-1], lambda left: values(left, stop), label="", part_rows=part_rows)
        if not array(name).is_whole():
            facts = lambda absent: {"absent": absent}  # noqa: E731
            with array(name).locked() as held:
                held.make(
                    (40, 2, 3), "uint8", lambda left: blocks(left, stop), label="", facts=facts, part_rows=part_rows
                )

    make("whole", None)
    for stop in stops:
        try:
            make("hurt", stop)
        except StoppedError:
            continue
    make("hurt", None)
    for name in ("{}.parquet", "{}.json", "{}-array.npy", "{}-array.json"):
        assert (folder / name.format("hurt")).read_bytes() == (folder / name.format("whole")).read_bytes()
    found = table("hurt").read()
    assert found is not None
    assert found["sample_id"].tolist() == IDS
    assert array("hurt").open()[:, 0, 0].tolist() == list(range(40))
    record = array("hurt").record()
    assert record is not None
    assert record["absent"] == [0, 7, 14, 21, 28, 35]
    assert not list(folder.glob("*.parts"))


def test_damage_and_another_identity_are_noticed(tmp_path: Path) -> None:
    table = SideTable(tmp_path / "t.parquet", {"of": 1}, empty=EMPTY, remake_text="it is drawn again")
    table.write(pd.concat(values(IDS)), {"why": "a test"})
    assert table.record() == {"why": "a test", "rows": 40, "identity": {"of": 1}, "sha256": sha256_file(table.path)}
    assert SideTable(table.path, {"of": 2}).read() is None
    table.path.write_bytes(table.path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"damaged or changed.*; delete it and t.json, it is drawn again"):
        table.read()
    table.record_path.write_text("{")
    with pytest.raises(IntegrityError, match=r"not valid JSON.*; delete it, it is drawn again"):
        table.read()
    array = SideArray(tmp_path / "a.npy", {"of": 1})
    array.make((8, 2, 3), "uint8", blocks, label="")
    assert array.is_whole()
    assert not SideArray(array.path, {"of": 2}).is_whole()
    for change in (array.path.read_bytes()[:-1] + b"x", array.path.read_bytes()[:-1], b""):
        whole = array.path.read_bytes()
        array.path.write_bytes(change)
        assert not array.is_whole()
        array.path.write_bytes(whole)
    array.record_path.write_text("{")
    assert not array.is_whole()


def test_parts_of_something_else_and_damaged_blocks_are_made_again(tmp_path: Path) -> None:
    array = SideArray(tmp_path / "a.npy", {"of": 1})
    with pytest.raises(StoppedError):
        array.make((40, 2, 3), "uint8", lambda left: blocks(left, 5), label="", part_rows=4)
    data = np.load(array.parts / side_array.VALUES, mmap_mode="r+")
    data[39] = 0  # of the first block
    data.flush()
    asked: list[int] = []
    with pytest.raises(StoppedError):
        array.make((40, 2, 3), "uint8", lambda left: (asked.extend(left), blocks(left, 0))[1], label="")
    assert sorted(asked) == [*range(20), 36, 37, 38, 39]
    other = SideArray(tmp_path / "a.npy", {"of": 2})
    with pytest.raises(StoppedError):
        other.make((40, 2, 3), "uint8", lambda left: (asked.clear(), asked.extend(left), blocks(left, 0))[2], label="")
    assert asked == list(range(40))


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = SideArray(tmp_path / "a.npy", {"of": 1})

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(side_array, "reserve", full)
        with pytest.raises(DFADError, match="the disk is full; free some space and run the same command again"):
            array.make((40, 2, 3), "uint8", blocks, label="")
    assert list(tmp_path.iterdir()) == []
    array.make((40, 2, 3), "uint8", blocks, label="")
    assert array.is_whole()


def test_abandoned_parts_are_removed_after_a_month(tmp_path: Path) -> None:
    for name in ("old", "young"):
        with pytest.raises(StoppedError):
            SideArray(tmp_path / f"{name}.npy", {}).make((40, 2, 3), "uint8", lambda left: blocks(left, 2), label="")
    long_ago = time.time() - 31 * 24 * 3600
    for path in (*(tmp_path / "old.parts").iterdir(), tmp_path / "old.parts"):
        os.utime(path, (long_ago, long_ago))
    with SideArray(tmp_path / "other.npy", {}).locked():
        assert [path.name for path in tmp_path.glob("*.parts")] == ["young.parts"]


@pytest.mark.skipif(os.name == "nt", reason="needs fork")
def test_two_processes_make_it_once(tmp_path: Path, one_thread: None) -> None:
    def act() -> None:
        stored = SideArray(tmp_path / "a.npy", {"of": 1})
        with stored.locked():
            if not stored.is_whole():
                (tmp_path / f"made-{os.getpid()}").touch()

                def slow(left: np.ndarray) -> Iterator[Block]:
                    for block in blocks(left):
                        time.sleep(0.01)
                        yield block

                stored.make((40, 2, 3), "uint8", slow, label="")

    both = [Forked(act), Forked(act)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(list(tmp_path.glob("made-*"))) == 1
    assert SideArray(tmp_path / "a.npy", {"of": 1}).is_whole()


def test_pairs_stored_by_earlier_versions_open_as_they_are_and_crops_are_decoded_again(tmp_path: Path) -> None:
    """Their records held what they were made from beside the hash; pixels were not compared with their rows."""
    manifests = toy_manifests(tmp_path)
    rows = select(toy_protocol(), manifests).rows
    first = np.array(CropStore.open(rows, manifests, SIDE).array)
    path = next(tmp_path.rglob("crops-*.npy"))
    record = read_json(path.with_suffix(".json"))
    old = {"key": record["identity"]["key"], "bytes": record["bytes"], "sha256": record["sha256"]}
    write_json(path.with_suffix(".json"), old)
    before = path.stat().st_mtime_ns
    assert np.array_equal(CropStore.open(rows, manifests, SIDE).array, first)
    assert path.stat().st_mtime_ns != before
    assert read_json(path.with_suffix(".json")) == record

    manifest = Manifest.open(tmp_path / "synthetic")
    pairs = pd.DataFrame(
        {"sample_id": ["a"], "target_id": ["b"], "source_id": ["c"], "pair_confidence": [1.0], "method": ["name"],
         "margin": [None]}
    )  # fmt: skip
    write_pairs(manifest, pairs, manifests)
    written = manifest.folder / "tables" / "pairs.json"
    record = read_json(written)
    flat = {**record.pop("identity"), **record}
    write_json(written, flat)
    found = read_pairs(manifest)
    assert found is not None
    assert found["target_id"].tolist() == ["b"]
    for change, message in (({"version": 0}, "of another version"), ({"manifest_sha256": "0"}, "another state")):
        write_json(written, {**flat, **change})
        with pytest.raises(IntegrityError, match=f"{message}.*run `dfad infer-pairs` again"):
            read_pairs(manifest)
