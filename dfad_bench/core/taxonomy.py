"""Every generator once: family, forgery type, default class, aliases, prompt name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.labels import FAKE, REAL, UNLABELLED, UNSEEN, Family, ForgeryType
from dfad_bench.core.resources import shipped
from dfad_bench.core.strict import from_mapping, read_yaml

REAL_KEY = "real"
UNLABELLED_KEY = "unlabelled"


@dataclass(frozen=True)
class Generator:
    """One row of `manifests/taxonomy.yaml`.

    `key` is the name used everywhere in data; `display` is how papers print it; `prompt` is the name in the
    level-4 text prompt; `attribution_label` is the class of GazeCLIP Table I, -1 where it has none.
    """

    key: str
    display: str
    forgery: ForgeryType
    family: Family
    attribution_label: int = UNSEEN
    prompt: str | None = None
    aliases: tuple[str, ...] = ()
    reference: str | None = None

    @property
    def detection_label(self) -> int:
        """0 for pristine faces, 1 for forged ones, -1 where nobody vouches for either."""
        return {REAL_KEY: REAL, UNLABELLED_KEY: UNLABELLED}.get(self.key, FAKE)


class Taxonomy:
    """The generators by key, by display name and by alias; look-ups ignore case, spaces, `-`, `_` and `.`."""

    def __init__(self, generators: tuple[Generator, ...]) -> None:
        self._by_key = {g.key: g for g in generators}
        self._by_name: dict[str, Generator] = {}
        for generator in generators:
            for name in {_fold(n) for n in (generator.key, generator.display, *generator.aliases)}:
                if name in self._by_name:
                    raise ConfigError(f"taxonomy: {name!r} names both {self._by_name[name].key} and {generator.key}")
                self._by_name[name] = generator

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._by_key.values())

    def __contains__(self, name: str) -> bool:
        return _fold(name) in self._by_name

    def __getitem__(self, name: str) -> Generator:
        """The generator of a key, display name or alias.

        Raises:
            UnknownNameError: with the nearest keys.
        """
        try:
            return self._by_name[_fold(name)]
        except KeyError:
            raise UnknownNameError("generator", name, self._by_key) from None


def read_taxonomy(path: Path) -> Taxonomy:
    """Read a taxonomy file: a mapping from key to the fields of `Generator`.

    Raises:
        ConfigError: a bad row, or two rows sharing a name.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must be a mapping of generators")
    rows = [from_mapping(Generator, {"key": key, **(row or {})}, f"{path}: {key}") for key, row in raw.items()]
    return Taxonomy(tuple(rows))


@cache
def taxonomy() -> Taxonomy:
    """The shipped taxonomy."""
    return read_taxonomy(shipped("manifests") / "taxonomy.yaml")


def _fold(name: str) -> str:
    return "".join(c for c in name.lower() if c not in " -_.")
