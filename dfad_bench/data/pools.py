"""The faces a protocol may choose from: per group its usable rows, and which of them may be training or test faces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ManifestError
from dfad_bench.core.labels import UNLABELLED, UNSEEN
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.data.images import ANIMATION_EXTENSIONS, VIDEO_EXTENSIONS
from dfad_bench.data.manifest import OK, Manifest
from dfad_bench.data.manifest_schema import SOURCE

COLUMNS = ("sample_id", "dataset", "generator", "forgery", "family", "split", "source_key", "crop_sha256", "status")
_PLACE = ("origin", "frame", SOURCE)  # from which the video of a frame is known, and whether it is of a group
TRAIN_SPLITS = ("train", "val", "valid", "validation")  # validation is carved from train, by source
TEST_SPLITS = ("test",)


def manifests_used(protocol: Protocol, manifests: Sequence[Manifest]) -> list[Manifest]:
    """The manifests whose dataset the protocol names; several of one dataset are joined.

    Raises:
        ManifestError: two manifests share a face.
    """
    refuse_shared(manifests)
    return [manifest for manifest in manifests if manifest.name in {group.dataset for group in protocol.all_groups}]


def refuse_shared(manifests: Sequence[Manifest]) -> None:
    """Refuse manifests of one dataset that share a face.

    Raises:
        ManifestError: names two of them and the number of faces.
    """
    names = [manifest.name for manifest in manifests]
    seen: dict[str, list[tuple[Manifest, pd.Index]]] = {}
    for manifest in manifests:
        if names.count(manifest.name) == 1:
            continue
        own = pd.Index(manifest.frame(["sample_id"], status=None)["sample_id"])
        for other, theirs in seen.setdefault(manifest.name, []):
            if len(both := theirs.intersection(own)):
                raise ManifestError(
                    f"{other.folder} and {manifest.folder} are both of the dataset {manifest.name!r} and share"
                    f" {len(both):,} faces ({both[0]} first); leave one of them out"
                )
        seen[manifest.name].append((manifest, own))


def group_pools(manifests: Sequence[Manifest], groups: Iterable[Group]) -> dict[str, pd.DataFrame]:
    """Per group, every usable row with its labels in this protocol; `attrs["refused"]` counts the unusable ones."""
    read: dict[str, list[pd.DataFrame]] = {}
    for manifest in manifests:
        read.setdefault(manifest.name, []).append(manifest.frame((*COLUMNS, *_PLACE), status=None))
    frames = {name: some[0] if len(some) == 1 else pd.concat(some) for name, some in read.items()}
    pools = {}
    for group in groups:
        rows = frames.get(group.dataset, pd.DataFrame(columns=[*COLUMNS, *_PLACE]))
        rows = rows[rows["generator"] == group.generator]
        if group.source is not None:
            rows = rows[rows[SOURCE] == group.source]
        if group.split is not None:
            rows = rows[rows["split"] == group.split]
        kept = rows[rows["status"] == OK].drop(columns="status").reset_index(drop=True)
        kept = kept.assign(
            group=group.key,
            attribution_label=group.label,
            detection_label=group.taxon.detection_label,
            source_key=qualified(kept),
            video=videos(kept),
        ).drop(columns=list(_PLACE))
        kept.attrs["refused"] = len(rows) - len(kept)
        pools[group.key] = kept
    return pools


def train_and_test(protocol: Protocol, group: Group, pool: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(train, test) candidates of a seen or unseen group.

    An unseen group is tested as a whole unless its source says which rows are test, or its other faces are in the
    unlabelled part. A group narrowed to one split by the protocol keeps it whole as well when it is unseen.
    """
    by_source = _has_splits(protocol, pool)
    also_unlabelled = (group.key, group.split) in {(other.key, other.split) for other in protocol.unlabelled}
    if group.label == UNSEEN and not also_unlabelled and (group.split is not None or not by_source):
        return pool.iloc[:0], pool
    if by_source:
        return pool[pool["split"].isin(TRAIN_SPLITS)], pool[pool["split"].isin(TEST_SPLITS)]
    in_test = ranks(pool["source_key"], f"{protocol.seed}:split") < protocol.test_share
    return pool[~in_test], pool[in_test]


