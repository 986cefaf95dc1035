"""Predictions that were made elsewhere: what a record states of their file, and what their author says of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dfad_bench.core import bounds
from dfad_bench.core.bounds import check_bounds
from dfad_bench.core.files import content_hash

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["csv", "jsonl", "parquet"]
Matching = Literal["columns", "sample_id", "file name", "callable"]
_TEXT = 4_000  # characters of a text in a card
_LINES = 100


@dataclass(frozen=True)
class ModelCard:
    """What the author of predictions says of the model that made them. Nothing of it can be checked.

    Attributes:
        name: of the model, as boards show it.
        trained_on: generators of the forged faces that it was trained on, by any name of the taxonomy.
        training_data: the same in words, with the real faces.
        seed: of the training.
        parameters: how many the model has.
        reference: a paper or an address.
        licence: of the predictions.
        author: who made them.
        notes: anything else a reader must know.
    """

    name: str
    trained_on: tuple[str, ...] = ()
    training_data: str | None = None
    seed: int | None = None
    parameters: int | None = None
    reference: str | None = None
    licence: str | None = None
    author: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("name is empty")
        check_bounds("seed", self.seed, 0, bounds.SEED, null=True)
        check_bounds("parameters", self.parameters, 0, bounds.WHOLE, null=True)
        lists = (self.trained_on, self.notes)
        texts = (self.name, self.training_data, self.reference, self.licence, self.author, *lists[0], *lists[1])
        if any(text is not None and len(text) > _TEXT for text in texts) or any(len(some) > _LINES for some in lists):
            raise ValueError(f"a text has at most {_TEXT:,} characters, a list at most {_LINES}")

    @property
    def unknown_facts(self) -> tuple[str, ...]:
        """What it leaves open."""
        stated = {
            "training data": self.training_data or self.trained_on or None,
            "seed": self.seed,
            "number of parameters": self.parameters,
        }
        return tuple(name for name, value in stated.items() if value is None)


@dataclass(frozen=True)
class Imported:
    """Predictions made elsewhere: their file, and how its rows became test faces.

    Attributes:
        file: its name, or that of the function that was called.
        sha256: of its bytes; of a function, of the file it is in where that is known.
        format: None of a function.
        matched_by: what its rows were matched with test faces by; "columns": the protocol was made of its columns.
        rows: of the file.
        used: rows that are test faces.
        unmatched: rows that are no test face of the protocol.
        missing: test faces of the protocol without a row.
        left_out: why other rows were left out on purpose, and how many.
        columns: which column served as what.
        card: what the author says of the model.
        unknown: what nobody here knows of it.
    """

    file: str
    sha256: str | None
    format: Format | None
    matched_by: Matching
    rows: int
    used: int
    unmatched: int = 0
    missing: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = (self.rows, self.used, self.unmatched, self.missing, *self.left_out.values())
        if min(counts) < 0 or self.used + self.unmatched + sum(self.left_out.values()) != self.rows:
            raise ValueError("rows are those used, those unmatched and those left out, each 0 or more")


def faces_hash(rows: pd.DataFrame) -> str:
    """Hash of faces that nothing but predictions knows: their names, groups and sources, whatever their order."""
    names = ["sample_id", "group", "source_key"]
    return content_hash(sorted(map(list, rows[names].astype(str).itertuples(index=False))))
