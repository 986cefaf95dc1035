"""Protocol and manifests to the rows of train, validation, unlabelled and test; nothing leaks between them.

A row is chosen by the seeded hash of its `sample_id`, so the choice is the same on every machine, and a face more
or less moves few others. The protocol's seed decides, not the run's: every model and seed gets the same rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from dfad_bench.core.errors import ProtocolError, listed, quoted
from dfad_bench.core.files import content_hash
from dfad_bench.core.labels import UNSEEN
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pools import (
    choose,
    group_pools,
    manifests_used,
    ranks,
    sources_of,
    train_and_test,
    unlabelled_candidates,
    without_labels,
)


@dataclass(frozen=True)
class ShortGroup:
    """A group with fewer faces than the protocol asks for."""

    group: str
    part: str  # "train", "unlabelled" or "test"
    wanted: int
    found: int

    def __str__(self) -> str:
        return f"{self.group}: {self.found} of {self.wanted} {self.part} faces"


@dataclass(frozen=True)
class Selection:
    """Rows for one protocol.

    Frames carry `sample_id, dataset, generator, forgery, family, group, source_key, video, crop_sha256,
    attribution_label, detection_label`, sorted by `sample_id`. `source_key` is qualified by the dataset unless it has
    a `/` (`people/00001`); a face without one is its own source. Rows of two datasets share a source where their keys
    name the same namespace (`celeba_hq:12`), see `pools.shared_sources`. `video` names the video of a
    frame, and is null for still images. Both labels of `unlabelled` rows are hidden (-1).
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: dict[str, pd.DataFrame]  # by group key, in the protocol's order
    short_groups: list[ShortGroup] = field(default_factory=list)
    leaking: tuple[str, ...] = ()  # `sample_id` of training rows sharing a source or pixels with a test row: left out
    dropped_duplicates: int = 0  # those of them with identical pixels
    missing: list[str] = field(default_factory=list)  # groups left out under `allow_partial`
    refused: dict[str, int] = field(default_factory=dict)  # per group, faces the manifest refused
    unlabelled: pd.DataFrame = field(default_factory=pd.DataFrame)  # empty where the protocol has no such part
    leaks_between: dict[str, int] = field(default_factory=dict)  # "dfdm with celeb_df" -> leaking rows of the first

    @property
    def dropped_leaks(self) -> int:
        """How many training and unlabelled rows share a source or pixels with a test row."""
        return len(self.leaking)

    @property
    def leak_notes(self) -> list[str]:
        """What was left out of training because of a test face, and which datasets share originals."""
        if not self.leaking:
            return []
        some = listed(self.leaking, 4)
        return [f"{len(self.leaking)} training faces share a source or pixels with test faces: left out ({some})"] + [
            f"{number} of the training faces left out share a source with another dataset: {pair}"
            for pair, number in self.leaks_between.items()
        ]

    @property
    def trained_on(self) -> pd.DataFrame:
        """All rows that training sees: train, validation and unlabelled."""
        frames = [frame for frame in (self.train, self.validation, self.unlabelled) if len(frame)]
        return pd.concat(frames or [self.train], ignore_index=True)

    @property
    def tested(self) -> pd.DataFrame:
        """All test rows, group after group."""
        return pd.concat(list(self.test.values()), ignore_index=True)

    @property
    def rows(self) -> pd.DataFrame:
        """Every row with its `part`: train, validation, unlabelled or test."""
        parts = {"train": self.train, "validation": self.validation}
        parts |= {"unlabelled": self.unlabelled} if len(self.unlabelled) else {}
        parts["test"] = self.tested
        return pd.concat([frame.assign(part=name) for name, frame in parts.items()], ignore_index=True)

    @property
    def deviations(self) -> list[str]:
        """How the rows differ from what the protocol asks for."""
        return [f"missing group {key}" for key in self.missing] + [
            f"short group {group}" for group in self.short_groups
        ]


