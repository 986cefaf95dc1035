"""Optimisers and learning rates of recipes."""

from __future__ import annotations

import math

import torch
from torch import nn

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.recipe import Optimiser, Schedule

_FUSED_DEVICES = ("cpu", "cuda")  # of torch's fused optimisers, those that tests reach


def make_optimiser(
    parameters: list[nn.Parameter], settings: Optimiser, lr: float | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a recipe. Weight decay is coupled (L2) for adam and sgd, decoupled for adamw.

    Its step is one fused pass over each parameter where the device has that, about ten times as fast as torch's default
    for Adam on a CPU (`benchmarks/gazeclip_speed.py`).
    """
    rate, decay = lr or settings.lr, settings.weight_decay
    fused = all(p.device.type in _FUSED_DEVICES and p.is_floating_point() for p in parameters)
    if settings.name == "adam":
        return torch.optim.Adam(parameters, rate, weight_decay=decay, fused=fused)
    if settings.name == "adamw":
        return torch.optim.AdamW(parameters, rate, weight_decay=decay, fused=fused)
    if settings.name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=settings.momentum, weight_decay=decay, fused=fused)
    raise ConfigError(f"optimiser {quoted(settings.name)} is not known")


def learning_rate(
    schedule: Schedule,
    base: float,
    epoch: int,
    step: int,
    total_steps: int,
    *,
    epoch_steps: int = 1,
    reductions: int = 0,
) -> float:
    """The rate of a step, counted from 0 within its stage; a pure function, so schedules have no state.

    Args:
        schedule: of the stage.
        base: rate that the schedule changes.
        epoch: in the stage.
        step: in the stage.
        total_steps: of the stage.
        epoch_steps: steps of an epoch, for a warm-up in epochs.
        reductions: how often `plateau` has reduced the rate.

    >>> learning_rate(Schedule("step", every=15, gamma=0.1), 1e-4, epoch=15, step=0, total_steps=100)
    1e-05
    """
    rate = base
    if schedule.name == "step":
        rate *= schedule.gamma ** ((epoch if schedule.unit == "epoch" else step) // schedule.every)
    elif schedule.name == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * step / max(total_steps, 1)))
    elif schedule.name == "plateau":
        rate *= schedule.gamma**reductions
    warmup = schedule.warmup_steps or schedule.warmup_epochs * epoch_steps
    if step < warmup:
        rate *= (step + 1) / warmup
    return rate
