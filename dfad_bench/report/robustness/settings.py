"""`settings.json` of a robustness evaluation, read strictly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfad_bench.core.files import read_json
from dfad_bench.core.strict import from_mapping


@dataclass(frozen=True)
class _Corruption:
    """A corruption and the strength of each severity that was evaluated."""

    name: str
    title: str
    meaning: str
    paper_exact: bool
    source: str
    operator: str
    values: dict[str, float]
    compared: str = ""  # records of earlier versions do not say how its effect was compared

    def __post_init__(self) -> None:
        if not all(level.isascii() and level.isdigit() and len(level) < 4 for level in self.values):
            raise ValueError(f"corruption {self.name!r}: severities must be whole numbers")


@dataclass(frozen=True)
class _Settings:
    """See `engine.robustness.CellSettings`."""

    corrupt_at: int
    image_size: int
    seed: int
    views_from: str
    checkpoint_sha256: str
    corruptions: tuple[_Corruption, ...]
    resize: str = "lanczos"

    def __post_init__(self) -> None:
        if len({row.name for row in self.corruptions}) < len(self.corruptions):
            raise ValueError("a corruption is there twice")


def read_settings(path: Path) -> dict[str, Any]:
    """The settings as plain values.

    Raises:
        ConfigError: missing, not JSON, or a key that is unknown, missing or of another type.
    """
    raw = read_json(path)
    from_mapping(_Settings, raw, str(path))
    return dict(raw)