def select(
    protocol: Protocol, manifests: Sequence[Manifest], *, allow_partial: bool = False, training: bool = True
) -> Selection:
    """Choose the rows of a protocol.

    Test rows are chosen first; then every training row that shares a `source_key` or the pixels of its crop with
    a test row of any group is dropped and counted; then training rows are chosen, and of their sources a share is
    set aside for validation, and of the others a share for the unlabelled part. Last, rows of the unlabelled groups
    are chosen from those that share no source and no pixels with rows chosen before; those that share them with test
    rows are counted as dropped, too.

    Args:
        protocol: groups, counts, split rule, seed.
        manifests: several of one dataset are joined; datasets the protocol does not name are ignored.
        allow_partial: go on with what there is where groups are missing or short; `Selection.deviations` says so.
        training: False chooses test rows only, for evaluating a trained model.

    Raises:
        ProtocolError: groups without faces (all of them named), or too few faces under `on_short: error`.
        ManifestError: two manifests share a face.
    """
    mine = manifests_used(protocol, manifests)
    pools = group_pools(mine, protocol.groups)
    halves = {group.key: train_and_test(protocol, group, pools[group.key]) for group in protocol.groups}
    extra = _unlabelled_pools(protocol, mine) if training else {}
    missing = [group for group in protocol.groups if _is_missing(group, *halves[group.key], training)]
    missing += [group for group in protocol.unlabelled if group.key in extra and extra[group.key].empty]
    test, short_groups = _tested(protocol, {key: half for key, (_, half) in halves.items()})
    if missing and not (allow_partial and test):
        raise ProtocolError(_missing_text(protocol, missing, manifests, partial=allow_partial or not test))
    no_rows = pools[protocol.groups[0].key].iloc[:0]
    parts = _Parts(no_rows, no_rows, no_rows)
    if training:
        seen = {group.key: halves[group.key][0] for group in protocol.groups if group.label != UNSEEN}
        parts = _training(protocol, seen, test)
        _add_unlabelled(protocol, parts, extra, test)
        short_groups += parts.short_groups
    if short_groups and protocol.on_short == "error" and not allow_partial:
        some = "; ".join(map(str, short_groups))
        if any(item.part == "unlabelled" for item in short_groups):
            some += " (unlabelled faces share no source with labelled ones; unlabelled_share leaves sources to them)"
        raise ProtocolError(f"protocol {protocol.name}: too few faces: {some}. --allow-partial goes on and says so")
    return Selection(
        parts.train,
        parts.validation,
        test,
        short_groups,
        tuple(sorted(parts.leaks)),
        parts.duplicates,
        [group.key for group in missing],
        {key: int(pool.attrs["refused"]) for key, pool in pools.items() if pool.attrs["refused"]},
        parts.unlabelled,
        dict(sorted(parts.leaks_between.items())),
    )


def candidates(protocol: Protocol, manifests: Sequence[Manifest]) -> pd.DataFrame:
    """Every usable row of a protocol with its `side` (train or test), before anything is chosen or dropped.

    Rows of the unlabelled part are on the train side. `source_key` is qualified as in `Selection`.

    Raises:
        ManifestError: two manifests share a face.
    """
    mine = manifests_used(protocol, manifests)
    pools, frames = group_pools(mine, protocol.groups), []
    for group in protocol.groups:
        train, test = train_and_test(protocol, group, pools[group.key])
        trained = train if group.label != UNSEEN else train.iloc[:0]  # no model is trained on an unseen group
        frames += [trained.assign(side="train"), test.assign(side="test")]
    frames += [pool.assign(side="train") for pool in _unlabelled_pools(protocol, mine).values()]
    return pd.concat(frames, ignore_index=True).drop_duplicates(["sample_id", "side"], ignore_index=True)


def rows_hash(rows: pd.DataFrame) -> str:
    """Hash of the chosen faces and their labels, whatever their order."""
    columns = ["sample_id", "crop_sha256", "group", "attribution_label", "detection_label"]
    return content_hash(sorted(map(list, rows[columns].astype(str).itertuples(index=False))))


def manifests_hash(manifests: Sequence[Manifest]) -> str:
    """One hash for the manifests of a run, whatever their order."""
    return content_hash(sorted([manifest.name, manifest.sha256] for manifest in manifests))


