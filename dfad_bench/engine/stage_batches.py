"""Which faces each step of a stage sees, and how many steps and epochs the stage has."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.stage_plan import StagePlan
from dfad_bench.data.sampling import epoch_batches, hidden_rows, unlabelled_batches
from dfad_bench.engine.seeding import derived

if TYPE_CHECKING:
    from dfad_bench.data.dataset import FaceDataset
    from dfad_bench.engine.checkpoint import Position

_REPEATED = 1024  # rows of a batch that may be more than there are faces


class StageBatches:
    """The batches of a stage; a pure function of its arguments, so a resumed run sees the same faces.

    `per_epoch`, `epochs` and `steps` are how many there are, `largest` is the number of rows of the largest, `visited`
    that of the different training faces a whole epoch meets.

    Args:
        plan: what a batch is and how long the stage.
        faces: the training faces.
        seed: of the run.

    Raises:
        ConfigError: batches of far more rows than there are faces.
    """

    def __init__(self, plan: StagePlan, faces: FaceDataset, seed: int) -> None:
        self._plan, self._faces, self._seed = plan, faces, derived(seed, "order", plan.name)
        self._require_rows()
        first = self._all_batches(0)
        self.per_epoch, self.largest = len(first), max(map(len, first), default=0)
        # the same in every epoch: each class (or side) gives as many rows, and rows are repeated once all were visited
        self.visited = len(np.unique(np.concatenate(first))) if first else 0
        epochs = plan.epochs if plan.steps is None else math.ceil(plan.steps / self.per_epoch)
        self.epochs = min(epochs, plan.epochs)
        whole = self.per_epoch * self.epochs
        self.steps = whole if plan.steps is None else min(plan.steps, whole)

    def _require_rows(self) -> None:
        """Refuse batches that hold each face many times over: they are filled up with repeats, all in memory."""
        rows, count, plan = self.batch_rows, len(self._faces), self._plan
        if plan.sampler != "shuffle" and rows > max(count, _REPEATED):
            raise ConfigError(
                f"stage {plan.name!r}: sampler {plan.sampler} would fill batches of {rows:,} rows from {count:,}"
                f" training faces; batch_size {max(1, plan.batch_size * max(count, _REPEATED) // rows):,} is the most"
            )

    @property
    def batch_rows(self) -> int:
        """Labelled rows of a whole batch over all processes, as the sampler counts `batch_size`."""
        classes = len(np.unique(self._faces.attribution)) if self._plan.sampler == "images_per_class" else 1
        return self._plan.batch_size * classes

    @property
    def facts(self) -> dict[str, Any]:
        """The settings the stage is trained by, as plain values, and what they come to.

        That is `rows` of a batch, `steps`, how many different `faces` of the training's `of_faces` an epoch meets, and
        of a stage that hides labels in how many (`hidden`) of the places in an epoch's batches (`of_places`) it does.
        """
        plan = asdict(self._plan)
        if not plan["hidden_labels"]:
            del plan["hidden_labels"]
        settings = {name: value for name, value in plan.items() if value is not None}
        faces = {"faces": self.visited, "of_faces": len(self._faces)}
        masks = self.hidden(0) or []
        hidden = {"hidden": sum(int(m.sum()) for m in masks), "of_places": sum(map(len, masks))} if masks else {}
        return {**settings, "epochs": self.epochs, "rows": self.batch_rows, "steps": self.steps, **faces, **hidden}

    def of(self, epoch: int) -> list[np.ndarray]:
        """Row numbers of each batch of an epoch; a stage counted in steps ends within its last epoch."""
        return self._all_batches(epoch)[: max(0, self.steps - epoch * self.per_epoch)]

    def reopened(self, position: Position) -> Position:
        """A position at the end of a shorter stage, set back into the epoch that it ended within (stages in steps)."""
        epoch = position.epoch - 1
        done = position.stage_step - epoch * self.per_epoch
        if position.batch or epoch < 0 or done >= self.per_epoch or position.stage_step >= self.steps:
            return position
        return replace(position, epoch=epoch, batch=done, epochs_done=position.epochs_done - 1)

    def unlabelled(self, epoch: int) -> list[np.ndarray] | None:
        """Row numbers of the unlabelled faces that go with each batch of an epoch; None where none are asked for."""
        if self._plan.unlabelled <= 0:
            return None
        faces = self._faces.unlabelled
        rows, ratio = (0 if faces is None else len(faces)), self._plan.unlabelled
        return unlabelled_batches(rows, self._all_batches(epoch), ratio=ratio, seed=self._seed, epoch=epoch)

    def hidden(self, epoch: int) -> list[np.ndarray] | None:
        """Whose labels are hidden in each batch of an epoch, (B,) bool each; None where none are."""
        share = self._plan.hidden_labels
        if share <= 0:
            return None
        return hidden_rows(self._all_batches(epoch), share=share, seed=self._seed, epoch=epoch)

    def _all_batches(self, epoch: int) -> list[np.ndarray]:
        return epoch_batches(
            self._faces.attribution,
            self._faces.detection,
            batch_size=self._plan.batch_size,
            seed=self._seed,
            epoch=epoch,
            sampler=self._plan.sampler,
            real_forged=self._plan.real_forged,
        )
