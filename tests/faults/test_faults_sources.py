"""Parquet sets and lists of releases from outside: damaged or hostile, they end in one line or in refused rows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from helpers import hostile
from helpers.parquet_sets import class_label, encoded, rows, write_set
from helpers.release_trees import BESIDE, release_tree
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.data.images import ImageRefused, decode_image
from dfad_bench.ingest.media import parquet, read
from dfad_bench.ingest.media.base import Sampling
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import load_dataset_spec

seeds = st.integers(0, 2**32 - 1)
LISTS = {
    "ai_face": "train.csv",
    "av_deepfake1m": "train_metadata.json",
    "av_deepfake1m_pp": "val_metadata.json",
    "deepfake_eval_2024": "video-metadata-publish.csv",
    "deeperforensics": "lists/splits/test.txt",
    "fakeavceleb": "meta_data.csv",
    "forgerynet": "Training/video_list.txt",
}
README = (
    "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*\n"
    "dataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n"
    "        names: {'0': real, '1': fake}\n"
    "  splits: [{name: train, num_examples: 3}]\n---\n"
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    features = {"label": class_label("real", "fake")}
    write_set(root / "data/train-00000-of-00001.parquet", rows(1, 2, 3), {"label": [0, 1, 0]}, features, group=2)
    (root / "README.md").write_text(README)
    return root


def look(root: Path) -> None:
    """List a Parquet set and read every picture of it; a refusal of a picture is a result."""
    for sample in list_source(load_dataset_spec("hf_parquet"), root).samples:
        refused = None
        try:
            list(read(sample, Sampling()))
        except ImageRefused as error:
            refused = error
        assert refused is None or "\n" not in refused.reason


def with_change(path: Path, data: bytes, act: Callable[[], None]) -> None:
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        hostile.outcome(act)
    finally:
        path.write_bytes(before)


@given(seeds)
def test_parquet_with_flipped_bytes(hub: Path, seed: int) -> None:
    path = hub / "data/train-00000-of-00001.parquet"
    with_change(path, hostile.flipped(path.read_bytes(), random.Random(seed)), lambda: look(hub))


@pytest.mark.heavy
@given(seeds)
def test_parquet_of_another_footer(hub: Path, seed: int) -> None:
    path, rng = hub / "data/train-00000-of-00001.parquet", random.Random(seed)
    data = bytearray(path.read_bytes())
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(start, len(data) - 8)] = rng.randrange(256)
    with_change(path, bytes(data), lambda: look(hub))


@pytest.mark.heavy
@given(seeds)
def test_parquet_of_other_values_and_types(hub: Path, seed: int) -> None:
    path = hub / "data/train-00000-of-00001.parquet"
    before = path.read_bytes()
    try:
        with suppress(pa.ArrowException):  # a number in place of a picture, which Arrow does not write
            hostile.write_changed_table(path, random.Random(seed))
        hostile.outcome(lambda: look(hub))
    finally:
        path.write_bytes(before)


@given(seeds)
def test_cards(hub: Path, seed: int) -> None:
    with_change(hub / "README.md", hostile.changed_text(README, random.Random(seed)), lambda: look(hub))


FAST = ("av_deepfake1m", "fakeavceleb", "forgerynet")  # a list of each form


@pytest.fixture(
    scope="module", params=[n if n in FAST else pytest.param(n, marks=pytest.mark.heavy) for n in sorted(LISTS)]
)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp(request.param)
    release_tree(root, request.param)
    return request.param, root


@given(seeds)
def test_lists_of_releases(release: tuple[str, Path], seed: int) -> None:
    name, root = release
    text = BESIDE[name][LISTS[name]]
    change = hostile.changed_json if LISTS[name].endswith("json") else hostile.changed_text
    spec = load_dataset_spec(name)
    with_change(root / LISTS[name], change(text, random.Random(seed)), lambda: list_source(spec, root) and None)


def test_pictures_that_unpack_to_far_more_than_they_take_are_refused(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = {"bytes": encoded(1) + bytes(4 << 20), "path": "a.png"}
    write_set(tmp_path / "train.parquet", [bomb, bomb], {"label": ["real", "fake"]})
    sample = list_source(load_dataset_spec("hf_parquet"), tmp_path).samples[0]
    list(read(sample, Sampling()))  # a few megabytes are anybody's
    monkeypatch.setattr(parquet, "_FREELY", 1 << 20)
    monkeypatch.setattr(parquet, "_MOST_RATIO", 5)
    parquet._shelf.clear()
    with pytest.raises(ImageRefused, match="that unpacks to"):
        list(read(sample, Sampling()))


def test_a_pointer_of_git_lfs_is_called_one() -> None:
    with pytest.raises(ImageRefused, match="git lfs pull"):
        decode_image(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")


def test_a_list_that_is_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    release_tree(tmp_path / "d", "av_deepfake1m")
    (tmp_path / "elsewhere.json").write_text(json.dumps([]))
    (tmp_path / "d/train_metadata.json").unlink()
    (tmp_path / "d/train_metadata.json").symlink_to(tmp_path / "elsewhere.json")
    notes = list_source(load_dataset_spec("av_deepfake1m"), tmp_path / "d").notes
    assert any(note.startswith("no train_metadata.json") for note in notes)
