from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.toy import RECIPE, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_evaluation, run_training
from torch import nn

from dfad_bench.core.errors import ConfigError, IntegrityError, WeightsError
from dfad_bench.core.files import read_json
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.core.registry import model_names
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine import finetune
from dfad_bench.engine.checkpoint import load_finished, save_weights
from dfad_bench.engine.config import RunConfig, read_config
from dfad_bench.engine.finetune import Parent, class_rows, same_classes, start_from
from dfad_bench.engine.fit import Limits
from dfad_bench.engine.load import build_model
from dfad_bench.report.aggregate import seeds_table
from dfad_bench.report.leaderboard import board
from dfad_bench.report.run_record import build_record

SHORT = replace(RECIPE, epochs=1, batch_size=16)
FLOW = "synthetic-flow-a"


def other_protocol(**changes: Any) -> Protocol:
    """The classes of the toy protocol in another order, one replaced; one it learns is unseen here."""
    names = (FLOW, "real", "synthetic-gan-a")
    seen = tuple(Group(name, "synthetic", label) for label, name in enumerate(names))
    return toy_protocol(name="other", seen=seen, unseen=(Group("synthetic-diffusion-a", "synthetic"),), **changes)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Manifest]]:
    torch.set_num_threads(1)
    with toys_registered():
        yield toy_manifests(tmp_path_factory.mktemp("manifests"), identities=6)


def train(manifests: list[Manifest], out: Path, protocol: Protocol | None = None, name: str = "toy", **changes: Any):
    settings = {"recipe": SHORT, "device": "cpu", **changes}
    return run_training(name, protocol or toy_protocol(), manifests, out, **settings)


