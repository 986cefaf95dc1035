"""One training step of one stage: losses, backward pass, optimiser; the same on every process of a team."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Batch, DFADModel, Label, loss_terms, weighted_losses
from dfad_bench.core.errors import ConfigError, DFADError, listed
from dfad_bench.core.files import write_json
from dfad_bench.core.parallel import split_batch
from dfad_bench.core.recipe import Recipe
from dfad_bench.engine.compiling import compile_called, restore
from dfad_bench.engine.devices import Place
from dfad_bench.engine.distributed import Share, Team
from dfad_bench.engine.interrupts import one_line
from dfad_bench.engine.optimisers import OptimiserSet

BOTH: frozenset[Label] = frozenset({"attribution", "detection"})


class NotFiniteError(ArithmeticError):
    """A loss or the gradient is NaN or inf; `values` holds every term."""

    def __init__(self, values: Mapping[str, float]) -> None:
        super().__init__(", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        self.values = values

    def write(self, path: Path, *, step: int, stage: str, sample_ids: list[str]) -> None:
        """Keep the step, its terms and its faces in a JSON file."""
        terms = {name: repr(value) for name, value in self.values.items()}
        write_json(path, {"step": step, "stage": stage, "terms": terms, "sample_ids": sample_ids})

    def refusal(self, path: Path, *, step: int, sample_ids: list[str], precision: str) -> DFADError:
        """One line with the step, the terms, its faces, and what may help; `path` is where all of them are kept."""
        where = f", all in {path}" if len(sample_ids) > 4 else ""
        ways = "lower the learning rate or clip gradients (recipe: lr, clip_norm)"
        ways += ", or use --precision fp32" if precision != "fp32" else ""
        faces = listed(sample_ids, 4)
        return DFADError(f"step {step}: a loss or gradient is not finite ({self}); faces {faces}{where}; {ways}")


class Objective(nn.Module):
    """A model's losses in one stage as a forward pass: the weighted sum that is trained on, and every term.

    Args:
        model: whose losses.
        stage: name of the stage.
        weights: of the losses, instead of the model's own.
        labels: those of the experts that learn; a term that uses others is left out of the sum.
        learns: whether anything is learnt from the sum; the model only counts otherwise.
    """

    def __init__(
        self,
        model: DFADModel,
        stage: str,
        weights: Mapping[str, float],
        labels: frozenset[Label] = BOTH,
        *,
        learns: bool = True,
    ) -> None:
        super().__init__()
        self.model, self.stage, self.weights, self.labels, self.learns = model, stage, weights, labels, learns
        self.names: list[str] = []

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum, with its gradient, and (1 + terms,) numbers: the sum and each term, named by `names`.

        Raises:
            ConfigError: no term may be trained on, or the weight of each is 0.
        """
        terms = loss_terms(self.model.terms(batch, self.stage))
        used = weighted_losses(terms, self.weights, self.labels)
        if not used:
            raise ConfigError(
                f"{self.model.card.display}: stage {self.stage!r} has no loss without the labels of the expert that"
                " is left out; use --heads both"
            )
        weights = {name: self.weights.get(name, terms[name].weight) for name in used}
        if self.learns and all(isinstance(weight, int | float) and weight == 0 for weight in weights.values()):
            raise ConfigError(
                f"{self.model.card.display}: stage {self.stage!r} learns nothing: the weight of each of its losses"
                f" ({', '.join(used)}) is 0; raise one (recipe: loss_weights)"
            )
        loss = torch.stack(list(used.values())).sum()
        self.names = ["loss", *terms]
        return loss, torch.stack([loss, *(term.value.float() for term in terms.values())]).detach()


