"""Batches of every sampler: composition, coverage, and that they depend on nothing but their arguments."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.toy import toy_protocol
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.core.errors import ConfigError, ProtocolError
from dfad_bench.core.stages import Stage
from dfad_bench.data.sampling import epoch_batches, require_unlabelled, unlabelled_batches

SAMPLERS = ("shuffle", "class_balanced", "images_per_class", "real_forged")
CLASS_SIZES = st.lists(st.integers(1, 30), min_size=2, max_size=5)


def labels_of(sizes: list[int]) -> np.ndarray:
    """So many rows of each class, mixed."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return labels[np.random.default_rng(0).permutation(len(labels))]


def plain(count: int, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    zeros = np.zeros(count, int)
    return epoch_batches(zeros, zeros, batch_size=size, seed=seed, epoch=epoch)


@given(st.integers(2, 200), st.integers(2, 40), st.integers(0, 1000), st.integers(0, 50))
def test_shuffle_visits_every_row_once_and_never_leaves_one_alone(rows: int, size: int, seed: int, epoch: int) -> None:
    batches = plain(rows, size, seed, epoch)
    assert sorted(np.concatenate(batches)) == list(range(rows))
    assert all(2 <= len(batch) <= size + 1 for batch in batches)
    again = plain(rows, size, seed, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_order_changes_with_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(plain(50, 8, seed, epoch)).tolist()

    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@given(CLASS_SIZES, st.integers(5, 40))
def test_class_balanced_batches_hold_every_class_equally(sizes: list[int], size: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    batches = epoch_batches(labels, labels, batch_size=size, seed=1, epoch=0, sampler="class_balanced")
    assert len(batches) == -(-len(labels) // size)
    for batch in batches:
        assert np.bincount(labels[batch], minlength=len(sizes)).tolist() == [max(1, size // len(sizes))] * len(sizes)


def test_orders_of_earlier_runs_are_unchanged() -> None:
    """A run that was killed goes on with the faces it would have seen: the digest is of the first release's orders."""
    found, rng = hashlib.sha256(), np.random.default_rng(7)
    for rows in (2, 17, 65, 200):
        labels = rng.integers(0, 4, rows)
        for size in (2, 5, 16):
            for seed, epoch in ((0, 0), (3, 1), (2**62 + 5, 7)):
                for sampler in ("shuffle", "class_balanced"):
                    for batch in epoch_batches(
                        labels, labels, batch_size=size, seed=seed, epoch=epoch, sampler=sampler
                    ):
                        found.update(np.asarray([len(batch), *batch], dtype=np.int64).tobytes())
    assert found.hexdigest() == "1252d9e9ea1dad247758659ae0d0c6e8732e4fcd0a8595ca597693977d8b45d7"


@given(CLASS_SIZES, st.integers(1, 6), st.integers(0, 9))
def test_images_per_class_gives_every_class_its_images(sizes: list[int], each: int, epoch: int) -> None:
    labels, classes = labels_of(sizes), len(sizes)
    batches = epoch_batches(labels, labels, batch_size=each, seed=1, epoch=epoch, sampler="images_per_class")
    assert len(batches) == -(-sum(sizes) // (each * classes))  # as many rows as there are
    for batch in batches:
        assert np.bincount(labels[batch], minlength=classes).tolist() == [each] * classes
        assert labels[batch].reshape(each, classes).tolist() == [list(range(classes))] * each  # alternating
    for label, size in enumerate(sizes):
        drawn = np.bincount(np.concatenate(batches), minlength=len(labels))[labels == label]
        assert drawn.sum() == len(batches) * each
        assert drawn.max() - drawn.min() <= 1  # no face comes again before all have come
        assert len(drawn) == size


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 24), st.integers(1, 9), st.integers(1, 9))
def test_real_and_forged_faces_stand_in_the_ratio(real: int, forged: int, size: int, r: int, f: int) -> None:
    detection = labels_of([real, forged])
    batches = epoch_batches(
        np.zeros(len(detection), int), detection, batch_size=size, seed=2, epoch=1, sampler="real_forged",
        real_forged=(r, f),
    )  # fmt: skip
    assert len(batches) == -(-len(detection) // size)
    counts = {int((detection[batch] == 0).sum()) for batch in batches}
    assert len(counts) == 1
    assert {len(batch) for batch in batches} == {size}
    (reals,) = counts
    exact = size * r / (r + f)
    assert 1 <= reals <= size - 1
    assert abs(reals - exact) <= 0.5 or reals in (1, size - 1)
    drawn = np.bincount(np.concatenate(batches), minlength=len(detection))
    for side in (0, 1):
        assert np.ptp(drawn[detection == side]) <= 1
    for batch in batches:  # evenly spread: every half of a batch has its part of the real faces
        first = int((detection[batch[: size // 2]] == 0).sum())
        assert abs(first - reals / 2) <= 1


def test_the_ratio_of_omnidfa() -> None:
    detection = np.repeat([0, 1], [500, 3000])
    for batch in epoch_batches(
        detection, detection, batch_size=144, seed=0, epoch=0, sampler="real_forged", real_forged=(1, 8)
    ):
        assert np.bincount(detection[batch]).tolist() == [16, 128]


@given(st.sampled_from(SAMPLERS), CLASS_SIZES, st.integers(2, 12), st.integers(0, 2**62))
def test_batches_depend_on_their_arguments_only(sampler: str, sizes: list[int], size: int, seed: int) -> None:
    """Asked for in any order, and whatever the global generators hold; another epoch is another order."""
    labels = labels_of(sizes)

    def drawn(epoch: int) -> list[list[int]]:
        batches = epoch_batches(
            labels, (labels > 0).astype(int), batch_size=size, seed=seed, epoch=epoch, sampler=sampler
        )
        return [batch.tolist() for batch in batches]

    state = torch.get_rng_state()
    forwards = [drawn(epoch) for epoch in range(3)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(seed)
    backwards = [drawn(epoch) for epoch in (2, 1, 0)][::-1]
    torch.set_rng_state(state)
    assert forwards == backwards
    if max(sizes) > 12:
        assert forwards[0] != forwards[1]


@pytest.mark.parametrize(
    ("labels", "arguments", "error", "message"),
    [
        ([1, 1, 1], {"sampler": "real_forged"}, ProtocolError, "no real training face.*as 1:1; use a protocol"),
        ([0, 0], {"sampler": "real_forged", "real_forged": (1, 8)}, ProtocolError, "no forged training face.*as 1:8"),
        ([0, 1], {"sampler": "real_forged", "batch_size": 1}, ConfigError, "need batch_size 2 or more, got 1"),
        ([], {"sampler": "images_per_class"}, ProtocolError, "no training faces to make batches of"),
        ([], {"sampler": "class_balanced"}, ProtocolError, "no training faces to make batches of"),
        ([0, -1], {"sampler": "images_per_class"}, ProtocolError, "belongs to no seen class"),
    ],
)
def test_what_cannot_be_balanced_is_one_line(labels: list[int], arguments: dict, error: type, message: str) -> None:
    rows = np.array(labels, dtype=np.int64)
    with pytest.raises(error, match=message):
        epoch_batches(rows, rows, **{"batch_size": 4, "seed": 0, "epoch": 0, **arguments})


# ------------------------------------------------------------------------------------------------ the unlabelled part


@given(
    st.integers(1, 40), st.lists(st.integers(1, 12), min_size=1, max_size=6), st.floats(0.05, 3), st.integers(0, 2**62)
)
def test_unlabelled_faces_are_visited_equally_often_over_all_epochs(
    rows: int, sizes: list[int], ratio: float, seed: int
) -> None:
    batches = [np.arange(size) for size in sizes]
    epochs = [unlabelled_batches(rows, batches, ratio=ratio, seed=seed, epoch=epoch) for epoch in range(5)]
    for found in epochs:
        assert [len(index) for index in found] == [max(1, round(ratio * size)) for size in sizes]
    seen = np.zeros(rows, int)
    for index in (index for found in epochs for index in found):
        seen += np.bincount(index, minlength=rows)
        assert np.ptp(seen) <= 1  # at any moment, no face is more than one visit ahead of another
    again = unlabelled_batches(rows, batches, ratio=ratio, seed=seed, epoch=3)
    assert [index.tolist() for index in again] == [index.tolist() for index in epochs[3]]


def test_unlabelled_orders_differ_by_round_and_seed() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return unlabelled_batches(30, [np.arange(30)], ratio=1.0, seed=seed, epoch=epoch)[0].tolist()

    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert order(0, 0) != plain(30, 30, 0, 0)[0].tolist()  # one seed for both orders does not pair faces up


def test_a_model_that_asks_for_unlabelled_faces_is_told_both_ways_out() -> None:
    stages = (Stage("warm"), Stage("main", unlabelled=1.0))
    message = r"model cpl asks for unlabelled faces in stage 'main', and protocol toy gives none \(the protocol has no"
    with pytest.raises(ConfigError, match=message + r".*unlabelled_share.*or set the model's option"):
        require_unlabelled(stages, toy_protocol(), 0, "cpl")
    with pytest.raises(ConfigError, match="none was selected"):
        require_unlabelled(stages, toy_protocol(unlabelled_share=0.01), 0, "cpl")
    assert require_unlabelled(stages, toy_protocol(unlabelled_share=0.3), 12, "cpl")
    assert not require_unlabelled((Stage("main"),), toy_protocol(), 0, "cpl")
    with pytest.raises(ProtocolError, match="give the protocol an unlabelled part"):
        unlabelled_batches(0, [np.arange(4)], ratio=1.0, seed=0, epoch=0)


def test_consecutive_epochs_join_without_a_gap() -> None:
    """Two epochs of four faces are one of eight: the cycle does not begin again with an epoch."""
    long = np.concatenate(unlabelled_batches(11, [np.arange(8)] * 3, ratio=1.0, seed=4, epoch=0))
    short = [unlabelled_batches(11, [np.arange(4)] * 3, ratio=1.0, seed=4, epoch=epoch) for epoch in (0, 1)]
    assert long.tolist() == np.concatenate([index for found in short for index in found]).tolist()
    assert all(len(set(long[first:last])) == last - first for first, last in pairwise((0, 11, 22)))