@pytest.fixture(scope="module")
def parent(manifests: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "parent"
    train(manifests, out, seed=5)
    return out


def test_the_same_classes_start_from_all_weights(manifests: list[Manifest], parent: Path, tmp_path: Path) -> None:
    still = replace(SHORT, optimiser=replace(SHORT.optimiser, lr=1e-30))
    made = train(manifests, tmp_path / "run", finetune_from=parent, recipe=still, heads="detection")
    theirs, mine = (load_finished(out / "checkpoint") for out in (parent, tmp_path / "run"))
    assert all(torch.equal(theirs[name], mine[name]) for name, _ in build(parent).named_parameters())
    assert not any("attribution classes" in line for line in made.warnings)


def build(run: Path) -> nn.Module:
    return build_model(read_config(run), toy_protocol())


@pytest.mark.heavy
def test_other_classes_go_by_name_and_the_record_says_all(
    manifests: list[Manifest], parent: Path, tmp_path: Path
) -> None:
    protocol, out = other_protocol(), tmp_path / "run"
    made = train(manifests, out, protocol, finetune_from=parent)
    (line,) = (line for line in made.warnings if "attribution classes" in line)
    assert line.endswith(f"by name: new {FLOW}; kept real, synthetic-gan-a; left behind synthetic-diffusion-a")
    assert any("synthetic-diffusion-a were trained on by the run this one started from" in w for w in made.warnings)
    facts, theirs = read_json(out / "run.json"), read_json(parent / "run.json")
    init = facts["model"]["init"]
    assert (init["kind"], init["seed"], init["protocol"], init["sha256"], init["config_sha256"]) == (
        "run", 5, "toy", theirs["model"]["checkpoint_sha256"], theirs["run"]["config_sha256"]
    )  # fmt: skip
    assert init["unseen_trained_on"] == ["synthetic-diffusion-a"]
    assert init["init"] == {"kind": "random"}
    leakage = facts["manifest"]["leakage"]
    assert leakage["parent_trained_unseen_generators"] == 1
    assert leakage["parent_trained_test_faces"] == 0
    record = build_record(out, resamples=10)
    notes = board(protocol, [record]).notes
    assert any("Toy: fine-tuned from run" in n and "trained on synthetic-diffusion-a before" in n for n in notes)

    train(manifests, tmp_path / "grandchild", toy_protocol(), finetune_from=out)
    assert read_json(tmp_path / "grandchild" / "run.json")["model"]["init"]["unseen_trained_on"] == [FLOW]
    again = run_evaluation(out, manifests, protocol=replace(protocol, name="again", seed=1), device="cpu")
    assert any("synthetic-diffusion-a were trained on" in line for line in again.warnings)


def test_rows_of_classes_are_those_of_the_parent(parent: Path) -> None:
    protocol = other_protocol()
    config, found = read_config(parent), Parent(RunFolder(parent), read_config(parent), toy_protocol())
    fresh, model = build_model(config, protocol), build_model(config, protocol)
    start_from(model, found, config, protocol)
    theirs = load_finished(parent / "checkpoint")
    assert same_classes(toy_protocol(), protocol) == [(0, 1), (1, 2)]
    for name in ("experts.attribution.weight", "experts.attribution.bias"):
        mine = model.state_dict()[name]
        assert torch.equal(mine[0], fresh.state_dict()[name][0])  # a new class: as a new model has it
        assert torch.equal(mine[1:], theirs[name][:2])
    rest = [name for name in theirs if not name.startswith("experts.attribution")]
    assert all(torch.equal(model.state_dict()[name], theirs[name]) for name in rest)


def test_test_faces_the_parent_was_trained_on_are_counted(
    manifests: list[Manifest], parent: Path, tmp_path: Path
) -> None:
    dealt = toy_protocol(name="dealt", unseen=(), split="hash", test_share=0.5)
    made = train(manifests, tmp_path / "run", dealt, finetune_from=parent)
    count = read_json(tmp_path / "run" / "run.json")["manifest"]["leakage"]["parent_trained_test_faces"]
    assert count > 0
    assert any(line.startswith(f"{count} test faces share a source or pixels") for line in made.warnings)


@pytest.mark.heavy
def test_a_stopped_run_from_another_goes_on_exactly(manifests: list[Manifest], parent: Path, tmp_path: Path) -> None:
    asked = {"protocol": other_protocol(), "finetune_from": parent}
    train(manifests, tmp_path / "whole", **asked)
    assert train(manifests, tmp_path / "run", **asked, limits=Limits(max_steps=2)).status == "partial"
    train(manifests, tmp_path / "run", **asked)
    one, other = (read_json(tmp_path / name / "run.json") for name in ("whole", "run"))
    assert one["predictions"] == other["predictions"]
    assert one["model"] == other["model"]
    with pytest.raises(IntegrityError, match=r"other settings \(init\)"):
        train(manifests, tmp_path / "run", other_protocol())


def test_what_cannot_be_started_from_is_one_line(manifests: list[Manifest], parent: Path, tmp_path: Path) -> None:
    for changes, words in (
        ({"name": "gaze_toy"}, "its model is toy, this run's is gaze_toy"),
        ({"size": "tiny"}, "its size is paper, this run's is tiny"),
        ({"finetune_from": tmp_path}, "not the folder of a finished run"),
        ({"weights": "some.pt"}, "weights and finetune_from both say"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(manifests, tmp_path / "run", **{"finetune_from": parent, **changes})
    words = r"weight is \(.*\) there and \(.*\) here; its options are \{\}, here \{'width': 4\}"
    for protocol in (toy_protocol(), other_protocol()):
        with pytest.raises(WeightsError, match=words):
            train(manifests, tmp_path / "run", protocol, finetune_from=parent, options={"width": 4})


def test_a_folder_of_several_seeds_gives_the_run_of_the_seed(
    manifests: list[Manifest], parent: Path, tmp_path: Path
) -> None:
    (tmp_path / "several").mkdir()
    (tmp_path / "several" / "seed-5").symlink_to(parent)
    train(manifests, tmp_path / "run", finetune_from=tmp_path / "several", seed=5)
    assert read_json(tmp_path / "run" / "run.json")["model"]["init"]["seed"] == 5
    with pytest.raises(ConfigError, match="holds runs of several seeds"):
        train(manifests, tmp_path / "other", finetune_from=tmp_path / "several", seed=6)


class Families(nn.Module):
    """A module a class, a tensor that goes by the square of the classes, and one that does not go by them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(2, 1) for _ in range(classes))
        self.square = nn.Linear(classes, classes)
        self.last = nn.Linear(classes, 2)


def test_a_module_a_class_goes_by_name_and_what_goes_by_no_rule_starts_anew(
    monkeypatch: pytest.MonkeyPatch, parent: Path, tmp_path: Path
) -> None:
    def shapes(model: str, count: int, *_: Any) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in Families(count).state_dict().items()}

    monkeypatch.setattr(finetune, "shapes_of", shapes)
    protocol, config = other_protocol(), read_config(parent)
    rows = class_rows(config, protocol)
    assert rows.families == ["heads.{}.bias", "heads.{}.weight"]
    assert rows.axes == {"square.bias": 0, "last.weight": 1}
    assert rows.otherwise == ["square.weight"]
    theirs, mine = Families(3), Families(3)
    digest = save_weights(tmp_path / "checkpoint" / "model.safetensors", theirs)
    monkeypatch.setattr(finetune.checkpoint, "load_finished", lambda _: theirs.state_dict())
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    (line,) = start_from(mine, Parent(RunFolder(tmp_path), config, toy_protocol()), config, protocol)
    assert digest
    assert line.endswith("fresh for all classes square.weight")
    one, other = theirs.state_dict(), mine.state_dict()
    assert torch.equal(other["heads.1.weight"], one["heads.0.weight"])
    assert torch.equal(other["heads.2.weight"], one["heads.1.weight"])
    assert torch.equal(other["heads.0.weight"], before["heads.0.weight"])
    assert torch.equal(other["last.weight"][:, 1:], one["last.weight"][:, :2])
    assert torch.equal(other["square.weight"], before["square.weight"])


@pytest.mark.heavy
@pytest.mark.parametrize("name", model_names())
def test_every_registered_model_starts_from_a_run_of_other_classes(
    name: str, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four classes to three, in another order: all that has no classes is the parent's, bit by bit."""
    real = Group("real", "synthetic", 0)
    four = (*(Group(n, "synthetic", k) for k, n in enumerate(("synthetic-gan-a", "real", "synthetic-diffusion-a"))),)
    theirs_protocol = toy_protocol(unseen=(), seen=(*four, Group("synthetic-gan-b", "synthetic", 3)))
    mine_protocol = toy_protocol(
        unseen=(), seen=(real, Group(FLOW, "synthetic", 1), Group("synthetic-gan-b", "synthetic", 2))
    )
    config: RunConfig = replace(read_config(parent), model=name, size="tiny")
    theirs, mine = build_model(config, theirs_protocol), build_model(replace(config, seed=6), mine_protocol)
    fresh = {key: value.clone() for key, value in mine.state_dict().items()}
    monkeypatch.setattr(finetune.checkpoint, "load_finished", lambda _: theirs.state_dict())
    (line,) = start_from(mine, Parent(RunFolder(parent), config, theirs_protocol), config, mine_protocol)
    assert f"new {FLOW}; kept real, synthetic-gan-b" in line
    assert "fresh for all classes" not in line
    rows = class_rows(config, mine_protocol)
    for key, value in mine.state_dict().items():
        if rows.has(key):
            one, start, found = (x.movedim(rows.axes[key], 0) for x in (theirs.state_dict()[key], fresh[key], value))
            assert torch.equal(found[[0, 2]], one[[1, 3]])
            assert torch.equal(found[1], start[1])
        else:
            assert torch.equal(value, theirs.state_dict()[key]), key
    assert rows.axes or name == "carzero", "the attribution expert has a row a class, but where its classes are texts"


@pytest.mark.heavy
def test_seeds_that_start_from_runs_of_their_seed_or_are_made_longer_have_a_mean(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    records = []
    for seed in (0, 1):
        train(manifests, tmp_path / "parents" / f"seed-{seed}", seed=seed)
        asked = {"seed": seed, "finetune_from": tmp_path / "parents"}
        out = tmp_path / f"seed-{seed}"
        train(manifests, out, **asked)
        train(manifests, out, **asked, recipe=replace(SHORT, epochs=2), extend=True)
        records.append(build_record(out, resamples=10))
    train(
        manifests,
        tmp_path / "long",
        recipe=replace(SHORT, epochs=2),
        seed=2,
        finetune_from=tmp_path / "parents" / "seed-1",
    )
    records.append(build_record(tmp_path / "long", resamples=10))
    assert "seeds" in seeds_table(records).render("json")
    rows = [row for row in board(toy_protocol(), records).rows if row["kind"] == "measured"]
    assert [(row["seeds"], row["model"]) for row in rows] == [(3, "Toy")]  # one row, and nothing to tell apart
