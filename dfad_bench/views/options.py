"""Settings of views from a command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dfad_bench.core.errors import ConfigError, quoted


def view_settings(
    pairs: Sequence[str], *, estimator: str | None = None, gaze_weights: str | None = None
) -> dict[str, dict[str, Any]]:
    """Settings per view, from `NAME.KEY=VALUE` and the options for gaze; values are JSON where they can be, else text.

    >>> view_settings(("parsing.folder=labels", "parsing.classes=11"))
    {'parsing': {'folder': 'labels', 'classes': 11}}
    >>> view_settings((), estimator="l2cs")
    {'gaze': {'estimator': 'l2cs'}}

    Raises:
        ConfigError: not of this form, or a setting is given twice.
    """
    settings: dict[str, dict[str, Any]] = {}
    for text in pairs:
        key, equals, value = text.partition("=")
        name, dot, field = key.partition(".")
        if not (equals and dot and name and field):
            raise ConfigError(f"--view {quoted(text)}: expected NAME.KEY=VALUE, as in parsing.folder=labels")
        if field in settings.get(name, {}):
            raise ConfigError(f"--view {key}: given twice")
        settings.setdefault(name, {})[field] = _value(value)
    for field, given in (("estimator", estimator), ("weights", gaze_weights)):
        if given is None:
            continue
        if field in settings.get("gaze", {}):
            raise ConfigError(f"--view gaze.{field} and {option_of('gaze', field)}: give one of them")
        settings.setdefault("gaze", {})[field] = given
    return settings


def option_of(view: str, key: str) -> str:
    """The option that gives a setting of a view, as a user most likely wrote it."""
    own_options = {"estimator": "--estimator", "weights": "--gaze-weights"}
    return own_options.get(key, "") if view == "gaze" and key in own_options else f"--view {view}.{key}"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
