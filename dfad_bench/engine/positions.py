"""How the position of a run moves from stage to stage and from epoch to epoch."""

from __future__ import annotations

from dataclasses import replace

from dfad_bench.engine.checkpoint import Position


def at_stage(position: Position, stage: int) -> Position:
    """The beginning of a stage."""
    return replace(
        position, stage=stage, epoch=0, batch=0, stage_step=0, waited=0, best=None, reductions=0, begun=False
    )


def without_progress(position: Position, reduce_every: int | None) -> Position:
    """One epoch more without a better validation loss; the learning rate is reduced after `reduce_every` of them."""
    waited = position.waited + 1
    reduced = reduce_every is not None and waited % reduce_every == 0
    return replace(position, waited=waited, reductions=position.reductions + int(reduced))