def hashes_by_dataset(manifests: Sequence[Manifest]) -> dict[str, str]:
    """The hash of each dataset's faces: its manifest's, or where there are several, one of theirs, in any order."""
    own: dict[str, list[str]] = {}
    for manifest in manifests:
        own.setdefault(manifest.name, []).append(manifest.sha256)
    return {name: some[0] if len(some) == 1 else content_hash(sorted(some)) for name, some in own.items()}


@dataclass
class _Parts:
    """What is chosen for training, and what was dropped on the way."""

    train: pd.DataFrame
    validation: pd.DataFrame
    unlabelled: pd.DataFrame
    leaks: list[str] = field(default_factory=list)
    leaks_between: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    short_groups: list[ShortGroup] = field(default_factory=list)

    def without_leaks(self, pool: pd.DataFrame, test: _Shared) -> pd.DataFrame:
        """Drop the rows that share a source or pixels with a test row, and count those not counted before."""
        same_pixels, leaking = test.pixels_in(pool), test.found_in(pool)
        new = leaking & ~pool["sample_id"].isin(self.leaks)
        self.leaks += pool.loc[new, "sample_id"].tolist()
        for pair in test.other_datasets(pool[new]):
            self.leaks_between[pair] = self.leaks_between.get(pair, 0) + 1
        self.duplicates += int((same_pixels & new).sum())
        return pool[~leaking]


class _Shared:
    """The sources and pixels of rows that are already chosen."""

    def __init__(self, frames: Collection[pd.DataFrame]) -> None:
        self._datasets: dict[str, set[str]] = {}  # source -> where its rows are from
        for frame in frames:
            for key, dataset in set(zip(sources_of(frame), frame["dataset"], strict=True)):
                self._datasets.setdefault(key, set()).add(dataset)
        self._pixels: set[str] = set().union(*(frame["crop_sha256"].dropna() for frame in frames))

    def pixels_in(self, rows: pd.DataFrame) -> pd.Series:
        """Which rows have the same pixels as one of them."""
        return rows["crop_sha256"].isin(self._pixels)

    def found_in(self, rows: pd.DataFrame) -> pd.Series:
        """Which rows share a source or pixels with one of them."""
        return self.pixels_in(rows) | sources_of(rows).isin(self._datasets)

    def other_datasets(self, rows: pd.DataFrame) -> Iterator[str]:
        """`one with another` for each row whose source stands here in another dataset only."""
        for key, dataset in zip(sources_of(rows), rows["dataset"], strict=True):
            others = self._datasets.get(key, set())
            if others and dataset not in others:
                yield f"{dataset} with {min(others)}"


def _is_missing(group: Group, train: pd.DataFrame, test: pd.DataFrame, training: bool) -> bool:
    return test.empty or (training and group.label != UNSEEN and train.empty)


def _tested(protocol: Protocol, pools: dict[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], list[ShortGroup]]:
    """The test rows of each group that has any, and the groups with too few."""
    test: dict[str, pd.DataFrame] = {}
    short_groups: list[ShortGroup] = []
    for group in protocol.groups:
        if not pools[group.key].empty:
            wanted = _wanted_count(group.test, protocol.test_per_group)
            test[group.key] = choose(pools[group.key], wanted, protocol.seed)
            short_groups += _short_groups(group, "test", wanted, len(test[group.key]))
    return test, short_groups


