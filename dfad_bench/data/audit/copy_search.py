"""Which faces of one set are copies of faces of another: as they are, mirrored, shifted or zoomed.

Candidates are pairs of which some window (`windows.WINDOWS`) of one has nearly the hash of a key window of the other;
those whose pixels correlate there are found. How many copies that finds and how many others it takes for copies is
measured by `benchmarks/near_duplicates.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfad_bench.data.audit.near import near_pairs
from dfad_bench.data.audit.windows import KEYS, SIDE, WINDOWS, likeness, window_hashes

BITS = 6  # in which two hashes of 64 may differ
LIKENESS = 0.9  # least correlation of the windows of a copy
MOST_FACES = 200_000  # the work grows by the square of their number
_CROWD = 64  # most faces that may share a hash; more are empty pictures
_MOST = 20_000  # candidates whose pixels are compared, the nearest first
_AT_ONCE = 1024
GreyFaces = Callable[[np.ndarray], np.ndarray]  # (n,) positions -> (n, 64, 64) grey values


@dataclass(frozen=True)
class Copies:
    """Pairs of a face of the one set and one of the other (positions), most alike first.

    `mirrored` and `moved` say how they are alike; `left_out` is the number of candidates that were not compared.
    """

    one: np.ndarray
    other: np.ndarray
    mirrored: np.ndarray
    moved: np.ndarray  # other windows than the whole crops
    likeness: np.ndarray
    left_out: int = 0


def find_copies(faces: GreyFaces, one: np.ndarray, other: np.ndarray, owners: np.ndarray) -> Copies:
    """Copies among pairs of a face of `one` with a face of `other`.

    Args:
        faces: grey values (n, 64, 64) uint8 of faces by position.
        one: (n,) positions of faces whose key windows are looked for.
        other: (m,) positions of faces of which all windows are, as they are and mirrored; may be the same as `one`.
        owners: source of every face, by position; pairs of one source are no copies.
    """
    keys = _hashed(faces, one)[:, :KEYS, 0]
    probes = _hashed(faces, other)
    pairs = _candidates(keys, probes)
    pairs["one"], pairs["other"] = one[pairs["one"].to_numpy()], other[pairs["other"].to_numpy()]
    pairs = pairs[owners[pairs["one"]] != owners[pairs["other"]]]
    low, high = pairs[["one", "other"]].min(axis=1), pairs[["one", "other"]].max(axis=1)
    pairs = pairs.assign(low=low, high=high).sort_values(["distance", "one", "other", "key", "probe"], kind="stable")
    pairs = pairs.drop_duplicates(["low", "high"])  # a pair of one set with itself counts once
    left_out = max(0, len(pairs) - _MOST)
    pairs = pairs.head(_MOST)
    pairs = pairs.assign(likeness=_likeness(faces, pairs))
    pairs = pairs[pairs["likeness"] >= LIKENESS].sort_values(
        ["likeness", "one", "other"], ascending=[False, True, True]
    )
    window, mirrored = pairs["probe"].to_numpy() // 2, pairs["probe"].to_numpy() % 2 == 1
    moved = (pairs["key"].to_numpy() != 0) | (window != 0)
    one, other = pairs["one"].to_numpy(), pairs["other"].to_numpy()
    return Copies(one, other, mirrored, moved, pairs["likeness"].to_numpy(), left_out)


def _hashed(faces: GreyFaces, places: np.ndarray) -> np.ndarray:
    """(n, windows, 2) hashes of the faces at these positions."""
    parts = [window_hashes(faces(places[start : start + _AT_ONCE])) for start in range(0, len(places), _AT_ONCE)]
    return np.concatenate(parts) if parts else np.zeros((0, len(WINDOWS), 2), np.int64)


def _candidates(keys: np.ndarray, probes: np.ndarray) -> pd.DataFrame:
    """Rows of `keys` (n, k) and `probes` (m, windows, 2) with near hashes: one, key, other, probe, distance."""
    asked = pd.DataFrame({"hash": keys.ravel(), "one": np.repeat(np.arange(len(keys)), keys.shape[1])})
    asked["key"] = np.tile(np.arange(keys.shape[1]), len(keys))
    flat = probes.reshape(len(probes), -1)
    given = pd.DataFrame({"hash": flat.ravel(), "other": np.repeat(np.arange(len(flat)), flat.shape[1])})
    given["probe"] = np.tile(np.arange(flat.shape[1]), len(flat))
    asked, given = _without_crowds(asked, "one"), _without_crowds(given, "other")
    values = np.union1d(asked["hash"], given["hash"]).astype(np.int64)
    is_key, is_probe = np.isin(values, asked["hash"]), np.isin(values, given["hash"])
    found = near_pairs(values, BITS, owners=np.where(is_key & is_probe, -1, is_key.astype(np.int64)))
    both = np.flatnonzero(is_key & is_probe)
    first = np.concatenate([found.first, found.second, both])  # either of two may be the key
    second = np.concatenate([found.second, found.first, both])
    distance = np.concatenate([found.distance, found.distance, np.zeros(len(both), np.uint8)])
    links = pd.DataFrame({"a": values[first], "b": values[second], "distance": distance})
    links = links[is_key[first] & is_probe[second]]
    pairs = links.merge(asked, left_on="a", right_on="hash").merge(given, left_on="b", right_on="hash")
    return pairs[["one", "key", "other", "probe", "distance"]]


def _without_crowds(rows: pd.DataFrame, face: str) -> pd.DataFrame:
    """Without hashes that very many faces share."""
    sizes = rows.drop_duplicates(["hash", face])["hash"].value_counts()
    return rows[~rows["hash"].isin(sizes[sizes > _CROWD].index)]


def _likeness(faces: GreyFaces, pairs: pd.DataFrame) -> np.ndarray:
    """(n,) how alike the windows of each pair are."""
    found = []
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs.iloc[start : start + _AT_ONCE]
        one, other = faces(some["one"].to_numpy()), faces(some["other"].to_numpy())
        assert one.shape[1:] == (SIDE, SIDE)
        probe = some["probe"].to_numpy()
        found.append(likeness(one, other, some["key"].to_numpy(), probe // 2, probe % 2 == 1))
    return np.concatenate(found) if found else np.zeros(0)
