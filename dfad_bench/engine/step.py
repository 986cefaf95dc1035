"""One training step of one stage: losses, backward pass, optimiser; the same on every process of a team."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Batch, DFADModel, Stage
from dfad_bench.core.parallel import split_batch
from dfad_bench.core.recipe import Recipe
from dfad_bench.engine.compiling import compile_called, restore
from dfad_bench.engine.devices import Place
from dfad_bench.engine.distributed import Share, Team
from dfad_bench.engine.interrupts import one_line


class NotFiniteError(ArithmeticError):
    """A loss or the gradient is no number; `values` holds every term."""

    def __init__(self, values: Mapping[str, float]) -> None:
        super().__init__(", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        self.values = values


class Objective(nn.Module):
    """A model's losses in one stage as a forward pass: the weighted sum that is trained on, and every term.

    Args:
        model: whose losses.
        stage: name of the stage.
        weights: of the losses; 1 where not named.
        unused: losses that are left out of the sum.
    """

    def __init__(self, model: DFADModel, stage: str, weights: Mapping[str, float], unused: frozenset[str]) -> None:
        super().__init__()
        self.model, self.stage, self.weights, self.unused = model, stage, weights, unused
        self.names: list[str] = []

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum, with its gradient, and (1 + terms,) numbers: the sum and each term, named by `names`."""
        losses = self.model.losses(batch, self.stage)
        used = [self.weights.get(name, 1.0) * term for name, term in losses.items() if name not in self.unused]
        loss = torch.stack([term.float() for term in used]).sum()
        self.names = ["loss", *losses]
        return loss, torch.stack([loss, *(term.float() for term in losses.values())]).detach()


class Stepper:
    """Does the steps of one stage.

    Args:
        model: on its device.
        stage: which.
        parameters: those that learn in it; with none the model only counts, in `losses`.
        optimiser: of these parameters; None without any.
        recipe: loss weights and clipping.
        place: device and precision.
        team: the processes that share each batch.
        scaler: gradient scaling of fp16.
        unused: losses that are not trained on.
        compiled: use torch.compile.
    """

    def __init__(
        self,
        model: DFADModel,
        stage: Stage,
        parameters: list[nn.Parameter],
        optimiser: torch.optim.Optimizer | None,
        recipe: Recipe,
        *,
        place: Place,
        team: Team,
        scaler: torch.amp.GradScaler,
        unused: frozenset[str],
        compiled: bool = False,
    ) -> None:
        self.parameters, self.optimiser, self.recipe = parameters, optimiser, recipe
        self.place, self.team, self.scaler = place, team, scaler
        self.objective = Objective(model, stage.name, recipe.loss_weights, unused)
        self._forward: nn.Module = self.objective
        self._to_compile = compiled and bool(parameters)
        self._compiled: list[nn.Module] = []
        if team.size > 1 and parameters:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch 2.15 renames the last argument
                # stages and experts that are left out leave parameters unused; buffers are equal on all processes
                self._forward = nn.parallel.DistributedDataParallel(
                    self.objective, find_unused_parameters=True, broadcast_buffers=False
                )

    def share(self, index) -> Share:
        """This process's part of a batch; all of it where nothing is learnt by gradient."""
        return self.team.share(index, whole=not self.parameters)

    def prepare(self, batch: Batch, share: Share) -> None:
        """Compile what this batch calls, the first time; to be called before a step is seeded."""
        if not self._to_compile:
            return
        self._to_compile = False
        batch = replace(batch, inputs=self.place.lay_out(batch.inputs))
        with torch.no_grad(), split_batch(share.split), self.place.autocast():
            self._compiled = compile_called(self.objective, lambda: self.objective(batch))

    def close(self) -> None:
        """Have the model as it was written again."""
        restore(self._compiled)

    def run(self, batch: Batch, share: Share, rate: float, flags: list[bool]) -> tuple[dict[str, float], list[bool]]:
        """One step.

        Args:
            batch: this process's faces.
            share: which part of the whole batch they are.
            rate: learning rate.
            flags: what this process wants to tell the others.

        Returns:
            Every loss of the whole batch by name, with `gradient_norm`; and for each flag whether any process has it.

        Raises:
            NotFiniteError: a loss or the gradient is no number; weights are as before, on every process.
            DFADError: out of memory.
        """
        advice = "lower batch_size in the recipe, or use --precision bf16 or more processes"
        with one_line(f"with {len(share.index)} faces a step at {self.place.precision}", advice):
            batch = replace(batch, inputs=self.place.lay_out(batch.inputs))
            with torch.set_grad_enabled(bool(self.parameters)), split_batch(share.split), self.place.autocast():
                loss, numbers = self._forward(batch)
            shared = torch.cat([numbers.double() * share.weight, numbers.new_tensor(flags, dtype=torch.float64)])
            told = self.team.total(shared).tolist()  # one transfer
            values = dict(zip(self.objective.names, told, strict=False))
            told_flags = [flag > 0 for flag in told[len(values) :]]
            if not all(map(math.isfinite, values.values())):
                raise NotFiniteError(values)
            norm = self._learn(loss * (share.weight * self.team.size), rate, values) if self.optimiser else 0.0
        return {**values, "gradient_norm": norm}, told_flags

    def _learn(self, loss: Tensor, rate: float, values: Mapping[str, float]) -> float:
        assert self.optimiser is not None
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        try:
            self.scaler.scale(loss).backward()
        except RuntimeError as error:  # a process that is gone is noticed here
            raise self.team.lost(error) from error
        self.scaler.unscale_(self.optimiser)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.recipe.clip_norm, norm)
        size = float(norm)
        if not math.isfinite(size) and not self.scaler.is_enabled():  # fp16: the scaler skips the step itself
            raise NotFiniteError({**values, "gradient norm": size})
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return size