def _training(protocol: Protocol, seen: dict[str, pd.DataFrame], test: dict[str, pd.DataFrame]) -> _Parts:
    """Train and validation rows without leaks, and those training rows whose labels are hidden."""
    groups = {group.key: group for group in protocol.seen}
    no_rows = next(iter(seen.values())).iloc[:0]
    parts, tested, chosen = _Parts(no_rows, no_rows, no_rows), _Shared(test.values()), []
    for key, pool in seen.items():
        wanted = _wanted_count(groups[key].train, protocol.train_per_group)
        chosen.append(choose(parts.without_leaks(pool, tested), wanted, protocol.seed))
        parts.short_groups += _short_groups(groups[key], "train", wanted, len(chosen[-1]))
    rows = pd.concat(chosen, ignore_index=True).sort_values("sample_id", kind="stable")
    aside = ranks(rows["source_key"], f"{protocol.seed}:validation") < protocol.validation_share
    hidden = ~aside & (ranks(rows["source_key"], f"{protocol.seed}:unlabelled") < protocol.unlabelled_share)
    train, validation = rows[~aside & ~hidden], rows[aside]
    validation = validation[~_Shared([train]).found_in(validation)]  # the same pixels, or a source of two datasets
    if train.empty:
        raise ProtocolError(
            f"protocol {protocol.name}: no training faces are left ({len(parts.leaks)} dropped because they share a"
            f" source or their pixels with test faces, {len(validation)} set aside for validation, {int(hidden.sum())}"
            " for the unlabelled part)"
        )
    parts.train, parts.validation = train.reset_index(drop=True), validation.reset_index(drop=True)
    parts.unlabelled = without_labels(rows[hidden])
    return parts


def _add_unlabelled(
    protocol: Protocol, parts: _Parts, pools: dict[str, pd.DataFrame], test: dict[str, pd.DataFrame]
) -> None:
    """Complete the unlabelled part with the rows of the unlabelled groups."""
    tested, labelled, chosen = _Shared(test.values()), _Shared([parts.train, parts.validation]), [parts.unlabelled]
    chosen[0] = chosen[0][~labelled.found_in(chosen[0])]  # the same pixels under another source
    hidden = set(chosen[0]["sample_id"])
    for group in protocol.unlabelled:
        pool = parts.without_leaks(pools[group.key], tested)
        pool = pool[~labelled.found_in(pool) & ~pool["sample_id"].isin(hidden)]
        wanted = _wanted_count(group.train, protocol.unlabelled_per_group)
        chosen.append(choose(pool, wanted, protocol.seed))
        if not pools[group.key].empty:
            parts.short_groups += _short_groups(group, "unlabelled", wanted or 1, len(chosen[-1]))
    rows = pd.concat([frame for frame in chosen if len(frame)] or chosen[:1], ignore_index=True)
    parts.unlabelled = rows.sort_values("sample_id", kind="stable").reset_index(drop=True)


def _unlabelled_pools(protocol: Protocol, manifests: Sequence[Manifest]) -> dict[str, pd.DataFrame]:
    pools = group_pools(manifests, protocol.unlabelled)
    return {group.key: unlabelled_candidates(protocol, group, pools[group.key]) for group in protocol.unlabelled}


def _wanted_count(own: int | None, common: int | None) -> int | None:
    return common if own is None else own


def _short_groups(group: Group, part: str, wanted: int | None, found: int) -> list[ShortGroup]:
    return [ShortGroup(group.key, part, wanted, found)] if wanted is not None and found < wanted else []


def lacks_every_group(protocol: Protocol, manifests: Sequence[Manifest]) -> str:
    """What to do where no manifest is of a dataset that the protocol names."""
    return _missing_text(protocol, protocol.all_groups, manifests, partial=True)


def _missing_text(
    protocol: Protocol, missing: Collection[Group], manifests: Sequence[Manifest], *, partial: bool
) -> str:
    """What to do; `partial`: going on without the groups is no way out, as nothing would be left to test."""
    have = {manifest.name for manifest in manifests}
    lines = []
    for dataset in dict.fromkeys(group.dataset for group in missing):
        names = ", ".join(group.key.partition("/")[2] for group in missing if group.dataset == dataset)
        hint = "its manifest has no usable faces of them" if dataset in have else f"build {quoted(dataset)}"
        lines.append(f"{dataset} ({names}): {hint}")
    way_out = "" if partial else ", or go on without them with --allow-partial"
    if partial:
        lines.append(f"given are {listed(sorted(have)) or 'no manifests'}, with no face to test")
    return (
        f"protocol {protocol.name} lacks {len(missing)} of {len(protocol.all_groups)} groups: {'; '.join(lines)}."
        f" Make manifests with `dfad build-manifest --dataset NAME` and pass each with --manifest{way_out}"
    )
