from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.toy import SEEN, toy_manifests, toy_protocol, toy_row, toy_rows

from dfad_bench.core.errors import ManifestError, ProtocolError
from dfad_bench.core.protocol import Group
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.pools import videos
from dfad_bench.data.select import Selection, hashes_by_dataset, manifests_hash, rows_hash, select


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return toy_manifests(tmp_path_factory.mktemp("manifests"))


def build(folder: Path, rows: list[dict], name: str = "synthetic") -> list[Manifest]:
    return [write_manifest(folder / name, name, rows)]


def leaks(selection: Selection) -> set[str]:
    """Sources in more than one part."""
    frames = [selection.train, selection.validation, selection.tested]
    keys = [set(frame["source_key"]) for frame in frames]
    return (keys[0] & keys[1]) | (keys[0] & keys[2]) | (keys[1] & keys[2])


def test_parts_follow_the_source_and_share_no_face(manifests: list[Manifest]) -> None:
    chosen = select(toy_protocol(), manifests)
    assert list(chosen.test) == [group.key for group in toy_protocol().groups]
    assert all(len(frame) == 9 for frame in chosen.test.values())
    assert len(chosen.train) + len(chosen.validation) == 3 * 21
    assert len(chosen.validation) > 0
    assert set(chosen.train["attribution_label"]) == {0, 1, 2}
    assert set(chosen.test["synthetic-outdoor/real"]["attribution_label"]) == {-1}
    assert set(chosen.test["synthetic-outdoor/real"]["detection_label"]) == {0}
    assert not leaks(chosen)
    assert chosen.dropped_leaks == 0
    assert not chosen.deviations


@pytest.mark.parametrize("seed", range(5))
def test_split_by_hash_never_parts_a_source(manifests: list[Manifest], seed: int) -> None:
    protocol = toy_protocol(split="hash", test_share=0.4, seed=seed, unseen=(), on_short="warn")
    chosen = select(protocol, manifests)
    assert not leaks(chosen)
    assert len(chosen.rows) == 90


def test_choice_does_not_depend_on_row_order_and_seed_changes_it(tmp_path: Path, manifests: list[Manifest]) -> None:
    rows = toy_rows("synthetic", SEEN)
    one = build(tmp_path / "a", rows)
    other = [write_manifest(tmp_path / "b" / "synthetic", "synthetic", rows[::-1], shard_size=7)]
    protocol = toy_protocol(unseen=(), train_per_group=10, test_per_group=4)
    first, second = select(protocol, one), select(protocol, other)
    pd.testing.assert_frame_equal(first.rows, second.rows)
    assert manifests_hash(one) == manifests_hash(other)
    assert rows_hash(first.train) == rows_hash(second.train.iloc[::-1])
    assert set(select(replace(protocol, seed=1), one).train["sample_id"]) != set(first.train["sample_id"])


def test_counts_are_kept_and_more_faces_move_few(tmp_path: Path) -> None:
    protocol = toy_protocol(unseen=(), test_per_group=10, split="hash", test_share=0.5)
    small = select(protocol, build(tmp_path / "a", toy_rows("synthetic", SEEN, identities=30)))
    large = select(protocol, build(tmp_path / "b", toy_rows("synthetic", SEEN, identities=33)))
    assert {len(frame) for frame in large.test.values()} == {10}
    kept = set(small.tested["sample_id"]) & set(large.tested["sample_id"])
    assert len(kept) >= 20


def test_training_rows_of_a_tested_source_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN)
    rows += [toy_row("synthetic", "real", "train", 9, shot) for shot in (7, 8)]  # identity 9 is tested
    chosen = select(toy_protocol(unseen=()), build(tmp_path, rows))
    assert chosen.dropped_leaks == 2
    assert not set(chosen.leaking) & set(chosen.rows["sample_id"])
    assert chosen.dropped_duplicates == 0
    assert not leaks(chosen)


def test_training_rows_leaking_into_an_unseen_group_are_dropped(tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN) + [toy_row("synthetic", "synthetic-flow-a", None, 0, 0)]
    chosen = select(toy_protocol(unseen=(Group("synthetic-flow-a", "synthetic"),)), build(tmp_path, rows))
    assert chosen.dropped_leaks == 9  # three shots of identity 0 in three generators
    assert len(chosen.test["synthetic/synthetic-flow-a"]) == 1


def test_the_same_pixels_in_train_and_test_are_dropped_from_train(tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN)
    copied = next(row for row in rows if row["split"] == "test" and row["generator"] == "real")
    rows.append(toy_row("synthetic", "real", "train", 50, 0, crop_sha256=copied["crop_sha256"]))
    chosen = select(toy_protocol(unseen=()), build(tmp_path, rows))
    assert (chosen.dropped_leaks, chosen.dropped_duplicates) == (1, 1)
    assert not set(chosen.train["crop_sha256"]) & set(chosen.tested["crop_sha256"])


def test_source_keys_with_a_namespace_hold_across_datasets(tmp_path: Path) -> None:
    inside = toy_rows("synthetic", SEEN)
    for row in inside:
        row["source_key"] = f"people/{row['source_key']}"
    outside = toy_rows("synthetic-outdoor", ["real"])
    for row in outside:
        row["source_key"] = "people/id0000"
    unseen = (Group("real", "synthetic-outdoor"),)
    both = build(tmp_path, inside) + build(tmp_path, outside, "synthetic-outdoor")
    assert select(toy_protocol(unseen=unseen), both).dropped_leaks == 9


