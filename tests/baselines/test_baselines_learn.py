"""Tiny models learn obvious traces within a few steps, and name them on faces they have not seen."""

from __future__ import annotations

import pytest
import torch

from dfad_bench.core.contract import Batch, Inputs, weighted_losses
from dfad_bench.core.recipe import Optimiser
from dfad_bench.core.registry import model_class
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups

# steps, and faces of each kind a step, where not 25 and 2
TRAINING = {"clip": (40, 4), "mfclip": (15, 2), "dna_det": (15, 2)}
PROMPTS = [(word,) * 4 for word in ("a photo of a real face", "a photo with a grid", "a photo with stripes")]


def faces(count: int, seed: int) -> Batch:
    """Noise, noise on a doubled grid (upsampling), noise with stripes: `count` of each."""
    images = 0.5 + 0.15 * torch.randn(3 * count, 3, 128, 128, generator=torch.Generator().manual_seed(seed))
    grid, stripes = slice(count, 2 * count), slice(2 * count, 3 * count)
    images[grid, :, 1::2] = images[grid, :, ::2]
    images[grid, :, :, 1::2] = images[grid, :, :, ::2]
    images[stripes, :, :, ::8] += 0.3
    labels = torch.arange(3).repeat_interleave(count)
    prompts = [PROMPTS[label] for label in labels.tolist()]
    return Batch(Inputs(images.clamp(0, 1)), labels, (labels > 0).long(), prompts)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["xception", "cvit", "dna_det", "clip", "mfclip"])
def test_tiny_model_learns_obvious_traces(name: str) -> None:
    torch.manual_seed(0)
    model, held_out = model_class(name).build(3, size="tiny").train(), faces(6, seed=999)
    stage = model.stages[-1].name
    optimiser = OptimiserSet(parameter_groups(model, stage), Optimiser("adam", lr=2e-3, weight_decay=0.0))
    steps, count = TRAINING.get(name, (25, 2))
    for step in range(steps):
        optimiser.zero_grad()
        torch.stack(list(weighted_losses(model.losses(faces(count, seed=step), stage)).values())).sum().backward()
        for each in optimiser.optimisers:
            each.step()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # its moving average lags far behind after a few quick steps
            module.reset_running_stats()
            module.momentum = None  # plain mean over the batches that follow
    with torch.no_grad():
        for step in range(6):
            model.losses(faces(count, seed=step), stage)
        output = model.eval()(held_out.inputs)
    assert (output.attribution_logits.argmax(1) == held_out.attribution).float().mean() >= 0.9
    assert (output.detection_logits.argmax(1) == held_out.detection).float().mean() >= 0.9
