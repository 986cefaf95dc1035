"""How a model is trained, as far as the model says: stages, groups of parameters, what hooks are given.

What a user's recipe says takes the place of what a stage says; `core.stage_plan` decides which holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, get_args

import torch
from torch import nn

from dfad_bench.core.batch import Batch
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.recipe import LENGTHS, OptimiserName, Sampler, Schedule


@dataclass(frozen=True)
class Stage:
    """One phase of training, e.g. DNA-Det's pre-training before its contrastive phase.

    Fields left `None` are as the recipe says. What a batch is, and what `batch_size` counts, is the `sampler`'s:

    - "shuffle": rows; every row once an epoch, in random order;
    - "class_balanced": rows, the same number of each class;
    - "images_per_class": rows of each class, so that a batch has `batch_size` times the number of classes;
    - "real_forged": rows, of which real and forged ones stand in the ratio `real_forged`.

    A stage ends after `epochs`, or where `steps` is given after that many steps.

    Raises:
        ConfigError: a value that no training could use.
    """

    name: str
    epochs: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    sampler: Sampler = "shuffle"
    validate: bool = True  # False: no validation loss, no early stopping in this stage
    steps: int | None = None
    schedule: Schedule | None = None
    real_forged: tuple[int, int] = (1, 1)
    unlabelled: float = 0.0  # unlabelled rows for each labelled row of a batch; 0 for models that use none
    # share of the labelled rows of an epoch, others in each, whose labels its losses leave unused: those of
    # `Batch.hidden`; record and boards say how many they were
    hidden_labels: float = 0.0

    def __post_init__(self) -> None:
        for name, most in LENGTHS.items():
            value = getattr(self, name)
            self._require(value is None or value >= 1, f"{name} must be 1 or more or None, got {value}")
            self._require(value is None or value <= most, f"{name} must be {most:,} or less, got {value}")
        self._require(self.lr is None or self.lr > 0, f"lr must be above 0 or None, got {self.lr}")
        samplers = get_args(Sampler)
        self._require(self.sampler in samplers, f"sampler must be one of {', '.join(samplers)}, got {self.sampler!r}")
        self._require(
            min(self.real_forged) >= 1, f"real_forged must be two numbers of 1 or more, got {self.real_forged}"
        )
        self._require(self.unlabelled >= 0, f"unlabelled must be 0 or more, got {self.unlabelled}")
        self._require(0 <= self.hidden_labels < 1, f"hidden_labels must lie in [0, 1), got {self.hidden_labels}")

    def _require(self, true: bool, otherwise: str) -> None:
        if not true:
            raise ConfigError(f"stage {quoted(self.name)}: {otherwise}")


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn by settings of their own; `None` is as the recipe says.

    The schedule multiplies `lr` as it does the recipe's, unless `scheduled` is False. `parameters` may be given as
    any iterable.

    Raises:
        ConfigError: a value that no optimiser could use.
    """

    parameters: tuple[nn.Parameter, ...]
    lr: float | None = None
    weight_decay: float | None = None
    optimiser: OptimiserName | None = None
    scheduled: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.parameters))
        if self.lr is not None and self.lr <= 0:
            raise ConfigError(f"parameter group: lr must be above 0 or None, got {self.lr}")
        if self.weight_decay is not None and self.weight_decay < 0:
            raise ConfigError(f"parameter group: weight_decay must be 0 or more or None, got {self.weight_decay}")


class StageData(Protocol):
    """The faces of a run, as hooks see them: in a fixed order, unaugmented, whole on every process."""

    @property
    def device(self) -> torch.device:
        """Where batches are."""

    def train(self, batch_size: int = 64) -> Iterator[Batch]:
        """Every training face once."""

    def validation(self, batch_size: int = 64) -> Iterator[Batch]:
        """Every validation face once; nothing where there is none."""
