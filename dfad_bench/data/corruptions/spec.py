"""The corruptions with their severities, and the corruption of one image."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError, UnknownNameError, quoted
from dfad_bench.core.registry import resolve, with_entry_points
from dfad_bench.core.resources import table_files
from dfad_bench.core.strict import from_mapping, read_yaml
from dfad_bench.data.corruptions import CORRUPTIONS

EXACT, ALL = "exact", "all"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Corruption:
    """One corruption and the strength of its severities 1, 2, ...

    `paper_exact`: values and effect are those of the papers' results, as published by their source.
    `compared`: how that was found, or what the comparison showed; needed where it is claimed, since equal parameters
    alone do not make an equal effect.
    `operator`: the entry of `operators()`, where it differs from the name.
    """

    name: str
    title: str
    values: tuple[float, ...]
    meaning: str  # of the values
    paper_exact: bool
    source: str
    operator: str | None = None
    compared: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in (ALL, EXACT):
            raise ValueError(
                f"name {quoted(self.name)} must be of letters, digits, '_', '-' and '.', and not all or exact"
            )
        if (self.operator or self.name) not in operators():
            raise ValueError(
                f"no operator {quoted(self.operator or self.name)}; known: {', '.join(sorted(operators()))}"
            )
        if not self.values:
            raise ValueError("values is empty; give one per severity")
        if self.paper_exact and not self.compared.strip():
            raise ValueError("paper_exact is true, but `compared` does not say how that was found; say it, or false")

    def value(self, severity: int) -> float:
        """The strength of a severity.

        Raises:
            ConfigError: no such severity.
        """
        if not 1 <= severity <= len(self.values):
            raise ConfigError(f"corruption {quoted(self.name)} has severities 1 to {len(self.values)}, not {severity}")
        return self.values[severity - 1]

    def definition(self, severity: int) -> dict[str, Any]:
        """All that decides the pixels: operator and strength, and the place of an operator that is not ours."""
        name = self.operator or self.name
        place = {} if name in CORRUPTIONS else {"place": operators()[name]}
        return {"operator": name, "value": self.value(severity), **place}


@cache
def operators() -> dict[str, str]:
    """Every operator's name and where it is: ours, then those of other distributions (`dfad_bench.corruptions`).

    Raises:
        DFADError: a name is registered twice.
    """
    return with_entry_points("corruption", CORRUPTIONS, "dfad_bench.corruptions")


def corruptions(path: Path | None = None) -> dict[str, Corruption]:
    """The shipped and included corruptions by name, or those of the user's own file alone.

    Raises:
        ConfigError: no such file, not of the form of `manifests/corruptions.yaml`, or a name that two files have.
    """
    found: dict[str, Corruption] = {}
    places: dict[str, Path] = {}
    for file in [path] if path else table_files("corruptions.yaml"):
        for name, row in _read(file).items():
            if name in found:
                raise ConfigError(f"{file}: {name}: the name is taken by {places[name]}; rename it")
            found[name], places[name] = row, file
    return found


def _read(path: Path) -> dict[str, Corruption]:
    raw = read_yaml(path, unicode_only=True)
    if not isinstance(raw, Mapping) or set(raw) != {"version", "corruptions"} or raw["version"] != 1:
        raise ConfigError(f"{path}: must hold `version: 1` and `corruptions`, and nothing else")
    rows = raw["corruptions"]
    if not isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in rows.values()) or not rows:
        raise ConfigError(f"{path}: corruptions must map names to title, values, meaning, paper_exact, source")
    if own := [name for name, row in rows.items() if "name" in row]:
        raise ConfigError(f"{path}: {own[0]}: unknown key 'name'; the row's own name is it")
    return {name: from_mapping(Corruption, {**row, "name": name}, f"{path}: {name}") for name, row in rows.items()}


def choose(names: Sequence[str], known: Mapping[str, Corruption]) -> list[Corruption]:
    """Corruptions by name; `all` and `exact` (those of the papers) stand for several.

    Raises:
        UnknownNameError: with the nearest names.
        ConfigError: none is chosen.
    """
    found: dict[str, Corruption] = {}
    for name in names:
        if name in (ALL, EXACT):
            found |= {key: row for key, row in known.items() if name == ALL or row.paper_exact}
        elif name in known:
            found[name] = known[name]
        else:
            raise UnknownNameError("corruption", name, [ALL, EXACT, *known])
    if not found:
        raise ConfigError("no corruption chosen; `dfad list corruptions` shows them")
    return list(found.values())


def corrupt(image: np.ndarray, corruption: Corruption, severity: int, *, sample_id: str, seed: int = 0) -> np.ndarray:
    """A corrupted copy of an RGB image (H, W, 3) uint8; severity 0 is the image itself, copied.

    Random numbers depend on `seed`, the sample, the corruption's name and the severity, and on nothing else.

    Raises:
        ConfigError: no such severity.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
    if severity == 0:
        return image.copy()
    operator = resolve("corruption", corruption.operator or corruption.name, operators())
    text = f"{seed}:{sample_id}:{corruption.name}:{severity}"
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))
    result: np.ndarray = operator(image, corruption.value(severity), rng)
    return result
