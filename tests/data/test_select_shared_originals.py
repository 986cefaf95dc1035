"""Releases made of the same originals: a leak across two of them is found, dropped and told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.toy import SEEN, toy_protocol, toy_rows

from dfad_bench.core.protocol import Group
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.pools import shared_sources, sources_of
from dfad_bench.data.select import select


def build(folder: Path, rows: list[dict], name: str = "synthetic") -> list[Manifest]:
    return [write_manifest(folder / name, name, rows)]


def two_releases(folder: Path, key: str = "ffpp:071") -> list[Manifest]:
    """Faces of `synthetic`, one training identity of which is an original of the other release, too."""
    inside, outside = toy_rows("synthetic", SEEN), toy_rows("synthetic-outdoor", ["real"])
    leaking = next(row["source_key"] for row in inside if row["split"] == "train")
    for row in inside:
        row["source_key"] = key if row["source_key"] == leaking else f"ffpp:{row['source_key']}"
    for row in outside:
        row["source_key"] = key
    return build(folder, inside) + build(folder, outside, "synthetic-outdoor")


def test_training_faces_of_another_releases_originals_are_dropped_and_told(tmp_path: Path) -> None:
    protocol = toy_protocol(unseen=(Group("real", "synthetic-outdoor"),))
    chosen = select(protocol, two_releases(tmp_path))
    assert chosen.dropped_leaks > 0
    assert chosen.leaks_between == {"synthetic with synthetic-outdoor": chosen.dropped_leaks}
    assert not set(sources_of(chosen.trained_on)) & set(sources_of(chosen.tested))
    alone = select(protocol, two_releases(tmp_path / "b", key="071"))  # no namespace: each release's own 071
    assert (alone.dropped_leaks, alone.leaks_between) == (0, {})


def test_no_source_of_two_releases_is_in_train_and_validation(tmp_path: Path) -> None:
    inside, outside = toy_rows("synthetic", SEEN), toy_rows("synthetic-outdoor", ["real"])
    for row in (*inside, *outside):
        row["source_key"] = f"people:{row['source_key']}"
    for number, row in enumerate(outside):
        row["crop_sha256"] = f"{number:064x}"  # other pictures of the same people
    protocol = toy_protocol(unseen=(), validation_share=0.5)
    more = replace(protocol.seen[0], dataset="synthetic-outdoor", label=len(SEEN))
    protocol = replace(protocol, seen=(*protocol.seen, more))
    both = build(tmp_path, inside) + build(tmp_path, outside, "synthetic-outdoor")
    chosen = select(protocol, both, allow_partial=True)
    assert set(chosen.train["dataset"]) == {"synthetic", "synthetic-outdoor"}
    assert len(chosen.validation)
    assert not set(sources_of(chosen.train)) & set(sources_of(chosen.validation))


@pytest.mark.parametrize(
    ("key", "dataset", "shared"),
    [
        ("celeb_df/celebdf:id0", "celeb_df", "celebdf:id0"),
        ("dfdm/celebdf:id0", "dfdm", "celebdf:id0"),
        ("dfdm/id0", "dfdm", "dfdm/id0"),
        ("other/x:1", "dfdm", "other/x:1"),  # a folder of the key itself
        ("df40:ff:Celeb-real/1", "df40", "df40:ff:Celeb-real/1"),
    ],
)
def test_keys_across_datasets(key: str, dataset: str, shared: str) -> None:
    assert shared_sources([key], [dataset]) == [shared]
