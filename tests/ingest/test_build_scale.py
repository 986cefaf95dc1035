"""What a million files would need, measured on a few thousand; and a bar that moves with every item."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.trees import extra_tree, save

from dfad_bench.core.registry import resolve
from dfad_bench.data.manifest_parts import rows_hash
from dfad_bench.ingest.build import build_manifest, deal_into_parts
from dfad_bench.ingest.sources import SOURCES
from dfad_bench.ingest.sources.spec import load_dataset_spec

FILES = 4000


class Bar:
    """Records what it is told."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.steps: list[int] = []

    def start(self, label: str, total: int | None) -> None:
        self.total = total

    def advance(self, steps: int = 1, **facts: object) -> None:
        self.steps.append(steps)

    def finish(self) -> None:
        pass


@pytest.mark.heavy
def test_listing_a_million_files_needs_little_more_than_a_gigabyte(tmp_path: Path):
    first = save(tmp_path / "first.png")
    folder = tmp_path / "root/train/flux"
    folder.mkdir(parents=True)
    for index in range(FILES):
        os.link(first, folder / f"{index:08d}.png")
    spec = load_dataset_spec("extra")
    lister = resolve("layout", spec.layout, SOURCES)
    lister(spec, tmp_path / "root")  # caches are filled
    tracemalloc.start()
    try:
        listing = lister(spec, tmp_path / "root")
        parts = list(deal_into_parts(listing.samples, 256))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(map(len, parts)) == FILES
    assert kept / FILES < 900  # bytes
    assert peak / FILES < 1500


@pytest.mark.heavy
@pytest.mark.parametrize("workers", [0, 2])
def test_the_bar_counts_items_and_ends_full(tmp_path: Path, workers: int):
    root, bar = extra_tree(tmp_path / "root"), Bar()
    build_manifest("extra", root, tmp_path / "m", crop="raw-256", workers=workers, shard_size=8, progress=bar)
    assert bar.total == sum(bar.steps) == 16
    assert min(bar.steps) >= 0
    if workers == 0:
        assert bar.steps == [0] + [1] * 16
    (tmp_path / "m/part-00001.json").unlink()
    again = Bar()
    build_manifest("extra", root, tmp_path / "m", crop="raw-256", workers=workers, shard_size=8, progress=again)
    assert (again.total, again.steps[0], sum(again.steps)) == (16, 8, 16)


def test_one_shard_counts_its_own_items(tmp_path: Path):
    root, bar = extra_tree(tmp_path / "root"), Bar()
    options = {"crop": "raw-256", "workers": 0, "shard_size": 3}
    build_manifest("extra", root, tmp_path / "m", shard=(1, 2), progress=bar, **options)  # type: ignore[arg-type]
    assert bar.total == sum(bar.steps) < 16


def test_the_hash_of_all_rows_is_that_of_their_sorted_hashes(tmp_path: Path):
    import hashlib

    from dfad_bench.core.files import content_hash
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.data.manifest_parts import read_part
    from dfad_bench.data.manifest_schema import SCHEMA, VERSION

    root = extra_tree(tmp_path / "root")
    build_manifest("extra", root, tmp_path / "m", crop="raw-256", workers=0, shard_size=5)
    manifest = Manifest.open(tmp_path / "m")
    names = [name for name in SCHEMA.names if name != "image"]
    rows = [content_hash(row) for path in manifest.parts for row in read_part(path, names).to_pylist()]
    text = b"".join(bytes.fromhex(row) for row in sorted(rows))
    assert rows_hash(manifest.parts) == hashlib.sha256(f"dfad_manifest {VERSION}\n".encode() + text).hexdigest()
    order = np.random.default_rng(0).permutation(len(manifest.parts))
    assert rows_hash([manifest.parts[index] for index in order]) == manifest.sha256
