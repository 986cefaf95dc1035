"""What a board says of its rows beside their numbers: edited files, weights, seeds, sources, short groups."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.api.shipped import shipped_hash
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.record import ResultRecord, plain, seal
from dfad_bench.core.shipped_files import protocol_provenance, recipe_provenance
from dfad_bench.core.version import __version__
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.manifest_facts import manifest_facts
from dfad_bench.data.select import Selection
from dfad_bench.report.leaderboard import board
from dfad_bench.report.row_facts import CHECK_NOTE
from dfad_bench.report.score import score
from dfad_bench.report.table import FORMATS, Table, render

SHIPPED = load_protocol("synthetic@1")


def record(protocol: Protocol, config: Mapping[str, Any] | None = None, /, **changes: Any) -> ResultRecord:
    scored = score(toy_predictions(protocol, 8), protocol, resamples=0)
    values: dict[str, Any] = {
        "status": "complete",
        "created_utc": "2026-01-01T00:00:00Z",
        "source": {},
        "toolkit": {"version": __version__, "git_commit": None, "git_dirty": None},
        "model": {
            "name": "toy", "display": "Toy", "registry_sha256": "0" * 64, "params_total": 1, "params_trainable": 1,
            "checkpoint_sha256": None, "init": {"kind": "random"}, "task": "both",
        },
        "protocol": {
            "name": protocol.name, "version": str(protocol.version), "sha256": protocol.sha256,
            "config": plain(protocol),
        },
        "manifest": {"name": "synthetic", "content_sha256": "a" * 64, "rows": 1, "splits": {}, "leakage": {}},
        "run": {
            "run_id": "r", "seed": 0, "config_sha256": "0" * 64, "precision": "fp32", "world_size": 1, "steps": 1,
            "resumed": 0, "config": {"model": "toy", "seed": 0, **(config or {})},
        },
        "environment": {"python": "3", "torch": "2", "device": "cpu", "deterministic": True},
        "samples": {"expected": 1, "evaluated": 1, "failed": 0},
        "metrics": scored.metrics,
        "groups": scored.groups,
        "predictions": {"path": "predictions.parquet", "sha256": "0" * 64, "rows": 1, "columns": []},
    }  # fmt: skip
    for name, part in changes.items():
        values[name] = {**values[name], **part} if isinstance(part, dict) else part
    return seal(values)


def measured(table: Table) -> tuple[Mapping[str, Any], str]:
    """The measured row and its heading."""
    place = next(index for index, row in enumerate(table.rows) if row["kind"] == "measured")
    return table.rows[place], table.sections[max(start for start in table.sections if start <= place)]


@pytest.mark.heavy
def test_an_edited_protocol_that_keeps_name_and_version_is_said_in_the_heading() -> None:
    """Unseen groups that a model does badly on were dropped, and nobody could see it."""
    honest, edited = record(SHIPPED), replace(SHIPPED, unseen=SHIPPED.unseen[:-3])
    table = board(SHIPPED, [honest])
    row, heading = measured(table)
    assert (row["protocol_is"], heading) == ("shipped", "Measured on faces aaaaaaaa")
    assert any(note.startswith(CHECK_NOTE) for note in table.notes)
    assert not any(note.startswith(CHECK_NOTE) for note in board(SHIPPED, []).notes)  # nothing was measured
    table = board(SHIPPED, [record(edited)])
    row, heading = measured(table)
    assert (row["protocol_is"], heading) == ("edited", "Measured on faces aaaaaaaa, protocol edited")
    lost = ", ".join(group.key for group in SHIPPED.unseen[-3:])
    assert any(f"lacks 3 of {len(SHIPPED.unseen)} unseen groups: {lost}" in note for note in table.notes)
    assert all("protocol edited" in render(table, format) for format in ("rich", "markdown", "latex"))
    both = board(SHIPPED, [honest, record(edited)])  # and never ranked with the others
    assert sorted(both.sections.values()) == ["Measured on faces aaaaaaaa", heading]


def test_edited_rules_under_the_shipped_hash_are_left_out_and_named() -> None:
    edited = replace(SHIPPED, unseen=SHIPPED.unseen[:-3])
    table = board(SHIPPED, [record(SHIPPED), record(edited, protocol={"sha256": SHIPPED.sha256})])
    assert [row["kind"] for row in table.rows].count("measured") == 1
    (line,) = [note for note in table.notes if note.startswith("left out: ")]
    assert re.match(r"left out: record [0-9a-f]{8} of Toy, seed 0: the protocol does not match its hash", line)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"validation_share": 0.5}, "other validation_share"),
        ({"attribution": replace(SHIPPED.attribution, headline=SHIPPED.attribution.thresholds[0])}, None),
        ({"seen": (replace(SHIPPED.seen[0], train=3), *SHIPPED.seen[1:])}, f"seen groups: {SHIPPED.seen[0].key}"),
        ({"seed": 7}, "other seed"),
    ],
)
def test_what_was_edited_is_named(change: dict[str, Any], said: str | None) -> None:
    found = protocol_provenance(replace(SHIPPED, **change))
    if replace(SHIPPED, **change) == SHIPPED:
        assert found.origin == "shipped"
    else:
        assert found.origin == "edited"
        assert said is None or said in "; ".join(found.differs)


def test_texts_are_no_edits_and_other_versions_and_own_protocols_are_told_apart() -> None:
    version = str(load_protocol("synthetic").version)
    assert protocol_provenance(replace(SHIPPED, title="mine", notes=("x",))).origin == "shipped"
    assert protocol_provenance(load_protocol("synthetic")).origin == "shipped"
    edited = protocol_provenance(replace(SHIPPED, seed=7))
    assert (edited.origin, edited.differs) == ("edited", ("other seed",))  # from its own version, not from the newest
    older = protocol_provenance(replace(SHIPPED, version=99))
    assert str(older) == f"version 99 (shipped here: {version})"
    assert protocol_provenance(toy_protocol()).origin == "own"
    assert protocol_provenance(replace(toy_protocol(), name="../protocols/synthetic")).origin == "own"


def test_edited_recipes_are_said_and_other_lengths_are_none() -> None:
    recipe = plain(load_recipe("quick"))
    assert recipe_provenance(recipe, None).origin == "shipped"
    assert recipe_provenance({**recipe, "epochs": 77}, 77).origin == "shipped"  # --epochs 77, a setting rows show
    assert recipe_provenance({**recipe, "epochs": 77}, None).origin == "edited"
    faster = {**recipe, "optimiser": {**recipe["optimiser"], "lr": 0.5}}
    assert recipe_provenance(faster, None).origin == "edited"
    assert recipe_provenance({**recipe, "name": "mine"}, None).origin == "own"
    assert recipe_provenance({"name": 3}, None).origin == "unknown"
    table = board(SHIPPED, [record(SHIPPED, {"recipe": faster})])
    row, heading = measured(table)
    assert heading.endswith(", recipe edited (1 of 1 rows)")
    assert any("recipe quick edited" in note for note in table.notes)


@pytest.mark.heavy
def test_edited_datasets_and_crops_are_said(tiny_manifest: Path) -> None:
    manifest = Manifest.open(tiny_manifest)
    rows = manifest.frame(["sample_id", "source_key", "crop_sha256", "dataset"]).assign(
        group="g", attribution_label=0, detection_label=0
    )
    facts = manifest_facts([manifest], Selection(rows, rows[:0], {"g": rows}))
    about = facts.made["synthetic"]
    assert about["crop"] == manifest.info["crop"]["name"]

    def said(**changes: Any) -> tuple[Mapping[str, Any], str]:
        made = {"synthetic": {**about, **changes}}
        return measured(board(SHIPPED, [record(SHIPPED, manifest={"made": made})], shipped_hash=shipped_hash))

    row, heading = said()
    assert (row["crops_is"], row["datasets_is"], row["crops"]) == ("shipped", "shipped", [about["crop"]])
    assert heading == "Measured on faces aaaaaaaa"
    assert said(crop_sha256="0" * 64)[1].endswith(", crops edited")
    assert said(dataset_sha256="0" * 64)[1].endswith(", dataset edited")
    assert said(crop="mine", crop_sha256="0" * 64)[0]["crops_is"] == "own"
    assert measured(board(SHIPPED, [record(SHIPPED)]))[0]["crops_is"] == "not stated"


def test_short_groups_of_a_run_that_is_complete_are_marked() -> None:
    short = ("short group synthetic/real: 3 of 10 test faces", "short group synthetic/x: 1 of 10 train faces")
    table = board(SHIPPED, [record(SHIPPED, protocol={"deviations": list(short)})])
    row, _ = measured(table)
    assert (row["status"], row["rank"], row["short_groups"]) == ("complete", 1, 2)
    assert "complete, 2 short" in render(table, "markdown")
    assert any("2 short groups" in note for note in table.notes)


@pytest.mark.heavy
def test_where_the_weights_come_from_is_marked_on_every_row() -> None:
    inits: dict[str, dict[str, Any]] = {
        "random init": {"kind": "random"},
        "pre-trained": {"kind": "local_file", "id": "clip.pt", "sha256": "0" * 64},
        "another run": {"kind": "run", "protocol": "synthetic", "seed": 0, "run_id": "r"},
    }
    for shown, init in inits.items():
        table = board(SHIPPED, [record(SHIPPED, model={"init": init})])
        assert measured(table)[0]["init_short"] == shown
        assert shown in render(table, "markdown")
    several = {"kind": "local_files", "files": {"a": {"id": "a.pt", "sha256": "0"}, "b": {"id": "b.pt", "sha256": "0"}}}
    table = board(SHIPPED, [record(SHIPPED, model={"init": several})])
    assert any("Toy: pre-trained (a.pt, b.pt)" in note for note in table.notes)
    assert any("may have seen the test generators" in note for note in table.notes)


def test_a_line_a_row_and_raw_columns_say_the_rest() -> None:
    recipe = {"recipe": plain(load_recipe("quick"))}
    table = board(SHIPPED, [record(SHIPPED, recipe, samples={"sources": 1234})], per_group=True)
    (line,) = [note for note in table.notes if note.startswith("Toy: ")]
    wanted = f"Toy: random init; seed 0; dfad_bench {__version__}; protocol shipped; recipe quick shipped; "
    assert line == wanted + "crops not stated; 1,234 test sources; claimed (not checked)."
    keys = {column.key for column in table.columns}
    assert {"init", "seed_list", "toolkit", "protocol_is", "crops", "sources", "short_groups", "checked"} < keys
    shown = render(board(SHIPPED, [record(SHIPPED)]), "rich", width=160)
    assert max(map(len, shown.splitlines())) <= 160


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_names_what_stood_in_the_place_of_views_and_random_weights(format: str) -> None:
    views = {"views": {"parsing": {"substitute": "maps of a stand-in parser;=1+1"}}}
    shown = board(SHIPPED, [record(SHIPPED, views)], per_group=format == "csv")
    text = render(shown, format, width=400)
    assert "view parsing: maps of a stand-in parser" in text
    assert "random init" in text
    if format == "csv":
        (row,) = [row for row in csv.DictReader(io.StringIO(text)) if row["kind"] == "measured"]
        assert row["substitutes"] == "view parsing: maps of a stand-in parser;'=1+1"  # no formula of a spreadsheet
        assert row["init"] == "random init"
        others = [row["substitutes"] for row in csv.DictReader(io.StringIO(text)) if row["kind"] != "measured"]
        assert others == [""] * len(others)


@pytest.mark.parametrize("kept", [{"estimator": "geometric"}, {"gaze": {"estimator": "geometric"}, "captions": {}}])
def test_a_gaze_of_landmark_geometry_is_a_stand_in_on_every_board(kept: dict[str, Any]) -> None:
    table = board(SHIPPED, [record(SHIPPED, {"views": kept})])
    assert any("landmark geometry stands in for a gaze network" in note for note in table.notes)
    network = board(SHIPPED, [record(SHIPPED, {"views": {"estimator": "eth_xgaze"}})])
    assert not any("stands in" in note for note in network.notes)
