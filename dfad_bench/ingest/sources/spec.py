"""The strict reader of dataset files (`manifests/datasets/*.yaml`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.files import content_hash, sha256_file
from dfad_bench.core.resources import SHIPPED, find_yaml, include, origin, shipped, yaml_files
from dfad_bench.core.strict import read_dataclass
from dfad_bench.core.taxonomy import rows_of_dataset, taxonomy
from dfad_bench.ingest.sources.template import Template

_COSMETIC = (
    "title",
    "licence",
    "homepage",
    "citation",
    "obtain",
    "expected",
    "expected_of",
    "expected_files",
    "notes",
    "index",
    "follow_links",  # a setting of the build
    "taxonomy",  # its rows are covered as those of included folders are
)
LISTED_FIELDS = ("compression", "dataset", "label")  # of a DeepfakeBench JSON, for `only`
ALL = "all"  # key of `expected` for all splits together


@dataclass(frozen=True)
class Entry:
    """One kind of path below the source folder.

    `generator` and `split` are for templates that do not hold them. `source_key` names what must stay in one split
    (an identity, a video). `source` names which of several collections of the dataset a face is from, for protocols
    that tell them apart. `target` lists possible paths of the real target face, of which the first that exists
    counts; with `target_dataset` the face is in another dataset and is not searched. `candidates` name the real
    videos or images one of which must be the target, where the name does not say which (`dfad infer-pairs` compares
    them). `medium: video` reads files of any name as videos; a path that ends in `{ext:video}` does not need it.
    """

    path: str
    generator: str | None = None
    split: str | None = None
    source_key: str | None = None
    source: str | None = None
    target: tuple[str, ...] = ()
    target_dataset: str | None = None
    pair_confidence: float = 1.0
    candidates: tuple[str, ...] = ()
    medium: Literal["image", "video"] | None = None

    def __post_init__(self) -> None:
        fields = set(Template(self.path).fields)
        if "generator" not in fields and self.generator is None:
            raise ValueError(f"entry {quoted(self.path)} needs {{generator}} in its path or the key `generator`")
        for text in (*self.target, *self.candidates, *(text for text in (self.source_key, self.source) if text)):
            if unknown := set(Template(text).fields) - fields - {"ext"}:
                raise ValueError(
                    f"{quoted(text)} uses {quoted(sorted(unknown))}, which {quoted(self.path)} does not give"
                )
        if self.target_dataset and any("{ext}" in text for text in self.target):
            raise ValueError("a target in another dataset needs an explicit extension")

    @property
    def videos(self) -> bool:
        """Whether files of this kind are videos or animations, of which frames are taken."""
        return self.medium == "video" or (self.medium is None and "{ext:video}" in self.path)


@dataclass(frozen=True)
class NumberSplit:
    """The split by the number of an image: `below` says at which number each split ends, the others are `rest`.

    The number is the field `field` of the path, or the number that a text file beside the images maps it to:
    columns separated by white space, a header first; `key` is the column of the image's number, `value` that of the
    number that decides.
    """

    field: str
    below: dict[str, int]
    rest: str
    file: str | None = None
    key: int = 0
    value: int = 1

    def __post_init__(self) -> None:
        if list(self.below.values()) != sorted(self.below.values()) or self.key < 0 or self.value < 0:
            raise ValueError("`below` must rise, `key` and `value` are columns from 0")

    def split_of(self, number: int) -> str:
        """The split of a number.

        >>> NumberSplit("image", {"train": 60000}, "test").split_of(60000)
        'test'
        """
        return next((split for split, end in self.below.items() if number < end), self.rest)


@dataclass(frozen=True)
class Pairing:
    """Forged files whose path fits `path` have their real target at `target`: the first of these that is listed."""

    path: str
    target: tuple[str, ...]

    def __post_init__(self) -> None:
        for text in self.target:
            if unknown := set(Template(text).fields) - set(Template(self.path).fields):
                raise ValueError(
                    f"{quoted(text)} uses {quoted(sorted(unknown))}, which {quoted(self.path)} does not give"
                )


@dataclass(frozen=True)
class TableSpec:
    """A CSV beside the files: columns are named in braces, `where` keeps rows whose column holds a value."""

    file: str
    path: str = "{path}"
    generator: str = "{generator}"
    split: str | None = None
    source_key: str | None = None
    source: str | None = None
    where: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pairs: tuple[Pairing, ...] = ()


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset: where it comes from, the layout of its files, which generator each folder is.

    `generators` maps names in paths or tables to taxonomy keys; where it is empty, names are looked up in the
    taxonomy itself. `taxonomy` declares generators that the toolkit does not know, as rows of `taxonomy.yaml`. `skip`
    lists paths that are known and not read; of the paths that fit, `only` keeps those whose field holds one of the
    values (a compression level, for example). `expected` is the number of faces or videos of
    each generator in the release, as one number or by split (with `all` for the total), counted in `expected_of`;
    `expected_files` maps paths of a complete copy (`{0..49}` stands for many) to what is missing without them.
    """

    name: str
    version: int
    title: str
    licence: str
    layout: Literal["folders", "table", "videos", "archives", "image_folder", "deepfakebench"]
    homepage: str | None = None
    citation: str | None = None
    obtain: str | None = None  # how a user gets it, one line
    crop: str = "face-256-1.3"
    entries: tuple[Entry, ...] = ()
    table: TableSpec | None = None
    split_by: NumberSplit | None = None  # where neither path nor entry gives the split
    lists: Literal["celeb_df", "faceforensics", "dfdc"] | None = None  # whose own lists of splits and labels to read
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)  # field of a path -> values that are read
    once: bool = False  # of several images with one source key only that of the first entry (copies in other sizes)
    generators: dict[str, str] = field(default_factory=dict)
    taxonomy: dict[str, dict[str, Any]] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    expected: dict[str, int | dict[str, int]] = field(default_factory=dict)
    expected_of: Literal["images", "videos", "sequences"] = "images"
    expected_files: dict[str, str] = field(default_factory=dict)
    generator_option: bool = False  # --generator NAME may replace the entries' generator
    notes: tuple[str, ...] = ()
    index: str | None = None  # the file of --from-deepfakebench
    index_sha256: str | None = None
    prefixes: dict[str, str] = field(default_factory=dict)  # of --map-prefix: beginnings of listed paths -> theirs here
    follow_links: bool = False  # of --follow-links

    def __post_init__(self) -> None:
        needed = {"table": "table", "deepfakebench": None}.get(self.layout, "entries")
        if any(bool(getattr(self, key)) != (key == needed) for key in ("table", "entries")):
            raise ValueError(f"layout {quoted(self.layout)} needs {f'`{needed}` only' if needed else 'no entries'}")
        for split in (self.split_by,) if self.split_by else ():
            if not any(split.field in Template(entry.path).fields for entry in self.entries):
                raise ValueError(f"split_by: no path has a field {quoted(split.field)}")
        for text in self.skip:
            Template(text)
        used = [*self.generators.values(), *self.expected, *(e.generator for e in self.entries if e.generator)]
        for key in used:
            if key not in taxonomy() or taxonomy()[key].key != key:
                near = " or ".join(taxonomy().nearest_keys(key))
                suggestion = f"; did you mean {near}?" if near else ""
                raise ValueError(
                    f"{quoted(key)} is not a key of the taxonomy{suggestion} (`dfad list generators` shows them;"
                    " declare one of your own under `taxonomy` of this file)"
                )

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides which rows there are, and of the generators that are not shipped.

        A dataset that names its generators is covered by their rows; one that looks folder names up in the taxonomy,
        by every included row.
        """
        values = {key: value for key, value in asdict(self).items() if key not in _COSMETIC}
        if not self.prefixes:
            del values["prefixes"]  # so that hashes of earlier builds stay the same
        for part in (*values["entries"], *([values["table"]] if values["table"] else [])):
            if part["source"] is None:
                del part["source"]  # likewise
        named = self.generators and self.layout != "deepfakebench"
        used = [*self.generators.values(), *(entry.generator for entry in self.entries if entry.generator)]
        rows = taxonomy().included(used if named else None)
        return content_hash({**values, "included_generators": rows} if rows else values)

    @cached_property
    def _folded(self) -> Mapping[str, str]:
        return {name.casefold(): key for name, key in self.generators.items()}

    def generator_of(self, name: str) -> str | None:
        """The taxonomy key of a name in a path or table, or None."""
        if self.generators:
            return self._folded.get(name.casefold())
        return taxonomy()[name].key if name in taxonomy() else None

    def split_of(self, name: str | None) -> str | None:
        """The split a name in a path or table stands for."""
        if not name:
            return None
        folded = {key.casefold(): value for key, value in self.splits.items()}
        return sys.intern(folded.get(name.casefold(), name.lower()))  # one string object for a million samples

    def with_generator(self, name: str) -> DatasetSpec:
        """The same dataset with every face attributed to one generator (`--generator`).

        Raises:
            ConfigError: the layout of this dataset gives the generators.
            UnknownNameError: not in the taxonomy.
        """
        if not self.generator_option:
            raise ConfigError(
                f"dataset {quoted(self.name)} gives its generators by its layout; --generator is for `images`"
            )
        key = taxonomy()[name].key
        return replace(self, entries=tuple(replace(entry, generator=key) for entry in self.entries))

    def with_only(self, only: Mapping[str, str]) -> DatasetSpec:
        """The same dataset, reading other values of a field of its paths (`--only compression=c40`).

        Raises:
            ConfigError: no path has such a field.
        """
        known = sorted({name for entry in self.entries for name in Template(entry.path).fields})
        if self.index is not None:
            known = [*LISTED_FIELDS]
        if unknown := sorted(set(only) - set(known)):
            there = listed(known) or "none"
            raise ConfigError(f"dataset {self.name!r}: no path has a field {quoted(unknown[0])}; there are {there}")
        return replace(self, only={**self.only, **{name: tuple(text.split(",")) for name, text in only.items()}})

    def with_index(self, file: Path) -> DatasetSpec:
        """The same dataset, listed by a DeepfakeBench JSON (`--from-deepfakebench`) instead of by its folders.

        Raises:
            ConfigError: no such file.
        """
        if not file.is_file():
            raise ConfigError(f"{file}: no such file")
        digest = sha256_file(file)
        return replace(
            self,
            layout="deepfakebench",
            entries=(),
            table=None,
            split_by=None,
            expected={},  # known for the release, not for the selection of a list
            expected_files={},
            index=str(file),
            index_sha256=digest,
        )

    def with_prefixes(self, prefixes: Mapping[str, str]) -> DatasetSpec:
        """The same dataset, with the beginnings of listed paths replaced (`--map-prefix OLD=NEW`).

        Raises:
            ConfigError: its files are found by folders, not by a list.
        """
        if self.index is None and self.table is None:
            raise ConfigError(f"dataset {quoted(self.name)} reads no list of files; --map-prefix is for lists")
        return replace(self, prefixes={**self.prefixes, **prefixes})

    def with_links(self) -> DatasetSpec:
        """The same dataset, following links out of the source folder (`--follow-links`)."""
        return replace(self, follow_links=True)

    def layout_lines(self) -> str:
        """The expected layout in one line, for errors."""
        if self.layout == "deepfakebench":
            return "the frames that the JSON of --from-deepfakebench lists"
        if self.table is not None:
            return f"{self.table.file} beside the files it lists"
        shown = list(dict.fromkeys(entry.path for entry in self.entries))
        return " or ".join(shown[:3]) + (" ..." if len(shown) > 3 else "")


@contextmanager
def declared_generators(dataset: str | Path) -> Iterator[None]:
    """Inside the block, here and in processes started in it, generators that a dataset file declares are known.

    Those of an included file are known anyway; this is for a file that is named by its path.

    Raises:
        UnknownNameError, ConfigError: no such dataset, or a name it declares is taken.
    """
    path = find_yaml("manifests", "datasets", str(dataset))
    own = origin(path) == SHIPPED and not path.resolve().is_relative_to(shipped("manifests").resolve())
    if own and rows_of_dataset(path):
        with include(path):
            yield
    else:
        yield


def dataset_names() -> list[str]:
    """Every shipped and included dataset.

    Raises:
        ConfigError: see `core.resources.yaml_files`.
    """
    return sorted(yaml_files("manifests", "datasets"))


def load_dataset_spec(name: str) -> DatasetSpec:
    """A shipped or included dataset by name, or the user's own by path.

    Raises:
        UnknownNameError, ConfigError: no such dataset, or a bad file.
    """
    path = find_yaml("manifests", "datasets", name)
    with declared_generators(path):
        spec = read_dataclass(DatasetSpec, path)
    if spec.index is not None or spec.index_sha256 is not None:
        raise ConfigError(f"{path}: `index` is for --from-deepfakebench, not for dataset files")
    if spec.prefixes:
        raise ConfigError(f"{path}: `prefixes` is for --map-prefix, not for dataset files")
    if spec.follow_links:
        raise ConfigError(f"{path}: `follow_links` is for --follow-links, not for dataset files")
    if path.stem != spec.name:
        raise ConfigError(f"{path}: name {quoted(spec.name)} must equal the file's name")
    return spec
