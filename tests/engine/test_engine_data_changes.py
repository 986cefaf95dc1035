"""What a run hides or changes of its training faces, and how many of them an epoch meets, reach record and board."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.toy import RECIPE, Toy, toy_protocol
from helpers.training import run_training
from torch import Tensor

from baselines.cpl import CPL
from dfad_bench.core.contract import Batch
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.recipe import Sampler, load_recipe
from dfad_bench.core.registry import model_class
from dfad_bench.core.stage_plan import plan_stage
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.sampling import epoch_batches
from dfad_bench.engine.contract_checks.subject import Subject
from dfad_bench.engine.contract_checks.training import check_hidden_labels
from dfad_bench.engine.needs import LONGEST_CHANGE, data_changes_of, needs_of
from dfad_bench.engine.stage_batches import StageBatches
from dfad_bench.report.leaderboard import board
from dfad_bench.report.run_record import build_record

HIDES = "labels of 25 % of the faces of an epoch, others in each, are hidden from the losses of stage main"
CROPS = "every face is turned upside down"


class HidingToy(Toy):
    """Uses the labels of three faces of four, those that it is told to."""

    data_changes: tuple[str, ...] = (CROPS,)
    stages = (*Toy.stages[:-1], replace(Toy.stages[-1], hidden_labels=0.25))

    def known(self, batch: Batch) -> Tensor:
        return torch.ones(len(batch), dtype=torch.bool) if batch.hidden is None else ~batch.hidden

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        shown = self.known(batch)
        kept = replace(batch, inputs=replace(batch.inputs, images=batch.inputs.images[shown]))
        return super().losses(
            replace(kept, attribution=batch.attribution[shown], detection=batch.detection[shown], prompts=()), stage
        )


@pytest.fixture
def hiding(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> list[Manifest]:
    from dfad_bench.core import registry

    table = {**registry.model_table(), "hiding": f"{__name__}:HidingToy"}
    monkeypatch.setattr(registry, "model_table", lambda: table)
    return manifests


def test_a_record_and_a_board_say_what_is_hidden_and_how_many_faces_an_epoch_meets(
    hiding: list[Manifest], tmp_path: Path
) -> None:
    recipe = replace(RECIPE, epochs=1, batch_size=5)
    run_training("hiding", toy_protocol(), hiding, tmp_path, recipe=recipe, device="cpu")
    record = build_record(tmp_path, resamples=0)
    selected = pd.read_parquet(tmp_path / "selection.parquet")
    train = selected[selected["part"] == "train"]
    assert record.model.data_changes == (HIDES, CROPS)
    warm, main = record.run.stages
    assert {"hidden", "hidden_labels", "of_places"}.isdisjoint(warm)
    assert (main["hidden"], main["of_places"], main["hidden_labels"]) == (round(0.25 * len(train)), len(train), 0.25)
    assert warm["of_faces"] == main["of_faces"] == main["faces"] == len(train)
    batches = -(-len(train) // 5)  # one face of each of three classes in each
    assert warm["faces"] == sum(min(count, batches) for count in train["group"].value_counts()) < len(train)
    table = board(toy_protocol(), [record], per_group=True)
    (line,) = [note for note in table.notes if note.startswith("Toy: ")]
    meets = f"stage warm meets {warm['faces']} of {len(train)} training faces an epoch (class_balanced)"
    hides = f"stage main hides {main['hidden']} of the {len(train)} labels of an epoch's batches"
    assert f"; {HIDES}; {CROPS}; {meets}; {hides}; " in line
    assert "stage main meets" not in line
    csv = pd.read_csv(io.StringIO(table.render("csv")))
    assert HIDES in csv["data_changes"].dropna().iloc[0]
    assert meets in csv["visited"].dropna().iloc[0]


@pytest.mark.parametrize("model", ["dna_det", "cdal"])
def test_at_counts_of_the_papers_balanced_batches_meet_75636_of_110000_faces(model: str) -> None:
    """The number that their cards print is the sampler's: 2 of each of 11 classes in each of 3,438 batches."""
    labels = np.repeat(np.arange(11), 10_000)

    class Faces:
        attribution, detection, unlabelled = labels, (labels > 0).astype(int), None

        def __len__(self) -> int:
            return len(labels)

    stage = model_class(model).stages[-1]
    shared = StageBatches(plan_stage(stage, load_recipe("default")), Faces(), seed=0)  # type: ignore[arg-type]  # labels only
    assert (shared.facts["faces"], shared.facts["of_faces"]) == (75_636, 110_000)
    card = " ".join(model_class(model).card.deviations)
    assert re.search(r"meets\s75,636 of\s110,000 faces", card)
    own = StageBatches(plan_stage(stage, load_recipe(model)), Faces(), seed=0)  # type: ignore[arg-type]  # labels only
    assert own.facts["faces"] == 110_000


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_epoch_meets_as_many_faces(sampler: Sampler) -> None:
    labels = np.repeat([0, 1, 2, 3], [9, 40, 17, 30])
    met = [
        len(np.unique(np.concatenate(epoch_batches(
            labels, labels > 0, batch_size=9, seed=3, epoch=epoch, sampler=sampler)))) for epoch in range(4)
    ]  # fmt: skip
    assert len(set(met)) == 1


