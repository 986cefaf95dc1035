"""What labels of a Parquet set contradict: --labels, README.md, a second column, or who is said to have made a real."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.label_names import is_bare
from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.taxonomy import UNLABELLED_KEY, taxonomy
from dfad_bench.ingest.sources.classes import class_of
from dfad_bench.ingest.sources.spec import DatasetSpec

FORGED_REAL = "labelled real, with the name of a forger"  # why a row is left out; a build refuses such a folder
TWO_NAMES = "label and generator contradict each other"
TWO_LABELS = "columns of labels contradict each other"
_FAKE_KEY = "fake"
_MEANT = {
    "real": ("nature", "natural", "genuine", "authentic", "bonafide", "bona fide", "original", "pristine", "human"),
    "fake": ("ai", "ai generated", "ai-generated", "spoof", "attack", "manipulated", "synthetic", "generated"),
}  # fmt: skip  # words that are only advised, never taken


def label_of(key: str | None) -> int | None:
    """0 (real) or 1 (forged) of a generator; None where it tells neither."""
    said = taxonomy()[key].detection_label if key is not None else None
    return said if said in (REAL, FAKE) else None


def labels_contradict(one: str | None, other: str | None) -> bool:
    """Whether one generator is real and the other forged.

    >>> labels_contradict("real", "stylegan2"), labels_contradict("fake", "stylegan2"), labels_contradict("real", None)
    (True, False, False)
    """
    both = {label_of(one), label_of(other)}
    return both == {REAL, FAKE}


def generators_differ(said: str, made: str) -> bool:
    """Whether a label and a generator cannot both be true: `fake` is any forger, `unlabelled` anybody."""
    anybody = (UNLABELLED_KEY, _FAKE_KEY)
    return labels_contradict(said, made) or (said != made and said not in anybody and made not in anybody)


def names_by_number(spec: DatasetSpec, names: Sequence[str], where: str) -> Mapping[str, str]:
    """Class name -> generator, for those of `--labels 0=...` whose name alone says nothing or says `fake`.

    Args:
        spec: the dataset file with the labels of the command.
        names: the class names, by number.
        where: file and column, for errors.

    Raises:
        ConfigError: a name is there twice, or `labels` say something else than a name.
    """
    folded = [name.strip().casefold() for name in names]
    if len(set(folded)) < len(folded):
        twice = next(name for number, name in enumerate(folded) if name in folded[:number])
        raise ConfigError(f"{where}: two classes are called {quoted(twice)}, so their numbers say nothing")
    plain = replace(spec, labels={name: key for name, key in spec.labels.items() if not name.isdigit()})
    said: dict[str, str] = {}
    for text, key in spec.labels.items():
        if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) < len(names)) or text in names:
            continue
        name = names[int(text)]
        own = None if is_bare(name) and name not in plain.labels else class_of(plain, name, where)
        if own is None or (own == _FAKE_KEY != key and label_of(key) == FAKE):
            said[name] = key
        elif labels_contradict(own, key) or key not in (own, _FAKE_KEY):
            raise ConfigError(
                f"{where}: the class {text} is called {quoted(name)}, and --labels (or `labels`) says {text}={key}:"
                f" leave it out, or say {quoted(name)} in its place"
            )
    return said


def forged_reals(root: Path, number: int, example: str) -> str:
    """The error of a build about pictures that are labelled real and have the name of a forger."""
    return (
        f"{root}: {number:,} pictures are labelled real and have the name of a known forger ({quoted(example)}): are"
        " real and fake the wrong way round (--labels)? Where reals carry the name of the model they were chosen for,"
        " say `columns: {reals_have_models: true}` in a copy of the dataset file"
    )


def unused_labels(spec: DatasetSpec, seen: Iterable[str]) -> Iterator[str]:
    """A line where `labels` name values that no label has, so that they change nothing."""
    there = {text.casefold() for text in seen}
    idle = [name for name in spec.labels if name.casefold() not in there]
    if idle:
        yield f"labels {listed(idle)} of --labels (or `labels`) change nothing: no label without a name is called so"


def disagreement(own: Mapping[str, Sequence[str]], card: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for each column that the schema and README.md name in two ways."""
    for column in own:
        if column in card and list(own[column]) != list(card[column]):
            told, shown = (listed(names[:4]) for names in (card[column], own[column]))
            yield f"column {quoted(column)}: README.md calls the classes {told}, the files {shown}: the files count"


def naming_advice(names: Iterable[str]) -> Iterator[str]:
    """How to say what label names mean that nobody knows: words of the field as they are most often meant."""
    said = {name: next((key for key, words in _MEANT.items() if name.casefold() in words), "") for name in names}
    usable = {name: key for name, key in said.items() if not {",", "="} & set(name) and name.isprintable()}
    if usable:
        text = ",".join(f"{name}={key or 'GENERATOR'}" for name, key in list(usable.items())[:4])
        guess = " (a guess of what they mean)" if any(usable.values()) else " (real, fake or who made them)"
        quote = '"' if " " in text else ""
        yield f"labels without a meaning: say --labels {quote}{text}{quote}{guess}"
