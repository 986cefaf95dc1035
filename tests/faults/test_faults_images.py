"""Bad images: every one is a row with a status and a reason; nothing crashes, nothing hangs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.faults import MUTATIONS, build_here, hand_made, mutant, mutants, verdicts
from helpers.trees import save

from dfad_bench.core.errors import ConfigError
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.sources import base


def written(folder: Path, number: int, seed: int = 0) -> list[Path]:
    folder.mkdir()
    for name, data in mutants(number, seed):
        (folder / name).write_bytes(data)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("kind", MUTATIONS)
def test_mutants_are_other_bytes(kind: str):
    rng = np.random.default_rng(0)
    whole = bytes(range(1, 201))
    assert sum(mutant(whole, kind, rng) != whole for _ in range(20)) >= 18


def test_damaged_images_are_rows(tmp_path: Path):
    counts = verdicts(written(tmp_path / "in", 150))
    assert sum(counts.values()) == 150
    assert counts["unreadable"] + counts["unsupported_format"] > 40


@pytest.mark.slow
def test_two_thousand_damaged_images_are_rows(tmp_path: Path):
    counts = verdicts(written(tmp_path / "in", 2000, seed=1))
    assert sum(counts.values()) == 2000


def test_hand_made_files_are_rows(tmp_path: Path):
    files = hand_made(tmp_path / "in")
    counts = verdicts(files)
    assert sum(counts.values()) == len(files)
    assert counts["too_large"] >= 2
    assert counts["ok"] >= 17  # eight orientations, a broken EXIF block, colour modes, animations


@pytest.mark.heavy
def test_a_whole_build_of_bad_files_ends_with_all_of_them(tmp_path: Path):
    hand_made(tmp_path / "in/test/flux")
    for name, data in mutants(30, seed=2):
        (tmp_path / "in/test/flux" / name).write_bytes(data)
    expected = {p.name for p in (tmp_path / "in/test/flux").iterdir() if not p.is_dir()}
    report = build_here(tmp_path / "in", tmp_path / "m", workers=2, shard_size=16)
    frame = Manifest.open(tmp_path / "m").frame(status=None)
    assert {Path(origin).name for origin in frame["origin"]} == expected
    assert report.rows == len(expected)
    assert "worker_crash" not in set(frame["status"])


def test_a_file_that_vanishes_after_listing_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from dfad_bench.ingest import build

    for index in range(4):
        save(tmp_path / f"in/test/flux/{index}.png", index)
    listed = build._list_source

    def list_and_lose(*arguments: object) -> object:
        listing = listed(*arguments)  # type: ignore[arg-type]
        (tmp_path / "in/test/flux/2.png").unlink()
        return listing

    monkeypatch.setattr(build, "_list_source", list_and_lose)
    report = build_here(tmp_path / "in", tmp_path / "m")
    assert report.counts == {"flux": {"ok": 3, "unreadable": 1}}
    [refused] = report.reasons
    assert (refused["origin"], refused["reason"]) == ("test/flux/2.png", "No such file or directory")


def test_unreadable_folders_are_counted_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("flux", "vae"):
        save(tmp_path / f"in/test/{name}/a.png")
    scan = os.scandir

    def deny(path: object) -> object:  # permissions do not bind root
        if str(path).endswith("vae"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)  # type: ignore[call-overload]

    monkeypatch.setattr(base.os, "scandir", deny)
    report = build_here(tmp_path / "in", tmp_path / "m")
    assert report.ignored["unreadable folder"] == 1
    assert report.ignored_examples["unreadable folder"] == ["test/vae"]
    assert report.counts == {"flux": {"ok": 1}}

    def deny_root(path: object) -> object:  # the toolkit's own folders stay readable
        return deny("vae") if str(path).startswith(str(tmp_path)) else scan(path)  # type: ignore[call-overload]

    monkeypatch.setattr(base.os, "scandir", deny_root)
    with pytest.raises(ConfigError, match=r"in: cannot be read \(Permission denied\)"):
        build_here(tmp_path / "in", tmp_path / "n")
