"""Which generator a label means, by its name only: 1 is real in some data sets and forged in others."""

from __future__ import annotations

import re

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.label_names import column_answer, is_bare, unnamed_label
from dfad_bench.ingest.sources.spec import DatasetSpec


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
    if answer := column_answer(column, plain):
        return answer
    if is_bare(text):
        raise ConfigError(unnamed_label(where, text, " (or `labels` of the dataset file)"))
    return spec.generator_of(text)
