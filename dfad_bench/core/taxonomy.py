"""Every generator once: family, forgery type, default class, aliases, prompt name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core.errors import ConfigError, UnknownNameError, quoted
from dfad_bench.core.labels import FAKE, PAPER_FAMILIES, REAL, UNLABELLED, UNSEEN, Family, ForgeryType
from dfad_bench.core.months import MONTH
from dfad_bench.core.quick_yaml import read_shipped_yaml
from dfad_bench.core.resources import SHIPPED, origin, per_include, table_files, yaml_files
from dfad_bench.core.strict import from_mapping, read_yaml

REAL_KEY = "real"
UNLABELLED_KEY = "unlabelled"
_OWN_ROWS = " Rows of your own come with `dfad --include DIR` (or a dataset file that declares them), or DFAD_INCLUDE."
_DRAWN = "synthetic-"  # how the keys of faces drawn by this toolkit begin
_ALMOST = 0.9  # similarity (0 to 1) from which a name is suggested before all others, a drawn stand-in's too
_KEY = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
MARKS = ("V", "W", "K-high", "K-medium", "K-low", "K")  # how a month is known; the legend heads `taxonomy.yaml`
ReleasedOf = Literal["paper", "weights", "code", "product", "announcement", "set", "versions"]
_UNDATED = {
    "set": "its month is that of a data set, newer than the methods in it",
    "versions": "several versions stand under one name",
}
_NOT_DECIDING = ("reference", "released", "released_of", "released_source", "personalised", "parent")


@dataclass(frozen=True)
class Generator:
    """One row of `taxonomy.yaml`.

    `key` is the name used everywhere in data; `display` is how papers print it; `prompt` is the name in the
    level-4 text prompt; `attribution_label` is the class of GazeCLIP Table I, -1 where it has none.

    `family` is what writes the pixels, `paper_family` where the papers' tables put it if not where `Family.grouping`
    says. `processed` is a real face that a restorer, filter, phone or codec has changed; `personalised` a new picture
    with a given identity; `parent` the row of which this is a version. `released` is a month (`YYYY-MM`) or None,
    `released_of` what came out then, `released_source` how that is known: one of `MARKS`, then where it was read.
    """

    key: str
    display: str
    forgery: ForgeryType
    family: Family
    attribution_label: int = UNSEEN
    prompt: str | None = None
    aliases: tuple[str, ...] = ()
    reference: str | None = None
    released: str | None = None
    released_of: ReleasedOf = "paper"
    released_source: str | None = None
    paper_family: Family | None = None
    processed: bool = False
    personalised: bool = False
    parent: str | None = None

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(
                f"key {quoted(self.key)} must be lower-case letters and digits, with '_' or '-' between them"
            )
        if empty := [name for name in (self.display, *self.aliases) if not _fold(name)]:
            raise ValueError(f"display and aliases need a letter or digit, got {quoted(empty[0])}")
        if self.attribution_label < UNSEEN:
            raise ValueError(f"attribution_label must be {UNSEEN} (none) or a class, got {self.attribution_label}")
        if self.forgery is not ForgeryType.NONE and self.detection_label != FAKE:
            raise ValueError("forgery must be none for real, processed and unlabelled faces")
        if self.forgery is ForgeryType.NONE and self.detection_label == FAKE and self.family is not Family.NONE:
            raise ValueError("forgery may be none (not known) only where the family is none, too")
        if self.processed and self.attribution_label != UNSEEN:
            raise ValueError("a processed real face is no class of attribution, so it has no attribution_label")
        if self.paper_family is not None and self.paper_family not in PAPER_FAMILIES:
            known = ", ".join(family.value for family in PAPER_FAMILIES)
            raise ValueError(f"paper_family must be one of {known}, got {self.paper_family.value}")
        self._check_month()

    def _check_month(self) -> None:
        if self.released is None:
            if self.released_source is not None or self.released_of != "paper":
                raise ValueError("released_of and released_source say something of a month, and `released` has none")
            return
        if not MONTH.fullmatch(self.released):
            raise ValueError(f"released must be a month as 2024-08, got {quoted(self.released)}")
        if self.source_mark not in MARKS:
            raise ValueError(f"released_source must begin with one of {', '.join(MARKS)}: how the month is known")

    @property
    def source_mark(self) -> str | None:
        """How the month is known: one of `MARKS`; None where there is no month."""
        return None if self.released_source is None else self.released_source.partition(" ")[0]

    @property
    def undated_reason(self) -> str | None:
        """Why a split by release month cannot place the generator; None where it can."""
        return "its month is not known" if self.released is None else _UNDATED.get(self.released_of)

    @property
    def grouping(self) -> Family:
        """The family under which manifests and the papers' tables group it; none for real faces, processed ones too."""
        if self.processed:
            return Family.NONE
        return self.family.grouping if self.paper_family is None else self.paper_family

    @property
    def detection_label(self) -> int:
        """0 for real faces, processed ones too, 1 for forged ones, -1 where neither is known."""
        return REAL if self.processed else {REAL_KEY: REAL, UNLABELLED_KEY: UNLABELLED}.get(self.key, FAKE)

    @property
    def definition(self) -> dict[str, Any]:
        """All of the row that can decide a number; a month cannot, since groups chosen by it are listed in a protocol.

        Fields that came later stand in it only where they are set, so that earlier hashes stay.
        """
        row = asdict(self) | {"forgery": self.forgery.value, "family": self.family.value}
        late = {"paper_family": self.paper_family and self.paper_family.value, "processed": self.processed}
        kept = {key: value for key, value in row.items() if key not in (*_NOT_DECIDING, *late)}
        return kept | {key: value for key, value in late.items() if value}


