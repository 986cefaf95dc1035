"""A recipe: optimiser, schedule, batch size, epochs. The same for every model unless the user asks otherwise."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

from dfad_bench.core.files import content_hash
from dfad_bench.core.resources import find_yaml, shipped_names
from dfad_bench.core.strict import read_dataclass


def require(true: bool, otherwise: str) -> None:
    """Refuse values that no training could use; the reader of the file names it."""
    if not true:
        raise ValueError(otherwise)


@dataclass(frozen=True)
class Optimiser:
    """`weight_decay` is coupled (L2) for adam and sgd, decoupled for adamw."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-4
    weight_decay: float = 1e-3
    momentum: float = 0.9  # sgd only

    def __post_init__(self) -> None:
        require(self.lr > 0, f"lr must be above 0, got {self.lr:g}")
        require(self.weight_decay >= 0, f"weight_decay must be 0 or more, got {self.weight_decay:g}")
        require(0 <= self.momentum < 1, f"momentum must lie in [0, 1), got {self.momentum:g}")


@dataclass(frozen=True)
class Schedule:
    """`step`: times `gamma` every `every` epochs or steps. `cosine`: to zero at the end. Warm-up is linear."""

    name: Literal["step", "cosine", "constant"] = "step"
    every: int = 15
    gamma: float = 0.1
    unit: Literal["epoch", "step"] = "epoch"
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        require(self.every >= 1, f"every must be 1 or more, got {self.every}")
        require(self.gamma > 0, f"gamma must be above 0, got {self.gamma:g}")
        require(self.warmup_steps >= 0, f"warmup_steps must be 0 or more, got {self.warmup_steps}")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. `patience` counts epochs without a better validation loss (None: never stop)."""

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

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"batch_size must be 1 or more, got {self.batch_size}")
        require(self.epochs >= 1, f"epochs must be 1 or more, got {self.epochs}")
        require(self.patience is None or self.patience >= 1, f"patience must be 1 or more or null, got {self.patience}")
        require(
            self.clip_norm is None or self.clip_norm > 0, f"clip_norm must be above 0 or null, got {self.clip_norm}"
        )
        for name, weight in self.loss_weights.items():
            require(weight >= 0, f"loss_weights: {name} must be 0 or more, got {weight:g}")

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides a run."""
        return content_hash({k: v for k, v in asdict(self).items() if k not in {"paper", "notes"}})


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by name, or the user's own by path."""
    return read_dataclass(Recipe, find_yaml("manifests", "recipes", name))


def recipe_names() -> list[str]:
    """The shipped recipes."""
    return shipped_names("manifests", "recipes")
