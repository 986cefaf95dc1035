from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toy import RECIPE, Toy, ToyConfig

from dfad_bench.core.contract import ParameterGroup, Stage
from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError
from dfad_bench.core.files import read_json
from dfad_bench.core.recipe import Optimiser, Recipe, Schedule, StageRecipe
from dfad_bench.core.stage_plan import plan_stage
from dfad_bench.engine import checkpoint, memory
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.fit import Limits, Trainer
from dfad_bench.engine.schedule import learning_rate, make_optimiser
from dfad_bench.engine.seeding import derived, seed_all
from dfad_bench.engine.stage_batches import StageBatches

CPU = Place(torch.device("cpu"))


class NoValidation(Toy):
    """Every parameter learns in one stage that is not validated."""

    stages = (Stage("main", validate=False),)


def make(parts, folder: Path, *, recipe: Recipe = RECIPE, model: Toy | None = None, seed: int = 0, **more) -> Trainer:
    seed_all(derived(seed, "weights"))
    model = model or Toy(3, ToyConfig())
    return Trainer(model, *parts, recipe, seed=seed, place=CPU, folder=folder, config_sha256="c", **more)


def trace(folder: Path) -> list[dict[str, str]]:
    with (folder / "trace.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return trainer.model.state_dict()


def test_learns_keeps_a_trace_and_the_best_weights(parts, tmp_path: Path) -> None:
    trainer = make(parts, tmp_path, recipe=replace(RECIPE, epochs=8))
    result = trainer.run()
    rows = trace(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(1, result.position.step + 1))
    assert {row["stage"] for row in rows} == {"warm", "main"}
    for row in rows:
        terms = sum(float(row[name]) for name in ("dfa", "dfd", "size"))
        assert float(row["loss"]) == pytest.approx(terms, rel=1e-5)
    assert float(rows[-1]["dfa"]) < 0.8 * float(rows[0]["dfa"])
    validation = [float(row["validation"]) for row in rows if row["validation"]]
    assert len(validation) == 8  # the warm-up stage is not validated
    assert result.selection == "best_on_val"
    assert result.validation_loss == min(validation)
    assert trainer._validation_loss() == pytest.approx(min(validation))
    assert result.status == "complete"
    stored = checkpoint.load_finished(tmp_path / "checkpoint")
    assert all(torch.equal(stored[name], value) for name, value in weights(trainer).items())


def test_same_seed_same_bits_other_seed_others(parts, tmp_path: Path) -> None:
    runs = [make(parts, tmp_path / str(n), seed=seed) for n, seed in enumerate((0, 0, 1))]
    for trainer in runs:
        trainer.run()
    one, again, other = map(weights, runs)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert (tmp_path / "0" / "trace.csv").read_bytes() == (tmp_path / "1" / "trace.csv").read_bytes()


def test_early_stopping_counts_epochs_without_a_better_validation_loss(parts, tmp_path: Path, monkeypatch) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.2, 2.1, 9.0, 9.0])
    trainer = make(parts, tmp_path, recipe=replace(RECIPE, epochs=7, patience=3))
    monkeypatch.setattr(trainer, "_validation_loss", lambda: next(losses))
    result = trainer.run()
    assert result.stopped == "no better validation loss for 3 epochs"
    assert result.validation_loss == 2.0
    assert result.position.epochs_done == 1 + 5


