from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.data.audit.near import MAX_RADIUS, near_pairs
from dfad_bench.data.images import perceptual_hash

WORD = st.integers(-(2**63), 2**63 - 1)


def brute(hashes: np.ndarray, radius: int) -> dict[tuple[int, int], int]:
    distance = np.bitwise_count(hashes.view(np.uint64)[:, None] ^ hashes.view(np.uint64)[None])
    first, second = np.nonzero(np.triu(distance <= radius, 1))
    return {(int(i), int(j)): int(distance[i, j]) for i, j in zip(first, second, strict=True)}


def found(hashes: np.ndarray, radius: int, **settings: object) -> dict[tuple[int, int], int]:
    pairs = near_pairs(hashes, radius, **settings)  # type: ignore[arg-type]
    listed = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert len(set(listed)) == len(listed), "a pair came twice"
    return dict(zip(listed, pairs.distance.tolist(), strict=True))


def clustered(seed: int, count: int, flips: float) -> np.ndarray:
    """Hashes around a few centres, as faces of a few identities give."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2, (6, 64), dtype=np.uint8)
    bits = centres[rng.integers(0, 6, count)] ^ (rng.random((count, 64)) < flips)
    return np.unique(np.packbits(bits, axis=1).view(">i8").ravel().astype(np.int64))


@given(
    centres=st.lists(WORD, min_size=1, max_size=4),
    changes=st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 63), max_size=18)), max_size=60),
    radius=st.integers(0, 11),
    chunk=st.integers(1, 50),
)
def test_every_pair_within_the_radius_and_no_other(
    centres: list[int], changes: list[tuple[int, set[int]]], radius: int, chunk: int
):
    near = [(centres[c % len(centres)] % 2**64) ^ sum(1 << bit for bit in bits) for c, bits in changes]
    hashes = np.unique(np.array([c % 2**64 for c in centres] + near, dtype=np.uint64).view(np.int64))
    assert found(hashes, radius, chunk=chunk) == brute(hashes, radius)


@pytest.mark.parametrize("radius", range(MAX_RADIUS + 1))
def test_clusters_at_every_radius(radius: int):
    hashes = clustered(radius, 250, 0.06)
    expected = brute(hashes, radius)
    assert found(hashes, radius) == expected
    assert near_pairs(hashes, radius).complete
    if radius >= 4:
        assert expected  # the comparison compared something


def test_order_is_by_distance_whatever_the_order_of_hashes():
    hashes = clustered(3, 200, 0.05)
    pairs = near_pairs(hashes, 6)
    assert (np.diff(pairs.distance.astype(int)) >= 0).all()
    turned = near_pairs(hashes[::-1].copy(), 6)
    last = len(hashes) - 1
    assert {frozenset(p) for p in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)} == {
        frozenset((last - i, last - j)) for i, j in zip(turned.first.tolist(), turned.second.tolist(), strict=True)
    }


def test_pairs_of_one_owner_are_left_out():
    hashes = clustered(5, 200, 0.05)
    owners = np.arange(len(hashes)) % 5 - 1  # -1 owns nothing
    expected = {
        pair: bits for pair, bits in brute(hashes, 6).items()
        if owners[pair[0]] != owners[pair[1]] or owners[pair[0]] < 0
    }  # fmt: skip
    assert 0 < len(expected) < len(brute(hashes, 6))
    assert found(hashes, 6, owners=owners) == expected


def test_crowded_bands_are_left_out_and_told():
    rng = np.random.default_rng(0)
    tight = (np.uint64(0xFFFF_0000_FFFF_0000) ^ (np.uint64(1) << rng.permutation(64)[:40].astype(np.uint64))).view(
        np.int64
    )
    hashes = np.unique(np.concatenate([tight, rng.integers(-(2**63), 2**63, 200, dtype=np.int64)]))
    whole = near_pairs(hashes, 6)
    assert whole.complete
    assert whole.crowded == 0
    part = near_pairs(hashes, 6, crowd=20)  # a band that no flip touched is shared by about thirty
    assert 0 < part.crowded <= len(tight)
    assert not part.complete
    every = brute(hashes, 6)
    assert set(zip(part.first.tolist(), part.second.tolist(), strict=True)) <= set(every)


def test_the_search_ends_at_the_largest_number():
    hashes = clustered(1, 300, 0.03)
    assert len(brute(hashes, 6)) > 100
    pairs = near_pairs(hashes, 6, most=100, chunk=10)
    assert pairs.capped
    assert len(pairs.first) == 100


@pytest.mark.parametrize(
    ("hashes", "radius", "error"),
    [
        (np.array([1, 1]), 6, "not distinct"),
        (np.array([1, 2], dtype=np.int32), 6, "64-bit integers"),
        (np.array([[1, 2]]), 6, "64-bit integers"),
        (np.array([1, 2]), 16, "radius 16"),
    ],
)
def test_mistakes(hashes: np.ndarray, radius: int, error: str):
    with pytest.raises(ValueError, match=error):
        near_pairs(hashes, radius)


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count: int):
    assert found(np.arange(count), 6) == {}


def test_flat_pictures_share_one_hash():
    hashes = {perceptual_hash(np.full((64, 64, 3), grey, np.uint8)) for grey in (1, 90, 255)}
    assert len(hashes) == 1
