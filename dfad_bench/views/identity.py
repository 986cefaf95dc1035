"""How the views of a run were made, as `config.yaml` keeps it, and whether two ways are the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


def check_same(
    run: Path, kept: Mapping[str, Any], now: Mapping[str, Any], *, other_files: Collection[str] = ()
) -> list[str]:
    """Refuse to evaluate a run with views made otherwise than those it was trained with.

    Args:
        run: folder of the run, for messages.
        kept: how its views were made.
        now: how the views of the evaluation are made.
        other_files: views whose values are read from files, a face at a time, where the faces are not the run's: only
            their settings must be the same.

    Returns:
        A line for each view that is read from other files.

    Raises:
        ConfigError: names the view and both ways.
    """
    trained, wanted, lines = read_identity(kept), read_identity(now), []
    for name, identity in trained.items():
        if name not in wanted or identity == wanted[name]:
            continue
        if name in other_files and _settings(identity) == _settings(wanted[name]):
            lines.append(
                f"view {name}: read from other files than in training (fingerprint {_short_fingerprint(wanted[name])})"
            )
        else:
            raise ConfigError(
                f"{run}: trained on {name} from {identity}, not {wanted[name]}; use the same settings of this view"
            )
    return lines


def _settings(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if key != "fingerprint"}


def _short_fingerprint(identity: Mapping[str, Any]) -> str:
    return str(identity.get("fingerprint"))[:8]
