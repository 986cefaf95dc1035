"""How the views of a run were made, as `config.yaml` keeps it, and whether two ways are the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError

_FIRST = "gaze"  # the only view there was at first; a run with it alone keeps its settings without a name


def kept_identity(identities: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How each view is made, as a run keeps it; with gaze alone in the form, and so the hash, of earlier versions."""
    if set(identities) == {_FIRST}:
        return dict(identities[_FIRST])
    return {name: dict(identity) for name, identity in identities.items()}


def read_identity(kept: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Per view how it was made, from what a run kept."""
    if kept and not all(isinstance(value, Mapping) for value in kept.values()):
        return {_FIRST: dict(kept)}
    return {name: dict(value) for name, value in kept.items()}


def check_same(run: Path, kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to evaluate a run with views made otherwise than those it was trained with.

    Raises:
        ConfigError: names the view and both ways.
    """
    trained, wanted = read_identity(kept), read_identity(now)
    for name, identity in trained.items():
        if name in wanted and identity != wanted[name]:
            raise ConfigError(
                f"{run}: trained on {name} from {identity}, not {wanted[name]}; use the same settings of this view"
            )
