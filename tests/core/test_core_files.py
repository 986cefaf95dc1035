"""Files are written whole or not at all, whatever happens to the writer."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.core import files
from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_then_read(tmp_path: Path) -> None:
    target = tmp_path / "new" / "record.json"
    files.write_json(target, {"b": 1, "a": 0.5, "ü": None})
    assert target.read_bytes() == '{\n  "a": 0.5,\n  "b": 1,\n  "ü": null\n}\n'.encode()
    assert files.read_json(target) == {"b": 1, "a": 0.5, "ü": None}
    assert names(target.parent) == ["record.json"]


def test_failure_inside_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    files.write_text(target, "old\n")

    def fail_half_way() -> None:
        with files.atomic_write(target, "w") as handle:
            handle.write("new, but")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail_half_way()
    assert target.read_text() == "old\n"
    assert names(tmp_path) == ["table.csv"]


def test_failure_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.atomic_path(tmp_path / "x.parquet"):
        _ = 1 / 0
    assert names(tmp_path) == []


def test_value_that_is_no_json_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert names(tmp_path) == []


def test_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_text(tmp_path / "x", "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DFADError, match="the disk is full; free some space"):
        files.write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_failing_rename_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_text(tmp_path / "x", "old")

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        files.write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


WRITER = """
import itertools, sys
from pathlib import Path
from dfad_bench.core.files import atomic_write
target = Path(sys.argv[1])
for turn in itertools.count():
    with atomic_write(target) as handle:
        for _ in range(64):
            handle.write(bytes([turn % 256]) * 16384)
    if turn == 0:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.031])
def test_kill_leaves_no_torn_file(tmp_path: Path, delay: float) -> None:
    target = tmp_path / "part.bin"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()  # type: ignore[union-attr]
    content = target.read_bytes()
    assert len(content) == 64 * 16384
    assert len(set(content)) == 1
    left = len(names(tmp_path)) - 1
    assert files.sweep_temporaries(tmp_path) == left
    assert names(tmp_path) == ["part.bin"]


def test_sweep_spares_the_living_and_the_unrelated(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()  # its number is free now
    dead, living = f"{files._HOST}-{child.pid}", f"{files._HOST}-{os.getpid()}"
    for name in (f".a.{dead}.0123abcd.tmp", f".b.{dead}.12345678.tmp.json", f".c.{living}.12345678.tmp.parquet"):
        (tmp_path / name).touch()
    for name in (".mine.tmp", f".d.{dead}.tmp", "e.tmp", f"f.{dead}.0123abcd.tmp"):
        (tmp_path / name).touch()
    foreign = f".a.ffffff-{child.pid}.0123abcd.tmp"  # who lives on another host cannot be told from here
    (tmp_path / foreign).touch()
    assert files.sweep_temporaries(tmp_path) == 2
    kept = [foreign]
    kept += [f".c.{living}.12345678.tmp.parquet", f".d.{dead}.tmp", ".mine.tmp", "e.tmp", f"f.{dead}.0123abcd.tmp"]
    assert names(tmp_path) == sorted(kept)
    os.utime(tmp_path / foreign, (0, 0))
    assert files.sweep_temporaries(tmp_path) == 1
    assert names(tmp_path) == sorted(kept[1:])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_one_line(tmp_path: Path, code: int) -> None:
    with pytest.raises(DFADError, match=r"x: .*free some space and run the same"), files.atomic_path(tmp_path / "x"):
        raise OSError(code, "no room")
    assert names(tmp_path) == []


def test_names_of_temporaries_are_those_the_sweep_knows(tmp_path: Path) -> None:
    for name in ("part-00000.parquet", "plain", "many.dots.tar.gz", ".hidden"):
        with files.atomic_path(tmp_path / name) as temporary:
            temporary.touch()
            found = files._TEMPORARY.search(temporary.name)
            assert found is not None
            assert int(found["pid"]) == os.getpid()
            assert temporary.suffix == (Path(name).suffix or ".tmp")


def test_check_hash(tmp_path: Path) -> None:
    files.write_text(tmp_path / "x", "abc")
    files.check_hash(tmp_path / "x", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")  # FIPS 180
    with pytest.raises(IntegrityError, match="damaged or changed"):
        files.check_hash(tmp_path / "x", "0" * 64)


@pytest.mark.parametrize("text", ["{", "", "\ufeff{}", "[" * 200_000])
def test_bad_json_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="not valid JSON"):
        files.read_json(tmp_path / "x.json")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_content_hash_is_that_of_the_value(value: object) -> None:
    again = json.loads(json.dumps(value))
    assert files.content_hash(again) == files.content_hash(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=1))
def test_content_hash_ignores_order_and_sees_change(value: dict[str, int]) -> None:
    assert files.content_hash(dict(reversed(value.items()))) == files.content_hash(value)
    first = next(iter(value))
    assert files.content_hash(value | {first: value[first] + 1}) != files.content_hash(value)


@pytest.mark.parametrize("bad", ["", "/etc/passwd", "../x", "a/../../x", "a\\b", "a\0b", ".."])
def test_paths_that_could_leave_are_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ConfigError, match="not a plain relative path"):
        files.safe_relative(tmp_path, bad)


def test_links_out_are_refused_and_links_inside_work(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "in").symlink_to(root / "a")
    with pytest.raises(ConfigError, match="leads out of"):
        files.safe_relative(root, "out/key")
    assert files.safe_relative(root, "in/x.png") == (root / "a" / "x.png").resolve()


@given(st.lists(st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_whatever_is_accepted_stays_inside(parts: list[str]) -> None:
    root = Path("/nowhere/root")
    try:
        path = files.safe_relative(root, "/".join(parts))
    except ConfigError:
        assert ".." in parts
    else:
        assert path.is_relative_to(root)
