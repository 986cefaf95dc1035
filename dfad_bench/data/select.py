"""Protocol and manifests to the rows of train, validation and test; nothing leaks between them.

A row is chosen by the seeded hash of its `sample_id`, so the choice is the same on every machine, and a face more
or less moves few others. The protocol's seed decides, not the run's: every model and seed gets the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pandas as pd

from dfad_bench.core.errors import ManifestError, ProtocolError
from dfad_bench.core.files import content_hash
from dfad_bench.core.labels import UNSEEN
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.data.images import ANIMATION_EXTENSIONS, VIDEO_EXTENSIONS
from dfad_bench.data.manifest import OK, Manifest

COLUMNS = ("sample_id", "dataset", "generator", "forgery", "family", "split", "source_key", "crop_sha256", "status")
_PLACE = ("origin", "frame")  # from which the video of a frame is known
TRAIN_SPLITS = ("train", "val", "valid", "validation")  # validation is carved from train, by source
TEST_SPLITS = ("test",)


@dataclass(frozen=True)
class Short:
    """A group with fewer faces than the protocol asks for."""

    group: str
    part: str  # "train" or "test"
    wanted: int
    found: int

    def __str__(self) -> str:
        return f"{self.group}: {self.found} of {self.wanted} {self.part} faces"


@dataclass(frozen=True)
class Selection:
    """Rows for one protocol.

    Frames carry `sample_id, dataset, generator, forgery, family, group, source_key, video, crop_sha256,
    attribution_label, detection_label`, sorted by `sample_id`. `source_key` is qualified by the dataset unless it
    already names a namespace (`celeba_hq/00001`); a face without one is its own source. `video` names the video of a
    frame, and is null for still images.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: dict[str, pd.DataFrame]  # by group key, in the protocol's order
    short: list[Short] = field(default_factory=list)
    leaking: tuple[str, ...] = ()  # `sample_id` of training rows sharing a source or pixels with a test row: left out
    dropped_duplicates: int = 0  # those of them with the very pixels
    missing: list[str] = field(default_factory=list)  # groups left out under `allow_partial`
    refused: dict[str, int] = field(default_factory=dict)  # per group, faces the manifest refused

    @property
    def dropped_leaks(self) -> int:
        """How many training rows share a source or the very pixels with a test row."""
        return len(self.leaking)

    @property
    def tested(self) -> pd.DataFrame:
        """All test rows, group after group."""
        return pd.concat(list(self.test.values()), ignore_index=True)

    @property
    def rows(self) -> pd.DataFrame:
        """Every row with its `part`: train, validation or test."""
        parts = {"train": self.train, "validation": self.validation, "test": self.tested}
        return pd.concat([frame.assign(part=name) for name, frame in parts.items()], ignore_index=True)

    @property
    def deviations(self) -> list[str]:
        """How the rows differ from what the protocol asks for."""
        return [f"missing group {key}" for key in self.missing] + [f"short group {short}" for short in self.short]


def select(
    protocol: Protocol, manifests: Sequence[Manifest], *, allow_partial: bool = False, training: bool = True
) -> Selection:
    """Choose the rows of a protocol.

    Test rows are chosen first; then every training row that shares a `source_key` or the pixels of its crop with
    a test row of any group is dropped and counted; then training rows are chosen, and of their sources a share is
    set aside for validation.

    Args:
        protocol: groups, counts, split rule, seed.
        manifests: one a dataset; datasets the protocol does not name are ignored.
        allow_partial: go on with what there is where groups are missing or short; `Selection.deviations` says so.
        training: False chooses test rows only, for evaluating a trained model.

    Raises:
        ProtocolError: groups without faces (all of them named), or too few faces under `on_short: error`.
        ManifestError: two manifests of one dataset.
    """
    pools = _pools(protocol, manifests)
    test, short, missing = {}, [], []
    halves = {group.key: _halves(protocol, group, pools[group.key]) for group in protocol.groups}
    for group in protocol.groups:
        pool, is_seen = halves[group.key][1], group.label != UNSEEN
        if pool.empty or (training and is_seen and halves[group.key][0].empty):
            missing.append(group)
        if not pool.empty:
            test[group.key] = _choose(pool, _wanted(group.test, protocol.test_per_group), protocol.seed)
            short += _short(group, "test", _wanted(group.test, protocol.test_per_group), len(test[group.key]))
    if missing and not (allow_partial and test):
        raise ProtocolError(_missing_text(protocol, missing, manifests))
    blank = pools[protocol.groups[0].key].iloc[:0]
    leaks: list[str] = []
    train, validation, duplicates = blank, blank, 0
    if training:
        seen = {group.key: halves[group.key][0] for group in protocol.groups if group.label != UNSEEN}
        train, validation, leaks, duplicates, lacking = _training(protocol, seen, test)
        short += lacking
    if short and protocol.on_short == "error" and not allow_partial:
        some = "; ".join(map(str, short))
        raise ProtocolError(f"protocol {protocol.name}: too few faces: {some}. --allow-partial goes on and says so")
    refused = {key: int(pool.attrs["refused"]) for key, pool in pools.items() if pool.attrs["refused"]}
    return Selection(
        train, validation, test, short, tuple(sorted(leaks)), duplicates, [group.key for group in missing], refused
    )