def test_one_step_equals_plain_torch(parts, tmp_path: Path) -> None:
    """Adam with loss weights, against the same step written out."""
    recipe = replace(RECIPE, epochs=1, batch_size=1000, loss_weights={"dfd": 0.5, "size": 2.0})
    trainer = make(parts, tmp_path, recipe=recipe, model=NoValidation(3, ToyConfig()))
    twin = NoValidation(3, ToyConfig())
    twin.load_state_dict(trainer.model.state_dict())
    trainer.run()
    order = trainer.batches[0].of(0)[0]
    seed_all(derived(0, "step", 0, 0))
    losses = twin.train().losses(parts[0].batch(order))
    optimiser = torch.optim.Adam(twin.parameters(), RECIPE.optimiser.lr, fused=True)
    (losses["dfa"] + 0.5 * losses["dfd"] + 2 * losses["size"]).backward()
    optimiser.step()
    for name, value in twin.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_fused_steps_are_those_of_the_plain_optimiser(name: str) -> None:
    settings = Optimiser(name, lr=1e-2, weight_decay=0.1, momentum=0.9)
    ours, plain = (torch.nn.Parameter(torch.linspace(-1, 1, 50)) for _ in range(2))
    fused, twin = make_optimiser([ours], settings), make_optimiser([plain], settings)
    assert fused.param_groups[0]["fused"]
    twin.param_groups[0]["fused"] = None
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        ours.grad = torch.randn(50, generator=generator)
        plain.grad = ours.grad.clone()
        fused.step()
        twin.step()
    assert torch.allclose(ours, plain, atol=1e-6)


@pytest.mark.parametrize(("heads", "still"), [("attribution", "detection"), ("detection", "attribution")])
def test_an_expert_that_is_left_out_does_not_move(parts, tmp_path: Path, heads, still: str) -> None:
    trainer = make(parts, tmp_path, recipe=replace(RECIPE, epochs=1), heads=heads)
    before = {name: value.clone() for name, value in weights(trainer).items()}
    trainer.run()
    moved = {name for name, value in weights(trainer).items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(f"experts.{still}") for name in moved)
    assert any(name.startswith("experts") for name in moved)


def test_a_loss_that_is_not_a_number_names_step_faces_and_terms(parts, tmp_path: Path) -> None:
    trainer = make(parts, tmp_path, model=Toy(3, ToyConfig(bad_step=4)))
    with pytest.raises(DFADError, match=r"step 4: .*dfd nan.*faces [0-9a-f]{16}"):
        trainer.run()
    assert len(trace(tmp_path)) == 3  # as of the last checkpoint
    told = read_json(tmp_path / "not_finite.json")
    assert (told["step"], told["stage"], told["terms"]["dfd"]) == (4, "main", "nan")
    assert len(told["sample_ids"]) == trainer.recipe.batch_size
    assert set(told["sample_ids"]) <= set(trainer.train.sample_ids)


def test_an_exploding_gradient_is_refused_before_it_reaches_the_weights(parts, tmp_path: Path) -> None:
    class Exploding(NoValidation):
        def losses(self, batch, stage="main"):
            spike = (self.experts.detection.bias * 0).sum().sqrt()  # finite value, infinite slope
            return {**super().losses(batch, stage), "spike": spike}

    trainer = make(parts, tmp_path, model=Exploding(3, ToyConfig()))
    with pytest.raises(DFADError, match=r"step 1: .*gradient norm (nan|inf)"):
        trainer.run()
    assert all(torch.isfinite(value).all() for value in trainer.model.state_dict().values())


def test_gradients_are_clipped(parts, tmp_path: Path) -> None:
    recipe = replace(RECIPE, optimiser=Optimiser("sgd", 1.0, 0.0, momentum=0.0), clip_norm=1e-3, epochs=1)
    trainer = make(parts, tmp_path, recipe=replace(recipe, batch_size=1000), model=NoValidation(3, ToyConfig()))
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.run()
    moved = torch.stack([(v.detach() - before[n]).norm() for n, v in trainer.model.named_parameters()]).norm()
    assert float(moved) == pytest.approx(1e-3, rel=1e-3)


def test_limit_ends_partial_and_the_run_goes_on_to_the_same_bits(parts, tmp_path: Path) -> None:
    whole = make(parts, tmp_path / "whole")
    total = whole.run().position.step
    for stop in (2, 3, 5, total - 1):
        folder = tmp_path / f"stop{stop}"
        first = make(parts, folder, limits=Limits(max_steps=stop)).run()
        assert (first.status, first.position.step) == ("partial", stop)
        assert first.stopped == f"limit of {stop} steps in all"
        second = make(parts, folder)
        result = second.run()
        assert (result.status, result.position.resumed) == ("complete", 1)
        assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(second).items())
        assert (folder / "trace.csv").read_bytes() == (tmp_path / "whole" / "trace.csv").read_bytes()


