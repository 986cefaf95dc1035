"""Manifests that were built by another version of a shipped dataset file than the one that is here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from dfad_bench.core.errors import quoted
from dfad_bench.core.resources import shipped, shipped_names
from dfad_bench.core.strict import read_yaml
from dfad_bench.data.manifest import Manifest


def version_notes(manifests: Sequence[Manifest]) -> Iterator[str]:
    """A line for each manifest whose dataset file has another version here.

    A new version may give other source keys, so that faces of one original are no longer known to be of one: leaks
    between such a manifest and another set cannot be counted.
    """
    for manifest in manifests:
        about = manifest.info.get("dataset")
        built = about.get("version") if isinstance(about, dict) else None
        here = _shipped_version(manifest.name)
        if here is not None and built is not None and built != here:
            yield (
                f"{manifest.folder}: built by version {quoted(built)} of {manifest.name}, shipped is {here}: sources"
                " that it shares with other sets may not be known, and leaks between them not counted; build it again"
            )


@cache
def _shipped_version(name: str) -> int | None:
    if name not in shipped_names("manifests", "datasets"):
        return None
    value = read_yaml(shipped("manifests") / "datasets" / f"{name}.yaml").get("version")
    return value if isinstance(value, int) else None
