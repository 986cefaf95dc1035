"""Copies that were mirrored, shifted or zoomed: found by the audit, and before a run is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.toy import toy_protocol, toy_row
from PIL import Image

from dfad_bench.data import leak_check
from dfad_bench.data.audit import audit, copy_search
from dfad_bench.data.audit.copy_search import find_copies
from dfad_bench.data.audit.windows import KEYS, WINDOWS, grey_faces, likeness, window_hashes
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.images import encode_png
from dfad_bench.data.leak_check import Leaks, find_leaks
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.select import select

SIDE = 96


def picture(seed: int) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 of smooth patches, as faces have, with detail."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def mirrored(face: np.ndarray) -> np.ndarray:
    return face[:, ::-1]


def shifted(face: np.ndarray) -> np.ndarray:
    by = round(0.05 * SIDE)
    return np.concatenate([face[:, :1].repeat(by, axis=1), face[:, :-by]], axis=1)


def zoomed(face: np.ndarray) -> np.ndarray:
    cut = 0.05 * SIDE
    image = Image.fromarray(face)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(cut, cut, SIDE - cut, SIDE - cut)))


CHANGES = [mirrored, shifted, zoomed, lambda face: shifted(mirrored(face)), lambda face: zoomed(mirrored(face))]


def test_mirrored_hashes_are_those_of_the_mirrored_face() -> None:
    """The sign of the odd frequencies is all that changes; windows left of the middle become those right of it."""
    grey = grey_faces([picture(n) for n in range(20)])
    one, turned = window_hashes(grey), window_hashes(grey[:, :, ::-1])
    opposite = {span: span for span in range(5)} | {1: 3, 3: 1}
    for number, (down, across) in enumerate(WINDOWS):
        other = WINDOWS.index((down, opposite[across]))
        bits = np.bitwise_count(one[:, number, 1].view(np.uint64) ^ turned[:, other, 0].view(np.uint64))
        assert bits.max() <= 2  # rounding


def test_a_window_is_the_part_of_the_face_it_says() -> None:
    """The slow way: cut, reduce by averaging, transform by its formula."""
    grey = grey_faces([picture(3)])[0].astype(float)
    hashes = window_hashes(grey_faces([picture(3)]))[0]
    assert WINDOWS[3] == (1, 1)
    for window, cut in ((0, grey), (3, grey[:58, :58])):  # the whole; nine tenths from the top left, 57.6 values
        reduced = np.asarray(Image.fromarray(cut.astype(np.uint8)).resize((32, 32), Image.Resampling.BOX), dtype=float)
        waves = [[np.cos(np.pi * k * (2 * n + 1) / 64) for n in range(32)] for k in range(8)]
        low = (np.array(waves) @ reduced @ np.array(waves).T).ravel()
        slow = int(np.packbits(low > np.median(low[1:])).view(">i8")[0])
        assert ((slow ^ int(hashes[window, 0])) & (2**64 - 1)).bit_count() <= 6


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("copy_trained", [False, True])
def test_altered_copies_are_found_and_nothing_else(
    change: Callable[[np.ndarray], np.ndarray], copy_trained: bool
) -> None:
    faces = [picture(n) for n in range(40)]
    grey = grey_faces(map(np.ascontiguousarray, [*faces, *map(change, faces)]))
    one, other = np.arange(40), np.arange(40, 80)
    one, other = (other, one) if copy_trained else (one, other)
    found = find_copies(lambda places: grey[places], one, other, np.arange(80))
    assert sorted(zip(np.minimum(found.one, found.other), np.maximum(found.one, found.other), strict=True)) == [
        (n, n + 40) for n in range(40)
    ]
    assert (found.mirrored | found.moved).all()
    same = find_copies(lambda places: grey[places], one, other, np.tile(np.arange(40), 2))
    assert len(same.one) == 0  # of one source


def test_pictures_without_contrast_are_no_copies() -> None:
    flat = np.full((30, 64, 64), 128, np.uint8)
    found = find_copies(lambda places: flat[places], np.arange(15), np.arange(15, 30), np.arange(30))
    assert len(found.one) == 0
    zero, no = np.zeros(1, int), np.zeros(1, bool)
    assert likeness(flat[:1], flat[:1], zero, zero, no).tolist() == [0]


def test_one_set_against_itself_counts_a_pair_once() -> None:
    faces = [picture(0), mirrored(picture(0)), picture(1)]
    grey, every = grey_faces(map(np.ascontiguousarray, faces)), np.arange(3)
    found = find_copies(lambda places: grey[places], every, every, every)
    assert [sorted(pair) for pair in zip(found.one, found.other, strict=True)] == [[0, 1]]
    assert KEYS == 3


def faces_row(generator: str, split: str, identity: int, pixels: np.ndarray, dataset: str = "synthetic") -> dict:
    pixels = np.ascontiguousarray(pixels)
    about: dict[str, Any] = {
        "image": {"bytes": encode_png(pixels), "path": None}, "width": SIDE, "height": SIDE,
        "crop_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
    }  # fmt: skip
    return toy_row(dataset, generator, split, identity, 0, **about)


@pytest.fixture
def leaking(tmp_path: Path) -> list[Manifest]:
    """A training face whose mirrored copy is tested under another name."""
    groups = ("real", "synthetic-gan-a", "synthetic-diffusion-a", "synthetic-flow-a")
    rows, outdoor, number = [], [], 0
    for group in groups:
        for split in ("train", "test"):
            for _ in range(12):
                number += 1
                rows.append(faces_row(group, split, number, picture(number)))
    rows.append(faces_row("real", "train", 900, picture(5000)))
    rows.append(faces_row("synthetic-flow-a", "test", 901, mirrored(picture(5000))))
    outdoor = [faces_row("real", "test", n, picture(n), "synthetic-outdoor") for n in range(2000, 2010)]
    pairs = (("synthetic", rows), ("synthetic-outdoor", outdoor))
    return [write_manifest(tmp_path / name, name, some) for name, some in pairs]


def test_the_audit_shows_them(leaking: list[Manifest]) -> None:
    for protocol in (None, toy_protocol()):
        found = audit(leaking, protocol, checks=["altered_copies"])[0]
        assert [(row["pairs"], row["how"], row["sides"]) for row in found.rows] == [(1, "mirrored", "train + test")]
        assert found.severity == "warning"
        assert len(found.remarks[0].examples[0]) == 2
    near = audit(leaking, toy_protocol(), checks=["near_duplicates"])[0]
    assert near.severity != "warning"  # the hash of the whole crop does not see it


def test_without_a_split_all_faces_are_compared(leaking: list[Manifest]) -> None:
    rows = [faces_row("real", "train", n, face) for n, face in enumerate([picture(1), mirrored(picture(1))])]
    made = write_manifest(leaking[0].folder.parent / "other", "other", [{**row, "split": None} for row in rows])
    found = audit([made], checks=["altered_copies"])[0]
    assert [(row["pairs"], row["how"]) for row in found.rows] == [(1, "mirrored")]


def test_training_faces_are_compared_with_test_faces(leaking: list[Manifest], tmp_path: Path) -> None:
    protocol = replace(toy_protocol(), image_size=64)
    selection = select(protocol, leaking)
    store = CropStore.open(selection.rows, leaking, 64, folder=tmp_path)
    leaks = find_leaks(selection, store, leaking, folder=tmp_path)
    assert (leaks.pairs, leaks.train_faces, leaks.test_faces, leaks.changed) == (1, 1, 1, 1)
    assert leaks.recorded["near_duplicates_train_test"] == 1
    assert "1 mirrored" in leaks.warnings[0]
    assert "kept" in leaks.warnings[0]
    chosen = set(selection.rows["sample_id"])
    assert set(leaks.examples[0]) <= chosen  # nothing was dropped


def test_the_result_is_kept_and_a_damaged_one_made_again(
    leaking: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = replace(toy_protocol(), image_size=64)
    selection = select(protocol, leaking)
    store = CropStore.open(selection.rows, leaking, 64, folder=tmp_path)
    first = find_leaks(selection, store, leaking, folder=tmp_path)
    searched: list[int] = []

    def counted(*arguments: Any) -> copy_search.Copies:
        searched.append(1)
        return find_copies(*arguments)

    monkeypatch.setattr(leak_check, "find_copies", counted)
    assert find_leaks(selection, store, leaking, folder=tmp_path) == first
    assert searched == []
    (path,) = tmp_path.glob("leaks-*.json")
    for text in ("{", "[]", '{"key": 1}', path.read_text().replace('"pairs": 1', '"pairs": "many"')):
        path.write_text(text)
        assert replace(find_leaks(selection, store, leaking, folder=tmp_path), seconds=0) == replace(first, seconds=0)
    assert len(searched) == 4


def test_too_many_faces_are_said(leaking: list[Manifest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(leak_check, "MOST_FACES", 10)
    protocol = replace(toy_protocol(), image_size=64)
    selection = select(protocol, leaking)
    store = CropStore.open(selection.rows, leaking, 64, folder=tmp_path)
    leaks = find_leaks(selection, store, leaking, folder=tmp_path)
    assert "not looked for" in leaks.warnings[0]
    assert leaks.recorded == {"near_duplicates_train_test": None}
    assert Leaks().warnings == []
