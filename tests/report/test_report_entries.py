"""Entries that strangers wrote: whatever is forged is named, and nothing crashes."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from helpers.entries import copy_of, entry_run, forged_entry, forged_record, only_entry

from dfad_bench.api.entries import submit, verify_entries
from dfad_bench.api.runs import leaderboard
from dfad_bench.core.files import sha256_file, write_json
from dfad_bench.core.record import plain, read_record
from dfad_bench.core.run_folder import PACKED_RECORD
from dfad_bench.core.run_parquet import read_predictions, write_predictions
from dfad_bench.report.entries.private import private_places, without_private


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("entries")
    entry_run(folder / "run")
    (made,) = submit(folder / "run", folder / "records")
    assert made.outcome == "written", made
    return folder / "records"


def test_an_honest_entry_follows_from_its_predictions(entries: Path) -> None:
    found = verify_entries(entries)
    assert found.faults == []
    (check,) = found.checks
    assert check.compared > 1000
    assert check.faces == len(read_predictions(check.folder / "predictions.parquet"))
    assert [path.name for path in sorted(check.folder.iterdir())] == [
        "entry.json",
        "predictions.parquet",
        PACKED_RECORD,
    ]
    unchecked = " ".join(check.notes)
    assert "facts-only" not in unchecked  # they are among the shared files
    assert "selection" not in unchecked


def _swap_faces(entry: Path) -> None:
    frame = read_predictions(entry / "predictions.parquet")
    columns = [name for name in frame if name.startswith("p_")]
    frame[columns] = frame[columns].to_numpy()[::-1]
    _store(entry, frame)


def _store(entry: Path, frame: pd.DataFrame) -> None:
    """Other predictions under hashes that fit."""
    digest = write_predictions(entry / "predictions.parquet", frame)
    columns = list(frame.columns)
    changes = {"predictions.sha256": digest, "predictions.rows": len(frame), "predictions.columns": columns}
    forged_record(entry, changes)
    stored = {"predictions.parquet": {"sha256": digest, "rows": len(frame)}}
    forged_entry(entry, lambda raw: raw.update(files=stored))


def _not_a_number(entry: Path) -> None:
    frame = read_predictions(entry / "predictions.parquet")
    frame.loc[3, "p_1"] = float("nan")
    _store(entry, frame)


def _above_one(entry: Path) -> None:
    frame = read_predictions(entry / "predictions.parquet")
    frame.loc[3, "p_fake"] = 1e6
    _store(entry, frame)


def _secret_column(entry: Path) -> None:
    _store(entry, read_predictions(entry / "predictions.parquet").assign(face=b"\xff\xd8\xff"))


def _one_face_twice(entry: Path) -> None:
    frame = read_predictions(entry / "predictions.parquet")
    _store(entry, pd.concat([frame, frame.iloc[:1]], ignore_index=True))


def _millions_of_rows(entry: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = pa.table({"p_0": pa.nulls(1_000_000, pa.int8())})
    with pq.ParquetWriter(entry / "predictions.parquet", part.schema, compression="zstd") as writer:
        for _ in range(3):
            writer.write_table(part)
    digest = sha256_file(entry / "predictions.parquet")
    forged_entry(entry, lambda raw: raw.update(files={"predictions.parquet": {"sha256": digest, "rows": 3_000_000}}))


def _link(entry: Path) -> None:
    (entry / "predictions.parquet").rename(entry.parent.parent / "elsewhere")
    (entry / "predictions.parquet").symlink_to(entry.parent.parent / "elsewhere")


def _record_link(entry: Path) -> None:
    (entry / PACKED_RECORD).unlink()
    (entry / PACKED_RECORD).symlink_to("/dev/zero")


def _packed_bomb(entry: Path) -> None:
    (entry / PACKED_RECORD).write_bytes(gzip.compress(b" " * (65 << 20)))


def _edited_protocol(entry: Path) -> None:
    config = plain(read_record(entry / PACKED_RECORD).protocol.config)
    forged_record(entry, {"protocol.config": {**config, "seed": 7}}, stated=False)


FORGERIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "number": (lambda e: forged_record(e, {("metrics", "0", "value"): 0.999}), "metrics: "),
    "board number": (lambda e: forged_entry(e, lambda raw: raw["numbers"].update(oscr=0.99)), "numbers.oscr"),
    "sealed badly": (lambda e: forged_entry(e, lambda raw: raw.update(record_id="0" * 64)), "record_id"),
    "reference": (
        lambda e: forged_record(e, {("references", "facts-only", "0", "value"): 0.0}), "references.facts-only"
    ),
    "predictions swapped": (_swap_faces, "metrics: "),
    "not a number": (_not_a_number, "predictions.parquet: "),
    "above one": (_above_one, "1 faces with a probability that is not from 0 to 1"),
    "further column": (_secret_column, "column face, which scoring does not need"),
    "face twice": (_one_face_twice, "1 faces are there twice"),
    "millions of rows": (_millions_of_rows, "3,000,000 rows; at most 2,000,000 are read"),
    "link": (_link, "predictions.parquet is a link"),
    "record link": (_record_link, "record.json.gz is a link"),
    "packed bomb": (_packed_bomb, "unpacks to more than"),
    "cut record": (lambda e: os.truncate(e / PACKED_RECORD, 900), "cannot be read"),
    "no record": (lambda e: (e / PACKED_RECORD).unlink(), "no such file"),
    "cut predictions": (lambda e: os.truncate(e / "predictions.parquet", 900), "predictions.parquet"),
    "further file": (lambda e: (e / "face.png").write_bytes(b""), "face.png is no file of an entry"),
    "folder inside": (lambda e: (e / "..x").mkdir(), "..x is a link or a folder"),
    "protocol edited": (_edited_protocol, "protocol synthetic is edited (other seed)"),
    "climbing name": (lambda e: forged_record(e, {"model.name": "../../x"}), "cannot be the name of a folder"),
    "other seed": (lambda e: forged_record(e, {"run.seed": 4}), "its record belongs to synthetic/xception/"),
    "stopped early": (lambda e: forged_record(e, {"status": "partial"}), "the run is partial"),
    "no checkpoint": (lambda e: forged_record(e, {"model.checkpoint_sha256": None}), "no hash of a checkpoint"),
    "weights without licence": (
        lambda e: forged_record(e, {"model.init": {"kind": "local_file", "id": "vit.pt", "sha256": "e" * 64}}),
        "the licence of weights vit.pt is not named",
    ),
    "card without words": (lambda e: forged_entry(e, lambda raw: raw["card"].update(idea="")), "its card lacks idea"),
    "private path": (lambda e: forged_record(e, {"warnings": ["/home/ada/x/y.pt"]}), "paths of a machine in warnings"),
    "unknown key": (lambda e: forged_entry(e, lambda raw: raw.update(trusted=True)), "unknown key 'trusted'"),
    "short group": (
        lambda e: forged_record(e, {("manifest", "splits", "test", "generators"): {"synthetic/real": 6}}),
        "has 0 of 1 test faces, which its deviations do not say",
    ),
    "shared file": (
        lambda e: next((e.parents[2] / "shared").iterdir()).write_bytes(b"PAR1"), "no Parquet file"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_named(entries: Path, tmp_path: Path, name: str) -> None:
    root = copy_of(entries, tmp_path / "records")
    forge, expected = FORGERIES[name]
    forge(only_entry(root))
    assert expected in "\n".join(verify_entries(root).faults)


@pytest.mark.parametrize(
    "name", ["number", *(pytest.param(name, marks=pytest.mark.heavy) for name in FORGERIES if name != "number")]
)
def test_a_board_strikes_a_forgery_out(entries: Path, tmp_path: Path, name: str) -> None:
    root = copy_of(entries, tmp_path / "records")
    FORGERIES[name][0](only_entry(root))
    shown = leaderboard("synthetic", entries=root)
    measured = {place: row for place, row in enumerate(shown.rows) if row.get("kind") == "measured"}
    assert all(row["checked"] == "contradicted" and row.get("rank") is None for row in measured.values())
    assert set(shown.struck) == set(measured)
    assert measured or any("left out" in note for note in shown.notes)


@pytest.mark.parametrize("name", ["../x", "a/b/c/d/e", ".hidden", "notes.txt"])
def test_other_files_are_named(entries: Path, tmp_path: Path, name: str) -> None:
    root = copy_of(entries, tmp_path / "records")
    path = root / "synthetic" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x", encoding="utf-8")
    assert len(verify_entries(root).faults) == 1


@pytest.mark.heavy
def test_two_entries_of_one_seed_and_a_copy_under_another_seed(entries: Path, tmp_path: Path) -> None:
    root = copy_of(entries, tmp_path / "records")
    entry = only_entry(root)
    copy_of(entry, entry.with_name("seed-1"))
    assert f"synthetic/xception/{entry.parent.name}/seed-1: the same run as" in "\n".join(verify_entries(root).faults)
    config = plain(read_record(entry / PACKED_RECORD).run.config) | {"seed": 1}
    forged_record(entry.with_name("seed-1"), {"run.seed": 1, "run.config": config})
    assert "the same run as" in "\n".join(verify_entries(root).faults)


def test_shared_files_that_nobody_names_or_that_are_others(entries: Path, tmp_path: Path) -> None:
    root = copy_of(entries, tmp_path / "records")
    (root / "synthetic" / "shared" / f"{'a' * 64}.parquet").write_bytes(b"x")
    (root / "synthetic" / "shared" / "x.parquet").write_bytes(b"x")
    lines = verify_entries(root).faults
    assert [line.split(": ")[1] for line in lines] == ["no file that entries share", "no entry names it"]


def test_texts_that_name_a_machine_are_found() -> None:
    hold = [
        "/home/ada/x.pt",
        "in /tmp/a/b",
        "C:\\Users\\ada\\x",
        "~/weights/w.pt",
        "file:///data/x/y",
        "\\\\host\\share",
    ]
    plain_texts = ["synthetic/real", "https://example.org/a/b", "a / b", "1/2", "runs/x.pt", "and/or", "gan/x/y"]
    assert len(private_places(hold)) == len(hold)
    assert private_places(plain_texts) == []
    clean, places = without_private({"warnings": ["ada's host42, x"], "model": {"name": "ada"}}, ["ada", "host42"])
    assert clean == {"warnings": ["[name]'s [name], x"], "model": {"name": "ada"}}
    assert places == ["warnings[0]"]
    assert private_places({"/home/ada/x": 1}) == ["the key /home/ada/x"]


def test_an_entry_json_that_is_a_device_or_huge(entries: Path, tmp_path: Path) -> None:
    root = copy_of(entries, tmp_path / "records")
    write_json(only_entry(root) / "entry.json", {"x": "y" * (2 << 20)})
    assert "more than" in verify_entries(root).faults[0]