def candidates(protocol: Protocol, manifests: Sequence[Manifest]) -> pd.DataFrame:
    """Every usable row of a protocol with its `side` (train or test), before anything is chosen or dropped.

    `source_key` is qualified as in `Selection`.

    Raises:
        ManifestError: two manifests of one dataset.
    """
    pools = _pools(protocol, manifests)
    frames = []
    for group in protocol.groups:
        train, test = _halves(protocol, group, pools[group.key])
        trained = train if group.label != UNSEEN else train.iloc[:0]  # nobody trains on an unseen group
        frames += [trained.assign(side="train"), test.assign(side="test")]
    return pd.concat(frames, ignore_index=True)


def qualified(rows: pd.DataFrame) -> pd.Series:
    """`source_key` with its dataset in front unless it names a namespace; a face without one is its own source."""
    keys = rows["source_key"].where(rows["source_key"].notna(), rows["sample_id"]).astype(str)
    return keys.where(keys.str.contains("/", regex=False), rows["dataset"].astype(str) + "/" + keys)


def videos(rows: pd.DataFrame) -> pd.Series:
    """The video each frame is of, `dataset/path`: the file where it is a video, else the folder of the frame's file.

    Null for still images, which carry no `frame`.
    """
    endings = tuple(f".{ending}" for ending in VIDEO_EXTENSIONS + ANIMATION_EXTENSIONS)
    origin = rows["origin"].astype(str)
    inside = origin.str.lower().str.endswith(endings)
    path = origin.where(inside, origin.str.replace(r"/?[^/]*$", "", regex=True))
    return (rows["dataset"].astype(str) + "/" + path).where(rows["frame"].notna(), None).astype(object)


def rows_hash(rows: pd.DataFrame) -> str:
    """Hash of the chosen faces and their labels, whatever their order."""
    columns = ["sample_id", "crop_sha256", "group", "attribution_label", "detection_label"]
    return content_hash(sorted(map(list, rows[columns].astype(str).itertuples(index=False))))


def manifests_hash(manifests: Sequence[Manifest]) -> str:
    """One hash for the manifests of a run, whatever their order."""
    return content_hash(sorted([manifest.name, manifest.sha256] for manifest in manifests))


def used(protocol: Protocol, manifests: Sequence[Manifest]) -> list[Manifest]:
    """The manifests whose dataset the protocol names.

    Raises:
        ManifestError: two manifests of one dataset.
    """
    names = [manifest.name for manifest in manifests]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ManifestError(f"two manifests of the dataset {', '.join(twice)}; give one a dataset")
    return [manifest for manifest in manifests if manifest.name in {group.dataset for group in protocol.groups}]


def _pools(protocol: Protocol, manifests: Sequence[Manifest]) -> dict[str, pd.DataFrame]:
    """Per group, every usable row with its labels in this protocol."""
    frames = {manifest.name: manifest.frame((*COLUMNS, *_PLACE), status=None) for manifest in used(protocol, manifests)}
    pools = {}
    for group in protocol.groups:
        rows = frames.get(group.dataset, pd.DataFrame(columns=[*COLUMNS, *_PLACE]))
        rows = rows[rows["generator"] == group.generator]
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


