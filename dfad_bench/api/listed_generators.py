"""Generators by name, and which of them are of a family, of a kind, of some months or in some manifests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.api.kind import FROM, Kind, Row

if TYPE_CHECKING:
    from dfad_bench.core.taxonomy import Generator

PROCESSED, PERSONALISED = "processed", "personalised"


@dataclass(frozen=True)
class GeneratorFilter:
    """Which generators are wanted; each field that is set must hold.

    Attributes:
        families: precise families (`gan`, `flow_matching`, ...), any of them.
        types: kinds of forgery (`EFS`, `FS`, ...), `processed` (real faces) or `personalised`, any of them.
        released: a range of months, `FROM..TO`; generators without a month are then left out, and a note says so.
        manifests: folders of manifests, or their `manifest.json`; generators with a kept face in any of them.
    """

    families: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    released: str | None = None
    manifests: tuple[Path | str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.families or self.types or self.released is not None or self.manifests)


def filtered_names(chosen: GeneratorFilter) -> tuple[list[str], list[str]]:
    """The keys of the generators wanted, in the order of the taxonomy, and notes on what is left out for want of facts.

    Raises:
        UnknownNameError: no such family or kind.
        ConfigError: a bad range of months.
        ManifestError: no such manifest.
    """
    from dfad_bench.core.errors import UnknownNameError, listed
    from dfad_bench.core.labels import Family, ForgeryType
    from dfad_bench.core.months import MonthRange
    from dfad_bench.core.taxonomy import taxonomy

    families = {family.value for family in Family}
    types = {kind.value.casefold(): kind.value for kind in ForgeryType} | {PROCESSED: PROCESSED}
    types |= {PERSONALISED: PERSONALISED}
    for what, known, given in (("family", families, chosen.families), ("type of forgery", types, chosen.types)):
        if unknown := [name for name in given if name.casefold() not in known]:
            raise UnknownNameError(what, unknown[0], sorted(types.values() if what != "family" else families))
    months = None if chosen.released is None else MonthRange.parse(chosen.released, "--released")
    rows, notes = list(taxonomy()), list[str]()
    if chosen.manifests:
        present, notes = _in_manifests(chosen.manifests)
        rows = [row for row in rows if row.key in present]
    if chosen.families:
        rows = [row for row in rows if row.family.value in {name.casefold() for name in chosen.families}]
    if chosen.types:
        wanted = {types[name.casefold()] for name in chosen.types}
        rows = [row for row in rows if wanted & set(_types_of(row))]
    if months is not None:
        undated = [row.key for row in rows if row.released is None]
        rows = [row for row in rows if row.released is not None and row.released in months]
        notes += [f"left out, since no month is known: {listed(undated, 20)}"] if undated else []
    return [row.key for row in rows], notes


def _types_of(row: Generator) -> list[str]:
    if row.processed:
        return [PROCESSED]
    return [row.forgery.value, *([PERSONALISED] if row.personalised else [])]


def _in_manifests(folders: Iterable[Path | str]) -> tuple[set[str], list[str]]:
    """Keys of generators with a kept face in any of them, and a note on those that the taxonomy does not have."""
    from dfad_bench.core.taxonomy import taxonomy
    from dfad_bench.data.manifest import FILE, OK, Manifest

    found: set[str] = set()
    for path in map(Path, folders):
        manifest = Manifest.open(path.parent if path.name == FILE else path)
        found |= {name for name, counts in manifest.info["counts"].items() if counts.get(OK)}
    unknown = sorted(name for name in found if name not in taxonomy())
    notes = [f"in the manifests, but not in the taxonomy (--include): {', '.join(unknown)}"] if unknown else []
    return found - set(unknown), notes


def _names() -> list[str]:
    from dfad_bench.core.taxonomy import taxonomy

    return [generator.key for generator in taxonomy()]


def _described(name: str) -> Row:
    from dfad_bench.core.resources import origin
    from dfad_bench.core.taxonomy import taxonomy

    row = taxonomy()[name]
    return {
        "display": row.display,
        "forgery": PROCESSED if row.processed else row.forgery.value,
        "family": row.family.value,
        "released": row.released,
        "released_of": None if row.released is None else row.released_of,
        "released_source": row.released_source,
        "parent": row.parent,
        "aliases": ", ".join(row.aliases),
        "reference": row.reference,
        "origin": origin(taxonomy().file_of(name)),
    }


KIND = Kind(
    _names,
    _described,
    {
        "display": "Generator",
        "forgery": "Forgery",
        "family": "Family",
        "released": "Released",
        "released_of": "As",
        "released_source": "Known by",
        "parent": "Version of",
        "aliases": "Also called",
        "reference": "Reference",
        **FROM,
    },
)
