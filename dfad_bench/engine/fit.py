"""The one training loop: stages, named losses, finite check, validation, early stopping, checkpoints, trace.

Each step's faces and random draws are a pure function of (seed, stage, epoch, step); killed at any moment and started
again, a run on a CPU ends with the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Batch, DFADModel, Stage, expert_losses
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.progress import Progress, Silent
from dfad_bench.core.recipe import Optimiser, Recipe
from dfad_bench.data.dataset import FaceDataset, epoch_batches, in_order, prefetch
from dfad_bench.engine import checkpoint
from dfad_bench.engine.checkpoint import Position
from dfad_bench.engine.devices import Place
from dfad_bench.engine.seeding import derived, seed_all
from dfad_bench.engine.trace import Trace

Heads = Literal["both", "attribution", "detection"]
_UNUSED = {"both": frozenset(), "attribution": frozenset({"dfd"}), "detection": frozenset({"dfa"})}


@dataclass(frozen=True)
class Limits:
    """When to stop early (the run is then partial and can go on), and how often to write a checkpoint.

    `max_steps` counts the whole run, `max_minutes` this call. Every epoch ends with a checkpoint.
    """

    max_steps: int | None = None
    max_minutes: float | None = None
    checkpoint_steps: int | None = None
    checkpoint_minutes: float = 10.0


@dataclass(frozen=True)
class FitResult:
    """How training ended. `selection`: whether the weights are the best on validation or the last ones."""

    status: Literal["complete", "partial"]
    stopped: str  # why, in words
    selection: Literal["best_on_val", "last"]
    validation_loss: float | None
    position: Position
    skipped: tuple[str, ...] = ()  # damaged checkpoints passed over on resume


class _LimitReached(Exception):  # noqa: N818  a signal inside this file
    pass


class Trainer:
    """Trains one model.

    Args:
        model: any `DFADModel`; moved to `place`.
        train: faces to learn from.
        validation: faces for early stopping and the choice of weights; may be empty.
        recipe: optimiser, schedule, epochs, loss weights.
        seed: every random choice follows from it.
        place: device and precision.
        folder: the run folder; holds `checkpoint/` and `trace.csv`.
        config_sha256: settings a checkpoint must have been made with.
        heads: which experts learn; the other's loss is left out.
        cap_epochs: no stage is longer, whatever the model says.
        limits: early ends and checkpoints.
        progress: one step a batch.
    """

    def __init__(
        self,
        model: DFADModel,
        train: FaceDataset,
        validation: FaceDataset,
        recipe: Recipe,
        *,
        seed: int,
        place: Place,
        folder: Path,
        config_sha256: str,
        heads: Heads = "both",
        cap_epochs: int | None = None,
        limits: Limits = Limits(),  # noqa: B008  frozen
        progress: Progress = Silent(),  # noqa: B008  stateless
    ) -> None:
        self.model, self.train, self.validation, self.recipe = model, train, validation, recipe
        self.seed, self.place, self.heads, self.cap_epochs = seed, place, heads, cap_epochs
        self.folder, self.config_sha256 = Path(folder) / "checkpoint", config_sha256
        self.limits, self.progress = limits, progress
        self.optimiser: torch.optim.Optimizer | None = None
        self.scaler = torch.amp.GradScaler(enabled=place.precision == "fp16")
        self.position = Position(seed)
        self.trace = Trace(Path(folder) / "trace.csv")
        self._unused = _UNUSED[heads]
        self._saved_at: tuple[int, int, int] | None = None
        self._began = self._saved = time.monotonic()

    def run(self, *, resume: bool = True) -> FitResult:
        """Train to the end or a limit; afterwards the model holds the chosen weights, on disk as well.

        Raises:
            DFADError: a loss or gradient is not finite (step, faces and terms are named).
            IntegrityError: the checkpoint belongs to other settings.
        """
        self._began = self._saved = time.monotonic()
        self.place.move(self.model)
        skipped, pending = self._restore() if resume else self._start_clean()
        status, stopped = "complete", "all epochs done"
        self.progress.start("Training", self._total_steps())
        self.progress.advance(self.position.step)
        try:
            for number in range(self.position.stage, len(self.model.stages)):
                stopped = self._run_stage(number, pending)
                pending = None
        except _LimitReached as limit:
            status, stopped = "partial", str(limit)
        finally:
            self.progress.finish()
        selection, loss = self._choose_weights(status)
        facts = {"status": status, "selection": selection, "step": self.position.step}
        checkpoint.finish(self.folder, self.model, facts, keep_steps=status == "partial")
        return FitResult(status, stopped, selection, loss, self.position, skipped)  # type: ignore[arg-type]

    def _start_clean(self) -> tuple[tuple[str, ...], None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.clear(self.folder)
        return (), None

    def _restore(self) -> tuple[tuple[str, ...], dict | None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        restored = checkpoint.load_latest(self.folder, self.config_sha256)
        if restored is None:
            return (), None
        self.model.load_state_dict(restored.weights)
        self.position = restored.position
        self.trace = Trace(self.trace.path, upto=self.position.step)
        if self.position.scaler:
            whole = {"growth_interval", "_growth_tracker"}  # JSON made them floats
            scaler = {key: int(v) if key in whole else v for key, v in self.position.scaler.items()}
            self.scaler.load_state_dict(scaler)
        return restored.skipped, restored.optimiser

    def _run_stage(self, number: int, optimiser_state: dict | None) -> str:
        stage = self.model.stages[number]
        if self.position.stage != number:
            self.position = replace(self.position, stage=number, epoch=0, batch=0, stage_step=0, waited=0, best=None)
        parameters = list(self.model.parameters_of(stage.name))
        self.optimiser = make_optimiser(parameters, self.recipe.optimiser, stage.lr) if parameters else None
        if self.optimiser is not None and optimiser_state is not None:
            self.optimiser.load_state_dict(optimiser_state)
        epochs, stopped = self._epochs(stage) if parameters else 1, "all epochs done"
        for epoch in range(self.position.epoch, epochs):
            if self._out_of_patience(stage):  # also right after a resume
                stopped = f"no better validation loss for {self.position.waited} epochs"
                break
            self._run_epoch(stage, epoch, parameters)
            self._end_epoch(stage)
        if self.position.best is not None:
            self._load_best()
        if number + 1 < len(self.model.stages):
            self.position = replace(
                self.position, stage=number + 1, epoch=0, batch=0, stage_step=0, waited=0, best=None
            )
            self.optimiser = None
            self._save()
        return stopped

    def _run_epoch(self, stage: Stage, epoch: int, parameters: list[nn.Parameter]) -> None:
        batches = self._batches(stage, epoch)
        left = batches[self.position.batch :]
        self.model.train()
        for index, batch in zip(left, prefetch(self.train, left, self.place.device, training=True), strict=True):
            self._check_limits()
            losses, norm, rate = self._step(stage, batch, index, parameters, len(batches))
            step = self.position.step + 1
            self.trace.add(step=step, stage=stage.name, epoch=epoch, lr=rate, **losses, gradient_norm=norm)
            self.position = replace(
                self.position, step=step, batch=self.position.batch + 1, stage_step=self.position.stage_step + 1
            )
            self.progress.advance(1, loss=losses["loss"], epoch=epoch + 1)
            if self.position.batch < len(batches) and self._checkpoint_due():
                self._save()

    def _step(
        self, stage: Stage, batch: Batch, index, parameters: list[nn.Parameter], per_epoch: int
    ) -> tuple[dict[str, float], float, float]:
        seed_all(derived(self.seed, "step", self.position.stage, self.position.step))
        batch = replace(batch, inputs=self.place.lay_out(batch.inputs))
        if self.optimiser is None:  # nothing to learn by gradient: the model counts, in `losses`
            with torch.no_grad():
                _, values = self._sum(self.model.losses(batch, stage.name))
            self._refuse_non_finite(values, index)
            return values, 0.0, 0.0
        base = stage.lr or self.recipe.optimiser.lr
        rate = learning_rate(
            self.recipe, base, self.position.epoch, self.position.stage_step, per_epoch * self._epochs(stage)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        with self.place.autocast():
            loss, values = self._sum(self.model.losses(batch, stage.name))
        self._refuse_non_finite(values, index)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.recipe.clip_norm, norm)
        size = float(norm)
        if not math.isfinite(size) and not self.scaler.is_enabled():  # fp16: the scaler skips the step itself
            self._refuse_non_finite({**values, "gradient norm": size}, index)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return values, size, rate

    def _sum(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum that is trained on, and every term's value."""
        weights = self.recipe.loss_weights
        used = [weights.get(name, 1.0) * term for name, term in losses.items() if name not in self._unused]
        loss = torch.stack([term.float() for term in used]).sum()
        names = ["loss", *losses]
        numbers = torch.stack([loss, *(term.float() for term in losses.values())]).detach().tolist()  # one transfer
        return loss, dict(zip(names, numbers, strict=True))

    def _refuse_non_finite(self, values: Mapping[str, float], index) -> None:
        if all(math.isfinite(value) for value in values.values()):
            return
        terms = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        faces = ", ".join(self.train.sample_ids[index][:8])
        raise DFADError(
            f"step {self.position.step + 1}: a loss or gradient is not finite ({terms}); faces {faces} ...;"
            " lower the learning rate, clip gradients (recipe: clip_norm), or use --precision fp32"
        )

    def _end_epoch(self, stage: Stage) -> None:
        self.position = replace(self.position, epoch=self.position.epoch + 1, batch=0)
        self.position = replace(self.position, epochs_done=self.position.epochs_done + 1)
        loss = self._validation_loss() if stage.validate else None
        if loss is not None:
            self.trace.note(validation=loss)
            best = self.position.best
            if best is None or loss < best.loss:
                best = checkpoint.save_best(self.folder, self.model, loss, self.position.step)
                self.position = replace(self.position, best=best, waited=0)
            else:
                self.position = replace(self.position, waited=self.position.waited + 1)
        self._save()

    def _validation_loss(self) -> float | None:
        """Mean over faces of the experts' losses; None without validation faces or without trainable weights."""
        if len(self.validation) == 0 or self.optimiser is None:
            return None
        self.model.eval()
        total, size = 0.0, self.recipe.batch_size
        batches = in_order(len(self.validation), size)
        seed_all(derived(self.seed, "validation"))  # for models that draw in evaluation, too
        with torch.no_grad(), self.place.autocast():
            for index, batch in zip(
                batches, prefetch(self.validation, batches, self.place.device, training=True), strict=True
            ):
                losses = expert_losses(self.model(self.place.lay_out(batch.inputs)), batch)
                terms = [value for name, value in losses.items() if name not in self._unused]
                total += float(torch.stack(terms).sum()) * len(index)
        self.model.train()
        loss = total / len(self.validation)
        if not math.isfinite(loss):
            raise DFADError(f"step {self.position.step}: the validation loss is not finite; lower the learning rate")
        return loss

    def _choose_weights(self, status: str) -> tuple[str, float | None]:
        best = self.position.best
        if status == "complete":  # the last stage has loaded its best weights
            self.model.eval()
            return ("last", None) if best is None else ("best_on_val", best.loss)
        now = self._validation_loss() if self.model.stages[self.position.stage].validate else None
        if best is not None and (now is None or best.loss <= now):
            self._load_best()
            now = best.loss
        self.model.eval()
        return ("last", None) if now is None else ("best_on_val", now)

    def _load_best(self) -> None:
        best = self.position.best
        assert best is not None
        self.model.load_state_dict(checkpoint.load_weights(self.folder / best.file))

    def _batches(self, stage: Stage, epoch: int) -> list:
        return epoch_batches(
            self.train.attribution,
            batch_size=stage.batch_size or self.recipe.batch_size,
            seed=derived(self.seed, "order", stage.name),
            epoch=epoch,
            sampler=stage.sampler,
        )

    def _epochs(self, stage: Stage) -> int:
        epochs = self.recipe.epochs if stage.epochs is None else stage.epochs
        return epochs if self.cap_epochs is None else min(epochs, self.cap_epochs)

    def _total_steps(self) -> int:
        return sum(len(self._batches(stage, 0)) * self._epochs(stage) for stage in self.model.stages)

    def _out_of_patience(self, stage: Stage) -> bool:
        return stage.validate and self.recipe.patience is not None and self.position.waited >= self.recipe.patience

    def _check_limits(self) -> None:
        steps, minutes = self.limits.max_steps, self.limits.max_minutes
        reached = None
        if steps is not None and self.position.step >= steps:
            reached = f"limit of {steps} steps"
        elif minutes is not None and time.monotonic() - self._began > 60 * minutes:
            reached = f"limit of {minutes:g} minutes"
        if reached:
            if self._saved_at != (self.position.stage, self.position.epoch, self.position.step):
                self._save()
            raise _LimitReached(reached)

    def _checkpoint_due(self) -> bool:
        every = self.limits.checkpoint_steps
        late = time.monotonic() - self._saved > 60 * self.limits.checkpoint_minutes
        return late or (every is not None and self.position.step % every == 0)

    def _save(self) -> None:
        now = time.monotonic()
        scaler = {key: float(value) for key, value in self.scaler.state_dict().items()}
        self.position = replace(self.position, wall_s=self.position.wall_s + now - max(self._began, self._saved))
        self.position = replace(self.position, scaler=scaler)
        self.trace.write()
        checkpoint.save(self.folder, self.model, self.optimiser, self.position, self.config_sha256)
        self._saved, self._saved_at = now, (self.position.stage, self.position.epoch, self.position.step)


def make_optimiser(
    parameters: list[nn.Parameter], settings: Optimiser, lr: float | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a recipe. Weight decay is coupled (L2) for adam and sgd, decoupled for adamw."""
    rate, decay = lr or settings.lr, settings.weight_decay
    if settings.name == "adam":
        return torch.optim.Adam(parameters, rate, weight_decay=decay)
    if settings.name == "adamw":
        return torch.optim.AdamW(parameters, rate, weight_decay=decay)
    if settings.name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=settings.momentum, weight_decay=decay)
    raise ConfigError(f"optimiser {settings.name!r} is not known")


def learning_rate(recipe: Recipe, base: float, epoch: int, step: int, total_steps: int) -> float:
    """The rate of a step, counted from 0 within its stage; a pure function, so schedules have no state.

    >>> learning_rate(Recipe("r"), 1e-4, epoch=15, step=0, total_steps=100)
    1e-05
    """
    schedule = recipe.schedule
    rate = base
    if schedule.name == "step":
        rate *= schedule.gamma ** ((epoch if schedule.unit == "epoch" else step) // schedule.every)
    elif schedule.name == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * step / max(total_steps, 1)))
    if step < schedule.warmup_steps:
        rate *= (step + 1) / schedule.warmup_steps
    return rate
