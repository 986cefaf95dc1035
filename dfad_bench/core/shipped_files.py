"""Whether a named protocol or recipe is the one that is shipped, or an edited one that kept the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any, Literal, NamedTuple

from dfad_bench.core.errors import DFADError
from dfad_bench.core.protocol import Protocol, read_protocol
from dfad_bench.core.recipe import Recipe
from dfad_bench.core.resources import earlier_versions, shipped
from dfad_bench.core.strict import from_mapping, read_dataclass

Origin = Literal["shipped", "edited", "version", "own", "unknown"]
_TEXTS = (
    "title",
    "paper",
    "notes",
    "changes",
    "version",
    "name",
    "released",
    "left_out",
)  # that change no number, or are compared apart


class Provenance(NamedTuple):
    """Where a file comes from, and in what it differs.

    `shipped`, `edited` (same name and version, other content), another `version` of a shipped name, `own` (no shipped
    name), or `unknown` (not stated).
    """

    origin: Origin
    differs: tuple[str, ...] = ()
    versions: tuple[str, str] = ("", "")  # stated, and shipped

    def __str__(self) -> str:
        if self.origin == "version":
            return f"version {self.versions[0]} (shipped here: {self.versions[1]})"
        return {"unknown": "not stated"}.get(self.origin, self.origin)


def provenance(version: Any, sha256: str | None, known: tuple[Any, str] | None) -> Provenance:
    """Of a stated version and hash, and the shipped ones of that name.

    >>> str(provenance(1, "a", (1, "b")))
    'edited'
    """
    if sha256 is None:
        return Provenance("unknown")
    if known is None:
        return Provenance("own")
    if sha256 == known[1]:
        return Provenance("shipped")
    versions = (str(version), str(known[0]))
    return Provenance("edited" if versions[0] == versions[1] else "version", versions=versions)


def protocol_provenance(protocol: Protocol) -> Provenance:
    """Of a record's protocol; one of an earlier version is compared with that version where it is still shipped."""
    versions = _shipped_protocols(protocol.name)
    known = versions.get(protocol.version, versions[max(versions)]) if versions else None
    found = provenance(protocol.version, protocol.sha256, None if known is None else (known.version, known.sha256))
    return found if known is None or found.origin == "shipped" else found._replace(differs=_changes(protocol, known))


def recipe_provenance(stated: Mapping[str, Any], epochs: int | None) -> Provenance:
    """Of the recipe in a run's settings; `epochs` are those the run was asked for in place of the recipe's."""
    try:
        recipe = from_mapping(Recipe, {"stage_values": "keep", **stated}, "recipe")
    except DFADError:
        return Provenance("unknown")
    known = _shipped_recipe(recipe.name)
    if known is None:
        return Provenance("own")
    known = known if epochs is None else replace(known, epochs=epochs)
    return provenance(recipe.version, recipe.sha256, (known.version, known.sha256))


@cache
def _shipped_protocols(name: str) -> dict[int, Protocol]:
    """The shipped versions of a protocol by their number; {} for other names."""
    path = shipped("manifests") / "protocols" / f"{name}.yaml"
    if not _is_name(name) or not path.is_file():
        return {}
    earlier = earlier_versions("manifests", "protocols")
    paths = [path, *(earlier[key] for key in earlier if key.rpartition("@")[0] == name)]
    return {protocol.version: protocol for protocol in map(read_protocol, paths)}


@cache
def _shipped_recipe(name: str) -> Recipe | None:
    path = shipped("manifests") / "recipes" / f"{name}.yaml"
    return read_dataclass(Recipe, path) if _is_name(name) and path.is_file() else None


def _is_name(name: str) -> bool:
    return name == name.strip(".") and not set(name) & set("/\\\0")


def _changes(mine: Protocol, known: Protocol) -> tuple[str, ...]:
    """What differs: groups by name, other settings by key."""
    found = []
    for part in ("seen", "unseen", "unlabelled"):
        ours, theirs = ({group.key: group for group in getattr(one, part)} for one in (mine, known))
        lacking, further = [k for k in theirs if k not in ours], [k for k in ours if k not in theirs]
        found += [f"lacks {len(lacking)} of {len(theirs)} {part} groups: {', '.join(lacking)}"] if lacking else []
        found += [f"further {part} groups: {', '.join(further)}"] if further else []
        other = [key for key in ours if key in theirs and ours[key] != theirs[key]]
        found += [f"other settings of {part} groups: {', '.join(other)}"] if other else []
    a, b = asdict(mine), asdict(known)
    skipped = {*_TEXTS, "seen", "unseen", "unlabelled"}
    found += [f"other {name}" for name in a if name not in skipped and a[name] != b[name]]
    return tuple(found)
