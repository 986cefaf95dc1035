"""What a line of `UNSEEN_SCORES` says: function, name in tables, source; its parameters say which arrays it needs."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from dfad_bench.metrics.entry import load

# of n faces: probabilities and logits (n, x), embeddings (n, d). Of m training faces: embeddings (m, d), logits (m, x),
# classes and sources (m,). Of the last layer: weight (x, d), bias (x,)
ARRAYS = (
    "probs", "logits", "embedding", "train_embedding", "train_logits", "train_labels", "train_sources", "weight",
    "bias",
)  # fmt: skip


class UndefinedScoreError(ValueError):
    """A score that these arrays do not define; the text says why."""


@dataclass(frozen=True)
class UnseenScore:
    """One score for "unseen".

    Attributes:
        function: "module:function": arrays of `ARRAYS` by the names of its parameters in, (n,) out, larger being more
            like the seen classes. It raises `UndefinedScoreError` where they do not define it.
        display: what tables call it.
        source: where it comes from.
        note: "module:function" of a line about what was chosen (a number of neighbours), of arrays likewise; or empty.
    """

    function: str
    display: str
    source: str
    note: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """The arrays that the function takes."""
        return tuple(inspect.signature(load(self.function)).parameters)

    def missing_arrays(self, offered: Collection[str]) -> tuple[str, ...]:
        """The arrays it needs and is not offered."""
        return tuple(name for name in self.needs if name not in offered)

    def compute(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The score of each face (n,).

        Raises:
            UndefinedScoreError: not defined for these arrays.
            KeyError: an array is missing.
        """
        values = np.asarray(load(self.function)(**{name: arrays[name] for name in self.needs}), dtype=float)
        if not np.isfinite(values).all():
            raise UndefinedScoreError(f"{int((~np.isfinite(values)).sum())} faces have no finite score")
        return values

    def remark(self, arrays: Mapping[str, np.ndarray]) -> str:
        """What was chosen for these arrays, or empty."""
        if not self.note:
            return ""
        function = load(self.note)
        return str(function(**{name: arrays[name] for name in inspect.signature(function).parameters}))
