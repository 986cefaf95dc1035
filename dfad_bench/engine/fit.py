"""The one training loop: stages, hooks, losses, finite check, validation, early stopping, checkpoints, trace.

Each step's faces and random draws are a pure function of (seed, stage, epoch, step); killed at any moment and started
again with as many threads and processes, a run on a CPU ends with the same bits (see `sessions`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from dfad_bench.core.contract import Batch, DFADModel, Label
from dfad_bench.core.errors import DFADError, IntegrityError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.recipe import Recipe
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.settings import Heads
from dfad_bench.core.stage_plan import StagePlan
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.engine import checkpoint
from dfad_bench.engine.augment import Augmenter
from dfad_bench.engine.checkpoint import Position, other_version
from dfad_bench.engine.devices import Place
from dfad_bench.engine.distributed import Share, Team, synchronise
from dfad_bench.engine.epoch_faces import EpochFaces
from dfad_bench.engine.interrupts import InterruptedRunError, Interrupts, interruption
from dfad_bench.engine.limits import Limits
from dfad_bench.engine.loggers import Logs
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.positions import at_stage, without_progress
from dfad_bench.engine.readings import IssuedStep, Readings
from dfad_bench.engine.schedule import learning_rate
from dfad_bench.engine.seeding import derived, seed_all
from dfad_bench.engine.sessions import begin_session, computed_again
from dfad_bench.engine.stage_data import FaceData
from dfad_bench.engine.stage_setup import batches_of, plans_of
from dfad_bench.engine.step import BOTH, Stepper
from dfad_bench.engine.trace import Trace
from dfad_bench.engine.validation import validation_loss

_LABELS: dict[Heads, frozenset[Label]] = {
    "both": BOTH,
    "attribution": frozenset({"attribution"}),
    "detection": frozenset({"detection"}),
}


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
        config_sha256: settings a checkpoint must have been made with, any of several; the first are this run's.
        heads: which experts learn; every loss made of the other's labels is left out.
        cap_epochs: no stage is longer, whatever the model says.
        kept: stages that keep an earlier length, see `plan_stages`.
        limits: early ends and checkpoints.
        progress: one step a batch.
        team: the processes that train together, all with the same arguments; the first one writes and logs.
        logs: receive the losses of every step.
        compiled: use torch.compile.
        checkpointed: compute inner results of blocks again in the backward pass.
    """

    _resume: bool  # these three are set by `run`
    _begin_s: float
    _saved: float

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
        config_sha256: str | Sequence[str],
        heads: Heads = "both",
        cap_epochs: int | None = None,
        kept: Mapping[str, Sequence[int | None]] | None = None,
        limits: Limits = Limits(),  # noqa: B008  frozen
        progress: Progress = NoProgress(),  # noqa: B008  stateless
        team: Team | None = None,
        logs: Logs | None = None,
        compiled: bool = False,
        checkpointed: bool = False,
    ) -> None:
        self.model, self.train, self.validation, self.recipe = model, train, validation, recipe
        self.seed, self.place, self.compiled, self.checkpointed = seed, place, compiled, checkpointed
        self.folder = RunFolder(Path(folder)).checkpoint.path
        self.config_sha256 = (config_sha256,) if isinstance(config_sha256, str) else tuple(config_sha256)
        self.limits, self.progress, self.team, self.logs = limits, progress, team or Team(), logs
        self.plans = plans_of(model, recipe, validated=len(validation) > 0, cap_epochs=cap_epochs, kept=kept)
        self.batches = batches_of(self.plans, recipe, train, seed=seed, place=place, processes=self.team.size)
        self.data = FaceData(train, validation, place)
        views = (*model.needs, *model.needs_training)
        where = f"recipe {recipe.name}: augment"
        self.augment = Augmenter(recipe.augment, views=views, mirrors=train.mirrors, where=where)
        self.optimisers: OptimiserSet | None = None
        self.stepper: Stepper | None = None
        self.scaler = torch.amp.GradScaler(enabled=place.precision == "fp16")
        self.position = Position(seed)
        self.trace, self._labels = Trace(RunFolder(Path(folder)).trace), _LABELS[heads]
        self._saved_at: tuple[int, int, int] | None = None
        self.readings = Readings(folder, train, place, progress, logs if self.team.lead else None, lead=self.team.lead)
        self._interrupts, self._must_stop = Interrupts(), None  # type: Interrupts, str | None

    def run(self, *, resume: bool = True) -> FitResult:
        """Train to the end or a limit; afterwards the model holds the chosen weights, on disk as well.

        Checkpoints stay until `checkpoint.clear`, so that whatever follows training may be killed, too.

        Raises:
            DFADError: a loss or gradient is not finite (step, faces and terms are named); memory or disk ran out.
            IntegrityError: the checkpoint belongs to other settings.
            InterruptedRunError: Ctrl-C; a checkpoint has been written.
        """
        self._resume = resume
        self._begin_s = self._saved = time.monotonic()
        self.place.move(self.model)
        if self.team.size > 1:
            synchronise(self.model)
        skipped, pending = self._restore(resume)
        sessions = begin_session(self.position.sessions, self.position.step, self.team.size, self.checkpointed)
        self.position = replace(self.position, sessions=sessions)
        status, stopped = "complete", "all epochs done"
        self.progress.start("Training", sum(stage.steps for stage in self.batches))
        self.progress.advance(self.position.step)
        try:
            with self._interrupts:
                for number in range(self.position.stage, len(self.plans)):
                    stopped = self._run_stage(number, pending)
                    pending = None
        except _LimitReached as limit:
            status, stopped = "partial", str(limit)
        finally:
            self.progress.finish()
            self._end_steps()
            if self.logs is not None:
                self.logs.close()
        selection, loss = self._choose_weights(status)
        self._hook("before_prediction")
        facts = {"status": status, "selection": selection, "step": self.position.step}
        if self.team.lead:
            checkpoint.finish(self.folder, self.model, facts)
        if self._interrupts.stop_requested:
            raise self._interruption()
        return FitResult(status, stopped, selection, loss, self.position, skipped)  # type: ignore[arg-type]

    def _restore(self, resume: bool) -> tuple[tuple[str, ...], dict | None]:
        restored = self.team.from_lead(lambda: self._restore_checkpoint(resume))
        if restored is None:
            return (), None
        checkpoint.fill(self.model, restored.weights, self.folder)
        self.position = self.batches[restored.position.stage].reopened(restored.position)
        self.trace = Trace(self.trace.path, upto=self.position.step)
        if self.position.scaler:
            whole = {"growth_interval", "_growth_tracker"}  # JSON made them floats
            scaler = {key: int(v) if key in whole else v for key, v in self.position.scaler.items()}
            self.scaler.load_state_dict(scaler)
        return restored.skipped, restored.optimiser

    def _restore_checkpoint(self, resume: bool) -> checkpoint.Restored | None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume:
            return checkpoint.load_latest(self.folder, *self.config_sha256)
        checkpoint.clear(self.folder)
        return None

    def _run_stage(self, number: int, optimiser_state: dict | None) -> str:
        plan = self.plans[number]
        if self.position.stage != number:
            self._enter(number)
        if not self.position.begun:
            self._hook("before_stage", plan.name)
            self.position = replace(self.position, begun=True)
        self._prepare_steps(plan, optimiser_state)
        epochs, stopped = self.batches[number].epochs if self.optimisers else 1, "all epochs done"
        for epoch in range(self.position.epoch, epochs):
            if self._out_of_patience(plan):  # also right after a resume
                stopped = f"no better validation loss for {self.position.waited} epochs"
                break
            self._run_epoch(plan, epoch)
            self._end_epoch(plan)
        if self.position.best is not None:
            self._load_best()
        self._hook("after_stage", plan.name)
        if number + 1 < len(self.plans):
            self._enter(number + 1)
            self.optimisers = None
            self._save()
        return stopped

    def _enter(self, stage: int) -> None:
        """Set the position to the beginning of a stage."""
        self.position = at_stage(self.position, stage)

    def _prepare_steps(self, plan: StagePlan, optimiser_state: dict | None) -> None:
        groups = parameter_groups(self.model, plan.name)
        self.optimisers = OptimiserSet(groups, plan.optimiser) if groups else None
        if self.optimisers is not None and optimiser_state is not None:
            try:
                self.optimisers.load_state_dict(optimiser_state)
            except ValueError as error:
                what = f"states of the optimiser ({error})"
                raise other_version(self.folder, self.model.card.display, what) from error
        self._end_steps()
        self.stepper = Stepper(
            self.model, plan.name, self.optimisers, self.recipe,
            place=self.place, team=self.team, scaler=self.scaler, labels=self._labels,
            compiled=self.compiled, checkpointed=self.checkpointed,
        )  # fmt: skip

    def _hook(self, name: str, *stage: str) -> None:
        """Call a hook of the model: without gradients, in evaluation mode, with draws that follow from the seed."""
        mode = self.model.training
        seed_all(derived(self.seed, name, *stage))
        with torch.no_grad():
            getattr(self.model.eval(), name)(*stage, self.data)
        self.model.train(mode)

    def _end_steps(self) -> None:
        if self.stepper is not None:
            self.stepper.close()
        self.stepper = None

    def _run_epoch(self, plan: StagePlan, epoch: int) -> None:
        assert self.stepper is not None
        faces = EpochFaces(
            self.train, self.batches[self.position.stage], epoch, self.position,
            share=self.stepper.share, augment=self.augment, device=self.place.device,
        )  # fmt: skip
        self.model.train()
        for index, share, batch in faces:
            self._check_limits()
            self.readings.begin()
            try:
                rate = self._issue(plan, batch, share)
            except (
                Exception
            ):  # whatever it is, a step before that was not finite may have led to it, and is named first
                self._read()
                raise
            step = self.position.step + 1
            self.readings.add(IssuedStep(step, plan.name, epoch, rate, index))
            self.position = replace(
                self.position, step=step, batch=self.position.batch + 1, stage_step=self.position.stage_step + 1
            )
            if self.readings.count >= (self.limits.log_steps or self.place.steps_unread):
                self._read()
            if self.position.batch < faces.end and self._checkpoint_due():
                self._save()
        self._read()

    def _read(self) -> None:
        """Read what the steps since the last reading came to, from the device to trace, logs and progress."""
        if self.stepper is not None:
            self._heed(self.readings.read(self.stepper, self.trace))

    def _heed(self, flags: Sequence[bool]) -> None:
        """Stop before the next step where a process is late, or asked to stop; see `_flags`."""
        if any(flags):
            self._must_stop = "interrupted" if flags[1] else "late"

    def _flags(self) -> list[bool]:
        return [self._is_late(), self._interrupts.stop_requested]

    def _issue(self, plan: StagePlan, batch: Batch, share: Share) -> float:
        """Give the device one step; the learning rate of what has none of its own."""
        assert self.stepper is not None
        position, common_draws = self.position, not share.split or self.team.lead
        self.stepper.prepare(batch, share)
        names = ("step", position.stage, position.step, *(() if common_draws else ("rank", self.team.rank)))
        seed_all(derived(self.seed, *names))
        batches = self.batches[position.stage]
        factor = learning_rate(
            plan.schedule, 1.0, position.epoch, position.stage_step, batches.steps,
            epoch_steps=batches.per_epoch, reductions=position.reductions,
        )  # fmt: skip
        self.stepper.issue(batch, share, factor, flags := self._flags())
        if self.team.size == 1:  # those of others are known when they are read
            self._heed(flags)
        return factor * plan.optimiser.lr if self.optimisers else 0.0

    def _end_epoch(self, plan: StagePlan) -> None:
        self.position = replace(self.position, epoch=self.position.epoch + 1, batch=0)
        self.position = replace(self.position, epochs_done=self.position.epochs_done + 1)
        loss = self._validation_loss() if plan.validate else None
        if loss is not None:
            self.trace.note(validation=loss)
            if self.logs is not None and self.team.lead:
                self.logs.log(self.position.step, {"validation": loss})
            best = self.position.best
            if best is None or loss < best.loss:
                step, found = self.position.step, loss
                best = self.team.from_lead(lambda: checkpoint.save_best(self.folder, self.model, found, step))
                self.position = replace(self.position, best=best, waited=0)
            else:
                every = plan.schedule.every if plan.schedule.name == "plateau" else None
                self.position = without_progress(self.position, every)
        self._save()

    def _validation_loss(self) -> float | None:
        """See `validation.validation_loss`; None without trainable weights, too."""
        if self.optimisers is None:
            return None
        try:
            return validation_loss(
                self.model, self.validation, batch_size=self.recipe.batch_size, seed=self.seed, place=self.place,
                team=self.team, labels=self._labels,
            )  # fmt: skip
        except DFADError as error:
            kind = IntegrityError if isinstance(error, IntegrityError) else DFADError  # raised by a damaged crop
            raise kind(f"step {self.position.step}: {error}") from error

    def _choose_weights(self, status: str) -> tuple[str, float | None]:
        best = self.position.best
        if status == "complete":  # the last stage has loaded its best weights
            self.model.eval()
            return ("last", None) if best is None else ("best_on_val", best.loss)
        now = self._validation_loss() if self.plans[self.position.stage].validate else None
        if best is not None and (now is None or best.loss <= now):
            self._load_best()
            now = best.loss
        self.model.eval()
        return ("last", None) if now is None else ("best_on_val", now)

    def _load_best(self) -> None:
        best = self.position.best
        assert best is not None
        weights = self.team.from_lead(lambda: checkpoint.load_weights(self.folder / best.file))
        checkpoint.fill(self.model, weights, self.folder)

    def _out_of_patience(self, plan: StagePlan) -> bool:
        return plan.validate and self.recipe.patience is not None and self.position.waited >= self.recipe.patience

    def _is_late(self) -> bool:
        """Whether the first process is past its minutes."""
        minutes = self.limits.max_minutes
        return self.team.lead and minutes is not None and time.monotonic() - self._begin_s > 60 * minutes

    def _check_limits(self) -> None:
        """Write a checkpoint and stop where a limit is reached or an interrupt has come."""
        reached = self.limits.reached(self.position.step, late=self._must_stop == "late")
        if reached or self._must_stop:
            if self._saved_at != (self.position.stage, self.position.epoch, self.position.step):
                self._save()
            if self._must_stop == "interrupted":
                raise self._interruption()
            raise _LimitReached(reached)

    def _interruption(self) -> InterruptedRunError:
        total = sum(stage.steps for stage in self.batches)
        return interruption(self.folder.parent, self.position.step, total, resumed=self._resume)

    def _checkpoint_due(self) -> bool:
        read = self.readings.count == 0  # minutes count there only, so that all processes read after the same steps
        return self.limits.checkpoint_due(self.position.step, time.monotonic() - self._saved if read else 0.0)

    def _save(self) -> None:
        self._read()  # a checkpoint is never of a step that was not finite
        now = time.monotonic()
        scaler = {key: float(value) for key, value in self.scaler.state_dict().items()}
        self.position = replace(self.position, wall_s=self.position.wall_s + now - max(self._begin_s, self._saved))
        again = self.stepper is not None and self.stepper.recomputes
        sessions = computed_again(self.position.sessions, again)
        self.position = replace(self.position, scaler=scaler, sessions=sessions)
        if self.team.lead:
            self.trace.write()
            checkpoint.save(self.folder, self.model, self.optimisers, self.position, self.config_sha256[0])
        self._saved, self._saved_at = now, (self.position.stage, self.position.epoch, self.position.step)
