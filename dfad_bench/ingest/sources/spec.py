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
from dfad_bench.ingest.sources.spec_parts import ColumnsSpec, Entry, ListSpec, NumberSplit, TableSpec
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
    "reals_in",
    "unknown",
    "notes",
    "index",
    "follow_links",  # a setting of the build
    "taxonomy",  # its rows are covered as those of included folders are
    "show_faces",  # decides what is shown, not what is read
)
LISTED_FIELDS = ("compression", "dataset", "label")  # of a DeepfakeBench JSON, for `only`
ALL = "all"  # key of `expected` for all splits together


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset: where it comes from, the layout of its files, which generator each folder is.

    `generators` maps names in paths or tables to taxonomy keys; where it is empty, names are looked up in the
    taxonomy itself. `taxonomy` declares generators that the toolkit does not know, as rows of `taxonomy.yaml`. `skip`
    lists paths that are known and not read; of the paths that fit, `only` keeps those whose field holds one of the
    values (a compression level, for example). `expected` is the number of faces or videos of
    each generator in the release, as one number or by split (with `all` for the total), counted in `expected_of`;
    `expected_files` maps paths of a complete copy (`{0..49}` stands for many) to what is missing without them.
    `labels` says what values without a name mean (`{"0": real, "1": fake}`), and `reals_in` names the datasets that
    hold the real faces of a release that has none of its own, with what they are. `unknown` says what could not be
    learnt of the release.
    """

    name: str
    version: int
    title: str
    licence: str
    layout: Literal["folders", "table", "videos", "archives", "image_folder", "hf_parquet", "deepfakebench"]
    homepage: str | None = None
    citation: str | None = None
    obtain: str | None = None  # how a user gets it, one line
    crop: str = "face-256-1.3"
    entries: tuple[Entry, ...] = ()
    table: TableSpec | None = None
    columns: ColumnsSpec = ColumnsSpec()
    labels: dict[str, str] = field(default_factory=dict)  # value of a label -> generator; also of --labels
    split_by: NumberSplit | None = None  # where neither path nor entry gives the split
    lists: Literal["celeb_df", "faceforensics", "dfdc", "forgerynet"] | None = (
        None  # whose own lists of splits and labels to read
    )
    listed: tuple[ListSpec, ...] = ()  # lists of labels, splits and forged intervals
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)  # field of a path -> values that are read
    once: bool = False  # of several images with one source key only that of the first entry (copies in other sizes)
    generators: dict[str, str] = field(default_factory=dict)
    taxonomy: dict[str, dict[str, Any]] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    expected: dict[str, int | dict[str, int]] = field(default_factory=dict)
    expected_of: Literal["images", "videos", "sequences"] = "images"
    expected_files: dict[str, str] = field(default_factory=dict)
    reals_in: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()  # what could not be learnt of the release; the doctor says it
    generator_option: bool = False  # --generator NAME may replace the entries' generator
    notes: tuple[str, ...] = ()
    index: str | None = None  # the file of --from-deepfakebench
    index_sha256: str | None = None
    prefixes: dict[str, str] = field(default_factory=dict)  # of --map-prefix: beginnings of listed paths -> theirs here
    follow_links: bool = False  # of --follow-links
    show_faces: bool = False  # whether its licence lets reports and pages show its faces

    def __post_init__(self) -> None:
        needed = {"table": "table", "deepfakebench": None, "hf_parquet": None}.get(self.layout, "entries")
        if any(bool(getattr(self, key)) != (key == needed) for key in ("table", "entries")):
            raise ValueError(f"layout {quoted(self.layout)} needs {f'`{needed}` only' if needed else 'no entries'}")
        for split in (self.split_by,) if self.split_by else ():
            if not any(split.field in Template(entry.path).fields for entry in self.entries):
                raise ValueError(f"split_by: no path has a field {quoted(split.field)}")
        for text in self.skip:
            Template(text)
        if self.listed and self.layout != "videos":
            raise ValueError("`listed` is for the layout videos, which reads images, too")
        used = [*self.generators.values(), *self.expected, *(e.generator for e in self.entries if e.generator)]
        for key in (*used, *self.labels.values()):
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
        for key in ("labels", "listed"):
            if not values[key]:
                del values[key]
        if self.columns == ColumnsSpec():
            del values["columns"]
        elif not self.columns.reals_have_models:
            del values["columns"]["reals_have_models"]
        for part in (*values["entries"], *([values["table"]] if values["table"] else [])):
            if part["source"] is None:
                del part["source"]  # likewise
            if not part.get("mask", True):
                del part["mask"]
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

    def with_labels(self, labels: Mapping[str, str]) -> DatasetSpec:
        """The same dataset, where values of labels without a name mean these generators (`--labels 0=real,1=fake`).

        Raises:
            ConfigError: a layout whose files and folders say who made what.
            UnknownNameError: not in the taxonomy.
        """
        if self.layout not in ("hf_parquet", "image_folder", "table") and not self.listed:
            raise ConfigError(f"dataset {quoted(self.name)} has no column of labels; --labels is for tables of them")
        return replace(self, labels={**self.labels, **{text: taxonomy()[name].key for text, name in labels.items()}})

    def with_links(self) -> DatasetSpec:
        """The same dataset, following links out of the source folder (`--follow-links`)."""
        return replace(self, follow_links=True)

    def layout_lines(self) -> str:
        """The expected layout in one line, for errors."""
        if self.layout == "deepfakebench":
            return "the frames that the JSON of --from-deepfakebench lists"
        if self.layout == "hf_parquet":
            return "Parquet files with a column of pictures, as the Hugging Face hub keeps them"
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
