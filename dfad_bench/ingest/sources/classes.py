"""Which generator a label means, by its name only: 1 is real in some data sets and forged in others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.ingest.sources.spec import DatasetSpec

_BARE = re.compile(r"[+-]?[0-9]+(\.0+)?|true|false|yes|no", re.IGNORECASE)
_BY_COLUMN = {  # a column whose name is the question: its yes is an answer
    "is_fake": ("real", "fake"), "fake": ("real", "fake"), "is_real": ("fake", "real"), "real": ("fake", "real"),
}  # fmt: skip
_NO, _YES = ("0", "false", "no"), ("1", "true", "yes")


def class_of(spec: DatasetSpec, value: str, where: str, column: str = "") -> str | None:
    """The taxonomy key of a label, or None where nobody of that name is known.

    `labels` of the dataset file (or of `--labels`) come first, then `generators`, then the taxonomy, in which `real`
    and `fake` are. A column called `is_fake` or `is_real` says what its 0 and 1 mean.

    Args:
        spec: the dataset file.
        value: the label as text.
        where: file and column, for the error.
        column: the column's name.

    Raises:
        ConfigError: a number (or true, false) without a name.
    """
    text = value.strip()
    plain = re.sub(r"\.0+$", "", text)  # pandas writes 1.0
    for name in (text, plain):
        if (said := spec.labels.get(name, spec.labels.get(name.casefold()))) is not None:
            return said
        if spec.generators and (known := spec.generator_of(name)) is not None:
            return known
    if answers := _BY_COLUMN.get(column.casefold()):
        low = plain.casefold()
        if low in (*_NO, *_YES):
            return answers[low in _YES]
    if is_bare(text):
        raise ConfigError(_refusal(where, [text]))
    return spec.generator_of(text)


def is_bare(value: str) -> bool:
    """Whether a label is a number or a truth value, which says nothing by itself.

    >>> is_bare("1"), is_bare("0.0"), is_bare("True"), is_bare("0_real")
    (True, True, True, False)
    """
    return bool(_BARE.fullmatch(value.strip()))


def _refusal(where: str, values: Sequence[str]) -> str:
    shown = quoted(values[0])
    no, yes = ("False", "True") if values[0].strip().casefold() in ("true", "false") else ("0", "1")
    return (
        f"{where}: the label {shown} has no name, and {yes} is real in some data sets, fake in others: say"
        f" --labels {no}=real,{yes}=fake or --labels {no}=fake,{yes}=real (or `labels` of the dataset file)"
    )