def test_a_limit_below_the_steps_of_earlier_calls_says_so(parts, tmp_path: Path) -> None:
    make(parts, tmp_path, limits=Limits(max_steps=5)).run()
    again = make(parts, tmp_path, limits=Limits(max_steps=3)).run()
    assert (again.status, again.position.step) == ("partial", 5)
    assert again.stopped == "limit of 3 steps in all; the run had 5 before"


def test_minutes_limit(parts, tmp_path: Path) -> None:
    result = make(parts, tmp_path, limits=Limits(max_minutes=1e-9)).run()
    assert result.status == "partial"
    assert "minutes" in result.stopped
    assert (tmp_path / "checkpoint" / "model.safetensors").is_file()


def test_no_resume_starts_again(parts, tmp_path: Path) -> None:
    make(parts, tmp_path, limits=Limits(max_steps=3)).run()
    result = make(parts, tmp_path).run(resume=False)
    assert result.position.resumed == 0
    assert len(trace(tmp_path)) == result.position.step


def test_a_model_without_parameters_sees_every_face_once(parts, tmp_path: Path) -> None:
    from baselines.constant import Majority

    trainer = make(parts, tmp_path, model=Majority.build(3))
    result = trainer.run()
    assert trainer.model.attribution_counts.tolist() == np.bincount(parts[0].attribution, minlength=3).tolist()
    assert result.status == "complete"
    assert result.selection == "last"


def test_bf16_trains(parts, tmp_path: Path) -> None:
    trainer = make(parts, tmp_path, recipe=replace(RECIPE, epochs=1))
    trainer.place = place("cpu", "bf16")
    assert trainer.run().status == "complete"
    assert all(value.dtype != torch.bfloat16 for value in weights(trainer).values())


def test_schedules_equal_torch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], 0.1)
    oracle = torch.optim.lr_scheduler.StepLR(optimiser, 3, 0.5)
    recipe = Recipe("r", schedule=Schedule("step", 3, 0.5))
    for epoch in range(10):
        assert learning_rate(recipe.schedule, 0.1, epoch, 0, 100) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        oracle.step()
    by_step = replace(recipe, schedule=Schedule("step", 3, 0.5, unit="step"))
    assert learning_rate(by_step.schedule, 1.0, 0, 7, 100) == 0.25
    cosine = replace(recipe, schedule=Schedule("cosine", warmup_steps=4))
    assert [learning_rate(cosine.schedule, 1.0, 0, step, 100) for step in (0, 100)] == pytest.approx([0.25, 0.0])
    assert learning_rate(Schedule("constant"), 1.0, 99, 99, 100) == 1.0


def test_optimisers_are_those_of_the_recipe() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    assert type(make_optimiser(parameters, Optimiser("adam"))) is torch.optim.Adam
    decoupled = make_optimiser(parameters, Optimiser("adamw", weight_decay=0.1), lr=0.5)
    assert type(decoupled) is torch.optim.AdamW
    assert (decoupled.param_groups[0]["lr"], decoupled.param_groups[0]["weight_decay"]) == (0.5, 0.1)
    assert make_optimiser(parameters, Optimiser("sgd", momentum=0.8)).param_groups[0]["momentum"] == 0.8


def test_devices_that_are_not_there_are_one_line() -> None:
    with pytest.raises(ConfigError, match="no device named 'gpu'"):
        place("gpu")
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        place("cpu", "fp16")
    with pytest.raises(ConfigError, match="precision must be"):
        place("cpu", "fp8")
    with pytest.raises(ConfigError, match="is not here"):
        place("cuda:99")


