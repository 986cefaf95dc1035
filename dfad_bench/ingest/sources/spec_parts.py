"""The parts of a dataset file: entries, splits by number, tables and columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dfad_bench.core.errors import quoted
from dfad_bench.ingest.sources.template import Template


@dataclass(frozen=True)
class Entry:
    """One kind of path below the source folder.

    `generator` and `split` are for templates that do not hold them. `source_key` names what must stay in one split
    (an identity, a video). `source` names which of several collections of the dataset a face is from, for protocols
    that tell them apart. `target` lists possible paths of the real target face, of which the first that exists
    counts; with `target_dataset` the face is in another dataset and is not searched. `candidates` name the real
    videos or images one of which must be the target, where the name does not say which (`dfad infer-pairs` compares
    them). `medium: video` reads files of any name as videos; a path that ends in `{ext:video}` does not need it.
    `mask` lists possible paths of the video or image in which the forged parts of this one are white: of several faces
    in a frame it says which is forged.
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
    mask: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fields = set(Template(self.path).fields)
        if "generator" not in fields and self.generator is None:
            raise ValueError(f"entry {quoted(self.path)} needs {{generator}} in its path or the key `generator`")
        for text in (
            *self.target,
            *self.candidates,
            *self.mask,
            *(text for text in (self.source_key, self.source) if text),
        ):
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
class ColumnsSpec:
    """The columns of a table with pictures in it (`layout: hf_parquet`): of several names the first that exists counts.

    `image` is found by itself where it is not given. `label` says real or forged (or, without a `generator` column,
    who made the picture), `generator` who made it. `source_key` and `source` are templates of columns in braces.
    A picture that is labelled real and has the name of a known forger is a contradiction, but where
    `reals_have_models` says that reals carry the name of the model they were chosen for.
    """

    image: str | None = None
    label: tuple[str, ...] = ("label", "labels", "is_fake", "is_real", "ground_truth")
    generator: tuple[str, ...] = ("generator", "model", "model_name", "method", "class")
    split: tuple[str, ...] = ("split",)
    source_key: str | None = None
    source: str | None = None
    reals_have_models: bool = False

    def __post_init__(self) -> None:
        for text in (self.source_key, self.source):
            Template(text or "")


@dataclass(frozen=True)
class ListSpec:
    """A list of the release about files that the entries find: CSV, JSON (objects) or text lines.

    Columns are named in braces, whatever their case, spaces and underscores; a column without a name is `{unnamed}`.
    Lines of a `.txt` are divided at white space into the columns `header`. Files are found by `path`, the first of
    several under which one is there; the first of `strip` that it begins with is taken away; `match: name` compares
    names without folders. `generator` are templates of which the first that has a value counts, in place of the
    entry's. `check` is a label that must agree with the generator: disagreements are counted, and the folder
    counts. `split` is a column or plain text, `target` the path of the real face, given as `path` is. `forged` is a
    column of forged intervals `[[start, end], ...]` in seconds, at `rate` frames a second: of a forged video frames
    outside them are real.
    """

    file: str
    path: tuple[str, ...] = ("{path}",)
    header: tuple[str, ...] = ()
    strip: tuple[str, ...] = ()
    match: Literal["path", "name"] = "path"
    generator: tuple[str, ...] = ()
    check: str | None = None
    split: str | None = None
    source_key: str | None = None
    target: tuple[str, ...] = ()
    forged: str | None = None
    rate: float = 25.0

    def __post_init__(self) -> None:
        for text in (*self.path, *self.generator, *self.target, self.check, self.split, self.source_key):
            Template(text or "")
        if not 0 < self.rate <= 1000:
            raise ValueError(f"rate must be above 0 and at most 1000 frames a second, got {self.rate}")
        if self.file.lower().endswith(".txt") != bool(self.header):
            raise ValueError(f"{quoted(self.file)}: a .txt needs `header`, and no other list has one")
