"""One training step of the engine on random faces: what it came to, and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from helpers.toy import RECIPE, toy_protocol
from torch import Tensor

from dfad_bench.core.contract import Batch, DFADModel, Inputs
from dfad_bench.core.recipe import Optimiser
from dfad_bench.core.registry import model_class
from dfad_bench.data.prompts import class_prompts
from dfad_bench.engine.devices import Place
from dfad_bench.engine.distributed import Team
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.seeding import seed_all
from dfad_bench.engine.step import Stepper
from dfad_bench.views.registry import example_views

CPU = torch.device("cpu")


def batch_for(model: DFADModel, rows: int = 8, side: int = 64) -> Batch:
    """Random faces with all views and prompts the model asks for."""
    prompts = class_prompts(toy_protocol())
    labels = torch.arange(rows) % len(prompts)
    more: dict[str, Any] = {"device": CPU, "settings": model.view_settings}
    images = torch.rand(rows, 3, side, side) if model.needs_images else torch.zeros(rows, 3, 0, 0)
    inputs = Inputs(images, example_views(model.needs, rows, side, **more))
    return Batch(
        inputs, labels, (labels > 0).long(), [tuple(prompts[label]) for label in labels.tolist()],
        example_views(model.needs_training, rows, side, **more),
        inputs if any(stage.unlabelled for stage in model.stages) else None,
    )  # fmt: skip


def stepper_of(
    model: DFADModel, stage: str, optimiser: Optimiser = RECIPE.optimiser, scaler: Any = None, **means: Any
) -> Stepper:
    """A stepper on the CPU; `means` are its own options."""
    groups = parameter_groups(model, stage)
    means = {"place": Place(CPU), **means}
    return Stepper(
        model.train(), stage, OptimiserSet(groups, optimiser) if groups else None, RECIPE,
        team=Team(), scaler=scaler or torch.amp.GradScaler(enabled=False), **means,
    )  # fmt: skip


def issue(stepper: Stepper, batch: Batch) -> None:
    """One step of all rows of a batch."""
    stepper.issue(batch, stepper.share(np.arange(len(batch.attribution))), 1.0, [False, True])


def built(name: str, **options: Any) -> DFADModel:
    """A tiny model of the toy protocol's classes, with the random weights of seed 0."""
    torch.manual_seed(0)
    prompts = class_prompts(toy_protocol())
    return model_class(name).build(len(prompts), size="tiny", class_prompts=prompts, options=options)


def stepped(model: DFADModel, stage: str | None = None, **means: Any) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The losses of a step, and its gradients by parameter; batch and draws are the same each time."""
    stepper = stepper_of(model, stage or model.stages[-1].name, **means)
    stepper.place.move(model)
    torch.manual_seed(1)
    batch = batch_for(model)
    stepper.prepare(batch, stepper.share(np.arange(len(batch))))
    seed_all(2)
    issue(stepper, batch)
    ((values, _),) = stepper.read()
    stepper.close()
    return values, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