def _halves(protocol: Protocol, group: Group, pool: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(train, test) candidates of a group.

    An unseen group is tested as a whole unless its source says which rows are test. A group narrowed to one split
    by the protocol keeps it whole as well when it is unseen.
    """
    carries = pool["split"].isin([*TRAIN_SPLITS, *TEST_SPLITS])
    by_source = protocol.split == "source" or (protocol.split == "auto" and not pool.empty and bool(carries.all()))
    unseen = group.label == UNSEEN
    if unseen and (group.split is not None or not by_source):
        return pool.iloc[:0], pool
    if by_source:
        return pool[pool["split"].isin(TRAIN_SPLITS)], pool[pool["split"].isin(TEST_SPLITS)]
    in_test = _ranks(pool["source_key"], f"{protocol.seed}:split") < protocol.test_share
    return pool[~in_test], pool[in_test]


def _training(
    protocol: Protocol, seen: dict[str, pd.DataFrame], test: dict[str, pd.DataFrame]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], int, list[Short]]:
    """Train and validation rows without leaks; dropped rows, and how many for their pixels; short groups."""
    keys = set().union(*(frame["source_key"] for frame in test.values())) if test else set()
    pixels = set().union(*(frame["crop_sha256"].dropna() for frame in test.values())) if test else set()
    groups = {group.key: group for group in protocol.seen}
    chosen, short, duplicates = [], [], 0
    leaks: list[str] = []
    for key, pool in seen.items():
        same_pixels = pool["crop_sha256"].isin(pixels)
        leaking = same_pixels | pool["source_key"].isin(keys)
        leaks, duplicates = leaks + pool.loc[leaking, "sample_id"].tolist(), duplicates + int(same_pixels.sum())
        wanted = _wanted(groups[key].train, protocol.train_per_group)
        chosen.append(_choose(pool[~leaking], wanted, protocol.seed))
        short += _short(groups[key], "train", wanted, len(chosen[-1]))
    rows = pd.concat(chosen, ignore_index=True).sort_values("sample_id", kind="stable")
    aside = _ranks(rows["source_key"], f"{protocol.seed}:validation") < protocol.validation_share
    train, validation = rows[~aside], rows[aside]
    validation = validation[~validation["crop_sha256"].isin(set(train["crop_sha256"].dropna()))]
    if train.empty:
        raise ProtocolError(
            f"protocol {protocol.name}: no training faces are left ({len(leaks)} dropped because they share a source or"
            f" their pixels with test faces, {len(validation)} set aside for validation)"
        )
    return train.reset_index(drop=True), validation.reset_index(drop=True), leaks, duplicates, short


def _choose(pool: pd.DataFrame, count: int | None, seed: int) -> pd.DataFrame:
    if count is not None and count < len(pool):
        order = _ranks(pool["sample_id"], str(seed)).sort_values(kind="stable").index[:count]
        pool = pool.loc[order]
    return pool.sort_values("sample_id", kind="stable").reset_index(drop=True)


def _ranks(names: pd.Series, salt: str) -> pd.Series:
    """A number in [0, 1) from the hash of each name."""

    def rank(name: str) -> float:
        return int.from_bytes(hashlib.sha256(f"{salt}:{name}".encode()).digest()[:6], "big") / 2**48

    return names.astype(str).map(rank).astype(float)


def _wanted(own: int | None, common: int | None) -> int | None:
    return common if own is None else own


def _short(group: Group, part: str, wanted: int | None, found: int) -> list[Short]:
    return [Short(group.key, part, wanted, found)] if wanted is not None and found < wanted else []


def _missing_text(protocol: Protocol, missing: Collection[Group], manifests: Sequence[Manifest]) -> str:
    have = {manifest.name for manifest in manifests}
    lines = []
    for dataset in dict.fromkeys(group.dataset for group in missing):
        names = ", ".join(group.generator for group in missing if group.dataset == dataset)
        hint = "its manifest has no usable faces of them" if dataset in have else f"build {dataset!r}"
        lines.append(f"{dataset} ({names}): {hint}")
    return (
        f"protocol {protocol.name} lacks {len(missing)} of {len(protocol.groups)} groups: {'; '.join(lines)}."
        " Make manifests with `dfad build-manifest --dataset NAME` and pass each with --manifest,"
        " or go on without them with --allow-partial"
    )
