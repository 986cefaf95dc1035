"""A model with pseudo-labels from protocol to record: it sees the unlabelled part, learns from it, resumes exactly."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.pseudo_labels import PseudoLabelToy
from helpers.toy import RECIPE, SEEN, TOYS, toy_protocol, toy_row, toy_rows, toys_registered
from helpers.training import run_training

from dfad_bench.core.contract import Batch
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.select import rows_hash
from dfad_bench.engine import checkpoint
from dfad_bench.engine.distributed import Team
from dfad_bench.engine.fit import Limits
from dfad_bench.report.run_record import build_record
from dfad_bench.report.verify import verify_record

SHORT = replace(RECIPE, epochs=3)
EXTRA = Group("synthetic-gan-b", "synthetic")  # a generator that is neither seen nor tested


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Manifest]]:
    torch.set_num_threads(1)
    rows = toy_rows("synthetic", SEEN, identities=16)
    rows += [toy_row("synthetic", EXTRA.generator, "train", identity, 0) for identity in range(200, 215)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TOYS, "pseudo", "helpers.pseudo_labels:PseudoLabelToy")
        with toys_registered():
            yield [write_manifest(tmp_path_factory.mktemp("manifests") / "synthetic", "synthetic", rows)]


def protocol(**changes) -> Protocol:
    return toy_protocol(**{"unseen": (), "unlabelled_share": 0.4, "unlabelled": (EXTRA,), **changes})


def train(manifests: list[Manifest], out: Path, rules: Protocol | None = None, **changes):
    settings = {"recipe": SHORT, "device": "cpu", **changes}
    return run_training("pseudo", rules or protocol(), manifests, out, **settings)


@pytest.fixture(scope="module")
def run(manifests: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "pseudo"
    assert train(manifests, out).status == "complete"
    return out


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_finished(run / "checkpoint")


def test_the_record_holds_the_unlabelled_part_and_verifies(run: Path) -> None:
    rows = pd.read_parquet(run / "selection.parquet")
    hidden = rows[rows["part"] == "unlabelled"]
    assert set(hidden["group"]) == {EXTRA.key, *(group.key for group in protocol().seen)}
    split = read_json(run / "run.json")["manifest"]["splits"]["unlabelled"]
    assert split["rows"] == len(hidden)
    assert split["generators"][EXTRA.key] == 15
    build_record(run, resamples=20)
    found = verify_record(run, rows_hash=rows_hash)
    assert not found.differences, found.differences
    assert EXTRA.key not in set(pd.read_parquet(run / "predictions.parquet")["group"])
    with (run / "trace.csv").open(newline="") as file:
        stages = {(row["stage"], bool(row["pseudo"]), bool(row["spread"])) for row in csv.DictReader(file)}
    assert stages == {("warm", False, False), ("main", True, True)}


def test_every_step_has_its_unlabelled_faces(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int, int | None, torch.Tensor | None]] = []
    losses = PseudoLabelToy.losses

    def noted(self, batch: Batch, stage: str = "main"):
        hidden = batch.unlabelled
        seen.append((stage, len(batch), hidden and len(hidden), hidden and hidden.images.flatten(1).sum(dim=1)))
        return losses(self, batch, stage)

    monkeypatch.setattr(PseudoLabelToy, "losses", noted)
    train(manifests, tmp_path / "run", options={"ratio": 1.5})
    assert {count for stage, _, count, _ in seen if stage == "warm"} == {None}
    main = [(size, count) for stage, size, count, _ in seen if stage == "main"]
    assert all(count == round(1.5 * size) for size, count in main)
    visits = np.unique(torch.cat([sums for *_, sums in seen if sums is not None]).numpy(), return_counts=True)[1]
    rows = pd.read_parquet(tmp_path / "run" / "selection.parquet")
    assert len(visits) == (rows["part"] == "unlabelled").sum()  # every face, and equally often
    assert np.ptp(visits) <= 1


def test_a_stopped_run_goes_on_to_the_same_bits(manifests: list[Manifest], run: Path, tmp_path: Path) -> None:
    train(manifests, tmp_path / "run", limits=Limits(max_steps=7))
    train(manifests, tmp_path / "run")
    again = weights(tmp_path / "run")
    assert all(torch.equal(value, again[name]) for name, value in weights(run).items())


def test_unlabelled_faces_change_what_is_learnt(manifests: list[Manifest], run: Path, tmp_path: Path) -> None:
    train(manifests, tmp_path / "run", options={"ratio": 0.0})
    other = weights(tmp_path / "run")
    assert any(not torch.equal(value, other[name]) for name, value in weights(run).items())


def test_a_protocol_without_unlabelled_faces_is_one_line(manifests: list[Manifest], tmp_path: Path) -> None:
    rules = toy_protocol(unseen=())
    with pytest.raises(ConfigError, match="model pseudo asks for unlabelled faces in stage 'main'.*unlabelled_share"):
        train(manifests, tmp_path / "run", rules)
    assert train(manifests, tmp_path / "without", rules, options={"ratio": 0.0}).status == "complete"


@pytest.mark.parametrize(("rows", "unlabelled", "size"), [(9, 5, 2), (9, 4, 2), (12, 7, 3), (16, 33, 4)])
def test_shares_split_unlabelled_rows_where_they_split_the_batch(rows: int, unlabelled: int, size: int) -> None:
    index, hidden = np.arange(100, 100 + rows), np.arange(500, 500 + unlabelled)
    shares = [Team(rank, size).share(index, unlabelled=hidden) for rank in range(size)]
    split = min(rows, unlabelled) >= 2 * size
    assert {share.split for share in shares} == {split}
    for name, places, whole in (("index", "places", index), ("unlabelled", "unlabelled_places", hidden)):
        parts = [getattr(share, name) for share in shares]
        assert all(part.tolist() == whole[list(getattr(share, places))].tolist()
                   for part, share in zip(parts, shares, strict=True))  # fmt: skip
        joined = np.concatenate(parts) if split else parts[-1]
        assert joined.tolist() == whole.tolist()
    assert sum(share.weight for share in shares) == pytest.approx(1)
    assert min(len(share.unlabelled) for share in shares) >= 2  # no process is left without


def test_shares_of_batches_without_unlabelled_rows_are_as_before() -> None:
    share = Team(1, 2).share(np.arange(5))
    assert (share.index.tolist(), share.weight, share.split, share.places) == ([3, 4], 0.4, True, range(3, 5))
    assert share.unlabelled is None
    alone = Team().share(np.arange(5), unlabelled=np.arange(3))
    assert (alone.weight, alone.split, alone.unlabelled_places) == (1.0, False, range(3))
