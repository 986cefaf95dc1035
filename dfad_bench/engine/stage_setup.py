"""The stages of a training run, checked before the first step: their settings, their batches, and room for those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.recipe import Recipe
from dfad_bench.core.stage_plan import StagePlan, check_schedules, check_stage_names, plan_stages
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.engine.devices import Place
from dfad_bench.engine.memory import require_room
from dfad_bench.engine.stage_batches import StageBatches


def plans_of(
    model: DFADModel,
    recipe: Recipe,
    *,
    validated: bool,
    cap_epochs: int | None = None,
    kept: Mapping[str, Sequence[int | None]] | None = None,
) -> list[StagePlan]:
    """The settings of each stage of a model under a recipe.

    Args:
        model: its stages.
        recipe: the user's.
        validated: whether there are validation faces.
        cap_epochs: no stage has more epochs.
        kept: stages that keep an earlier length, see `plan_stages`.

    Raises:
        UnknownNameError: the recipe names a stage that the model does not have.
        ConfigError: a schedule that needs a validation loss where there is none.
    """
    display = model.card.display
    check_stage_names(recipe, model.stages, display)
    plans = plan_stages(model.stages, recipe, cap_epochs=cap_epochs, kept=kept)
    check_schedules(plans, recipe, display, validated=validated)
    return plans


def batches_of(
    plans: Sequence[StagePlan], recipe: Recipe, faces: FaceDataset, *, seed: int, place: Place, processes: int
) -> list[StageBatches]:
    """The batches of each stage.

    Args:
        plans: of the stages.
        recipe: its name is for the error.
        faces: the training faces.
        seed: of the run.
        place: the device of each process.
        processes: over which a batch is divided.

    Raises:
        ConfigError: batches of far more rows than there are faces.
        DFADError: the images of a batch are larger than the memory that is free.
    """
    batches = [StageBatches(plan, faces, seed) for plan in plans]
    for plan, stage in zip(plans, batches, strict=True):
        rows = -(-stage.largest // processes)
        require_room(rows, faces.side, place, f"recipe {recipe.name}, stage {plan.name!r}")
    return batches
