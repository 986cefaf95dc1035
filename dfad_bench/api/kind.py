"""What a kind of thing with names is: how its names and their rows are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Row = dict[str, Any]
FROM = {"origin": "From"}


class Kind(NamedTuple):
    """One kind of thing that has names."""

    names: Callable[[], list[str]]
    describe: Callable[[str], Row]  # a name to the cells of its row
    titles: dict[str, str]  # of the row's columns


def origin_of(folder: str, name: str, kind: str = "manifests") -> str:
    """Where a shipped or included YAML file comes from."""
    from dfad_bench.core.resources import find_yaml, origin

    return origin(find_yaml(kind, folder, name))


def yaml_files_of(folder: str, kind: str = "manifests") -> Callable[[], list[str]]:
    """The names of shipped and included YAML files."""

    def names() -> list[str]:
        from dfad_bench.core.resources import yaml_names

        return yaml_names(kind, folder)

    return names