def test_cpl_says_it_hides_labels_where_it_does() -> None:
    torch.set_num_threads(1)
    said = data_changes_of(CPL.build(3, size="tiny", options={"hidden_share": 0.25}))
    assert said == (HIDES,)
    assert "30 %" in data_changes_of(CPL.build(3, size="tiny"))[0]
    for option in ("protocol", "none"):
        assert data_changes_of(CPL.build(3, size="tiny", options={"unlabelled": option})) == ()


@pytest.mark.parametrize(("share", "size", "faces"), [(0.01, 32, 3200), (0.3, 2, 61), (0.3, 7, 400), (0.9, 5, 203)])
def test_the_share_holds_over_an_epoch_whatever_the_batches(share: float, size: int, faces: int) -> None:
    """A hundredth of batches of 32 would be none in each; what a batch is rounded by is carried to the next."""
    labels = np.arange(faces) % 3

    class Faces:
        attribution, detection, unlabelled = labels, (labels > 0).astype(int), None

        def __len__(self) -> int:
            return faces

    stage = replace(CPL.build(3, size="tiny").stages[-1], hidden_labels=share)
    recipe = replace(RECIPE, batch_size=size)
    batches = StageBatches(plan_stage(stage, recipe), Faces(), seed=0)  # type: ignore[arg-type]  # labels only
    masks, rows = batches.hidden(3), batches.of(3)
    assert masks is not None
    assert [len(mask) for mask in masks] == [len(index) for index in rows]
    assert all(not mask.all() for mask in masks)
    most = sum(len(index) - 1 for index in rows)
    assert batches.facts["hidden"] == sum(int(mask.sum()) for mask in masks)
    assert abs(batches.facts["hidden"] - min(share * faces, most)) <= 1
    again, other = batches.hidden(3), batches.hidden(2)
    assert again is not None
    assert other is not None
    assert np.array_equal(np.concatenate(again), np.concatenate(masks))
    assert not np.array_equal(np.concatenate(other), np.concatenate(masks))


def test_hidden_labels_that_nobody_states_break_the_contract(
    hiding: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the model says in words: the words are not looked at."""
    assert check_hidden_labels(Subject("toy")) == ""
    assert check_hidden_labels(Subject("hiding")) == ""
    assert check_hidden_labels(Subject("cpl")) == ""
    monkeypatch.setattr(HidingToy, "data_changes", ("labels of every fourth face are hidden",))
    monkeypatch.setattr(HidingToy, "known", lambda self, batch: torch.arange(len(batch)) % 4 > 0)
    said = check_hidden_labels(Subject("hiding"))
    assert "use labels that are hidden (`Batch.hidden`), e.g. that of face 1 of 8" in said
    monkeypatch.setattr(HidingToy, "stages", Toy.stages)
    said = check_hidden_labels(Subject("hiding"))
    assert "no label of 2 of 8 faces that are not in `Batch.hidden`; state the share as Stage(hidden_labels=" in said


def test_a_stage_that_hides_more_labels_than_it_says_breaks_the_contract(
    hiding: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fewer(self: HidingToy, batch: Batch) -> Tensor:
        known = torch.ones(len(batch), dtype=torch.bool) if batch.hidden is None else ~batch.hidden
        return known & (torch.arange(len(batch)) != 3)

    monkeypatch.setattr(HidingToy, "known", fewer)
    assert "no label of 1 of 8 faces that are not in `Batch.hidden`" in check_hidden_labels(Subject("hiding"))


@pytest.mark.parametrize("given", ["a text", ("",), (3,), ["a list"], ("x" * (LONGEST_CHANGE + 1),)])
def test_statements_that_are_no_texts_are_refused_before_training(
    hiding: list[Manifest], monkeypatch: pytest.MonkeyPatch, given: object
) -> None:
    monkeypatch.setattr(HidingToy, "data_changes", given)
    with pytest.raises(ConfigError, match="Toy: .*data_changes"):
        needs_of("hiding", 3)


@pytest.mark.heavy
def test_a_run_of_cpl_says_so_in_its_record(manifests: list[Manifest], tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1)
    run_training("cpl", toy_protocol(), manifests, tmp_path, recipe=recipe, device="cpu", size="tiny")
    record = build_record(tmp_path, resamples=0)
    (said,) = record.model.data_changes
    assert said.startswith("labels of 30 % of the faces of an epoch, others in each, are hidden")
    (stage,) = record.run.stages
    assert abs(stage["hidden"] - 0.3 * stage["of_places"]) <= 0.5