class Stepper:
    """Does the steps of one stage.

    Args:
        model: on its device.
        stage: its name.
        optimisers: of all that learns in it; None where nothing does: the model then only counts, in `losses`.
        recipe: loss weights and clipping.
        place: device and precision.
        team: the processes that share each batch.
        scaler: gradient scaling of fp16.
        labels: those that are trained on.
        compiled: use torch.compile.
    """

    def __init__(
        self,
        model: DFADModel,
        stage: str,
        optimisers: OptimiserSet | None,
        recipe: Recipe,
        *,
        place: Place,
        team: Team,
        scaler: torch.amp.GradScaler,
        labels: frozenset[Label] = BOTH,
        compiled: bool = False,
    ) -> None:
        self.optimisers, self.recipe = optimisers, recipe
        self.parameters = optimisers.parameters if optimisers is not None else []
        self.place, self.team, self.scaler = place, team, scaler
        self.objective = Objective(model, stage, recipe.loss_weights, labels, learns=bool(self.parameters))
        self._forward: nn.Module = self.objective
        self._to_compile = compiled and bool(self.parameters)
        self._compiled: list[nn.Module] = []
        if team.size > 1 and self.parameters:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch 2.15 renames the last argument
                # stages and experts that are left out leave parameters unused; buffers are equal on all processes
                self._forward = nn.parallel.DistributedDataParallel(
                    self.objective, find_unused_parameters=True, broadcast_buffers=False
                )

    def share(self, index: np.ndarray, unlabelled: np.ndarray | None = None) -> Share:
        """This process's part of a batch and of its unlabelled rows; all where nothing is learnt by gradient."""
        return self.team.share(index, whole=not self.parameters, unlabelled=unlabelled)

    def prepare(self, batch: Batch, share: Share) -> None:
        """Compile what this batch calls, the first time; to be called before a step is seeded."""
        if not self._to_compile:
            return
        self._to_compile = False
        batch = self._laid_out(batch)
        with torch.no_grad(), split_batch(share.split), self.place.autocast():
            self._compiled = compile_called(self.objective, lambda: self.objective(batch))

    def _laid_out(self, batch: Batch) -> Batch:
        inputs, hidden = self.place.lay_out(batch.inputs), batch.unlabelled
        return replace(batch, inputs=inputs, unlabelled=None if hidden is None else self.place.lay_out(hidden))

    def close(self) -> None:
        """Undo compilation."""
        restore(self._compiled)

    def run(self, batch: Batch, share: Share, factor: float, flags: list[bool]) -> tuple[dict[str, float], list[bool]]:
        """One step, then the model's `after_step`.

        Args:
            batch: this process's faces.
            share: which part of the whole batch they are.
            factor: what the schedule multiplies learning rates by.
            flags: conditions of this process, such as "out of time".

        Returns:
            Every loss of the whole batch by name, with `gradient_norm`; and for each flag whether any process has it.

        Raises:
            NotFiniteError: a loss or the gradient is NaN or inf; weights are as before, on every process.
            DFADError: out of memory.
        """
        bf16 = "--precision bf16 or " if self.place.precision == "fp32" else ""
        advice = f"lower batch_size in the recipe, or use {bf16}more processes"
        with one_line(f"with {len(share.index)} faces a step at {self.place.precision}", advice):
            batch = self._laid_out(batch)
            with torch.set_grad_enabled(bool(self.parameters)), split_batch(share.split), self.place.autocast():
                loss, numbers = self._forward(batch)
            shared = torch.cat([numbers.double() * share.weight, numbers.new_tensor(flags, dtype=torch.float64)])
            totals = self.team.total(shared).tolist()  # one transfer
            values = dict(zip(self.objective.names, totals, strict=False))
            any_flags = [flag > 0 for flag in totals[len(values) :]]
            if not all(map(math.isfinite, values.values())):
                raise NotFiniteError(values)
            norm = self._learn(loss * (share.weight * self.team.size), factor, values) if self.optimisers else 0.0
            with torch.no_grad(), split_batch(share.split):
                self.objective.model.after_step(self.objective.stage, batch)
        return {**values, "gradient_norm": norm}, any_flags

    def _learn(self, loss: Tensor, factor: float, values: Mapping[str, float]) -> float:
        """Backward pass and optimiser step; the norm of the gradient."""
        assert self.optimisers is not None
        nothing = f"stage {self.objective.stage!r}: no parameter of it is in a loss that is trained on"
        if not loss.requires_grad:
            raise ConfigError(nothing)
        self.optimisers.set_rates(factor)
        self.optimisers.zero_grad()
        try:
            self.scaler.scale(loss).backward()
        except RuntimeError as error:  # a process that has ended shows only as an error of the backward pass
            raise self.team.lost(error) from error
        learning = [o for o in self.optimisers.optimisers if _has_gradient(o)]
        if not learning:
            raise ConfigError(nothing)
        for optimiser in learning:
            self.scaler.unscale_(optimiser)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.recipe.clip_norm, norm)
        size = float(norm)
        if not math.isfinite(size) and not self.scaler.is_enabled():
            raise NotFiniteError({**values, "gradient norm": size})
        if math.isfinite(size):  # fp16: else the step is left out, of every optimiser, and the scale falls
            for optimiser in learning:
                self.scaler.step(optimiser)
        self.scaler.update()
        return size


def _has_gradient(optimiser: torch.optim.Optimizer) -> bool:
    """Whether any of its parameters got a gradient; gradient scaling refuses an optimiser without one."""
    return any(p.grad is not None for group in optimiser.param_groups for p in group["params"])
