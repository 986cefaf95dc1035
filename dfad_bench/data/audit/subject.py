"""The data of an audit: the rows of all manifests in one frame, with the side of the split each is on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ProtocolError
from dfad_bench.core.protocol import Protocol
from dfad_bench.data.audit.near import NearPairs, near_pairs
from dfad_bench.data.manifest import OK, Manifest
from dfad_bench.data.pools import TEST_SPLITS, TRAIN_SPLITS, qualified, sources_of
from dfad_bench.data.select import Selection, candidates, select

NEAR_BITS = 6
COLUMNS = (
    "sample_id", "dataset", "generator", "detection_label", "split", "origin", "frame", "source_key", "source_sha256",
    "source_width", "source_height", "source_format", "source_bytes", "crop_sha256", "phash", "status",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """The input of every check.

    `faces` has the columns of the manifests (refused rows included) and `manifest` (its index), `group`
    (dataset/generator), `side` (train, test or empty); its `source_key` is that of `pools.shared_sources`, its
    index counts from 0.
    """

    faces: pd.DataFrame
    protocol: Protocol | None = None
    selection: Selection | None = None  # of the protocol
    candidates: pd.DataFrame | None = None  # of the protocol, before leaks were dropped
    obstacle: str = ""  # why the protocol cannot be run on these manifests
    near_bits: int = NEAR_BITS
    seed: int = 0
    manifests: tuple[Manifest, ...] = ()  # whose crops are compared

    @cached_property
    def kept_faces(self) -> pd.DataFrame:
        """The faces that were not refused, with the index of `faces`."""
        return self.faces[self.faces["status"] == OK]

    @cached_property
    def hashes(self) -> np.ndarray:
        """The distinct perceptual hashes of kept faces, sorted (n,) int64."""
        known = self.kept_faces["phash"].dropna()
        return np.unique(known.to_numpy(dtype=np.int64))

    @cached_property
    def near_pairs(self) -> NearPairs:
        """Pairs of `hashes` (by position) that differ in at most `near_bits` bits, pairs of one source left out."""
        known = self.kept_faces[self.kept_faces["phash"].notna()]
        places = np.searchsorted(self.hashes, known["phash"].to_numpy(dtype=np.int64))
        source = pd.factorize(known["source_key"])[0]
        low, high = np.full(len(self.hashes), len(known)), np.full(len(self.hashes), -1)
        np.minimum.at(low, places, source)
        np.maximum.at(high, places, source)
        return near_pairs(self.hashes, self.near_bits, owners=np.where(low == high, low, -1))


def load(
    manifests: Sequence[Manifest], protocol: Protocol | None = None, *, near_bits: int = NEAR_BITS, seed: int = 0
) -> Subject:
    """The rows of all manifests, and with a protocol those it chooses.

    Raises:
        ManifestError: a damaged manifest, or two of one dataset under a protocol.
    """
    frames = [m.frame(COLUMNS, status=None).assign(manifest=number) for number, m in enumerate(manifests)]
    faces = pd.concat(frames, ignore_index=True)
    faces["group"] = faces["dataset"].astype(str) + "/" + faces["generator"].astype(str)
    faces["source_key"] = qualified(faces)
    faces["source_key"] = sources_of(faces)
    if protocol is None:
        sided = faces.assign(side=_split_side(faces))
        return Subject(sided, near_bits=near_bits, seed=seed, manifests=tuple(manifests))
    selection, obstacle = None, ""
    try:
        selection = select(protocol, manifests, allow_partial=True)
    except ProtocolError as error:
        obstacle = str(error)
    parts: dict[str, str] = {}
    if selection is not None:
        chosen = selection.rows
        sides = chosen["part"].replace({"validation": "train", "unlabelled": "train"})  # whatever is trained on
        parts = dict(zip(chosen["sample_id"], sides, strict=True))
    faces["side"] = [parts.get(name, "") for name in faces["sample_id"]]
    possible = candidates(protocol, manifests)
    possible["source_key"] = sources_of(possible)
    return Subject(faces, protocol, selection, possible, obstacle, near_bits, seed, tuple(manifests))


def _split_side(faces: pd.DataFrame) -> pd.Series:
    side = pd.Series("", index=faces.index)
    side[faces["split"].isin(TRAIN_SPLITS)] = "train"
    side[faces["split"].isin(TEST_SPLITS)] = "test"
    return side
