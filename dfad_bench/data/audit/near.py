"""All pairs of 64-bit hashes within a few bits of each other, without comparing every pair.

Multi-index hashing (Norouzi et al., Fast Exact Search in Hamming Space, 2014): the bits are divided into four bands
of 16. Two hashes that differ in at most r bits differ in at most r // 4 bits of at least one band, so comparing
those with a band that close finds every pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

MAX_RADIUS = 15
_BANDS = 4
_WIDTH = 16
_KEYS = 1 << _WIDTH
_CHUNK = 1 << 20  # candidate pairs compared at once: bounds the memory
_Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # first, second, distance


@dataclass(frozen=True)
class NearPairs:
    """Pairs (first < second, positions in the given hashes) and the bits they differ in, by distance and position.

    `crowded` is the number of hashes in a band value that too many share: their pairs are found through the other
    bands only. `capped`: the search stopped at the maximum number of pairs.
    """

    first: np.ndarray  # (n,) int64
    second: np.ndarray  # (n,) int64
    distance: np.ndarray  # (n,) uint8
    crowded: int = 0
    capped: bool = False

    @property
    def complete(self) -> bool:
        """Whether every pair within the radius was found."""
        return not self.crowded and not self.capped


def near_pairs(
    hashes: np.ndarray,
    radius: int = 6,
    *,
    owners: np.ndarray | None = None,
    crowd: int = 20_000,
    most: int = 2_000_000,
    chunk: int = _CHUNK,
) -> NearPairs:
    """Every pair of hashes that differ in at most `radius` bits.

    Args:
        hashes: (n,) 64-bit integers, all different (equal ones would make pairs by the square of their number).
        radius: 0 to 15; the work grows steeply at 4, 8 and 12.
        owners: (n,) integers; pairs with the same owner are left out (frames of a video), -1 is no owner.
        crowd: most hashes that may share the value of a band; where more do, that band is not compared.
        most: pairs after which the search stops.
        chunk: candidate pairs compared at once.

    Raises:
        ValueError: hashes that are not distinct 64-bit integers, or a radius out of range.
    """
    words = _words(hashes, radius)
    bands = _bands(words)
    crowds = [np.bincount(band, minlength=_KEYS) > crowd for band in bands]
    found: list[_Pairs] = []
    total, capped = 0, False
    for pairs in _search_bands(words, bands, crowds, radius, owners, chunk):
        found.append(pairs)
        total += len(pairs[0])
        if capped := total > most:
            break
    first, second, distance = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else _no_pairs()
    order = np.lexsort((second, first, distance))[:most]
    shared = np.logical_or.reduce([crowds[n][band] for n, band in enumerate(bands)])
    return NearPairs(first[order], second[order], distance[order], int(shared.sum()), capped)


def _words(hashes: np.ndarray, radius: int) -> np.ndarray:
    """The hashes (n,) uint64, checked."""
    hashes = np.ascontiguousarray(hashes)
    if hashes.ndim != 1 or hashes.dtype.itemsize != 8 or hashes.dtype.kind not in "iu":
        raise ValueError(f"expected (n,) 64-bit integers, got {hashes.dtype} {hashes.shape}")
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius {radius} is not in 0 to {MAX_RADIUS}")
    if len(np.unique(hashes)) != len(hashes):
        raise ValueError("the hashes are not distinct")
    words: np.ndarray = hashes.view(np.uint64)
    return words


def _search_bands(
    words: np.ndarray,
    bands: list[np.ndarray],
    crowds: list[np.ndarray],
    radius: int,
    owners: np.ndarray | None,
    chunk: int,
) -> Iterator[_Pairs]:
    """Pairs within the radius, chunk by chunk, each by the first band that shows it."""
    tolerance = radius // _BANDS
    for number, band in enumerate(bands):
        size = np.bincount(band, minlength=_KEYS)
        for first, second in _candidates(band, size, crowds[number], tolerance, chunk):
            distance = np.bitwise_count(words[first] ^ words[second])
            near = distance <= radius
            if owners is not None:
                near &= (owners[first] != owners[second]) | (owners[first] < 0)
            first, second, distance = first[near], second[near], distance[near]
            fresh = _is_new_pair(first, second, bands[:number], crowds, tolerance)
            yield np.minimum(first, second)[fresh], np.maximum(first, second)[fresh], distance[fresh]


def _no_pairs() -> _Pairs:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8)


def _bands(words: np.ndarray) -> list[np.ndarray]:
    """Four (n,) arrays of 16 bits.

    Bits are assigned along diagonals of the 8x8 frequencies: no band holds only low ones, which many faces share.
    """
    bands = [np.zeros(len(words), np.int64) for _ in range(_BANDS)]
    for bit in range(64):
        row, column = divmod(bit, 8)
        band = bands[(row + column) % _BANDS]
        band <<= 1
        band |= ((words >> np.uint64(63 - bit)) & np.uint64(1)).astype(np.int64)
    return bands


def _candidates(
    band: np.ndarray, size: np.ndarray, crowded: np.ndarray, tolerance: int, chunk: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of positions whose band values differ in at most `tolerance` bits, each once, chunk by chunk."""
    order = np.argsort(band, kind="stable")
    keys = band[order]
    start = np.concatenate([[0], np.cumsum(size)])
    places = np.arange(len(band))
    for mask in _masks(tolerance):
        other = keys ^ mask
        begin = places + 1 if mask == 0 else start[other]
        length = np.where((other >= keys) & ~crowded[keys] & ~crowded[other], start[other + 1] - begin, 0)
        for left, right in _expand(begin, length, chunk):
            yield order[left], order[right]


def _expand(begin: np.ndarray, length: np.ndarray, chunk: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(i, j) for every j in begin[i] : begin[i] + length[i]; a chunk ends with the row that fills it."""
    ends = np.cumsum(length)
    done, row = 0, 0
    while row < len(ends):
        stop = max(row + 1, int(np.searchsorted(ends, done + chunk, side="right")))
        lengths = length[row:stop]
        left = np.repeat(np.arange(row, stop), lengths)
        if len(left):
            within = np.arange(len(left)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            yield left, begin[left] + within
        done, row = int(ends[stop - 1]), stop


def _masks(tolerance: int) -> list[int]:
    """Every 16-bit value with at most `tolerance` bits set."""
    return [
        sum(1 << bit for bit in bits) for count in range(tolerance + 1) for bits in combinations(range(_WIDTH), count)
    ]


def _is_new_pair(
    first: np.ndarray, second: np.ndarray, earlier: list[np.ndarray], crowds: list[np.ndarray], tolerance: int
) -> np.ndarray:
    """Which pairs were not found by an earlier band."""
    fresh = np.ones(len(first), dtype=bool)
    for band, crowded in zip(earlier, crowds, strict=False):
        one, two = band[first], band[second]
        fresh &= (np.bitwise_count(one ^ two) > tolerance) | crowded[one] | crowded[two]
    return fresh
