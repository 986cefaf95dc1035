"""The unlabelled part: no source or pixels shared with another part, labels hidden, faces chosen by seeded hash."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.toy import SEEN, SIDE, toy_protocol, toy_row, toy_rows

from dfad_bench.core.errors import ProtocolError
from dfad_bench.core.protocol import Group
from dfad_bench.core.run_parquet import write_selection
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset, prefetch
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.manifest_facts import manifest_facts
from dfad_bench.data.select import Selection, candidates, rows_hash, select
from dfad_bench.engine.evaluate import without_trained

FLOW = Group("synthetic-flow-a", "synthetic")
OUTSIDE = Group("real", "synthetic-outdoor")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """40 identities in all groups inside, 20 others outside."""
    folder = tmp_path_factory.mktemp("manifests")
    outside = [
        toy_row(OUTSIDE.dataset, "real", "train" if identity < 114 else "test", identity, shot)
        for identity in range(100, 120)
        for shot in range(3)
    ]
    inside = toy_rows("synthetic", (*SEEN, FLOW.generator), identities=40)
    return build(folder, inside) + build(folder, outside, OUTSIDE.dataset)


def build(folder: Path, rows: list[dict], name: str = "synthetic") -> list[Manifest]:
    return [write_manifest(folder / name, name, rows)]


def assert_apart(chosen: Selection) -> None:
    """No source and no pixels stand in two of the four parts."""
    parts = [chosen.train, chosen.validation, chosen.unlabelled, chosen.tested]
    for one, other in combinations(parts, 2):
        for column in ("source_key", "crop_sha256", "sample_id"):
            assert not set(one[column]) & set(other[column])


def test_a_share_of_the_training_sources_loses_its_labels(manifests: list[Manifest]) -> None:
    full, chosen = select(toy_protocol(), manifests), select(toy_protocol(unlabelled_share=0.3), manifests)
    assert_apart(chosen)
    pd.testing.assert_frame_equal(chosen.validation, full.validation)  # the same faces are held out
    pd.testing.assert_frame_equal(chosen.tested, full.tested)
    together = sorted([*chosen.train["sample_id"], *chosen.unlabelled["sample_id"]])
    assert together == full.train["sample_id"].tolist()
    sources = chosen.unlabelled["source_key"].nunique(), full.train["source_key"].nunique()
    assert 0.1 < sources[0] / sources[1] < 0.5
    assert set(chosen.unlabelled["group"]) == {group.key for group in toy_protocol().seen}
    for column in ("attribution_label", "detection_label"):
        assert set(chosen.unlabelled[column]) == {-1}
    assert chosen.unlabelled["sample_id"].is_monotonic_increasing
    assert set(chosen.rows["part"]) == {"train", "validation", "unlabelled", "test"}
    assert "unlabelled" not in set(full.rows["part"])
    assert len(full.unlabelled) == 0


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.heavy) for seed in (1, 2, 3))])
@pytest.mark.parametrize("split", ["auto", "hash"])
def test_parts_stay_apart_whatever_is_asked_for(manifests: list[Manifest], seed: int, split: str) -> None:
    protocol = toy_protocol(
        seed=seed, split=split, unlabelled=(FLOW, OUTSIDE), unlabelled_share=0.4, unlabelled_per_group=6, test_share=0.3
    )
    chosen = select(protocol, manifests)
    assert_apart(chosen)
    counts = chosen.unlabelled["group"].value_counts()
    assert counts[FLOW.key] <= 6
    assert counts[OUTSIDE.key] == 6
    assert FLOW.key in chosen.test  # an unseen generator may be tested, and others of its faces be unlabelled
    assert OUTSIDE.key in chosen.test


def test_an_unseen_group_is_halved_only_where_it_is_unlabelled_too(tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN)
    rows += [toy_row("synthetic", FLOW.generator, None, identity, 0) for identity in range(100, 140)]
    made = build(tmp_path, rows)
    whole = select(toy_protocol(unseen=(FLOW,)), made)
    assert len(whole.test[FLOW.key]) == 40
    halved = select(toy_protocol(unseen=(FLOW,), unlabelled=(FLOW,)), made)
    tested, unlabelled = set(halved.test[FLOW.key]["sample_id"]), set(halved.unlabelled["sample_id"])
    assert tested | unlabelled == set(whole.test[FLOW.key]["sample_id"])
    assert 0 < len(tested) < 20 < len(unlabelled)  # `test_share` of them
    assert_apart(halved)


def test_faces_of_a_tested_source_or_with_tested_pixels_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN)
    copied = next(row for row in rows if row["split"] == "test")
    fresh = [toy_row("synthetic", FLOW.generator, "train", identity, 0) for identity in range(100, 110)]
    same_source = [toy_row("synthetic", FLOW.generator, "train", 9, shot) for shot in (7, 8)]  # identity 9 is tested
    same_pixels = [toy_row("synthetic", FLOW.generator, "train", 120, 0, crop_sha256=copied["crop_sha256"])]
    protocol = toy_protocol(unseen=(), unlabelled=(FLOW,))
    chosen = select(protocol, build(tmp_path, rows + fresh + same_source + same_pixels))
    assert set(chosen.unlabelled["sample_id"]) == {row["sample_id"] for row in fresh}
    assert set(chosen.leaking) == {row["sample_id"] for row in same_source + same_pixels}
    assert (chosen.dropped_leaks, chosen.dropped_duplicates) == (3, 1)
    assert_apart(chosen)


def test_a_leaking_face_of_a_seen_and_unlabelled_group_counts_once(tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN)
    rows += [toy_row("synthetic", "real", "train", 9, shot) for shot in (7, 8)]
    rows += [toy_row("synthetic", "real", "train", identity, 0) for identity in range(100, 130)]
    protocol = toy_protocol(unseen=(), train_per_group=20, unlabelled=(Group("real", "synthetic"),))
    chosen = select(protocol, build(tmp_path, rows))
    assert chosen.dropped_leaks == 2
    assert len(chosen.unlabelled) > 10  # what the count of training faces left over
    assert_apart(chosen)


def test_unlabelled_faces_with_the_pixels_of_a_labelled_one_are_left_out(tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN)
    trained = next(row for row in rows if row["split"] == "train")
    rows += [toy_row("synthetic", FLOW.generator, "train", identity, 0) for identity in (100, 101)]
    rows += [toy_row("synthetic", FLOW.generator, "train", 102, 0, crop_sha256=trained["crop_sha256"])]
    chosen = select(toy_protocol(unseen=(), unlabelled=(FLOW,)), build(tmp_path, rows))
    assert len(chosen.unlabelled) == 2
    assert chosen.dropped_leaks == 0  # nothing of a test face
    assert_apart(chosen)


def test_choice_depends_on_seed_and_not_on_row_order(tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN)
    rows += [toy_row("synthetic", FLOW.generator, "train", identity, 0) for identity in range(100, 130)]
    protocol = toy_protocol(unseen=(), unlabelled=(replace(FLOW, train=8),), unlabelled_per_group=20)
    one, other = build(tmp_path / "a", rows), build(tmp_path / "b", rows[::-1])
    first, second = select(protocol, one), select(protocol, other)
    assert len(first.unlabelled) == 8  # the group's own count
    pd.testing.assert_frame_equal(first.rows, second.rows)
    assert set(select(replace(protocol, seed=1), one).unlabelled["sample_id"]) != set(first.unlabelled["sample_id"])


def test_too_few_and_missing_unlabelled_faces_are_said(manifests: list[Manifest]) -> None:
    """Every toy identity is in every generator, so all sources of the unseen one are labelled, unless some are left."""
    protocol = toy_protocol(unlabelled=(FLOW,), on_short="error", test_per_group=None)
    with pytest.raises(ProtocolError, match=r"flow-a: 0 of 1 unlabelled faces \(unlabelled faces share no source.*sha"):
        select(protocol, manifests)
    assert len(select(replace(protocol, unlabelled_share=0.3), manifests).unlabelled) > 0
    with pytest.raises(ProtocolError, match=r"lacks 1 of 6 groups: ffhq \(real\): build 'ffhq'"):
        select(toy_protocol(unlabelled=(Group("real", "ffhq"),)), manifests)
    partial = select(toy_protocol(unlabelled=(Group("real", "ffhq"),)), manifests, allow_partial=True)
    assert partial.deviations == ["missing group ffhq/real"]
    wanted = toy_protocol(unlabelled=(OUTSIDE,), unlabelled_per_group=500)
    assert [str(short) for short in select(wanted, manifests).short_groups] == [
        f"{OUTSIDE.key}: 42 of 500 unlabelled faces"  # 14 of 20 identities are training ones, three shots each
    ]


def test_an_evaluation_does_not_ask_for_unlabelled_faces(manifests: list[Manifest]) -> None:
    protocol = toy_protocol(unlabelled=(Group("real", "ffhq"),), unlabelled_share=0.3)
    assert len(select(protocol, manifests, training=False).unlabelled) == 0


def test_a_later_evaluation_leaves_out_what_was_seen_without_labels(manifests: list[Manifest], tmp_path: Path) -> None:
    chosen = select(toy_protocol(unlabelled=(OUTSIDE,), unlabelled_per_group=9), manifests)
    write_selection(tmp_path / "selection.parquet", chosen.rows)
    stored = pd.read_parquet(tmp_path / "selection.parquet")
    assert stored["part"].value_counts()["unlabelled"] == 9
    names = set(chosen.unlabelled["source_key"])
    everything = select(toy_protocol(split="hash", test_share=0.9), manifests, training=False)
    kept, dropped = without_trained(everything, tmp_path)
    assert dropped > 0
    assert set(everything.test[OUTSIDE.key]["source_key"]) & names
    assert not set(kept.tested["source_key"]) & names


def test_records_and_audits_count_the_unlabelled_part(manifests: list[Manifest]) -> None:
    protocol = toy_protocol(unlabelled=(FLOW,), unlabelled_share=0.3)
    chosen = select(protocol, manifests)
    facts = manifest_facts(manifests, chosen)
    assert facts.splits["unlabelled"].rows == len(chosen.unlabelled)
    assert sum(facts.splits["unlabelled"].generators.values()) == len(chosen.unlabelled)
    assert facts.splits["unlabelled"].content_sha256 == rows_hash(chosen.unlabelled)
    assert facts.leakage["identity_overlap"] == 0
    planted = chosen.tested.head(3)
    leaking = replace(chosen, unlabelled=planted)
    assert manifest_facts(manifests, leaking).leakage["identity_overlap"] == planted["source_key"].nunique()
    assert manifest_facts(manifests, leaking).leakage["exact_duplicates_train_test"] == 3
    assert len(chosen.trained_on) == len(chosen.train) + len(chosen.validation) + len(chosen.unlabelled)
    sides = candidates(protocol, manifests).set_index("sample_id")["side"]
    assert set(sides[chosen.unlabelled["sample_id"]]) == {"train"}
    assert set(sides[chosen.tested["sample_id"]]) == {"test"}


def test_batches_carry_unlabelled_faces_with_their_views(manifests: list[Manifest]) -> None:
    chosen = select(toy_protocol(unlabelled_share=0.4), manifests)
    store = CropStore.open(chosen.rows, manifests, SIDE)
    gaze = {"gaze": np.arange(2 * len(chosen.unlabelled), dtype=np.float32).reshape(-1, 2)}
    hidden = FaceDataset(chosen.unlabelled, store, toy_protocol(), views=gaze)
    dataset = FaceDataset(chosen.train, store, toy_protocol(), unlabelled=hidden)
    index, rows = np.array([4, 0]), np.array([3, 1, 3])
    batch = dataset.batch(index, None, rows)
    assert batch.unlabelled is not None
    assert len(batch) == 2
    expected = hidden.inputs(rows)
    assert batch.unlabelled.images.equal(expected.images)
    assert batch.unlabelled.views["gaze"].tolist() == gaze["gaze"][rows].tolist()
    assert dataset.batch(index).unlabelled is None
    coming = list(prefetch(dataset, [index, index], torch.device("cpu"), training=True, unlabelled=[rows, rows[:1]]))
    assert [len(item.unlabelled) for item in coming] == [3, 1]
    with pytest.raises(ProtocolError, match="not a group to train on"):
        hidden.batch(rows)  # nothing makes labels of hidden ones
    with pytest.raises(ProtocolError, match="this run has no unlabelled faces"):
        FaceDataset(chosen.train, store, toy_protocol()).batch(index, None, rows)
