"""Overfitting a model to 64 drawn faces by the real training step, and its accuracy on them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from helpers.synthetic import made_once
from torch import Tensor, nn

from dfad_bench.core.contract import Batch, DFADModel, Inputs, ViewValue
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.recipe import Recipe, load_recipe
from dfad_bench.core.registry import model_class
from dfad_bench.core.stage_plan import plan_stage
from dfad_bench.data.prompts import class_prompts
from dfad_bench.data.sampling import hidden_rows
from dfad_bench.engine.contract_checks.subject import call_hook
from dfad_bench.engine.devices import place
from dfad_bench.engine.distributed import Team
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.step import Stepper
from dfad_bench.synthetic.faces import STUDIO, draw_face
from dfad_bench.views.base import Faces as ViewFaces
from dfad_bench.views.features import Features
from dfad_bench.views.registry import example_views

FACES, BATCH, SIDE = 64, 32, 144
PROTOCOL = load_protocol("synthetic")


@dataclass(frozen=True)
class Row:
    """How a model overfits: `steps` of its last stage at `lr` (`quick` otherwise); earlier stages do two steps.

    The last `falls` steps are at a tenth of the rate, as recipes end: running statistics then catch up.
    `options` are of a model most of which is frozen, at random weights here: those by which more of it learns.
    """

    steps: int
    lr: float = 1e-3
    falls: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


class Accuracy(NamedTuple):
    """Shares of the training faces whose class, and whose being forged, is right."""

    attribution: float
    detection: float


def _draw(folder: Path) -> None:
    names = [STUDIO, *(group.generator for group in PROTOCOL.seen[1:])]
    swaps = {name for name in names if "swap" in name or "edit" in name or "reenact" in name}
    faces = []
    for number in range(FACES):
        name = names[number % len(names)]
        other = f"_by_id{(number + 1) % FACES:04d}" if name in swaps else ""
        face = draw_face(0, f"train/{name}/id{number:04d}_00{other}.png")[0]
        faces.append(face[160 - SIDE // 2 : 160 + SIDE // 2, 160 - SIDE // 2 : 160 + SIDE // 2])
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "faces.npy", np.stack(faces))


@cache
def faces() -> Tensor:
    """(64, 3, 144, 144) the middles of drawn faces, each of another person; their classes go round."""
    pixels = np.load(made_once("overfit-faces", _draw) / "faces.npy")
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


class Faces:
    """The faces as hooks of a stage get them, and as batches."""

    def __init__(self, model: DFADModel) -> None:
        generator = torch.Generator().manual_seed(0)
        self._views_of = self._views(model, model.needs, generator)
        self._training = self._views(model, model.needs_training, generator)
        self.labels = torch.arange(FACES) % PROTOCOL.num_generators
        if "forgery_mask" in self._training:  # random masks would teach that real faces are forged
            mask = self._training["forgery_mask"]
            assert isinstance(mask, Tensor)
            self._training["forgery_mask"] = (self.labels > 0).to(mask.dtype).view(-1, 1, 1, 1).expand_as(mask).clone()
        self._prompts = [class_prompts(PROTOCOL)[label] for label in self.labels.tolist()]
        self.device = torch.device("cpu")

    @staticmethod
    def _views(model: DFADModel, names: tuple[str, ...], generator: torch.Generator) -> dict[str, ViewValue]:
        drawn = example_views(names, FACES, SIDE, generator, settings=model.view_settings)
        return {**drawn, **({"features": _features(model)} if "features" in names else {})}

    def batch(self, index: Tensor, *, unlabelled: bool = False) -> Batch:
        """The faces of an index."""
        views, more = ({k: _at(v, index) for k, v in own.items()} for own in (self._views_of, self._training))
        inputs, labels = Inputs(faces()[index], views), self.labels[index]
        prompts = [self._prompts[i] for i in index.tolist()]
        hidden = inputs if unlabelled else None
        return Batch(inputs, labels, (labels > 0).long(), prompts, more, hidden)

    def train(self, batch_size: int = BATCH) -> Iterator[Batch]:
        """Every face once."""
        for index in torch.arange(FACES).split(batch_size):
            yield self.batch(index)

    validation = train


def _features(model: DFADModel) -> Tensor:
    """(64, d) what the frozen backbone that the model asks for says of the faces, as a run stores it."""
    crops = (faces() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    names = tuple(map(str, range(FACES)))
    given = ViewFaces(names, SIDE, "cpu", pd.DataFrame({"sample_id": names}), crops=crops)
    values = Features(model.view_settings["features"]).make(given).values
    return torch.from_numpy(np.asarray(values))


def _at(view: ViewValue, index: Tensor) -> ViewValue:
    return view[index] if isinstance(view, Tensor) else tuple(view[i] for i in index.tolist())


def overfitted(
    name: str, row: Row, *, watch: int = 0, look: Callable[[int, DFADModel, Faces], None] | None = None
) -> tuple[DFADModel, Accuracy, list[tuple[int, Accuracy, Accuracy]]]:
    """A tiny model trained on the 64 faces, its accuracy in evaluation mode, and on the way every `watch` steps.

    The way has, of each such step, the accuracy in evaluation mode and with the statistics of the batch. `look` is
    called there, too, and must leave the model as it is.
    """
    torch.manual_seed(0)
    model = model_class(name).build(
        PROTOCOL.num_generators, size="tiny", weights=None, class_prompts=class_prompts(PROTOCOL), options=row.options
    )
    recipe, data, way = load_recipe("quick"), Faces(model), []
    recipe = replace(recipe, optimiser=replace(recipe.optimiser, lr=row.lr))
    for stage in model.stages:
        call_hook(model, "before_stage", stage.name, data)
        last = stage is model.stages[-1]
        for step in _train(model, stage, recipe, data, row.steps if last else 2, row.falls if last else 0):
            if watch and last and step % watch == 0:
                way.append((step, accuracy(model.eval(), data), accuracy(_batch_statistics(model), data)))
                if look is not None:
                    look(step, model, data)
                model.train()
        call_hook(model, "after_stage", stage.name, data)
    call_hook(model, "before_prediction", data)
    return model, accuracy(model.eval(), data), way


def _train(model: DFADModel, stage: object, recipe: Recipe, data: Faces, steps: int, falls: int) -> Iterator[int]:
    plan = plan_stage(stage, recipe)  # type: ignore[arg-type]
    plan = replace(plan, optimiser=recipe.optimiser)
    groups = parameter_groups(model, plan.name)
    optimisers = OptimiserSet(groups, plan.optimiser) if groups else None
    stepper = Stepper(
        model, plan.name, optimisers, recipe,
        place=place("cpu", "fp32"), team=Team(), scaler=torch.amp.GradScaler(enabled=False),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    model.train()
    for step in range(steps if groups else 1):
        if step % (FACES // BATCH) == 0:
            order = torch.randperm(FACES, generator=generator).split(BATCH)
            places = [index.numpy() for index in order]
            masks = hidden_rows(places, share=plan.hidden_labels, seed=1, epoch=step // (FACES // BATCH))
        index = order[step % (FACES // BATCH)]
        batch = data.batch(index, unlabelled=plan.unlabelled > 0)
        if plan.hidden_labels:
            batch = replace(batch, hidden=torch.from_numpy(masks[step % (FACES // BATCH)]))
        stepper.run(batch, stepper.share(index.numpy()), 0.1 if step >= steps - falls else 1.0, [])
        yield step + 1
    stepper.close()


def _batch_statistics(model: DFADModel) -> DFADModel:
    """The model in evaluation mode but for its batch norms, which use the statistics of the batch and keep theirs."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return model


def settled_accuracy(model: DFADModel, data: Faces) -> Accuracy:
    """With the same weights, and as running statistics those that they have on the training faces."""
    still = copy.deepcopy(model).train()
    for module in still.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    with torch.no_grad():
        for batch in data.train():
            still(batch.inputs)
    return accuracy(still.eval(), data)


def accuracy(model: DFADModel, data: Faces) -> Accuracy:
    """On all 64 faces in one batch; leaves running statistics as they are."""
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    batch = data.batch(torch.arange(FACES))
    with torch.no_grad():
        output = model(batch.inputs)
    model.load_state_dict(kept)
    right = output.attribution_logits.argmax(1) == batch.attribution
    forged = output.detection_logits.argmax(1) == batch.detection
    return Accuracy(float(right.float().mean()), float(forged.float().mean()))
