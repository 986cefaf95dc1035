"""Protocols beyond the papers': across families, types and months, talking heads, processed real faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.toy import RECIPE, SIDE, toy_row, toys_registered
from helpers.training import run_training

from dfad_bench.core.labels import FAKE, Family
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.record import read_record
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.select import select
from dfad_bench.report.attribution import nearness
from dfad_bench.report.leaderboard import board
from dfad_bench.report.run_record import build_record
from dfad_bench.report.trivial import ALWAYS_FAKE, planned_scores

# a month of the taxonomy that changes gives other groups: then `version` rises, as after any change of a protocol
HASHES = {
    ("cross-family", 1): "dc2c6f2239f88b8e",
    ("cross-type", 1): "035d8f1103a19faf",
    ("by-month", 1): "0e08ec87ad22f818",
    ("by-month-2024", 1): "edb2eccd355b48ae",
    ("talking-heads", 1): "26b0f97d229b14f1",
    ("processed-reals", 1): "35f4be5457682064",
}
NAMES = [name for name, _ in HASHES]


def made_manifests(folder: Path, protocol: Protocol, identities: int = 12) -> list[Manifest]:
    """A manifest of each dataset with faces of all groups, drawn; sources are of one generator of one dataset."""
    rows: dict[str, list[dict[str, object]]] = {}
    for number, group in enumerate(protocol.groups):
        taxon, dataset = group.taxon, group.dataset
        for identity in range(identities):
            split = "train" if identity < 0.6 * identities else "test"
            row = toy_row(dataset, group.generator, split, 1000 * number + identity, 0)
            label = {"forgery": taxon.forgery.value, "family": taxon.grouping.value}
            rows.setdefault(dataset, []).append({**row, **label, "detection_label": taxon.detection_label})
    return [write_manifest(folder / name, name, some, shard_size=64) for name, some in rows.items()]


@pytest.mark.parametrize(("name", "version"), HASHES)
def test_groups_are_those_of_the_version(name: str, version: int) -> None:
    protocol = load_protocol(name)
    assert (protocol.version, protocol.sha256[:16]) == (version, HASHES[name, version])


@pytest.mark.parametrize("name", NAMES)
def test_trivial_values_are_computed_and_stated(name: str) -> None:
    protocol = load_protocol(name)
    fewer = replace(protocol, train_per_group=4, test_per_group=4)  # equal groups score the same, of whatever size
    assert not [group.key for group in protocol.groups if group.train is not None or group.test is not None]
    found = {(m.metric, m.subset, m.averaging): m for m in planned_scores(fewer)[ALWAYS_FAKE].metrics}
    accuracy, unseen = found["accuracy", "unseen", "micro"].value, found["unseen_accuracy", "unseen", "macro"].value
    assert accuracy is not None
    assert unseen == 1.0
    assert any(f"always says fake scores {100 * accuracy:.2f} %" in note for note in protocol.notes)
    alarms = found["false_alarms", "processed", "micro"].value
    assert alarms == (1.0 if name == "processed-reals" else None)


def test_what_is_held_out_is_not_trained_on() -> None:
    families, types = load_protocol("cross-family"), load_protocol("cross-type")
    assert {g.taxon.family for g in families.seen if g.taxon.detection_label == FAKE} == {Family.GAN}
    assert Family.GAN not in {g.taxon.family for g in families.unseen if g.taxon.detection_label == FAKE}
    assert not nearness(families)["near-family"]
    seen, unseen = ({g.taxon.forgery for g in side if g.generator != "real"} for side in (types.seen, types.unseen))
    assert not seen & unseen
    assert not nearness(types)["near-forgery"]
    for name, last in (("by-month", "2021-12"), ("by-month-2024", "2023-12")):
        protocol = load_protocol(name)
        seen_months = [str(g.taxon.released) for g in protocol.seen if g.generator != "real"]
        unseen_months = [str(g.taxon.released) for g in protocol.unseen if g.generator != "real"]
        assert max(seen_months) <= last < min(unseen_months)
        assert len(protocol.left_out) >= 4


def test_near_families_are_the_papers_unless_a_protocol_asks_for_precise_ones() -> None:
    """SiT is flow matching, and diffusion in the papers' tables, which is near where diffusion is seen."""
    precise = load_protocol("processed-reals")
    assert "df40/sit" in nearness(precise)["far-family"]
    assert "df40/sit" in nearness(replace(precise, families="paper"))["near-family"]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_chosen_from_made_manifests(tmp_path: Path, name: str) -> None:
    protocol = load_protocol(name)
    chosen = select(protocol, made_manifests(tmp_path, protocol, identities=5))
    assert set(chosen.test) == {group.key for group in protocol.groups}
    assert set(chosen.train["group"]) == {group.key for group in protocol.seen}
    assert chosen.dropped_leaks == 0


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_trained_and_its_board_drawn(tmp_path: Path, name: str) -> None:
    protocol = replace(load_protocol(name), image_size=SIDE)
    manifests = made_manifests(tmp_path / "manifests", protocol)
    with toys_registered():
        result = run_training("toy", protocol, manifests, tmp_path / "run", recipe=RECIPE, epochs=1, device="cpu")
    if protocol.left_out:
        assert protocol.left_out_note in result.warnings
    build_record(tmp_path / "run", resamples=20)
    record = read_record(RunFolder(tmp_path / "run").record)
    assert set(record.groups) == {group.key for group in protocol.groups}
    table = board(protocol, [record])
    (row,) = [row for row in table.rows if row["kind"] == "measured"]
    assert row["detection_auc"] is not None
    assert ("false_alarms" in row) == (name == "processed-reals")
    if name == "processed-reals":
        assert row["false_alarms"] is not None
        assert row["alarms_n"] == record.manifest.splits["test"].rows - sum(
            record.groups[g.key].n for g in protocol.groups if not g.taxon.processed
        )
