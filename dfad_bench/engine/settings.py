"""What a run, an evaluation and a robustness evaluation are asked to do; each setting is written down here only.

Commands take help, choices, limits and defaults of their options from these fields (`cli.options.setting`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core import bounds
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.recipe import Recipe
from dfad_bench.core.settings import AskedPrecision, Cache, Heads, Size, check_settings, documented, option
from dfad_bench.data.prompts import DEFAULT_PROMPTS

ViewSettings = Mapping[str, Mapping[str, Any]]
ViewsFrom = Literal["corrupted", "clean"]
_DEVICE = option("Where to compute: auto, cpu, cuda, cuda:N or mps.")
_FORCE = option("Compute in that number format although it is more than ten times as slow as fp32 here.")
_PARTIAL = option("Go on with missing or short groups; the record says so.")
_SEED = option("Every random choice follows from it.", least=0, most=bounds.SEED)
_VIEWS = option(
    "Settings of the views the model needs, as in parsing.folder=labels; repeatable.",
    flag="--view",
    metavar="NAME.KEY=VALUE",
)


@documented
@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What decides a run's numbers and is stored with the run as it was given."""

    model: str = field(metadata=option("See `dfad list models`.", names="model"))
    size: Size = field(default="paper", metadata=option("Widths of the model: as published, or toy ones."))
    epochs: int | None = field(
        default=None,
        metadata=option("Epochs, in place of the recipe's; no stage is longer.", least=1, most=bounds.EPOCHS),
    )
    seed: int = field(default=0, metadata=_SEED)
    precision: AskedPrecision = field(
        default="fp32", metadata=option("Number format of the forward pass; auto: what the device computes well.")
    )
    heads: Heads = field(default="both", metadata=option("Experts that are trained."))
    options: Mapping[str, Any] = field(
        default_factory=dict,
        metadata=option("Settings of the model (or centre_loss=dfacc); repeatable.", flag="--set", metavar="KEY=VALUE"),
    )
    allow_partial: bool = field(default=False, metadata=_PARTIAL)
    compiled: bool = field(
        default=False, metadata=option("Use torch.compile; without a compiler, train without it.", flag="--compile")
    )
    channels_last: bool | None = field(
        default=None,
        metadata=option(
            "Memory layout of images and convolutions.  [default: as suits the device]",
            flag="--channels-last/--contiguous",
        ),
    )


