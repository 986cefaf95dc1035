"""The validation loss: what early stopping and the choice of weights go by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from dfad_bench.core.contract import DFADModel, Label, expert_losses, loss_terms
from dfad_bench.core.errors import DFADError
from dfad_bench.data.dataset import mixed_batches, prefetch
from dfad_bench.engine.devices import Place
from dfad_bench.engine.distributed import Team
from dfad_bench.engine.seeding import derived, seed_all

if TYPE_CHECKING:
    from dfad_bench.data.dataset import FaceDataset


def validation_loss(
    model: DFADModel,
    faces: FaceDataset,
    *,
    batch_size: int,
    seed: int,
    place: Place,
    team: Team,
    labels: frozenset[Label],
) -> float | None:
    """Mean over faces of the experts' cross-entropies; None where there are no faces.

    Args:
        model: left in training mode.
        faces: in a mixed order, as test faces; shared out over the processes by whole batches.
        batch_size: faces a forward pass.
        seed: of models that draw in evaluation, too.
        place: device and precision.
        team: the processes.
        labels: of the experts that learn.

    Raises:
        DFADError: the loss is NaN or inf.
    """
    if len(faces) == 0:
        return None
    model.eval()
    batches = mixed_batches(faces, batch_size, seed)
    mine = range(team.rank, len(batches), team.size)
    sums = place.exact(torch.zeros(len(batches), device=place.device))
    coming = prefetch(faces, [batches[k] for k in mine], place.device, training=True)
    with torch.no_grad(), place.autocast():
        for number, batch in zip(mine, coming, strict=True):
            seed_all(derived(seed, "validation", number))
            losses = loss_terms(expert_losses(model(place.lay_out(batch.inputs)), batch))
            values = [term.value for term in losses.values() if term.labels <= labels]
            sums[number] = place.exact(torch.stack(values).sum()) * len(batches[number])
    model.train()
    loss = math.fsum(team.total(sums).tolist()) / len(faces)
    if not math.isfinite(loss):
        raise DFADError("the validation loss is not finite; lower the learning rate")
    return loss