class Taxonomy:
    """The generators by key, by display name and by alias; look-ups ignore case, spaces, `-`, `_` and `.`.

    Args:
        generators: the rows.
        files: the file of each row by key, where several files make one taxonomy.
        included: keys of the rows that are not shipped.
    """

    def __init__(
        self,
        generators: tuple[Generator, ...],
        files: Mapping[str, Path] | None = None,
        included: frozenset[str] = frozenset(),
    ) -> None:
        self._files, self._included = dict(files or {}), included
        self._by_key = {g.key: g for g in generators}
        self._by_name: dict[str, Generator] = {}
        labels: dict[int, Generator] = {}
        for generator in generators:
            for name in {_fold(n) for n in (generator.key, generator.display, *generator.aliases)}:
                if name in self._by_name:
                    raise ConfigError(
                        f"taxonomy: {quoted(name)} names both {self._by_name[name].key} and {generator.key}"
                    )
                self._by_name[name] = generator
            if generator.attribution_label in labels:
                other = labels[generator.attribution_label].key
                raise ConfigError(
                    f"taxonomy: attribution_label {generator.attribution_label} is of both {other} and {generator.key}"
                )
            if generator.attribution_label != UNSEEN:
                labels[generator.attribution_label] = generator
        if orphans := [g for g in generators if g.parent is not None and g.parent not in self._by_key]:
            where = self._files.get(orphans[0].key, "taxonomy")
            raise ConfigError(f"{where}: {orphans[0].key}: parent {quoted(orphans[0].parent)} is no key")

    def __iter__(self) -> Iterator[Generator]:
        return iter(self._by_key.values())

    def __contains__(self, name: str) -> bool:
        return _fold(name) in self._by_name

    def __getitem__(self, name: str) -> Generator:
        """The generator of a key, display name or alias.

        Raises:
            UnknownNameError: with the nearest keys.
        """
        try:
            return self._by_name[_fold(name)]
        except KeyError:
            raise UnknownNameError("generator", name, self._by_key, _OWN_ROWS, self.nearest_keys(name)) from None

    def nearest_keys(self, name: str) -> list[str]:
        """At most two keys whose names are like `name`; drawn stand-ins for their own names only."""
        known = [other for other, row in self._by_name.items() if not row.key.startswith(_DRAWN)]
        found = get_close_matches(_fold(name), self._by_name, n=2, cutoff=_ALMOST)
        found = found or get_close_matches(_fold(name), known, n=4)
        return list(dict.fromkeys(self._by_name[other].key for other in found))[:2]

    @cached_property
    def processed(self) -> frozenset[str]:
        """Keys of processed real faces."""
        return frozenset(row.key for row in self if row.processed)

    def file_of(self, key: str) -> Path:
        """The file that holds the row of a key."""
        return self._files[key]

    def included(self, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Definitions of the generators that are not shipped, by key; of `names` only, where they are given.

        Hashes of protocols and datasets cover them.

        Raises:
            UnknownNameError: a name that is not in the taxonomy.
        """
        wanted = self._included if names is None else {self[name].key for name in names}
        return {key: self._by_key[key].definition for key in sorted(wanted & self._included)}


def read_rows(path: Path) -> tuple[Generator, ...]:
    """The rows of a taxonomy file: a mapping from key to the other fields of `Generator`.

    Raises:
        ConfigError: a bad row.
    """
    return _rows(read_yaml(path, unicode_only=True), str(path))


def _rows(raw: Any, where: str) -> tuple[Generator, ...]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: must be a mapping of generators")
    rows = []
    for key, row in raw.items():
        if row is not None and not isinstance(row, dict):
            raise ConfigError(f"{where}: {key}: must be a mapping, got {quoted(row)}")
        if "key" in (row or {}):
            raise ConfigError(f"{where}: {key}: unknown key 'key'; the row's own name is its key")
        rows.append(from_mapping(Generator, {"key": key, **(row or {})}, f"{where}: {key}"))
    return tuple(rows)


def rows_of_dataset(path: Path) -> tuple[Generator, ...]:
    """The generators that a dataset file declares under its key `taxonomy`.

    Raises:
        ConfigError: a bad row. A file that is not readable at all declares none: its own reader says what is wrong.
    """
    try:
        raw = read_yaml(path, unicode_only=True)
    except ConfigError:
        return ()
    declared = raw.get("taxonomy") if isinstance(raw, dict) else None
    return () if declared is None else _rows(declared, f"{path}: taxonomy")


@cache  # the same, whichever folders are included
def _shipped_rows(path: Path) -> tuple[Generator, ...]:
    return _rows(read_shipped_yaml(path), str(path))


@per_include
def taxonomy() -> Taxonomy:
    """The shipped taxonomy with the rows of included folders: of their `taxonomy.yaml` and of their dataset files.

    Two dataset files may declare the same generator in the same words.

    Raises:
        ConfigError: a bad row of an included folder, or one that shares a name or label with another; both are named.
    """
    shipped, *others = table_files("taxonomy.yaml")
    known = list(_shipped_rows(shipped))
    shipped_rows, files = len(known), {row.key: shipped for row in known}
    for path in others:
        for row in read_rows(path):
            _refuse_clash(row, path, known, files)
            known.append(row)
            files[row.key] = path
    for path in (path for path in yaml_files("manifests", "datasets").values() if origin(path) != SHIPPED):
        for row in rows_of_dataset(path):
            if row not in known[shipped_rows:]:
                _refuse_clash(row, path, known, files)
                known.append(row)
                files[row.key] = path
    return Taxonomy(tuple(known), files, frozenset(key for key, path in files.items() if path != shipped))


def _refuse_clash(row: Generator, path: Path, known: Iterable[Generator], files: Mapping[str, Path]) -> None:
    """Refuse an included row that has a name or the label of another, and name the file of both."""
    names = {_fold(name): name for name in (row.key, row.display, *row.aliases)}
    for other in known:
        where = f"{quoted(other.key)} of {files[other.key]}"
        for name in (other.key, other.display, *other.aliases):
            if _fold(name) in names:
                raise ConfigError(
                    f"{path}: {row.key}: the name {quoted(names[_fold(name)])} is taken by {where}; rename it"
                )
        if row.attribution_label == other.attribution_label != UNSEEN:
            raise ConfigError(f"{path}: {row.key}: attribution_label {row.attribution_label} is that of {where}")


def _fold(name: str) -> str:
    """What look-ups compare: without case, spaces, `-`, `_`, `.`, and whichever way Unicode writes an accent."""
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c not in " -_.")
