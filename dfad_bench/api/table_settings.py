"""What a reproduced table is asked for; options are those of `dfad train` where they mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dfad_bench.core import bounds
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.recipe import AUTHOR, Recipe
from dfad_bench.core.settings import AskedPrecision, Cache, Size, check_settings, documented, option
from dfad_bench.engine.settings import TrainSettings, ViewSettings


def _as_in_training(name: str) -> Mapping[str, Any]:
    return next(found.metadata for found in fields(TrainSettings) if found.name == name)


@documented
@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """How the runs of a table are made; what a row is about (model, options, views, experts) is the table's.

    At paper size a model starts from the weights its card names, and gaze is ETH-XGaze's; tiny models start from
    random weights.

    Raises:
        ConfigError: a value no training could use; names the field.
    """

    protocol: Protocol | str | None = field(
        default=None, metadata=option("Protocol in place of the table's own.", names="protocol")
    )
    size: Size = field(default="paper", metadata=_as_in_training("size"))
    recipe: Recipe | str = field(default="default", metadata=_as_in_training("recipe"))
    epochs: int | None = field(default=None, metadata=_as_in_training("epochs"))
    seeds: tuple[int, ...] = field(
        default=(),
        metadata=option(
            "Seeds of each row.  [default: the protocol's, else 0]", metavar="N,N,...", least=0, most=bounds.SEED
        ),
    )
    device: str = field(default="auto", metadata=_as_in_training("device"))
    cache: Cache = field(default="disk", metadata=_as_in_training("cache"))
    precision: AskedPrecision = field(default="fp32", metadata=_as_in_training("precision"))
    force_precision: bool = field(default=False, metadata=_as_in_training("force_precision"))
    weights: Mapping[str, str] = field(
        default_factory=dict,
        metadata=option(
            "Weights a model starts from (a name or a path), or MODEL=none; repeatable.", metavar="MODEL=FILE"
        ),
    )
    views: ViewSettings = field(default_factory=dict, metadata=_as_in_training("views"))
    models: tuple[str, ...] = field(
        default=(), metadata=option("Rows of this model only; repeatable.", flag="--model", names="model")
    )
    allow_partial: bool = field(default=False, metadata=_as_in_training("allow_partial"))
    leak_check: bool = field(default=True, metadata=_as_in_training("leak_check"))
    max_steps: int | None = field(default=None, metadata=_as_in_training("max_steps"))
    max_minutes: float | None = field(default=None, metadata=_as_in_training("max_minutes"))
    logs: tuple[str, ...] = field(default=("tensorboard",), metadata=_as_in_training("logs"))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.recipe == AUTHOR:
            raise ConfigError(
                "the rows of a table are trained by one recipe, or no difference is the model's; one model as its"
                " authors train it: dfad train --recipe author"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"TableSettings.seeds must differ from each other; got {quoted(list(self.seeds))}")
        if len(self.seeds) > bounds.SEEDS:
            raise ConfigError(f"TableSettings.seeds are {len(self.seeds)}; one call trains {bounds.SEEDS} at most")
