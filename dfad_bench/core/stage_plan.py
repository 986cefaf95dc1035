"""Which recipe holds for a model, and which settings in a stage: the recipe's for it, the recipe's, or the model's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.recipe import AUTHOR, Optimiser, Recipe, Sampler, Schedule, StageRecipe, load_recipe
from dfad_bench.core.registry import model_class
from dfad_bench.core.stages import Stage


def recipe_for(recipe: Recipe | str, model: str) -> Recipe:
    """A recipe as it is, by name or path, or for "author" the one that the model's own paper trains with.

    Raises:
        UnknownNameError, ConfigError: no such recipe or model, a bad file, or a model whose card names no recipe.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe != AUTHOR:
        return load_recipe(recipe)
    card = model_class(model).card
    if card.recipe is None:
        why = card.no_recipe or "its card names none"
        raise ConfigError(
            f"no recipe of {model}'s authors: {why}; --recipe default is the one that models of the papers' tables"
            " share"
        )
    return load_recipe(card.recipe)


@dataclass(frozen=True)
class StagePlan:
    """The settings a stage is trained by. It ends after `epochs`, or after `steps` where those are given."""

    name: str
    epochs: int
    steps: int | None
    batch_size: int
    sampler: Sampler
    real_forged: tuple[int, int]
    optimiser: Optimiser
    schedule: Schedule
    validate: bool
    unlabelled: float
    hidden_labels: float = 0.0

    @property
    def length(self) -> tuple[int, int | None]:
        """Epochs, and steps where those are given."""
        return self.epochs, self.steps


def plan_stage(stage: Stage, recipe: Recipe, *, cap_epochs: int | None = None) -> StagePlan:
    """The settings of a stage.

    For each setting the first of these that states one: the recipe's `stages` entry of that name; the recipe, where
    its `stage_values` is "override"; the model's stage; the recipe. A sampler is the model's unless the recipe's entry
    names another.

    Args:
        stage: the model's.
        recipe: the user's.
        cap_epochs: no stage has more epochs; a stage counted in steps ends there, too.

    >>> plan_stage(Stage("main", batch_size=24), Recipe("mine", batch_size=8)).batch_size
    8
    >>> plan_stage(Stage("main", batch_size=24), Recipe("shared", stage_values="keep")).batch_size
    24
    """
    own = recipe.stages.get(stage.name, StageRecipe())
    keeps = recipe.stage_values == "keep"
    epochs, steps = _length(stage, own, recipe, keeps)
    optimiser = own.optimiser or recipe.optimiser
    if own.optimiser is None and keeps and stage.lr is not None:
        optimiser = replace(optimiser, lr=stage.lr)
    return StagePlan(
        name=stage.name,
        epochs=epochs if cap_epochs is None else min(epochs, cap_epochs),
        steps=steps,
        batch_size=own.batch_size or (keeps and stage.batch_size) or recipe.batch_size,
        sampler=own.sampler or stage.sampler,
        real_forged=own.real_forged or stage.real_forged,
        optimiser=optimiser,
        schedule=own.schedule or (stage.schedule if keeps and stage.schedule else recipe.schedule),
        validate=stage.validate,
        unlabelled=stage.unlabelled,
        hidden_labels=stage.hidden_labels,
    )


def plan_stages(
    stages: Iterable[Stage],
    recipe: Recipe,
    *,
    cap_epochs: int | None = None,
    kept: Mapping[str, Sequence[int | None]] | None = None,
) -> list[StagePlan]:
    """The settings of all stages; `kept` are epochs and steps, by name, of stages that keep an earlier length."""
    plans = [plan_stage(stage, recipe, cap_epochs=cap_epochs) for stage in stages]
    lengths = {name: (int(epochs or 0), steps) for name, (epochs, steps) in (kept or {}).items()}
    return [replace(plan, epochs=e, steps=s) for plan in plans for e, s in [lengths.get(plan.name, plan.length)]]


def _length(stage: Stage, own: StageRecipe, recipe: Recipe, keeps: bool) -> tuple[int, int | None]:
    """Epochs, and steps where the stage is counted in those; its epochs are then as many as the steps take."""
    for epochs, steps in ((own.epochs, own.steps), (stage.epochs, stage.steps) if keeps else (None, None)):
        if steps is not None:
            return UNBOUNDED, steps
        if epochs is not None:
            return epochs, None
    return recipe.epochs, None


UNBOUNDED = 1 << 30  # epochs of a stage that is counted in steps


def check_stage_names(recipe: Recipe, stages: Iterable[Stage], model: str) -> None:
    """Refuse a recipe that names a stage this model does not have.

    Raises:
        UnknownNameError: with the names there are.
    """
    names = [stage.name for stage in stages]
    for name in recipe.stages:
        if name not in names:
            raise UnknownNameError(f"stage of {model}", name, names, f" Recipe {recipe.name} has it under `stages`.")


def check_schedules(plans: Iterable[StagePlan], recipe: Recipe, model: str, *, validated: bool) -> None:
    """Refuse a schedule that goes by a validation loss where a stage has none.

    Args:
        plans: of the model's stages.
        recipe: its name is for the message.
        model: its name is for the message.
        validated: whether there are validation faces.

    Raises:
        ConfigError: names the stage.
    """
    for plan in plans:
        if plan.schedule.name == "plateau" and not (plan.validate and validated):
            raise ConfigError(
                f"recipe {recipe.name}: schedule plateau goes by the validation loss, and stage {plan.name!r} of"
                f" {model} has none here; give that stage a schedule of its own under `stages`"
            )
