from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.boards import fewer_faces, record
from helpers.toy import toy_protocol

from dfad_bench.api.runs import leaderboards
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import content_hash, write_packed_json
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.record import plain, write_record
from dfad_bench.report.leaderboard import board, find_records
from dfad_bench.report.ranks import rank_intervals
from dfad_bench.report.reported import reported_scores
from dfad_bench.report.run_record import trained_elsewhere
from dfad_bench.report.table import FORMATS, Table, render


def models(table: Table, kind: str = "measured") -> list[str]:
    return [row["model"] for row in table.rows if row["kind"] == kind]


def test_trivial_rows_come_first_and_on_the_very_faces() -> None:
    protocol = toy_protocol()
    table = board(protocol, [record(protocol)])
    assert [row["kind"] for row in table.rows] == ["trivial", "trivial", "measured"]
    always, majority, _ = table.rows
    assert always["unseen_acc"] == 1.0
    assert always["detection_acc"] == 0.5  # one forged group, one real group of equal size
    assert always["seen_acc"] == pytest.approx(1 / 3)
    assert majority["unseen_acc"] == 0.0
    assert "Measured on faces aaaaaaaa" in table.sections.values()


def test_the_same_run_counts_once() -> None:
    protocol = toy_protocol()
    row = board(protocol, [record(protocol), record(protocol)]).rows[-1]
    assert row["seeds"] == 1


def test_ranked_by_oscr_partial_and_constant_rows_are_not() -> None:
    protocol = toy_protocol()
    constant = {**plain(record(protocol).model), "name": "c", "display": "C", "task": "trivial"}
    runs = [record(protocol, name, draw=n) for n, name in enumerate(("one", "two", "three"))]
    runs += [record(protocol, "half", status="partial"), record(protocol, "c", model=constant)]
    rows = [row for row in board(protocol, runs).rows if row["kind"] == "measured"]
    ranked = [row for row in rows if row.get("rank")]
    assert [row["rank"] for row in ranked] == [1, 2, 3]
    assert [row["oscr"] for row in ranked] == sorted((row["oscr"] for row in ranked), reverse=True)
    assert {row["model"] for row in rows[3:]} == {"Half", "C"}
    assert any("Half: partial" in note for note in board(protocol, runs).notes)


def test_ranks_are_intervals_where_models_cannot_be_told_apart() -> None:
    protocol = toy_protocol()
    runs = [record(protocol, name, draw=n) for n, name in enumerate(("one", "two", "three"))]  # equally good
    rows = [row for row in board(protocol, runs).rows if row["kind"] == "measured"]
    assert {row["ranks"] for row in rows} == {"1-3†"}
    assert any(note.startswith("†") and "not comparable over seeds" in note for note in board(protocol, runs).notes)
    best = [
        replace(m, value=0.99, ci95=(0.98, 1.0), standard_error=0.005) if m.metric == "oscr" else m
        for m in runs[2].metrics
    ]
    rows = [
        row
        for row in board(protocol, [*runs[:2], record(protocol, "best", metrics=best)]).rows
        if row["kind"] == "measured"
    ]
    assert [row["ranks"] for row in rows] == ["1†", "2-3†", "2-3†"]
    bare = [replace(m, ci95=None) for m in runs[0].metrics]
    row = board(protocol, [record(protocol, "bare", metrics=bare)]).rows[-1]
    assert (row["ranks"], row.get("rank_best")) == ("1†", None)


def test_a_partial_run_is_stamped_on_the_table() -> None:
    protocol = toy_protocol()
    half = record(protocol, "half", status="partial")
    facts = replace(half.protocol, deviations=("missing group synthetic/synthetic-flow-a",))
    table = board(protocol, [replace(half, protocol=facts)])
    assert table.rows[-1]["status"] == "partial"
    for format in ("rich", "markdown", "latex"):
        text = render(table, format)
        assert "partial" in text
        assert "missing group" in text


@pytest.mark.parametrize(("count", "ending"), [(3, "; c"), (4, "; c and 1 more"), (9, "; c and 6 more")])
def test_deviations_are_named_up_to_three_and_the_others_counted(count: int, ending: str) -> None:
    protocol = toy_protocol()
    half = record(protocol, "half", status="partial")
    facts = replace(half.protocol, deviations=tuple("abcdefghi"[:count]))
    (line,) = [note for note in board(protocol, [replace(half, protocol=facts)]).notes if "a; b" in note]
    assert line.rstrip(".").endswith(f"a; b{ending}")


def test_other_faces_or_rules_are_never_ranked_together() -> None:
    protocol, other = toy_protocol(), toy_protocol(seed=5)
    table = board(protocol, [record(protocol, "a"), record(protocol, "b", faces="b"), record(other, "c", faces="a")])
    assert len(table.sections) == 3
    assert [row["rank"] for row in table.rows if row["kind"] == "measured"] == [1, 1, 1]
    assert sum(row["kind"] == "trivial" for row in table.rows) == 6
    assert any("do not compare across" in note for note in table.notes)