def test_a_checkpoint_of_another_version_of_the_model_is_refused_in_a_line(parts, tmp_path: Path) -> None:
    class More(Toy):
        def __init__(self, num_generators, config) -> None:
            super().__init__(num_generators, config)
            self.register_buffer("later", torch.zeros(1))

    class Grouped(Toy):
        def parameters_of(self, stage):
            return [ParameterGroup(tuple(self.body.parameters())), ParameterGroup(tuple(self.experts.parameters()))]

    make(parts, tmp_path, limits=Limits(max_steps=1)).run()
    states = r"states of the optimiser \(other groups of parameters\)"
    for kind, words in ((More, "parameters or buffers"), (Grouped, states)):
        with pytest.raises(IntegrityError, match=f"a version of Toy with other {words}; --no-resume starts again"):
            make(parts, tmp_path, model=kind(3, ToyConfig())).run()


def test_a_plateau_lowers_the_rate_after_epochs_without_a_better_loss_also_resumed(
    parts, tmp_path: Path, monkeypatch
) -> None:
    """Oracle: torch's ReduceLROnPlateau, whose patience is one less than `every`, while no better loss comes."""
    schedule = Schedule("plateau", every=2, gamma=0.1)
    recipe = replace(RECIPE, epochs=6, schedule=schedule, stages={"warm": StageRecipe(schedule=Schedule("constant"))})
    losses, expected = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5], []
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], RECIPE.optimiser.lr)
    twin = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.1, patience=1, threshold=0, eps=0)
    for loss in losses:
        expected.append(optimiser.param_groups[0]["lr"])
        twin.step(loss)
    for limit in (5, None):
        trainer = make(parts, tmp_path, recipe=recipe, limits=Limits(max_steps=limit))
        monkeypatch.setattr(trainer, "_validation_loss", lambda t=trainer: losses[t.position.epoch - 1])
        trainer.run()
    found = {int(row["epoch"]): float(row["lr"]) for row in trace(tmp_path) if row["stage"] == "main"}
    assert list(found.values()) == pytest.approx(expected)


def test_a_plateau_without_a_validation_loss_is_refused(parts, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="schedule plateau goes by the validation loss, and stage 'warm' of Toy has"):
        make(parts, tmp_path, recipe=replace(RECIPE, schedule=Schedule("plateau")))


def test_a_warm_up_in_epochs_is_one_in_steps() -> None:
    epochs, steps = Schedule("cosine", warmup_epochs=2), Schedule("cosine", warmup_steps=14)
    for step in range(30):
        assert learning_rate(epochs, 1.0, step // 7, step, 30, epoch_steps=7) == learning_rate(steps, 1.0, 0, step, 30)


@pytest.mark.parametrize("sampler", ["class_balanced", "images_per_class", "real_forged"])
def test_batches_of_far_more_rows_than_faces_are_refused(sampler: str) -> None:
    plan = plan_stage(Stage("main", sampler=sampler), Recipe("mine", batch_size=65_536))

    class Faces:
        attribution, detection = np.arange(30) % 3, np.arange(30) % 3 > 0

        def __len__(self) -> int:
            return 30

    most = 1024 // 3 if sampler == "images_per_class" else 1024
    with pytest.raises(ConfigError, match=f"rows from 30 training faces; batch_size {most:,} is the most"):
        StageBatches(plan, Faces(), 0)
    assert StageBatches(replace(plan, batch_size=most), Faces(), 0).largest <= 1024
    assert StageBatches(replace(plan, sampler="shuffle"), Faces(), 0).largest == 30


def test_a_batch_that_no_memory_holds_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**30)
    cpu = place("cpu", "fp32")
    memory.require_room(64, 256, cpu, "recipe mine, stage 'main'")
    with pytest.raises(DFADError, match="3.0 GiB for the images of a batch of 4,096, 1.0 GiB are free on cpu; lower"):
        memory.require_room(4096, 256, cpu, "recipe mine, stage 'main'")
