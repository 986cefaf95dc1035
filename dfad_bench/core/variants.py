"""Rows of a paper's ablation tables as settings of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dfad_bench.core.errors import UnknownNameError


@dataclass(frozen=True)
class Variant:
    """One ablation row: `changes` are the settings that differ from the full model."""

    table: str
    row: str  # as printed, or what the printed row means
    changes: Mapping[str, Any] = field(default_factory=dict)


def variant_settings(model: str, name: Any, variants: Mapping[str, Variant]) -> dict[str, Any]:
    """The settings of an ablation row.

    Raises:
        UnknownNameError: no such row; the nearest are offered.
    """
    if not isinstance(name, str) or name not in variants:
        raise UnknownNameError(f"{model} variant", str(name), variants)
    return dict(variants[name].changes)
