"""Texts of a record that say where and by whom it was made: paths of a machine, its name, the name of a user.

Paths are left out wherever they stand. Names are left out of texts for people and of facts of the machine only: in
settings a user's name may be a word of its own, such as the name of a model.
"""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from dfad_bench.core.errors import cut
from dfad_bench.core.private_paths import has_path, map_texts, text_without_paths

_MARK = "[path]/"
_WORDS = ("warnings", "source", "environment", "imported", "run.sessions", "run.stopped")
_COMMON = frozenset(
    {"root", "user", "users", "home", "admin", "ubuntu", "runner", "localhost", "host", "local", "none"}
)
_LEAST = 3  # characters of a name that is looked for


def private_names() -> tuple[str, ...]:
    """Names of this machine and its user that texts must not repeat."""
    names = {platform.node(), platform.node().partition(".")[0]}
    with suppress(KeyError, OSError):  # a user without a name
        names.add(getpass.getuser())
    return tuple(sorted(name for name in names if len(name) >= _LEAST and name.lower() not in _COMMON))


def without_private(value: Any, names: Sequence[str] = ()) -> tuple[Any, list[str]]:
    """Plain data without paths of a machine and the given names, and where such stood.

    A path keeps its last part.

    >>> without_private({"warnings": ["in /home/ada/runs/a.pt: old"]})
    ({'warnings': ['in [path]/a.pt: old']}, ['warnings[0]'])
    """
    places: list[str] = []

    def clean(text: str, at: str) -> str:
        new = text_without_paths(text, _MARK)
        if at.startswith(_WORDS):
            for name in names:
                new = re.sub(rf"(?<![\w]){re.escape(name)}(?![\w])", "[name]", new)
        if new != text:
            places.append(at)
        return new

    return map_texts(value, clean), places


def private_places(value: Any) -> list[str]:
    """Where plain data hold paths of a machine, keys of mappings among them."""
    keys = [f"the key {cut(key)}" for key in _keys(value) if has_path(key)]
    return without_private(value)[1] + keys


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _keys(item)