@documented
@dataclass(frozen=True, kw_only=True)
class TrainSettings(ModelSettings):
    """Everything a training is asked to do.

    A finished run of the same settings is left as it is. Where settings decide no number (`processes`, `cache`,
    `resume`, limits, logs), others may be given to go on with an unfinished run.

    Raises:
        ConfigError: a value no training could use; names the field.
    """

    protocol: Protocol | str = field(metadata=option("Protocol name, or your own YAML file.", names="protocol"))
    recipe: Recipe | str = field(
        default="default",
        metadata=option(
            "Recipe name (paper: the tables' default), author (the model's own), or your YAML file.", names="recipe"
        ),
    )
    prompts: str = field(
        default=DEFAULT_PROMPTS,
        metadata=option(
            "Prompts of the generators, for models that read text: a name, or your own YAML file.", names="prompt"
        ),
    )
    seeds: tuple[int, ...] = field(
        default=(), metadata=option("Several runs, in OUT/seed-N, and their mean.", metavar="N,N,...", most=bounds.SEED)
    )
    device: str = field(default="auto", metadata=_DEVICE)
    cache: Cache = field(
        default="disk",
        metadata=option("Where the crops lie: decoded on disk, in memory, on the GPU; none decodes batch by batch."),
    )
    force_precision: bool = field(default=False, metadata=_FORCE)
    checkpointing: bool = field(
        default=False,
        metadata=option("Less memory for more time: transformer blocks are computed again in the backward pass."),
    )
    processes: int = field(
        default=1,
        metadata=option(
            "Number of GPUs (or CPU processes) of this machine to train on.",
            least=1,
            most=bounds.PROCESSES,
            show_default=False,
        ),
    )
    weights: str | Mapping[str, str] | None = field(
        default=None,
        metadata=option("Pre-trained weights to start from (a name or a path); random without."),
    )
    finetune_from: Path | None = field(
        default=None,
        metadata=option("Finished run whose weights to start from; classes are matched by name.", metavar="RUN"),
    )
    views: ViewSettings = field(default_factory=dict, metadata=_VIEWS)
    leak_check: bool = field(
        default=True,
        metadata=option(
            "Look for training faces that are copies of test faces, mirrored, shifted or zoomed, and say so.",
            flag="--leak-check/--no-leak-check",
        ),
    )
    outputs: bool = field(
        default=True,
        metadata=option(
            "Keep logits and embeddings of test, validation and some training faces, for scores of the open world.",
            flag="--outputs/--no-outputs",
        ),
    )
    max_steps: int | None = field(
        default=None,
        metadata=option(
            "Stop after this many steps in all, counting those of earlier calls; the run is partial and can go on.",
            least=1,
            most=bounds.STEPS,
        ),
    )
    max_minutes: float | None = field(
        default=None,
        metadata=option("Stop after this many minutes of training in this call.", above=0, most=bounds.MINUTES),
    )
    resume: bool = field(
        default=True,
        metadata=option(
            "Go on with an unfinished run, or delete what is there and start again.", flag="--resume/--no-resume"
        ),
    )
    extend: bool = field(
        default=False,
        metadata=option("Train the run in OUT further, up to the epochs (or steps) given now.", flag="--extend"),
    )
    wandb: str | None = field(
        default=None, metadata=option("Log to this project of Weights & Biases, too.", metavar="PROJECT")
    )
    logs: tuple[str, ...] = field(
        default=("tensorboard",),
        metadata=option("Logs beside trace.csv; those whose package is not installed are left out.", flag=None),
    )
    log_steps: int | None = field(
        default=None,
        metadata=option(
            "Steps between readings of the losses from the device; 20 on a GPU, else 1.",
            flag=None,
            least=1,
            most=bounds.STEPS,
        ),
    )
    checkpoint_steps: int | None = field(
        default=None,
        metadata=option("Steps between checkpoints; every epoch ends with one.", flag=None, least=1, most=bounds.STEPS),
    )
    checkpoint_minutes: float = field(
        default=10.0, metadata=option("Minutes between checkpoints.", flag=None, above=0, most=bounds.MINUTES)
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.extend and not self.resume:
            raise ConfigError("TrainSettings: extend goes on with a run, resume=False starts it again; leave one out")
        if self.compiled and self.checkpointing:
            raise ConfigError(
                "TrainSettings: compiled code chooses itself what to compute again; leave --compile or"
                " --checkpointing out"
            )
        if self.weights and self.finetune_from:
            raise ConfigError("TrainSettings: weights and finetune_from both say what to start from; give one of them")
        if len(set(self.seeds)) < len(self.seeds) or any(seed < 0 for seed in self.seeds):
            raise ConfigError(f"TrainSettings.seeds must be 0 or more, each once; got {quoted(list(self.seeds))}")
        if len(self.seeds) > bounds.SEEDS:
            raise ConfigError(f"TrainSettings.seeds are {len(self.seeds)}; one call trains {bounds.SEEDS} at most")


@documented
@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What a finished run is asked to predict."""

    protocol: Protocol | str | None = field(
        default=None, metadata=option("Protocol name, or your own YAML file.", names="protocol")
    )
    device: str = field(default="auto", metadata=_DEVICE)
    precision: AskedPrecision | None = field(
        default=None,
        metadata=option("Number format of the forward pass, as in training.  [default: that of the run]"),
    )
    force_precision: bool = field(default=False, metadata=_FORCE)
    views: ViewSettings = field(default_factory=dict, metadata=_VIEWS)
    allow_partial: bool = field(default=False, metadata=_PARTIAL)

    def __post_init__(self) -> None:
        check_settings(self)


@documented
@dataclass(frozen=True, kw_only=True)
class RobustnessSettings(EvaluateSettings):
    """Under which corruptions a finished run predicts, and how."""

    corruptions: tuple[str, ...] = field(
        default=("all",),
        metadata=option("all, exact, or names separated by commas; see `dfad list corruptions`.", metavar="NAMES"),
    )
    severities: tuple[int, ...] | None = field(
        default=None,
        metadata=option("Severities, separated by commas.  [default: 1,2,3,4,5]", metavar="LEVELS", most=bounds.LEVELS),
    )
    corruptions_file: Path | None = field(default=None, metadata=option("Your own corruptions (YAML)."))
    corrupt_at: int | None = field(
        default=None,
        metadata=option("Side of the crops that are corrupted.  [default: as they are]", least=8, most=bounds.SIDE),
    )
    seed: int = field(default=0, metadata=_SEED)
    views_from: ViewsFrom = field(
        default="corrupted",
        metadata=option("Crop that gaze and other views of corrupted faces are made from.", flag="--views-from"),
    )
    keep_images: Path | None = field(default=None, metadata=option("Store the corrupted crops in this folder, too."))
    workers: int | None = field(
        default=None,
        metadata=option(
            "Processes that corrupt while the model runs.  [default: cores - 1]", least=0, most=bounds.PROCESSES
        ),
    )
