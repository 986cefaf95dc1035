"""A protocol: which groups are seen and unseen, how many faces of each, and how they are scored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core import bounds
from dfad_bench.core.bounds import check_bounds
from dfad_bench.core.crop_rules import CropRule, check_rules
from dfad_bench.core.dated_groups import ReleaseMonths, deal_by_month
from dfad_bench.core.errors import ConfigError, cut, quoted
from dfad_bench.core.files import content_hash
from dfad_bench.core.labels import UNSEEN, group_key
from dfad_bench.core.resources import SHIPPED, earlier_versions, find_yaml, origin, yaml_names
from dfad_bench.core.strict import from_mapping, read_yaml
from dfad_bench.core.taxonomy import REAL_KEY, Generator, taxonomy


@dataclass(frozen=True)
class Group:
    """One generator of one dataset, or one source of it: one column of a table.

    `label` is the attribution class in this protocol (seen groups only). `train` and `test` override the protocol's
    counts for this group; of an unlabelled group, `train` overrides `unlabelled_per_group`. `split` narrows the
    rows to a split of the dataset, `source` to one of several collections the dataset distinguishes. `in_average`
    False keeps an unseen group out of the attribution averages (a real set that only detection needs, GazeCLIP
    Table III).
    """

    generator: str
    dataset: str
    label: int = UNSEEN
    train: int | None = None
    test: int | None = None
    split: str | None = None
    in_average: bool = True
    source: str | None = None

    @property
    def key(self) -> str:
        """`dataset/generator` or `dataset/generator:source`, the group's name in predictions, records and tables."""
        return group_key(self.dataset, self.generator, self.source)

    @property
    def taxon(self) -> Generator:
        """The generator's row of the taxonomy."""
        return taxonomy()[self.generator]


@dataclass(frozen=True)
class AttributionRule:
    """Unseen where the largest softmax probability is below a threshold (BMRL section 4.1)."""

    rule: Literal["max_probability"] = "max_probability"
    thresholds: tuple[float, ...] = (0.9,)
    headline: float = 0.9

    def __post_init__(self) -> None:
        if self.headline not in self.thresholds:
            raise ValueError(f"headline {self.headline} is not among thresholds {quoted(list(self.thresholds))}")
        if not all(0 < t < 1 for t in self.thresholds):
            raise ValueError(f"thresholds must lie between 0 and 1, got {quoted(list(self.thresholds))}")
        check_bounds("the number of thresholds", len(self.thresholds), 1, bounds.LEVELS)


@dataclass(frozen=True)
class CorruptionPlan:
    """Which corruptions (names of `manifests/corruptions.yaml`) a robustness protocol tests, and at which severities.

    `corrupt_at`: side of the crops that are corrupted, before they are resized to the protocol's `image_size`; None
    for the crops' own.
    """

    names: tuple[str, ...]
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    corrupt_at: int | None = None

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"corruptions must be named, each once; got {quoted(list(self.names))}")
        if not self.severities or list(self.severities) != sorted(set(self.severities)) or self.severities[0] < 1:
            raise ValueError(f"severities must rise from 1 or more; got {quoted(list(self.severities))}")
        check_bounds("severities", self.severities[-1], 1, bounds.LEVELS)
        check_bounds("corrupt_at", self.corrupt_at, 8, bounds.SIDE, null=True)


