"""What a Parquet data set of the Hugging Face hub says of its columns, splits and counts; nothing of it is trusted.

The schema's metadata (key `huggingface`) come first; where a file was written without that library, the front matter of
README.md; without either the types of the columns. A feature counts only where the column has a type that fits it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfad_bench.core.errors import ConfigError, listed
from dfad_bench.core.plain import parse_json
from dfad_bench.core.strict import parse_yaml
from dfad_bench.data.images import ImageRefused, read_source
from dfad_bench.ingest.media.parquet_file import pictures_in

_MOST_NAMES = 100_000
_README_BYTES = 16 << 20
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)
_SHARD = re.compile(r"(?:^|/)([\w.-]+?)-[0-9]{5}-of-[0-9]{5}(-[0-9a-f]+)?\.parquet$", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:^|/)([\w.-]+)/[0-9]{4,}\.parquet$")  # refs/convert/parquet
_WORDS = {
    "train": "train", "training": "train", "validation": "val", "valid": "val", "dev": "val", "val": "val",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
_DELIMITED = re.compile(rf"(?:^|[-._ /0-9])({'|'.join(sorted(_WORDS, key=len, reverse=True))})(?=$|[-._ /0-9])")


@dataclass(frozen=True)
class Card:
    """The front matter of a README.md: features by configuration, files of each split, and how many rows it has."""

    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Sequence[tuple[str, str, str]] = ()  # configuration, split, pattern
    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)  # configuration and split -> rows
    problem: str = ""

    def split_of(self, place: str) -> tuple[str, str] | None:
        """Configuration and split of a file, by the first pattern that fits."""
        found = ((config, split) for config, split, pattern in self.files if _fits(place, pattern))
        return next(found, None)


def read_card(root: Path) -> Card:
    """The card beside the data, or an empty one; a damaged one says so in `problem`."""
    path = root / "README.md"
    if not path.is_file():
        return Card()
    try:
        text = read_source(path, max_bytes=_README_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
        front = _FRONT.match(text)
        value = parse_yaml(front[1], "README.md") if front else {}
    except (ImageRefused, UnicodeDecodeError, ConfigError) as error:
        return Card(problem=f"README.md: its front matter is not read ({str(error)[:160]})")
    return _card(value) if isinstance(value, dict) else Card()


def _card(value: Mapping[str, Any]) -> Card:
    features: dict[str, Mapping[str, Any]] = {}
    rows: dict[tuple[str, str], int] = {}
    for about in _mappings(value.get("dataset_info")):
        config = str(about.get("config_name", "default"))
        features[config] = {str(f.get("name")): _as_feature(f) for f in _mappings(about.get("features"))}
        for split in _mappings(about.get("splits")):
            if isinstance(number := split.get("num_examples"), int):
                rows[config, str(split.get("name"))] = number
    files = [
        (str(config.get("config_name", "default")), str(item.get("split", "train")), str(pattern))
        for config in _mappings(value.get("configs"))
        for item in _mappings(config.get("data_files"))
        for pattern in (item["path"] if isinstance(item.get("path"), list) else [item.get("path")])
        if pattern
    ]
    return Card(features, files, rows)


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    some = value if isinstance(value, list) else [value]
    return [item for item in some if isinstance(item, dict)]


def _as_feature(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """A feature of a README in the form of the schema's metadata."""
    kind = item.get("dtype")
    if kind == "image":
        return {"_type": "Image"}
    if isinstance(kind, dict) and isinstance(about := kind.get("class_label"), dict):
        names = about.get("names")
        if isinstance(names, dict):  # {'0': real, '1': fake}
            ordered = sorted(names.items(), key=lambda pair: int(pair[0]) if str(pair[0]).isdigit() else -1)
            right = [str(key) for key, _ in ordered] == [str(number) for number in range(len(ordered))]
            names = [name for _, name in ordered] if right else None
        return {"_type": "ClassLabel", "names": names}
    return {"_type": "Value"}


def _fits(place: str, pattern: str) -> bool:
    return fnmatchcase(place, pattern.removeprefix("./").replace("**/", "*"))


def split_name(place: str, card: Card) -> str | None:
    """The split of a file: by the card, by the form of its name, else by a word in its folders or name.

    >>> split_name("core/test-00000-of-00002.parquet", Card()), split_name("default/train/0000.parquet", Card())
    ('test', 'train')
    """
    if found := card.split_of(place):
        return found[1]
    if shard := _SHARD.search(place) or _NUMBERED.search(place):
        return shard[1]
    words = _DELIMITED.findall(place.lower().removesuffix(".parquet"))
    return _WORDS[words[0]] if len(set(words)) == 1 else None


def plain_split(name: str | None) -> str | None:
    """`train`, `val` or `test` for the words that mean them; other names stay.

    >>> plain_split("validation"), plain_split("reddit")
    ('val', 'reddit')
    """
    return _WORDS.get(name.lower(), name.lower()) if name else None


@dataclass(frozen=True)
class Columns:
    """The columns of pictures of a file, and the names of the values of its class labels."""

    pictures: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    known: tuple[str, ...]  # every column
    card_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what README.md calls the values


def columns_of(file: pq.ParquetFile, card: Card, place: str) -> Columns:
    """The columns of a file by its own metadata, the card, or their types."""
    schema = file.schema_arrow
    of_card = _card_features(card, place)
    features = dict(_own_features(schema)) or dict(of_card)
    pictures, names = [], {}
    for about in schema:
        feature = features.get(about.name, {})
        kind = about.type.value_type if pa.types.is_dictionary(about.type) else about.type
        if feature.get("_type") == "Image" and pictures_in(kind):
            pictures.append(about.name)
        elif feature.get("_type") == "ClassLabel" and pa.types.is_integer(kind) and (some := _names(feature)):
            names[about.name] = some
    if not pictures:
        pictures = [about.name for about in schema if pictures_in(about.type)]
    called = {name: some for name in names if (some := _names(of_card.get(name, {})))}
    return Columns(tuple(pictures), names, tuple(schema.names), called)


def _own_features(schema: pa.Schema) -> Mapping[str, Mapping[str, Any]]:
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        value = parse_json(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    info = value.get("info") if isinstance(value, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    some = features.items() if isinstance(features, dict) else ()
    return {str(name): feature for name, feature in some if isinstance(feature, dict)}


def _card_features(card: Card, place: str) -> Mapping[str, Mapping[str, Any]]:
    found = card.split_of(place)
    config = found[0] if found else place.split("/")[0]
    return card.features.get(config) or (next(iter(card.features.values())) if len(card.features) == 1 else {})


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    names = feature.get("names")
    right = isinstance(names, list) and len(names) <= _MOST_NAMES and all(isinstance(name, str) for name in names)
    return tuple(names) if right else ()  # type: ignore[arg-type]  # a list of text, by the line above


def picture_column(columns: Columns, wanted: str | None, place: str) -> str:
    """The column to read: the one that is asked for, the only one, or the one called `image`.

    Raises:
        ConfigError: none, or several of which none is called `image`.
    """
    if wanted is not None:
        if wanted not in columns.known:
            raise ConfigError(f"{place}: no column {wanted!r}; there are {listed(columns.known)}")
        return wanted
    if len(columns.pictures) == 1:
        return columns.pictures[0]
    if "image" in columns.pictures:
        return "image"
    if columns.pictures:
        raise ConfigError(
            f"{place}: pictures in {listed(columns.pictures)}; name one as `columns: {{image: ...}}` in a copy of the"
            " dataset file"
        )
    raise ConfigError(f"{place}: no column of pictures; there are {listed(columns.known)}")
