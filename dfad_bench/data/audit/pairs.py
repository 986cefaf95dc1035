"""Pairs of faces from pairs of perceptual hashes: shared code of the checks for near duplicates and reused reals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from dfad_bench.data.audit.subject import Subject

_CROWD = 64  # most sources that may share one hash; more of them mean an empty image, not similar faces
_CHUNK = 100_000  # pairs of hashes joined at once


def sources_of_hashes(subject: Subject) -> pd.DataFrame:
    """One row per hash, source, group and side: `hash` (position in `subject.hashes`) and `row`, its first face."""
    kept = subject.kept_faces[subject.kept_faces["phash"].notna()]
    units = kept[["manifest", "group", "side", "source_key", "crop_sha256", "detection_label"]].assign(
        hash=np.searchsorted(subject.hashes, kept["phash"].to_numpy(dtype=np.int64)), row=kept.index
    )
    return units.drop_duplicates(["hash", "manifest", "group", "side", "source_key"])


def crowded_hashes(units: pd.DataFrame) -> pd.Series:
    """Hashes shared by too many rows of `units`, with the number of rows."""
    sizes = units["hash"].value_counts()
    return sizes[sizes > _CROWD]


def face_pairs(subject: Subject, units: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Pairs of rows of `units` from different sources whose hashes are near or equal, by distance, in chunks.

    Columns end in `_a` and `_b`, and `distance`. Crowded hashes and pairs of identical pixels are left out.
    """
    units = units[~units["hash"].isin(crowded_hashes(units).index)]
    near = subject.near_pairs
    sizes = units["hash"].value_counts()
    own = np.sort(sizes[sizes > 1].index.to_numpy(dtype=np.int64))
    first, second = np.concatenate([own, near.first]), np.concatenate([own, near.second])
    distance = np.concatenate([np.zeros(len(own), np.uint8), near.distance])
    for start in range(0, len(first), _CHUNK):
        some = slice(start, start + _CHUNK)
        links = pd.DataFrame({"hash_a": first[some], "hash_b": second[some], "distance": distance[some]})
        pairs = links.merge(units.add_suffix("_a"), on="hash_a").merge(units.add_suffix("_b"), on="hash_b")
        one = pairs["hash_a"] == pairs["hash_b"]
        pairs = pairs[(pairs["source_key_a"] != pairs["source_key_b"]) & (~one | (pairs["row_a"] < pairs["row_b"]))]
        same = pairs["crop_sha256_a"].notna() & (pairs["crop_sha256_a"] == pairs["crop_sha256_b"])
        pairs = pairs[~same]
        if len(pairs):
            yield pairs.sort_values(["distance", "row_a", "row_b"], kind="stable")
