"""A recipe: optimiser, schedule, batch size, epochs. The same for every model unless the user asks otherwise."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core import bounds
from dfad_bench.core.bounds import check_bounds
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.files import content_hash
from dfad_bench.core.resources import find_yaml, yaml_files, yaml_names
from dfad_bench.core.strict import read_dataclass

OptimiserName = Literal["adam", "adamw", "sgd"]
AUTHOR = "author"  # in place of a name: the recipe that the model's card names
ALIASES = {"paper": "default"}  # other names that are understood; records have the second
LENGTHS = {"epochs": bounds.EPOCHS, "steps": bounds.STEPS, "batch_size": bounds.BATCH}  # of a stage, at most
Sampler = Literal["shuffle", "class_balanced", "images_per_class", "real_forged"]  # see `core.stages.Stage`


def require(true: bool, otherwise: str) -> None:
    """Refuse values that no training could use; the reader of the file names it."""
    if not true:
        raise ValueError(otherwise)


@dataclass(frozen=True)
class Optimiser:
    """`weight_decay` is coupled (L2) for adam and sgd, decoupled for adamw."""

    name: OptimiserName = "adam"
    lr: float = 1e-4
    weight_decay: float = 1e-3
    momentum: float = 0.9  # sgd only

    def __post_init__(self) -> None:
        require(self.lr > 0, f"lr must be above 0, got {self.lr:g}")
        require(self.weight_decay >= 0, f"weight_decay must be 0 or more, got {self.weight_decay:g}")
        require(0 <= self.momentum < 1, f"momentum must lie in [0, 1), got {self.momentum:g}")


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes within a stage.

    `step`: times `gamma` every `every` epochs or steps. `cosine`: to zero at the end. `plateau`: times `gamma` after
    every `every` epochs without a better validation loss. Warm-up is linear, over steps or epochs.
    """

    name: Literal["step", "cosine", "constant", "plateau"] = "step"
    every: int = 15
    gamma: float = 0.1
    unit: Literal["epoch", "step"] = "epoch"
    warmup_steps: int = 0
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        check_bounds("every", self.every, 1, bounds.STEPS)
        require(self.gamma > 0, f"gamma must be above 0, got {self.gamma:g}")
        check_bounds("warmup_steps", self.warmup_steps, 0, bounds.STEPS)
        check_bounds("warmup_epochs", self.warmup_epochs, 0, bounds.EPOCHS)
        require(not (self.warmup_steps and self.warmup_epochs), "give warmup_steps or warmup_epochs, not both")
        require(self.name != "plateau" or self.unit == "epoch", "unit must be epoch for plateau")


@dataclass(frozen=True)
class StageRecipe:
    """What a recipe says of one stage of a model, by the stage's name; `None` is as the recipe says of all."""

    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    sampler: Sampler | None = None
    real_forged: tuple[int, int] | None = None
    optimiser: Optimiser | None = None
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        for name, most in LENGTHS.items():
            check_bounds(name, getattr(self, name), 1, most, null=True)
        require(self.epochs is None or self.steps is None, "give epochs or steps, not both")
        require(self.real_forged is None or min(self.real_forged) >= 1, "real_forged must be two numbers of 1 or more")
        for value in self.real_forged or ():
            check_bounds("real_forged", value, 1, bounds.BATCH)


@dataclass(frozen=True)
class Augmentation:
    """One random change of the training faces; `name` is one of `engine.augment.AUGMENTATIONS`.

    Each face is changed with `probability`, by values drawn for it from the ranges in `settings`.
    """

    name: str
    probability: float = 0.5
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(0 < self.probability <= 1, f"probability must lie in (0, 1], got {self.probability:g}")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. `patience` counts epochs without a better validation loss (None: never stop).

    A model's stage may state a batch size, a number of epochs, a rate or a schedule of its own. `stage_values` says
    what then holds: "override", this recipe's, or "keep", the stage's (as the shared recipes of the tables have it).
    What `stages` says of a stage by name holds in any case. `augment` is applied in order.
    """

    name: str
    version: int = 1
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    batch_size: int = 32
    epochs: int = 100
    patience: int | None = 5
    clip_norm: float | None = None
    loss_weights: dict[str, float] = field(default_factory=dict)
    paper: str | None = None
    notes: tuple[str, ...] = ()
    stage_values: Literal["override", "keep"] = "override"
    stages: dict[str, StageRecipe] = field(default_factory=dict)
    augment: tuple[Augmentation, ...] = ()

    def __post_init__(self) -> None:
        check_bounds("batch_size", self.batch_size, 1, bounds.BATCH)
        check_bounds("epochs", self.epochs, 1, bounds.EPOCHS)
        check_bounds("patience", self.patience, 1, bounds.EPOCHS, null=True)
        require(
            self.clip_norm is None or self.clip_norm > 0, f"clip_norm must be above 0 or null, got {self.clip_norm}"
        )
        for name, weight in self.loss_weights.items():
            require(weight >= 0, f"loss_weights: {name} must be 0 or more, got {weight:g}")

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides a run."""
        return content_hash({k: v for k, v in self.settings.items() if k not in {"paper", "notes"}})

    @property
    def settings(self) -> dict[str, Any]:
        """All fields as plain values; settings added later are left out where they have the value that held before."""
        before = {"stage_values": "keep", "stages": {}, "augment": ()}
        found = {name: value for name, value in asdict(self).items() if name not in before or value != before[name]}
        for schedule in (found["schedule"], *(stage["schedule"] for stage in found.get("stages", {}).values())):
            if schedule is not None and schedule["warmup_epochs"] == 0:
                del schedule["warmup_epochs"]
        return found


def load_recipe(name: str) -> Recipe:
    """A shipped or included recipe by name or by another name for it (`ALIASES`), or the user's own by path.

    Raises:
        UnknownNameError, ConfigError: no such recipe, or a bad file.
    """
    if name in ALIASES and (other := yaml_files("manifests", "recipes").get(name)):
        raise _name_taken(other, name)
    name = ALIASES.get(name, name)
    path = find_yaml("manifests", "recipes", name)
    recipe = read_dataclass(Recipe, path)
    if path.stem == name != recipe.name:
        raise ConfigError(f"{path}: name {quoted(recipe.name)} must equal the file's name")
    if recipe.name == AUTHOR:
        raise ConfigError(f"{path}: name {AUTHOR!r} stands for the recipe of each model's authors; choose another")
    if recipe.name in ALIASES:
        raise _name_taken(path, recipe.name)
    return recipe


def _name_taken(path: Path, name: str) -> ConfigError:
    return ConfigError(f"{path}: name {name!r} is another name for the recipe {ALIASES[name]!r}; choose another")


def recipe_names() -> list[str]:
    """The shipped and included recipes."""
    return yaml_names("manifests", "recipes")