@dataclass(frozen=True)
class Protocol:
    """One table's rules. Counts are faces per group; `None` takes every face there is.

    `split`: "source" trusts the split column of the manifest, "hash" deals source keys by seeded hash into
    `test_share` of test and the rest train, "auto" takes "source" for the groups that carry splits.

    The unlabelled part is for models that also learn from faces whose labels they are not given. It consists of the
    faces of the `unlabelled` groups, which may be of any generator, seen, unseen or neither (as in OW-DFA, whose
    unlabelled faces are mostly of generators without labels), and of the faces of `unlabelled_share` of the sources
    chosen for training, whose labels are hidden. Models that learn from faces of an unseen generator are transductive:
    compare their numbers with each other only. No source and no pixels are shared between the unlabelled part and
    training, validation or test.

    `crops` names the crop profiles its manifests are made with, and thereby which may be mixed; without it, all are
    made with one (`dfad_bench.data.crop_profiles`).

    `families` says by which families of the taxonomy generators are near or far: those under which the papers group
    them, or the precise ones. `released` and `left_out` say how groups of the file's `dated` were dealt by month
    (`core.dated_groups`); the groups themselves are in the hash.

    `seeds` are those that a row of the table is the mean of; a board says where a row has others. They are in no hash,
    since no number of one run depends on them.
    """

    name: str
    version: int
    title: str
    seen: tuple[Group, ...]
    unseen: tuple[Group, ...] = ()
    paper: str | None = None
    image_size: int = 256
    train_per_group: int | None = None
    test_per_group: int | None = None
    validation_share: float = 0.1
    split: Literal["auto", "source", "hash"] = "auto"
    test_share: float = 0.2
    attribution: AttributionRule = AttributionRule()
    average: Literal["macro"] = "macro"
    seed: int = 0
    on_short: Literal["error", "warn"] = "error"
    synthetic: bool = False
    corruptions: CorruptionPlan | None = None
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    unlabelled: tuple[Group, ...] = ()
    unlabelled_per_group: int | None = None
    unlabelled_share: float = 0.0
    crops: tuple[CropRule, ...] = ()
    seeds: tuple[int, ...] = ()
    families: Literal["paper", "precise"] = "paper"
    released: ReleaseMonths | None = None
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        labels = [group.label for group in self.seen]
        if sorted(labels) != list(range(len(labels))):
            raise ValueError(f"seen labels must be 0 to {len(labels) - 1}, each once; got {quoted(sorted(labels))}")
        if labelled := [g.key for g in self.unseen if g.label != UNSEEN]:
            raise ValueError(f"unseen groups carry no label: {labelled}")
        keys = [group.key for group in self.groups]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"groups listed twice: {quoted(twice)}")
        for kind in (self.groups, self.unlabelled):
            whole = {(group.dataset, group.generator) for group in kind if group.source is None}
            if twice := [g.key for g in kind if g.source is not None and (g.dataset, g.generator) in whole]:
                name, part = twice[0].rpartition(":")[0], twice[0]
                raise ValueError(f"{cut(part)} is part of {cut(name)}, which is a group as well")
        if processed := [g.key for g in self.seen if g.generator in taxonomy() and g.taxon.processed]:
            raise ValueError(
                f"{cut(processed[0])}: processed real faces are no class of attribution; list them as unseen"
            )
        self._check_unlabelled()
        check_rules(self.crops, {group.dataset for group in self.all_groups})
        counts = [self.train_per_group, self.test_per_group, self.unlabelled_per_group]
        counts += [n for g in self.all_groups for n in (g.train, g.test)]
        if bad := [count for count in (*counts, self.image_size) if count is not None and count < 1]:
            raise ValueError(f"counts of faces and image_size must be 1 or more, got {bad[0]}")
        check_bounds("image_size", self.image_size, 1, bounds.SIDE)
        for count in counts:
            check_bounds("a count of faces", count, 1, bounds.FACES, null=True)
        if len(set(self.seeds)) < len(self.seeds) or any(seed < 0 for seed in self.seeds):
            raise ValueError(f"seeds are 0 or more, each once; got {quoted(list(self.seeds))}")
        for share in (self.validation_share, self.test_share, self.unlabelled_share):
            if not 0 <= share < 1:
                raise ValueError(f"shares must lie in [0, 1), got {share}")

    def _check_unlabelled(self) -> None:
        if labelled := [group.key for group in self.unlabelled if group.label != UNSEEN]:
            raise ValueError(f"unlabelled groups carry no label: {labelled}")
        if tested := [group.key for group in self.unlabelled if group.test is not None]:
            raise ValueError(f"unlabelled groups are not tested, so they carry no test count: {tested}")
        keys = [group.key for group in self.unlabelled]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"unlabelled groups listed twice: {quoted(twice)}")
        if self.unlabelled_per_group is not None and not self.unlabelled:
            raise ValueError("unlabelled_per_group counts the faces of unlabelled groups, and none is listed")

    @property
    def groups(self) -> tuple[Group, ...]:
        """Seen groups in label order, then unseen groups as listed."""
        return (*sorted(self.seen, key=lambda g: g.label), *self.unseen)

    @property
    def all_groups(self) -> tuple[Group, ...]:
        """Seen, unseen, then unlabelled groups; a group may be tested and unlabelled, and is then listed twice."""
        return (*self.groups, *self.unlabelled)

    @property
    def has_unlabelled(self) -> bool:
        """Whether models are given faces without labels."""
        return bool(self.unlabelled) or self.unlabelled_share > 0

    @property
    def left_out_note(self) -> str | None:
        """In a line, which dated groups are neither seen nor unseen, and why; None where all are."""
        if not self.left_out:
            return None
        return f"protocol {self.name}: left out by month: {'; '.join(self.left_out)}"

    @property
    def num_generators(self) -> int:
        """Classes of the attribution expert (`real` counts as one where it is seen)."""
        return len(self.seen)

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides a number; titles and notes are left out.

        Generators that are not shipped count with their rows of the taxonomy, shipped ones by name.
        """
        cosmetic = {"title", "paper", "notes", "changes", "seeds", "released", "left_out"}
        if self.corruptions is None:  # protocols without corruptions keep the hash they had before there were any
            cosmetic.add("corruptions")
        before: dict[str, Any] = {"unlabelled": (), "unlabelled_per_group": None, "unlabelled_share": 0.0, "crops": ()}
        before["families"] = "paper"  # likewise
        cosmetic |= {name for name, value in before.items() if getattr(self, name) == value}
        values = {k: v for k, v in asdict(self).items() if k not in cosmetic}
        for group in (group for name in ("seen", "unseen", "unlabelled") for group in values.get(name, ())):
            if group["source"] is None:
                del group["source"]  # likewise
        rows = self.included_generators
        return content_hash({**values, "included_generators": rows} if rows else values)

    @property
    def included_generators(self) -> dict[str, Any]:
        """Rows of the taxonomy that the protocol uses and that are not shipped, by key; {} for most protocols."""
        return taxonomy().included(group.generator for group in self.all_groups)


def read_protocol(path: Path) -> Protocol:
    """The protocol of a file, its dated groups dealt; whether its names exist is not looked at.

    Raises:
        ConfigError: a bad file.
    """
    return from_mapping(Protocol, deal_by_month(read_yaml(path, unicode_only=True), str(path)), str(path))


def load_protocol(name: str) -> Protocol:
    """A shipped or included protocol by name, an earlier version of it by `name@version`, or the user's own by path.

    Raises:
        UnknownNameError, ConfigError: no such protocol, or a bad file.
    """
    path = find_yaml("manifests", "protocols", name)
    protocol = read_protocol(path)
    for group in protocol.all_groups:
        if group.generator not in taxonomy():
            raise ConfigError(
                f"{path}: generator {quoted(group.generator)} is not in the taxonomy;"
                " rows of your own come with --include"
            )
        if group.generator != group.taxon.key:  # an alias or a display name, which no row of a manifest has
            raise ConfigError(f"{path}: write the generator's key {group.taxon.key!r}, not {quoted(group.generator)}")
    if path.stem not in (protocol.name, f"{protocol.name}@{protocol.version}"):
        raise ConfigError(f"{path}: name {quoted(protocol.name)} must equal the file's name")
    if origin(path) != SHIPPED:
        _check_groups(protocol, str(path))
    return protocol


def _check_groups(protocol: Protocol, where: str) -> None:
    """Hold an included protocol to what tests hold the shipped ones to."""
    shared = {group.generator for group in protocol.seen} & {group.generator for group in protocol.unseen}
    if both := sorted(shared - {REAL_KEY}):
        raise ConfigError(f"{where}: {quoted(both[0])} is both seen and unseen; only {quoted(REAL_KEY)} may be")


def protocol_names() -> list[str]:
    """The shipped and included protocols, each in its newest version."""
    return yaml_names("manifests", "protocols")


def earlier_protocol_names() -> list[str]:
    """The earlier versions of shipped protocols, as `name@version`."""
    return list(earlier_versions("manifests", "protocols"))
