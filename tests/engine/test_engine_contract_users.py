"""The widened contract in the training loop: hooks, groups of parameters, stages in steps, experts alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.prototypes import PrototypeConfig, PrototypeToy
from helpers.toy import RECIPE, Toy

from baselines.dna_det import DNADet
from dfad_bench.core.contract import DFADModel, ParameterGroup, Stage
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.recipe import Optimiser, Recipe, Schedule, StageRecipe
from dfad_bench.core.stage_plan import plan_stage
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.engine.devices import Place
from dfad_bench.engine.fit import FitResult, Limits, Trainer
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.seeding import derived, seed_all
from dfad_bench.engine.stage_batches import StageBatches

CPU = Place(torch.device("cpu"))
SHORT = replace(RECIPE, epochs=2, batch_size=16)


def train(
    parts: tuple[FaceDataset, FaceDataset],
    folder: Path,
    kind: type[DFADModel] = PrototypeToy,
    recipe: Recipe = SHORT,
    **more,
) -> tuple[DFADModel, FitResult]:
    seed_all(derived(0, "weights"))
    model = kind.build(3, size="tiny")
    trainer = Trainer(model, *parts, recipe, seed=0, place=CPU, folder=folder, config_sha256="c", **more)
    return model, trainer.run()


def equal(a: DFADModel, b: DFADModel) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def test_hooks_are_called_once_each_and_make_what_prediction_reads(parts, tmp_path: Path) -> None:
    model, result = train(parts, tmp_path)
    assert model.calls.tolist() == [2, result.position.step, 2, 1]
    means = torch.zeros(3, 8)
    for batch in (parts[0].batch(torch.arange(n, n + 1).numpy()) for n in range(len(parts[0]))):
        with torch.no_grad():
            means[batch.attribution[0]] += model.embed(batch.inputs)[0]
    assert torch.allclose(model.prototypes, torch.nn.functional.normalize(means, dim=1), atol=1e-5)
    assert -1 <= float(model.threshold) <= 1


def test_stopped_anywhere_and_resumed_ends_with_the_same_bits(parts, tmp_path: Path) -> None:
    whole, result = train(parts, tmp_path / "whole")
    for stop in range(1, result.position.step):
        _, partial = train(parts, tmp_path / str(stop), limits=Limits(max_steps=stop))
        assert partial.status == "partial"
        resumed, _ = train(parts, tmp_path / str(stop))
        assert equal(whole, resumed), f"stopped after step {stop}"


def test_a_partial_run_has_its_prototypes_too(parts, tmp_path: Path) -> None:
    model, result = train(parts, tmp_path, limits=Limits(max_steps=1))
    assert result.status == "partial"
    assert torch.allclose(model.prototypes.norm(dim=1), torch.ones(3))


def test_groups_learn_as_optimisers_of_their_own_would(parts) -> None:
    """Oracle: one torch optimiser a group, stepped by hand."""
    torch.manual_seed(0)
    ours, theirs = PrototypeToy(3, PrototypeConfig()), PrototypeToy(3, PrototypeConfig())
    theirs.load_state_dict(ours.state_dict())
    optimisers = OptimiserSet(parameter_groups(ours, "main"), Optimiser("adamw", 0.01, 0.1))
    rest = [p for p in theirs.parameters() if p is not theirs.centre]
    by_hand = [
        torch.optim.AdamW(rest, 0.01, weight_decay=0.1, fused=True),
        torch.optim.SGD([theirs.centre], 0.5, momentum=0.9, fused=True),
    ]
    for step, factor in enumerate((1.0, 0.5, 0.1)):
        for model in (ours, theirs):
            model.zero_grad(set_to_none=True)
            torch.manual_seed(step)
            sum((p * torch.randn_like(p)).sum() for p in model.parameters()).backward()
        optimisers.set_rates(factor)
        by_hand[0].param_groups[0]["lr"] = 0.01 * factor  # the centre's rate is not scheduled
        for optimiser in (*optimisers.optimisers, *by_hand):
            optimiser.step()
    assert equal(ours, theirs)


def test_states_of_several_optimisers_survive_as_one(parts) -> None:
    model = PrototypeToy(3, PrototypeConfig())
    first, second = (OptimiserSet(parameter_groups(model, "main"), Optimiser("adam")) for _ in range(2))
    sum(p.square().sum() for p in model.parameters()).backward()
    for optimiser in first.optimisers:
        optimiser.step()
    second.load_state_dict(first.state_dict())
    for a, b in zip(first.optimisers, second.optimisers, strict=True):
        for p, q in zip(a.state.values(), b.state.values(), strict=True):
            assert all(torch.equal(torch.as_tensor(p[key]), torch.as_tensor(q[key])) for key in p)


def kept_of(state: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """A state whose first parameter has another value of this name; None takes it away."""
    first = min(state["state"])
    values = {**state["state"][first], name: value}
    return {**state, "state": {**state["state"], first: {k: v for k, v in values.items() if v is not None}}}


BREAKS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "a value less": (lambda state: kept_of(state, "exp_avg", None), "has step, exp_avg_sq, not step"),
    "a value more": (lambda state: kept_of(state, "x", torch.zeros(1)), "and 1 more"),
    "another shape": (lambda state: kept_of(state, "exp_avg", torch.zeros(1, 1, 1)), "exp_avg of parameter . is not"),
    "complex": (
        lambda state: kept_of(state, "step", torch.zeros((), dtype=torch.complex64)),
        "step of parameter . is not real",
    ),
    "NaN": (lambda state: kept_of(state, "step", torch.tensor(float("nan"))), "NaN or inf"),
    "a huge number": (lambda state: kept_of(state, "step", 10**400), "is not real"),
    "no number": (lambda state: kept_of(state, "step", "x"), "is not real"),
    "a parameter more": (lambda state: {**state, "state": {**state["state"], 99: {}}}, "more groups or parameters"),
    "a group more": (lambda state: {**state, "param_groups": state["param_groups"] * 2}, "more groups"),
    "a group less": (lambda state: {**state, "param_groups": state["param_groups"][1:]}, "other groups"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_states_that_would_break_or_change_a_step_are_refused(name: str) -> None:
    model = PrototypeToy(3, PrototypeConfig())
    optimisers = OptimiserSet(parameter_groups(model, "main"), Optimiser("adam"))
    sum(p.square().sum() for p in model.parameters()).backward()
    for optimiser in optimisers.optimisers:
        optimiser.step()
    change, words = BREAKS[name]
    state = optimisers.state_dict()
    with pytest.raises(ValueError, match=words):
        optimisers.load_state_dict(change(state))
    optimisers.load_state_dict(state)


@pytest.mark.parametrize("settings", [Optimiser("adamw"), Optimiser("sgd"), Optimiser("sgd", momentum=0.0)])
def test_settings_of_groups_are_the_recipes(settings: Optimiser) -> None:
    model = PrototypeToy(3, PrototypeConfig())
    optimisers = OptimiserSet(parameter_groups(model, "main"), settings)
    sum(p.square().sum() for p in model.parameters()).backward()
    for optimiser in optimisers.optimisers:
        optimiser.step()
    state = optimisers.state_dict()
    forged = {**state, "param_groups": [{"params": group["params"], "betas": "x"} for group in state["param_groups"]]}
    before = [list(o.state_dict()["param_groups"]) for o in optimisers.optimisers]
    optimisers.load_state_dict(forged)
    assert [list(o.state_dict()["param_groups"]) for o in optimisers.optimisers] == before
    for optimiser in optimisers.optimisers:
        optimiser.step()


def test_a_parameter_in_two_groups_is_refused() -> None:
    class Greedy(PrototypeToy):
        def parameters_of(self, stage: str):
            yield from self.parameters()
            yield ParameterGroup((self.centre,), lr=1.0)

    with pytest.raises(ConfigError, match=r"parameters_of\('main'\) names a parameter twice"):
        parameter_groups(Greedy(3, PrototypeConfig()), "main")


def test_one_expert_alone_leaves_the_other_as_it_was(parts, tmp_path: Path) -> None:
    for kept, other in (("detection", "attribution"), ("attribution", "detection")):
        seed_all(derived(0, "weights"))
        before = {name: value.clone() for name, value in PrototypeToy(3, PrototypeConfig()).state_dict().items()}
        model, _ = train(parts, tmp_path / kept, heads=kept)
        after = model.state_dict()
        assert all(torch.equal(after[n], before[n]) for n in after if n.startswith(f"experts.{other}."))
        assert not torch.equal(after[f"experts.{kept}.weight"], before[f"experts.{kept}.weight"])
        assert torch.equal(after["centre"], before["centre"]) == (kept == "attribution")


def test_a_stage_of_the_other_experts_labels_only_is_refused(parts, tmp_path: Path) -> None:
    class OnlyAttribution(PrototypeToy):
        def losses(self, batch, stage="main"):
            losses = super().losses(batch, stage)
            return {"supcon": losses["supcon"]} if stage == "warm" else losses

    with pytest.raises(ConfigError, match="stage 'warm' has no loss without the labels"):
        train(parts, tmp_path, OnlyAttribution, heads="detection")


def test_facts_of_a_stage_say_what_its_settings_come_to(parts) -> None:
    stage = Stage("main", sampler="images_per_class", batch_size=4)
    batches = StageBatches(plan_stage(stage, replace(SHORT, stage_values="keep", epochs=3)), parts[0], seed=0)
    assert (batches.facts["rows"], batches.facts["batch_size"], batches.facts["sampler"]) == (12, 4, "images_per_class")
    assert batches.facts["steps"] == 3 * -(-len(parts[0]) // 12)
    assert {len(rows) for epoch in range(3) for rows in batches.of(epoch)} == {12}


def test_stages_in_steps_end_with_the_step(parts, tmp_path: Path) -> None:
    per_epoch = -(-len(parts[0]) // 16)
    wanted = per_epoch + 1
    recipe = replace(SHORT, stages={"warm": StageRecipe(steps=1), "main": StageRecipe(steps=wanted)})
    model, result = train(parts, tmp_path, recipe=recipe)
    assert result.position.step == 1 + wanted
    assert result.position.epoch == 2
    again, _ = train(parts, tmp_path / "a", recipe=recipe, limits=Limits(max_steps=wanted))
    again, result = train(parts, tmp_path / "a", recipe=recipe)
    assert result.position.step == 1 + wanted
    assert equal(model, again)


def test_a_stage_has_its_own_schedule_batch_and_rate(parts, tmp_path: Path) -> None:
    import csv

    warm = StageRecipe(
        steps=3, batch_size=8, optimiser=Optimiser("sgd", 0.2, 0.0), schedule=Schedule("step", 1, 0.5, "step")
    )
    train(parts, tmp_path, recipe=replace(SHORT, epochs=1, stages={"warm": warm}))
    with (tmp_path / "trace.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["lr"]) for row in rows if row["stage"] == "warm"]
    assert rates == pytest.approx([0.2, 0.1, 0.05])
    assert {float(row["lr"]) for row in rows if row["stage"] == "main"} == {RECIPE.optimiser.lr}


def test_a_recipe_that_names_no_stage_of_the_model_is_refused(parts, tmp_path: Path) -> None:
    recipe = replace(SHORT, stages={"mian": StageRecipe(epochs=1)})
    with pytest.raises(UnknownNameError, match=r"stage of Prototype toy named 'mian'.*Did you mean main"):
        train(parts, tmp_path, recipe=recipe)


@pytest.mark.parametrize(
    ("stage_values", "entry", "expected"),
    [
        ("override", {}, (32, 100)),
        ("keep", {}, (24, 7)),
        ("keep", {"batch_size": 5}, (5, 7)),
        ("override", {"epochs": 3}, (32, 3)),
    ],
)
def test_who_decides_batch_and_length(stage_values, entry, expected) -> None:
    stages = {"main": StageRecipe(**entry)} if entry else {}
    plan = plan_stage(Stage("main", epochs=7, batch_size=24), Recipe("r", stage_values=stage_values, stages=stages))
    assert (plan.batch_size, plan.epochs) == expected


def test_dna_det_weighs_its_losses_at_a_rate_of_their_own() -> None:
    model = DNADet.build(3, size="tiny")
    first, second = (parameter_groups(model, stage.name) for stage in model.stages)
    assert [group.lr for group in first] == [group.lr for group in second] == [None, 0.01]
    assert first[1].parameters == tuple(model.pretrain_auto_weight.parameters())
    assert second[1].parameters == tuple(model.auto_weight.parameters())


def test_hooks_that_do_nothing_change_no_bit(parts, tmp_path: Path) -> None:
    class Plain(Toy):
        def before_stage(self, stage, data) -> None:
            torch.rand(3)

        def after_step(self, stage, batch) -> None:
            torch.rand(3)

    models = [train(parts, tmp_path / kind.__name__, kind)[0] for kind in (Toy, Plain)]
    assert equal(*models)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 0}, "steps must be 1 or more or None, got 0"),
        ({"batch_size": -2}, "batch_size must be 1 or more"),
        ({"sampler": "balanced"}, "sampler must be one of shuffle, .*, got 'balanced'"),
        ({"real_forged": (0, 1)}, "real_forged must be two numbers"),
        ({"unlabelled": -1.0}, "unlabelled must be 0 or more"),
        ({"lr": 0.0}, "lr must be above 0"),
    ],
)
def test_a_stage_no_training_could_use_is_refused(values, words) -> None:
    with pytest.raises(ConfigError, match=f"stage 'main': {words}"):
        Stage("main", **values)


def test_groups_take_any_iterable_and_refuse_values_no_optimiser_could_use() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    assert ParameterGroup(p for p in [parameter]).parameters == (parameter,)
    with pytest.raises(ConfigError, match="parameter group: lr must be above 0"):
        ParameterGroup((parameter,), lr=-1.0)
    with pytest.raises(ConfigError, match="parameter group: weight_decay must be 0 or more"):
        ParameterGroup((parameter,), weight_decay=-1.0)


def test_what_is_no_parameter_is_refused() -> None:
    class Dicts(PrototypeToy):
        def parameters_of(self, stage: str):
            return [{"params": list(self.parameters()), "lr": 1.0}]

    with pytest.raises(ConfigError, match=r"parameters_of\('main'\) gives a dict; give parameters and objects of"):
        parameter_groups(Dicts(3, PrototypeConfig()), "main")


def test_a_stage_whose_parameters_are_in_no_loss_is_refused(parts, tmp_path: Path) -> None:
    class Idle(Toy):
        def __init__(self, num_generators, config) -> None:
            super().__init__(num_generators, config)
            self.idle = torch.nn.Parameter(torch.zeros(1))

        def parameters_of(self, stage: str):
            return [self.idle]

    with pytest.raises(ConfigError, match="stage 'warm': no parameter of it is in a loss that is trained on"):
        train(parts, tmp_path, Idle)


def test_the_rows_of_a_batch_are_the_plans(parts) -> None:
    stage = Stage("main", batch_size=24)
    per_class = plan_stage(
        stage, replace(SHORT, stages={"main": StageRecipe(sampler="images_per_class", batch_size=2)})
    )
    for plan, rows in ((plan_stage(stage, replace(SHORT, stage_values="override")), 16), (per_class, 6)):
        batches = StageBatches(plan, parts[0], 0)
        assert batches.batch_rows == rows == len(batches.of(0)[0])