def unlabelled_candidates(protocol: Protocol, group: Group, pool: pd.DataFrame) -> pd.DataFrame:
    """The rows of an unlabelled group that are not test faces by their split, without their labels.

    A group that is also tested gives its training half, any other group all rows; where the source carries splits,
    those of its training split.
    """
    tested = {(other.key, other.split) for other in protocol.groups}
    if (group.key, group.split) in tested:
        pool = train_and_test(protocol, group, pool)[0]
    elif group.split is None and _has_splits(protocol, pool):
        pool = pool[pool["split"].isin(TRAIN_SPLITS)]
    return without_labels(pool)


def without_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with their labels hidden."""
    return rows.assign(attribution_label=UNSEEN, detection_label=UNLABELLED)


def qualified(rows: pd.DataFrame) -> pd.Series:
    """`source_key` with its dataset in front unless it has a `/`; a face without one is its own source."""
    keys = rows["source_key"].where(rows["source_key"].notna(), rows["sample_id"]).astype(str)
    return keys.where(keys.str.contains("/", regex=False), rows["dataset"].astype(str) + "/" + keys)


def shared_sources(keys: Iterable[str], datasets: Iterable[str]) -> list[str]:
    """Qualified source keys as they are compared across datasets: one that names a namespace loses its own dataset.

    Releases that were made of the same originals give them the same key (`ffpp:071`). What is left to chance (splits by
    hash, resampling by source) still goes by the qualified key.

    >>> shared_sources(["dfdm/celebdf:id1", "dfdm/id1", "people/id1"], ["dfdm", "dfdm", "dfdm"])
    ['celebdf:id1', 'dfdm/id1', 'people/id1']
    """
    found = []
    for key, dataset in zip(keys, datasets, strict=True):
        own = key.removeprefix(f"{dataset}/")
        found.append(own if ":" in own else key)
    return found


def sources_of(rows: pd.DataFrame) -> pd.Series:
    """`shared_sources` of rows with the columns `source_key` (qualified) and `dataset`."""
    keys = shared_sources(rows["source_key"].astype(str), rows["dataset"].astype(str))
    return pd.Series(keys, index=rows.index, dtype=object)


def effective_sources(keys: np.ndarray) -> int:
    """How many sources of equal size would be as informative (Kish): (sum of sizes)^2 / sum of squares, rounded down.

    >>> effective_sources(np.array(["a", "a", "b", "b"])), effective_sources(np.array(["a"] * 97 + ["b", "c", "d"]))
    (2, 1)
    """
    sizes = np.unique(np.asarray(keys), return_counts=True)[1]
    return int(sizes.sum() ** 2 / (sizes**2).sum() + 1e-9) if len(sizes) else 0


def videos(rows: pd.DataFrame) -> pd.Series:
    """The video each frame is of, `dataset/path`: the file where it is a video, else the folder of the frame's file.

    Null for still images, which carry no `frame`.
    """
    endings = tuple(f".{ending}" for ending in VIDEO_EXTENSIONS + ANIMATION_EXTENSIONS)
    origin = rows["origin"].astype(str)
    inside = origin.str.lower().str.endswith(endings)
    path = origin.where(inside, origin.str.replace(r"/?[^/]*$", "", regex=True))
    return (rows["dataset"].astype(str) + "/" + path).where(rows["frame"].notna(), None).astype(object)


def choose(pool: pd.DataFrame, count: int | None, seed: int) -> pd.DataFrame:
    """`count` rows by the seeded hash of their `sample_id`, or all of them; sorted by `sample_id`."""
    if count is not None and count < len(pool):
        order = ranks(pool["sample_id"], str(seed)).sort_values(kind="stable").index[:count]
        pool = pool.loc[order]
    return pool.sort_values("sample_id", kind="stable").reset_index(drop=True)


def ranks(names: pd.Series, salt: str) -> pd.Series:
    """A number in [0, 1) from the hash of each name."""

    def rank(name: str) -> float:
        return int.from_bytes(hashlib.sha256(f"{salt}:{name}".encode()).digest()[:6], "big") / 2**48

    return names.astype(str).map(rank).astype(float)


def _has_splits(protocol: Protocol, pool: pd.DataFrame) -> bool:
    """Whether the split column of the manifest decides, see `Protocol.split`."""
    carries = pool["split"].isin([*TRAIN_SPLITS, *TEST_SPLITS])
    return protocol.split == "source" or (protocol.split == "auto" and not pool.empty and bool(carries.all()))
