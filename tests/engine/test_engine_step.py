"""Steps that are issued ahead: nothing is waited for, and what is not finite is still named and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import every_model
from helpers.steps import batch_for, built, issue, stepper_of
from helpers.syncs import SyncWatch
from helpers.toy import RECIPE, Toy, ToyConfig
from torch import Tensor, nn

from dfad_bench.core.contract import Batch, DFADModel, Inputs, ParameterGroup, Stage, expert_losses
from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import read_json
from dfad_bench.core.recipe import Optimiser
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.engine.devices import Place
from dfad_bench.engine.fit import Limits, Trainer
from dfad_bench.engine.optimisers import step_unless
from dfad_bench.engine.schedule import make_optimiser
from dfad_bench.engine.seeding import derived, seed_all
from dfad_bench.engine.step import NotFiniteError

CPU = torch.device("cpu")
MASK, COPY = "indexing by a mask", "a blocking copy from the host"
# Where a step of a model waits, by model: JPEG and OpenCV's filters, which its first stage learns to tell apart, have
# no form on a device, so its pictures come down once a step.
KNOWN = {"dna_det": {"baselines/dna_det.py: cpu"}}


def waits(
    model: DFADModel, steps: int = 2, make: Callable[[DFADModel], Batch] = batch_for, **means: Any
) -> Counter[str]:
    """What the host waits for in steps of every stage."""
    found: Counter[str] = Counter()
    for stage in model.stages:
        stepper, batches = stepper_of(model, stage.name, **means), [make(model) for _ in range(steps)]
        with SyncWatch(model, batches, CPU) as watch:
            for batch in batches:
                issue(stepper, batch)
        assert len(stepper.read()) == steps
        stepper.close()
        found += watch.found
    return found


@pytest.mark.parametrize("name", every_model())
def test_steps_of_a_model_wait_for_nothing_but_what_is_listed(name: str) -> None:
    assert set(waits(built(name))) == KNOWN.get(name, set())


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "options"),
    [("xception", {"centre_loss": a, "centre_space": b}) for a in ("dfacc", "vcc") for b in ("feature", "probability")]
    + [("cpl", {"unlabelled": kind}) for kind in ("protocol", "none")]
    + [("carzero", {"cmc_targets": "multi"}), ("omnidfa", {"decides": "prototypes"}), ("lida", {"patch": "max"})],
)
def test_steps_under_other_settings_wait_for_nothing(name: str, options: dict[str, Any]) -> None:
    assert not waits(built(name, **options))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.heavy) for name in ("bmrl", "forensics_adapter")] + ["gazeclip"]
)
def test_faces_that_lack_a_view_make_no_step_wait(name: str) -> None:
    def lacking(model: DFADModel) -> Batch:
        batch, has = batch_for(model), torch.arange(8) % 3 > 0
        needed = (model.needs, model.needs_training)
        masks = [{view: has.clone() for view in model.missing_views if view in views} for views in needed]
        assert any(masks)
        return replace(batch, inputs=replace(batch.inputs, present=masks[0]), present=masks[1])

    assert not waits(built(name), make=lacking)


@pytest.mark.parametrize("name", ["clip", pytest.param("gazeclip", marks=pytest.mark.heavy)])
def test_steps_that_compute_blocks_again_wait_for_nothing(name: str) -> None:
    assert not waits(built(name), checkpointed=True)


def test_cards_name_the_models_that_wait() -> None:
    assert {name for name in model_names() if model_class(name).card.waits} == set(KNOWN)


class TwoOptimisers(Toy):
    """Batch norm, a frozen part, and groups with optimisers of their own."""

    stages = (Stage("main"),)

    def __init__(self, num_generators: int, config: ToyConfig) -> None:
        super().__init__(num_generators, config)
        self.norm = nn.BatchNorm1d(self.embedding_dim)

    def embed(self, inputs: Inputs) -> Tensor:
        return self.norm(super().embed(inputs))

    def parameters_of(self, stage: str):
        return [
            ParameterGroup(tuple(self.norm.parameters()), optimiser="sgd", lr=0.1),
            ParameterGroup(tuple(self.experts.parameters()), optimiser="adamw"),
        ]


def test_steps_of_several_optimisers_wait_for_nothing() -> None:
    assert not waits(TwoOptimisers(3, ToyConfig()))


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool((x > 0).any()), "_local_scalar_dense"),
        (lambda x: x.sum(dim=1).tolist(), "tolist"),
        (lambda x: x.detach().numpy(), "numpy"),
        (lambda x: x.detach().cpu().numpy(), "cpu"),
        (lambda x: x[x > 0].sum(), MASK),
        (lambda x: (x > 0).nonzero(), "nonzero"),
        (lambda x: x * torch.tensor([2.0], device=x.device), COPY),
        (lambda x: x * torch.ones(1).to(x.device), COPY),
        (lambda x: x * torch.ones(1).to(x.device, non_blocking=True), None),
    ],
)
def test_the_watch_sees_what_waits(read: Any, what: str | None) -> None:
    class Reading(Toy):
        stages = (Stage("main"),)

        def losses(self, batch: Batch, stage: str = "main"):
            output = self(batch.inputs)
            read(output.embedding)
            return expert_losses(output, batch)

    found = waits(Reading(3, ToyConfig()))
    assert {name.split(": ")[1] for name in found} >= ({what} if what else set())
    assert bool(found) == (what is not None)
    assert all(name.startswith("tests/engine/test_engine_step.py") for name in found if MASK not in name)


class Plain(Toy):
    """Every parameter learns in one stage that is not validated."""

    stages = (Stage("main", validate=False),)


def make(parts, folder: Path, optimiser: str, *, bad_step: int | None = None, **limits: Any) -> Trainer:
    seed_all(derived(0, "weights"))
    recipe = replace(RECIPE, epochs=2, optimiser=Optimiser(optimiser, 1e-2, 0.1, momentum=0.9))
    config = ToyConfig() if bad_step is None else ToyConfig(bad_step=bad_step)
    return Trainer(
        Plain(3, config), *parts, recipe, seed=0, place=Place(CPU), folder=folder, config_sha256="c",
        limits=Limits(**limits),
    )  # fmt: skip


def state(trainer: Trainer) -> dict[str, Tensor]:
    """Weights and all that the optimisers keep."""
    assert trainer.optimisers is not None
    found = dict(trainer.model.named_parameters())
    for number, values in trainer.optimisers.state_dict()["state"].items():
        found |= {f"{number} {name}": torch.as_tensor(value) for name, value in values.items()}
    return found


def differing(one: Trainer, other: Trainer) -> list[str]:
    """What of two trainings has not the same bits."""
    mine, theirs = state(one), state(other)
    assert mine.keys() == theirs.keys()
    return [name for name, value in mine.items() if not torch.equal(value, theirs[name])]


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("bad_step", [1, 4])
def test_a_step_that_is_not_finite_is_named_later_and_changes_nothing(
    parts, tmp_path: Path, optimiser: str, bad_step: int
) -> None:
    errors, told = [], []
    for every in (1, 6):
        trainer = make(parts, tmp_path / str(every), optimiser, bad_step=bad_step, log_steps=every)
        with pytest.raises(DFADError, match=rf"step {bad_step}: .*dfd nan.*faces [0-9a-f]{{16}}") as caught:
            trainer.run()
        errors.append(str(caught.value).replace(str(tmp_path / str(every)), ""))
        told.append(read_json(tmp_path / str(every) / "not_finite.json"))
        assert [int(row["step"]) for row in trainer.trace.rows] == list(range(1, bad_step))
    assert errors[0] == errors[1]
    assert told[0] == told[1]
    if bad_step == 1:
        assert all(bool(value.isfinite().all()) for value in state(trainer).values())
        return
    before = make(parts, tmp_path / "before", optimiser, max_steps=bad_step - 1)
    before.run()
    assert differing(trainer, before) == []


def test_reading_later_gives_the_same_bits_trace_and_resume(parts, tmp_path: Path) -> None:
    each, later = (make(parts, tmp_path / name, "adam", log_steps=n) for name, n in (("each", 1), ("later", 5)))
    each.run()
    later.run()
    make(parts, tmp_path / "stopped", "adam", log_steps=3, max_steps=4).run()
    resumed = make(parts, tmp_path / "stopped", "adam", log_steps=20)
    resumed.run()
    for other, folder in ((later, "later"), (resumed, "stopped")):
        assert differing(each, other) == [], folder
        buffers = [dict(trainer.model.named_buffers()) for trainer in (each, other)]
        assert all(torch.equal(value, buffers[1][name]) for name, value in buffers[0].items()), folder
        assert (tmp_path / folder / "trace.csv").read_bytes() == (tmp_path / "each" / "trace.csv").read_bytes()


def test_an_error_after_a_step_that_is_not_finite_names_that_step(
    parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(parts, tmp_path, "adam", bad_step=2, log_steps=10)
    run, calls = trainer.model.losses, []

    def losses(batch: Batch, stage: str = "main"):
        calls.append(stage)
        if len(calls) == 3:
            raise ValueError("a consequence")
        return run(batch, stage)

    monkeypatch.setattr(trainer.model, "losses", losses)
    with pytest.raises(DFADError, match="step 2: .*dfd nan"):
        trainer.run()
    assert len(calls) == 3


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_broken_step_leaves_all_as_it_is_also_the_first(name: str) -> None:
    settings = Optimiser(name, lr=0.1, weight_decay=0.1, momentum=0.9)
    ours, plain = (nn.Parameter(torch.linspace(-1, 1, 50)) for _ in range(2))
    fused, twin = make_optimiser([ours], settings), make_optimiser([plain], settings)
    for step, broken in enumerate((1.0, 0.0, 1.0, 0.0)):
        ours.grad = torch.full((50,), float("nan")) if broken else torch.linspace(0, step, 50)
        step_unless(fused, torch.tensor(broken))
        if not broken:
            plain.grad = torch.linspace(0, step, 50)
            twin.step()
        assert torch.equal(ours, plain)
    kept, expected = fused.state[ours], twin.state[plain]
    assert kept.keys() == expected.keys()
    assert all(torch.equal(torch.as_tensor(kept[key]), torch.as_tensor(expected[key])) for key in kept)


def test_an_optimiser_without_a_fused_step_is_left_out_too() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimiser = torch.optim.SGD([weight], 0.1, fused=False)
    weight.grad = torch.full((3,), float("inf"))
    step_unless(optimiser, torch.tensor(1.0))
    assert torch.equal(weight, torch.ones(3))
    weight.grad = torch.ones(3)
    step_unless(optimiser, torch.tensor(0.0))
    assert float(weight.detach()[0]) == pytest.approx(0.9)


def test_gradients_that_overflow_under_scaling_lower_the_scale_and_training_goes_on() -> None:
    class Spiked(Plain):
        def losses(self, batch: Batch, stage: str = "main"):
            nothing = (self.experts.detection.bias * 0).sum()
            spike = nothing.sqrt() if self.spiked else nothing
            return {**super().losses(batch, stage), "spike": spike}

    torch.manual_seed(0)
    model = Spiked(3, ToyConfig())
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=1024.0)
    stepper, batch = stepper_of(model, "main", scaler=scaler), batch_for(model)
    before = [value.clone() for value in model.parameters()]
    model.spiked = True
    issue(stepper, batch)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    model.spiked = False
    issue(stepper, batch)
    (first, _), (second, flags) = stepper.read()
    assert not np.isfinite(first["gradient_norm"])
    assert np.isfinite(second["gradient_norm"])
    assert flags == [False, True]
    assert scaler.get_scale() == 512.0
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_what_a_hook_keeps_in_buffers_is_as_before_a_broken_step() -> None:
    class Counting(Plain):
        def __init__(self, num_generators: int, config: ToyConfig) -> None:
            super().__init__(num_generators, config)
            self.register_buffer("seen", torch.zeros(()))

        def after_step(self, stage: str, batch: Batch) -> None:
            self.seen += 1

    model = Counting(3, ToyConfig(bad_step=2))
    stepper, batch = stepper_of(model, "main"), batch_for(model)
    for _ in range(3):
        issue(stepper, batch)
    with pytest.raises(NotFiniteError, match="dfd nan") as caught:
        stepper.read()
    assert len(caught.value.before) == 1
    assert float(model.seen) == 1.0
    values, _ = stepper.run(batch, stepper.share(np.arange(8)), 1.0, [])  # the next one counts again
    assert np.isfinite(values["loss"])
    assert float(model.seen) == 2.0