def test_records_of_other_protocols_are_left_out() -> None:
    protocol = toy_protocol()
    assert models(board(protocol, [record(replace(protocol, name="another"))])) == []


def test_reported_rows_stand_apart_with_both_averages() -> None:
    protocol = fewer_faces(load_protocol("gazeclip-df40"))
    table = board(protocol, [], reported_scores("gazeclip-df40"))
    source = "GazeCLIP (arXiv 2603.29295), Table II"
    rows = {row["model"]: row for row in table.rows if row["kind"] == "reported" and row["source"] == source}
    xception = next(row for name, row in rows.items() if name.startswith("Xception"))
    assert xception["unseen_printed"] == pytest.approx(0.6402)
    assert xception["unseen_acc"] == pytest.approx(0.6346, abs=5e-5)
    assert xception["model"].endswith("*")
    assert any("64.02" in note and "63.46" in note for note in table.notes)
    assert all(row.get("rank") is None and row["trivial"] is False for row in rows.values())
    assert table.rows[0]["kind"] == "trivial"
    assert xception["unseen_acc:df40/simswap"] == pytest.approx(0.5808)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_renders_and_hostile_names_do_no_harm(format: str) -> None:
    protocol = toy_protocol()
    hostile = {**plain(record(protocol).model), "display": "=1+1|<script>&_[red]\\x"}
    detailed = format in ("csv", "json")
    text = render(board(protocol, [record(protocol, model=hostile)], per_group=detailed), format)
    assert "always fake" in text
    if format == "markdown":
        assert "<script>" not in text
    if format == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert rows[-1]["model"].startswith("'=")
        assert float(rows[-1]["unseen_acc:synthetic/synthetic-flow-a"]) >= 0
    if format == "json":
        assert json.loads(text)["rows"][-1]["model"] == hostile["display"]
    if format == "latex":
        assert r"\_" in text


def test_the_other_threshold_of_reported_tables_is_shown_with_its_own_notes() -> None:
    table = board(fewer_faces(load_protocol("bmrl-1")), [], reported_scores("bmrl-1"))
    rows = {row["model"].split(" [")[0]: row for row in table.rows if row["kind"] == "reported"}
    assert rows["DNA-Det"]["unseen_printed"] == pytest.approx(0.3263)
    assert rows["DNA-Det"]["unseen_printed@0.7"] == pytest.approx(0.1812)
    assert rows["DNA-Det"]["unseen_acc@0.7:df40/simswap"] == pytest.approx(0.0604)
    assert rows["DNA-Det"]["note"] == "average at 0.9 printed 32.63, mean of its 9 cells 37.63"
    assert rows["CPL"]["note"] == "average at 0.7 printed 26.68, mean of its 9 cells 24.44"
    assert "Printed @0.7" in [column.title for column in table.columns]


def test_detection_needs_two_classes() -> None:
    """bmrl-1 has no real face: always saying fake is no detection of 100."""
    rows = board(fewer_faces(load_protocol("bmrl-1")), []).rows
    assert {row["detection_acc"] for row in rows} == {None}


def test_the_rendered_table_is_stable() -> None:
    protocol = toy_protocol()
    texts = {render(board(protocol, [record(protocol)]), "markdown") for _ in range(2)}
    assert len(texts) == 1
    header = next(line for line in texts.pop().splitlines() if line.startswith("| Model"))
    titles = (
        "Model \\# Seeds Seen_ACC Unseen_ACC_@0.9 95_%_faces Unseen_ACC_@0.7 AUROC OSCR Det._ACC Balanced AUC"
        " AUC_seen Start Status Checked"
    )
    assert header == "| " + " | ".join(title.replace("_", " ") for title in titles.split()) + " |"


def test_records_are_found_at_any_depth_and_bad_ones_named(tmp_path: Path) -> None:
    protocol = toy_protocol()
    write_record(tmp_path / "a" / "b" / "record.json", record(protocol))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "record.json").write_text('{"schema_version": "1.0", "status": "complete"}')
    found, problems = find_records([tmp_path], with_shipped=False)
    assert [r.model.name for r in found] == ["toy"]
    assert len(problems) == 1
    assert "c/record.json" in problems[0]
    assert problems[0] in board(protocol, found, problems=problems).notes


def trained(protocol: Protocol, under: Protocol, faces: str = "a", **settings: object) -> dict[str, object]:
    """`run` facts of a model trained under a protocol."""
    manifests = {"synthetic": faces * 64}
    config = {"protocol": under.name, "protocol_sha256": under.sha256, "manifests": manifests, "seed": 0, **settings}
    return {
        "run_id": "r", "seed": 0, "config_sha256": content_hash(config), "precision": "fp32", "world_size": 1,
        "steps": 1, "resumed": 0, "config": config,
    }  # fmt: skip


