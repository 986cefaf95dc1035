"""A run trained on in its own folder, for longer than it was asked to be.

Nothing but lengths may change: epochs (of the settings, the recipe or its stages), steps of stages, patience. They are
totals and may only grow. Training goes on from the last checkpoint: with its optimiser, its place in the schedule, its
best weights, and the epochs it has waited for better ones. So a run of N epochs made M long ends with the bits of one
that was asked for M at once, but for what an entry of `RunConfig.extended` says under `reasons`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.recipe import Recipe, StageRecipe
from dfad_bench.core.record import Extension
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.stage_plan import StagePlan, plan_stages
from dfad_bench.core.stages import Stage
from dfad_bench.core.strict import read_yaml
from dfad_bench.engine import checkpoint
from dfad_bench.engine.checkpoint import Position
from dfad_bench.engine.config import RunConfig, changes, config_from, has_same_settings


def going_on(out: Path, asked: RunConfig, stages: Sequence[Stage], *, extend: bool) -> RunConfig:
    """The settings that the run in `out` goes on with: those asked for, and how it was made longer before and now.

    Args:
        out: the run folder.
        asked: the settings of this call.
        stages: of the model.
        extend: whether the run may be made longer.

    Raises:
        ConfigError: it cannot be made as long as asked.
        IntegrityError: settings that are no lengths differ, or there is no checkpoint to go on from.
    """
    files = RunFolder(out)
    if not files.config.is_file():
        if extend:
            raise ConfigError(f"{out}: holds no run that could be trained on; leave --extend out, or correct --out")
        return asked
    found = config_from(read_yaml(files.config), str(files.config))
    if has_same_settings(asked, found):
        return replace(asked, extended=found.extended)
    if not extend:
        return asked
    if others := changes(_without_lengths(asked), _without_lengths(found)):
        words = f"{out}: --extend changes lengths only, and other settings differ ({', '.join(others)})"
        raise IntegrityError(f"{words}; --finetune-from {out} starts another run from its weights")
    position = checkpoint.latest_position(files.checkpoint.path)
    if position is None and files.facts.is_file():
        words = f"{out}: keeps no whole checkpoint to go on from"
        raise IntegrityError(f"{words}; --finetune-from {out} starts another run from its weights")
    if position is None:
        return asked  # nothing was learnt yet
    return _lengthened_stages(out, asked, found, stages, position)


def kept_lengths(config: RunConfig) -> dict[str, Sequence[int | None]]:
    """Epochs and steps of the stages that were done before a run was made longer."""
    return {name: length for each in config.extended for name, length in each.kept.items()}


def stale_evaluations(files: RunFolder, config: RunConfig) -> list[str]:
    """A line where evaluations in the folder may be of weights from before the run was made longer."""
    if not config.extended or not files.evaluations():
        return []
    return ["evaluations of this run were made before it was trained on, with other weights; run `dfad evaluate` again"]


def _lengthened_stages(
    out: Path, asked: RunConfig, found: RunConfig, stages: Sequence[Stage], position: Position
) -> RunConfig:
    new = plan_stages(stages, asked.recipe, cap_epochs=asked.epochs)
    old = plan_stages(stages, found.recipe, cap_epochs=found.epochs, kept=kept_lengths(found))
    now, before = new[position.stage], old[position.stage]
    for plan, earlier in zip(new[position.stage :], old[position.stage :], strict=True):
        _refuse_shorter(out, plan, earlier)
    mine, theirs = asked.recipe.patience, found.recipe.patience
    if mine is not None and (theirs is None or mine < theirs):
        raise ConfigError(f"{out}: --extend cannot lower the recipe's patience from {theirs or 'null'} to {mine}")
    if mine is not None and now.validate and position.waited >= mine and position.stage == len(new) - 1:
        words = f"{out}: training stopped because {position.waited} epochs gave no better validation loss"
        raise ConfigError(f"{words}, and more epochs change nothing; give a recipe with a higher patience, or null")
    reasons = list(_reasons(new, old, position))
    if now.length == before.length and new[position.stage + 1 :] == old[position.stage + 1 :] and mine == theirs:
        raise ConfigError(f"{out}: the stages that are left are as long as before; ask for more epochs")
    entry = Extension(
        config_sha256=found.sha256,
        from_epochs=position.epochs_done,
        from_steps=position.step,
        as_one_run=all(each.as_one_run for each in found.extended) and not reasons,
        reasons=tuple(reasons),
        kept={plan.name: plan.length for plan in old[: position.stage]},
    )
    return replace(asked, extended=(*found.extended, entry))


def _refuse_shorter(out: Path, now: StagePlan, before: StagePlan) -> None:
    shorter = now.epochs < before.epochs or (now.steps or 0) < (before.steps or 0)
    if shorter or (now.steps is None) != (before.steps is None):
        words = [f"{plan.steps} steps" if plan.steps else f"{plan.epochs} epochs" for plan in (before, now)]
        raise ConfigError(
            f"{out}: --extend cannot turn {words[0]} of stage {now.name} into {words[1]}; lengths are totals, and grow"
        )


def _reasons(new: Sequence[StagePlan], old: Sequence[StagePlan], position: Position) -> Iterator[str]:
    """Why a run of the new length from scratch would end with other weights."""
    for now, before in zip(new[: position.stage], old[: position.stage], strict=True):
        if now.length != before.length:
            yield f"stage {now.name} was done and keeps its length"
    now, before = new[position.stage], old[position.stage]
    if not position.stage_step or now.length == before.length:
        return
    if now.schedule.name == "cosine":
        yield f"stage {now.name}: the cosine schedule goes by the total, and its first steps went by a shorter one"
    if before.steps is not None and position.stage_step >= before.steps and now.validate:
        yield f"stage {now.name} counts steps: it was validated where it ended, which may be within an epoch"


def _without_lengths(config: RunConfig) -> RunConfig:
    """The settings without all that `--extend` may change, and without a recipe's texts."""
    recipe = config.recipe
    stages = {name: replace(each, epochs=None, steps=None) for name, each in recipe.stages.items()}
    stages = {name: each for name, each in stages.items() if each != StageRecipe()}
    plain = replace(recipe, name="", version=1, paper=None, notes=(), epochs=1, patience=None, stages=stages)
    assert isinstance(plain, Recipe)
    return replace(config, epochs=None, recipe=plain, extended=())
