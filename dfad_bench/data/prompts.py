"""Fine-grained text generator (FTG): from a generator's row of the taxonomy to its prompts, coarse to fine.

Templates are data (`manifests/prompts/*.yaml`), which say which words come from the papers and which are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.labels import PAPER_FAMILIES, REAL, Family, ForgeryType
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.resources import find_yaml, per_include
from dfad_bench.core.strict import from_mapping, read_dataclass
from dfad_bench.core.taxonomy import Generator

Prompts = tuple[str, str, str, str]  # L1 to L4
DEFAULT_PROMPTS = "ftg-4"
_OPTIONAL = {ForgeryType.GR: ForgeryType.AM}  # kinds of forgery that a file may have no words for -> whose words hold


@dataclass(frozen=True)
class PromptTemplates:
    """A prompt file. L1: fake or not; L2: by forgery type; L3: by family; L4: by name (`{name}`).

    L2 may leave gaze redirection out, which is then described as attribute manipulation, and L3 the families that the
    papers do not tell apart, which are then described as the family they group them under.
    """

    name: str
    version: int
    real: str  # repeated at all four levels
    L1: str
    L2: dict[ForgeryType, str]
    L3: dict[Family, str]
    L4: str
    paper: str | None = None

    def __post_init__(self) -> None:
        if "{name}" not in self.L4:
            raise ValueError("L4 must hold {name}")
        if absent := [f.value for f in ForgeryType if f not in self.L2 and f not in _OPTIONAL]:
            raise ValueError(f"L2 lacks {absent}")
        if absent := [f.value for f in PAPER_FAMILIES if f not in self.L3]:
            raise ValueError(f"L3 lacks {absent}")

    @property
    def plain_values(self) -> dict[str, Any]:
        """All of it as plain values, which `stored_templates` reads back."""
        forgeries = {forgery.value: text for forgery, text in self.L2.items()}
        return {**asdict(self), "L2": forgeries, "L3": {family.value: text for family, text in self.L3.items()}}

    def prompts_for(self, generator: Generator) -> Prompts:
        """The four prompts of a generator; a real face has the same sentence at all four levels (GazeCLIP Fig. 11)."""
        if generator.detection_label == REAL:
            return (self.real,) * 4
        name = generator.prompt or generator.display
        kind = self.L2.get(generator.forgery) or self.L2[_OPTIONAL[generator.forgery]]
        own = generator.family if generator.paper_family is None else generator.paper_family
        family = self.L3.get(own) or self.L3[generator.grouping]
        return self.L1, kind, family, self.L4.replace("{name}", name)


@per_include
def load_prompts(name: str = DEFAULT_PROMPTS) -> PromptTemplates:
    """A shipped or included prompt file by name, or the user's own by path.

    Raises:
        UnknownNameError, ConfigError: no such file, or not a valid one.
    """
    path = find_yaml("manifests", "prompts", name)
    templates = read_dataclass(PromptTemplates, path)
    if not name.endswith((".yaml", ".yml")) and templates.name != path.stem:
        raise ConfigError(f"{path}: name {quoted(templates.name)} must equal the file's name")
    return templates


def stored_templates(values: Mapping[str, Any], where: str = "prompts") -> PromptTemplates:
    """The templates that a run's settings hold (`PromptTemplates.plain_values`); the default ones where they hold none.

    Raises:
        ConfigError: names `where`, the key and what was expected.
    """
    return from_mapping(PromptTemplates, values, where) if values else load_prompts()


def prompts_for(generator: Generator, templates: str = DEFAULT_PROMPTS) -> Prompts:
    """The four prompts of a generator, from a prompt file."""
    return load_prompts(templates).prompts_for(generator)


def class_prompts(protocol: Protocol, templates: PromptTemplates | None = None) -> tuple[Prompts, ...]:
    """The four prompts of each class of the protocol, in label order; by the default templates where none are given."""
    templates, seen = templates or load_prompts(), sorted(protocol.seen, key=lambda group: group.label)
    return tuple(templates.prompts_for(group.taxon) for group in seen)