def test_missing_groups_are_all_named_with_what_to_build(manifests: list[Manifest]) -> None:
    unseen = (*toy_protocol().unseen[:1], Group("real", "ffhq"), Group("synthetic-gan-b", "synthetic"))
    expected = r"lacks 2 of 6 groups: ffhq \(real\): build 'ffhq'; synthetic \(synthetic-gan-b\)"
    with pytest.raises(ProtocolError, match=expected):
        select(toy_protocol(unseen=unseen), manifests)


def test_allow_partial_goes_on_and_says_so(manifests: list[Manifest]) -> None:
    protocol = toy_protocol(unseen=(Group("real", "ffhq"), Group("real", "synthetic-outdoor")))
    chosen = select(protocol, manifests, allow_partial=True)
    assert "ffhq/real" not in chosen.test
    assert chosen.deviations == ["missing group ffhq/real"]
    with pytest.raises(ProtocolError, match="lacks 5 of 5 groups"):
        select(protocol, [], allow_partial=True)


def test_what_was_asked_for_is_not_advised_again(manifests: list[Manifest]) -> None:
    """Going on without the missing groups is a way out only where something is left to test, and was not asked for."""
    some = toy_protocol(unseen=(Group("real", "ffhq"),))
    with pytest.raises(ProtocolError, match="or go on without them with --allow-partial"):
        select(some, manifests)
    for given in (manifests[:0], [build_other(manifests)]):
        for partial in (False, True):
            with pytest.raises(ProtocolError) as found:
                select(some, given, allow_partial=partial, training=False)
            assert "--allow-partial" not in str(found.value)
            assert f"given are {', '.join(m.name for m in given) or 'no manifests'}, with no face to test" in str(
                found.value
            )


def build_other(manifests: list[Manifest]) -> Manifest:
    """A manifest of a dataset that the protocol does not name."""
    return write_manifest(manifests[0].folder.parent / "other", "other", toy_rows("other", ["real"]))


def test_short_groups_are_errors_or_warnings_as_the_protocol_says(manifests: list[Manifest]) -> None:
    protocol = toy_protocol(test_per_group=10)
    assert str(select(protocol, manifests).short_groups[0]) == "synthetic/real: 9 of 10 test faces"
    with pytest.raises(ProtocolError, match="synthetic/real: 9 of 10 test faces; .*--allow-partial"):
        select(replace(protocol, on_short="error"), manifests)
    assert len(select(replace(protocol, on_short="error"), manifests, allow_partial=True).short_groups) == 5


def test_refused_faces_are_never_chosen_but_counted(tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN)
    rows[0] |= {"status": "no_face", "reason": "none found", "image": None}
    chosen = select(toy_protocol(unseen=()), build(tmp_path, rows))
    assert rows[0]["sample_id"] not in set(chosen.rows["sample_id"])
    assert chosen.refused == {"synthetic/real": 1}


def test_manifests_that_share_a_face_are_refused(manifests: list[Manifest], tmp_path: Path) -> None:
    message = r"synthetic and .* are both of the dataset 'synthetic' and share 1 faces \([0-9a-f]{16} first\)"
    some = write_manifest(tmp_path / "again", "synthetic", toy_rows("synthetic", SEEN)[:1])
    with pytest.raises(ManifestError, match=message):
        select(toy_protocol(), [*manifests, some])


def test_manifests_of_one_dataset_with_other_faces_are_joined(manifests: list[Manifest], tmp_path: Path) -> None:
    rows = toy_rows("synthetic", SEEN)
    halves = [write_manifest(tmp_path / f"half{k}", "synthetic", rows[k::2]) for k in (0, 1)]
    whole = write_manifest(tmp_path / "whole", "synthetic", rows)
    expected, found = (select(toy_protocol(unseen=()), some) for some in ([whole], halves))
    pd.testing.assert_frame_equal(found.rows, expected.rows)
    crops = CropStore.open(found.tested, halves, 32, cache="ram")
    alone = CropStore.open(expected.tested, [whole], 32, cache="ram")
    names = found.tested["sample_id"].tolist()
    assert np.array_equal(crops.array[crops.places(names)], alone.array[alone.places(names)])
    assert hashes_by_dataset(halves) == hashes_by_dataset(halves[::-1])
    assert hashes_by_dataset([whole]) == {"synthetic": whole.sha256}


def test_evaluation_draws_the_same_test_rows_without_training(manifests: list[Manifest]) -> None:
    alone = select(toy_protocol(), manifests, training=False)
    assert alone.train.empty
    assert alone.validation.empty
    pd.testing.assert_frame_equal(alone.tested, select(toy_protocol(), manifests).tested)


def test_frames_name_their_video_and_still_images_none() -> None:
    origins = ["Celeb-real/id0_0001.mp4", "Celeb-real/id0_0001.MP4", "c23/001_002/0004.png", "img/a.png", "7.png"]
    rows = pd.DataFrame({"dataset": "d", "origin": origins, "frame": [0, 9, 4, None, 7]})
    assert videos(rows).where(lambda v: v.notna(), "-").tolist() == [
        "d/Celeb-real/id0_0001.mp4",
        "d/Celeb-real/id0_0001.MP4",
        "d/c23/001_002",
        "-",
        "d/",
    ]