def test_models_trained_elsewhere_are_never_ranked_with_those_trained_here() -> None:
    protocol = toy_protocol()
    other = replace(protocol, name="other", train_per_group=3)
    faces = content_hash([["synthetic", "a" * 64]])  # as `manifests_hash` has it
    manifest = {**plain(record(protocol).manifest), "content_sha256": faces}
    here = [
        record(protocol, name, draw=draw, manifest=manifest, run=trained(protocol, protocol, model=name))
        for draw, name in enumerate(("one", "two"))
    ]
    elsewhere = record(protocol, "three", draw=2, manifest=manifest, run=trained(protocol, other, model="three"))
    table = board(protocol, [elsewhere, *here])
    named = [f"Measured on faces {faces[:8]}", f"Faces {faces[:8]}, trained elsewhere"]
    assert list(table.sections.values()) == named
    assert any("trained under other" in note for note in table.notes)
    ranks = {row["model"]: row["rank"] for row in table.rows if row["kind"] == "measured"}
    assert sorted(ranks[name] for name in ("One", "Two")) == [1, 2]
    assert ranks["Three"] == 1
    assert any("do not compare across" in note for note in table.notes)
    assert trained_elsewhere(here[0]) is None
    trained_on = content_hash(sorted(map(list, elsewhere.run.config["manifests"].items())))
    assert trained_elsewhere(elsewhere) == f"trained under other ({other.sha256[:8]}) on faces {trained_on[:8]}"


def test_rows_of_one_model_say_in_what_they_differ() -> None:
    protocol = toy_protocol()
    several = [
        record(protocol, draw=draw, run=trained(protocol, protocol, epochs=epochs, recipe={"name": "quick"}))
        for draw, epochs in enumerate((None, 3))
    ]
    assert sorted(models(board(protocol, several))) == ["Toy (epochs=3)", "Toy (epochs=default)"]
    assert models(board(protocol, several[:1])) == ["Toy"]


def test_a_run_evaluated_again_counts_once_and_keeps_its_training() -> None:
    protocol = toy_protocol()
    own = record(protocol)
    splits = {"test": {"rows": 30, "content_sha256": "0" * 64, "generators": {}}}
    again = record(protocol, manifest={**plain(own.manifest), "splits": splits})
    for order in ([own, again], [again, own]):
        table = board(protocol, order)
        assert len(models(table)) == 1
        assert any("30 train" in note for note in table.notes)


def test_shipped_records_are_shown_unless_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = toy_protocol()
    write_packed_json(tmp_path / "shipped" / "records" / "theirs" / "record.json.gz", plain(record(protocol, "theirs")))
    write_record(tmp_path / "mine" / "record.json", record(protocol, "mine"))
    monkeypatch.setattr("dfad_bench.report.leaderboard.shipped", lambda room: tmp_path / "shipped")
    found = {shown: find_records([tmp_path / "mine"], with_shipped=shown)[0] for shown in (True, False)}
    assert [r.model.name for r in found[True]] == ["mine", "theirs"]
    assert [r.model.name for r in found[False]] == ["mine"]
    assert find_records([tmp_path / "mine"])[0] == found[True]


def test_faces_are_named_by_the_first_record_that_has_them() -> None:
    protocol = toy_protocol()
    runs = [record(protocol, name) for name in ("one", "two", "three")]
    named = [replace(run, manifest=replace(run.manifest, name=f"of {run.model.name}")) for run in runs]
    notes = board(protocol, named).notes
    assert "Faces aaaaaaaa: of one, 30 train; protocol version 1." in notes


def test_recipes_that_differ_are_told_by_name_and_hash() -> None:
    protocol, recipes = toy_protocol(), ({"name": "quick", "lr": 1}, {"name": "quick", "lr": 2}, {"lr": 3})
    several = [
        record(protocol, draw=draw, run=trained(protocol, protocol, recipe=recipe))
        for draw, recipe in enumerate(recipes)
    ]
    hashes = [content_hash(recipe)[:4] for recipe in recipes]
    expected = [f"Toy (recipe=quick {hashes[0]})", f"Toy (recipe=quick {hashes[1]})", f"Toy (recipe={hashes[2]})"]
    assert sorted(models(board(protocol, several))) == sorted(expected)


@pytest.mark.parametrize("halves", [[], [None], [0.1], [None, None, None], [0.1, 0.1, 0.1]])
def test_every_value_needs_its_half_width(halves: list[float | None]) -> None:
    with pytest.raises(ValueError, match="argument 2 is (shorter|longer)"):
        rank_intervals([0.5, 0.6], halves)


def test_folders_without_records_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=f"no records in {tmp_path}; name a --protocol, or another folder with finished"
    ):
        leaderboards([tmp_path])
