"""Parts of a record's `run`: how it was made longer, and the predictors beside it that see no pixel."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from dfad_bench.core.errors import quoted

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")


def check_path(path: str) -> None:
    """Refuse a path that is absolute, or leads out of the folder of the record.

    Raises:
        ValueError: names it.
    """
    if not _PATH.fullmatch(path) or ".." in path:
        raise ValueError(f"path {quoted(path)} is not a plain relative path")


@dataclass(frozen=True)
class Extension:
    """One extension of a run: training continued beyond the length asked for before.

    `as_one_run`: whether a run of this length from scratch ends with the same bits; `reasons`: why not. `kept`: epochs,
    and steps where it counts those, of the stages that were done.
    """

    config_sha256: str  # of the settings it had been trained with
    from_epochs: float
    from_steps: int
    as_one_run: bool
    reasons: tuple[str, ...]
    kept: dict[str, tuple[int, int | None]]


@dataclass(frozen=True)
class Reference:
    """A predictor that sees no pixel, fitted on the run's training faces: a trivial row of tables.

    `path`: its predictions, relative to the record, hashed in `RunFacts.files`; `facts`: what it sees; `lacking`: test
    faces of which none of them is known; `about`: where they are from.
    """

    path: str
    facts: tuple[str, ...]
    fitted_on: int
    lacking: int
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_path(self.path)
