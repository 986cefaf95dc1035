"""`reproduce_table` on tables of toy models: trained, collected, refused, gone on with, beside what was printed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.toy import toy_manifests
from helpers.toy_tables import FLOW, TABLE, toy_tables_included

import dfad_bench as dfad
from dfad_bench.api import reproduce
from dfad_bench.api.reproduce import ReproducedTable
from dfad_bench.core.errors import ConfigError, IntegrityError, MissingDependencyError, UnknownNameError
from dfad_bench.core.record import read_record
from dfad_bench.report import paper_table
from dfad_bench.report.reported import ReportedTable, load_table
from dfad_bench.report.table_check import unlike_the_paper

pytestmark = pytest.mark.heavy  # it trains; what is refused has its tests in tests/report and tests/cli as well
SETTINGS = dfad.TableSettings(recipe="toy_one", device="cpu", seeds=(0, 3), logs=(), leak_check=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tables")
    toy_manifests(folder / "manifests", identities=6, shots=2)
    with toy_tables_included(folder / "mine"):
        lines: list[str] = []
        made = dfad.reproduce_table(TABLE, faces(folder), folder / "out", SETTINGS, report=lines.append)
        (folder / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
        assert len(made.runs) == 3
        yield folder


SETTINGS_OF_A_ROW = dfad.TrainSettings(model="toy", protocol="toy", options={"width": 12})


def faces(world: Path) -> list[Path]:
    return [world / "manifests" / name for name in ("synthetic", "synthetic-outdoor")]


def collected(out: Path) -> ReproducedTable:
    return dfad.reproduce_table(TABLE, (), out, SETTINGS, collect=True)


def test_each_row_has_a_folder_with_a_run_a_seed(world: Path) -> None:
    runs = sorted(path.parent.relative_to(world / "out").as_posix() for path in (world / "out").rglob("record.json"))
    assert runs == ["toy-width-12/seed-0", "toy-width-12/seed-3", "toy/seed-0", "toy/seed-3"]
    lines = (world / "lines.txt").read_text(encoding="utf-8")
    assert "Nobody [2]: not trained: nobody is not a model here yet" in lines
    assert "1 of 2: Toy [1]" in lines


def test_measured_cells_are_means_of_the_records_and_printed_ones_stand_apart(world: Path) -> None:
    table = collected(world / "out").table
    kinds = [(row["row"], row["kind"]) for row in table.rows]
    assert kinds == [(n, k) for k in ("measured", "printed") for n in ("Toy [1]", "Wide toy", "Nobody [2]")]
    assert sorted(table.sections) == [0, 3]
    records = [read_record(world / "out" / "toy" / f"seed-{seed}" / "record.json") for seed in (0, 3)]
    wanted = {
        "c0": ("unseen_accuracy", FLOW, "none"), "c1": ("unseen_accuracy", "unseen", "macro"),
        "c2": ("auc", "unseen", "micro"),
    }  # fmt: skip
    for column, (metric, subset, averaging) in wanted.items():
        values = [
            value.value
            for record in records
            for value in record.metrics
            if (value.metric, value.subset, value.averaging) == (metric, subset, averaging)
            and value.params.get("threshold", 0.9) == 0.9
        ]
        assert len(values) == 2
        assert table.rows[0][column] == pytest.approx(sum(map(float, filter(None, values))) / 2)
    assert table.rows[0]["seeds"] == "0, 3"
    assert table.rows[2]["c0"] is None  # nothing missing becomes a zero
    assert [table.rows[3][f"c{i}"] for i in range(3)] == [0.5, 0.5, 0.75]
    assert any("Not measured: Nobody [2]" in note for note in table.notes)
    assert any("No difference to printed values" in note for note in table.notes)


def test_a_second_call_leaves_what_is_finished(world: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (world / "out").rglob("record.json")}
    lines: list[str] = []
    dfad.reproduce_table(TABLE, faces(world), world / "out", SETTINGS, report=lines.append)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sum("nothing to do" in line for line in lines) == 4


def test_what_was_interrupted_goes_on_to_the_same_numbers(world: Path, tmp_path: Path) -> None:
    some = replace(SETTINGS, seeds=(0,))
    partial = dfad.reproduce_table(TABLE, faces(world), tmp_path, replace(some, max_steps=1))
    assert any(note.startswith("Partial runs: Toy [1]") for note in partial.table.notes)
    whole = dfad.reproduce_table(TABLE, faces(world), tmp_path, some).table
    assert [row["c2"] for row in whole.rows[:2]] == [
        next(
            v.value
            for v in read_record(path).metrics
            if (v.metric, v.subset, v.averaging) == ("auc", "unseen", "micro")
        )
        for path in (world / "out" / name / "seed-0" / "record.json" for name in ("toy", "toy-width-12"))
    ]


def test_runs_that_differ_in_more_than_the_row_are_refused(world: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(world / "out", tmp_path / "out"))
    other = dfad.TrainSettings(
        model="toy", protocol="toy", recipe="toy_one", device="cpu", options={"width": 12}, precision="bf16", logs=(),
        force_precision=True,
    )  # fmt: skip
    shutil.rmtree(out / "toy-width-12")
    dfad.train(replace(other, seeds=(0,)), faces(world), out / "toy-width-12")
    with pytest.raises(ConfigError, match=r"toy-width-12 differs from .*toy in more than .*\(precision\)"):
        collected(out)
    with pytest.raises(IntegrityError, match="holds a run with other settings"):
        dfad.reproduce_table(TABLE, faces(world), out, SETTINGS)
    shutil.rmtree(out / "toy-width-12")
    shutil.copytree(out / "toy", out / "toy-width-12")
    with pytest.raises(ConfigError, match=r"is not the run of 'Wide toy': options"):
        collected(out)


def test_a_difference_is_shown_where_nothing_is_unlike_the_paper(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_table, "unlike_the_paper", lambda table, runs: [])
    table = collected(world / "out").table
    rows = {row["row"]: row for row in table.rows if row["kind"] == "difference"}
    assert list(rows) == ["Toy [1]", "Wide toy"]
    assert rows["Toy [1]"]["c2"] == pytest.approx(table.rows[0]["c2"] - 0.75)
    assert rows["Wide toy"]["c2"] is None


def test_why_toys_are_unlike_the_paper(world: Path) -> None:
    made = collected(world / "out")
    reasons = unlike_the_paper(load_table(TABLE), made.runs)
    assert reasons == ["recipe toy_one"]
    assert unlike_the_paper(load_table(TABLE), []) == ["nothing is measured"]


def test_experts_are_runs_of_their_own_and_a_row_without_them_is_shared(world: Path) -> None:
    plan = dfad.plan_table("toy-table-02", faces(world), SETTINGS, out=world / "out", measure=False)
    assert [one.run.folder.name for one in plan.runs] == ["toy-attribution-only", "toy"]
    assert [one.done for one in plan.runs] == [0, 2]


def test_a_row_that_lacks_a_package_is_left_out(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, lines = Path(shutil.copytree(world / "out", tmp_path / "out")), list[str]()
    shutil.rmtree(out / "toy-width-12")

    def without_package(settings: dfad.TrainSettings, *given: object, **named: object) -> None:
        if settings.options:
            raise MissingDependencyError("the view needs mediapipe")

    monkeypatch.setattr(reproduce, "train", without_package)
    made = dfad.reproduce_table(TABLE, faces(world), out, SETTINGS, report=lines.append).table
    assert "Wide toy: not trained: the view needs mediapipe" in lines
    assert "Not measured: Wide toy: the view needs mediapipe." in made.notes
    assert made.rows[0]["c2"] is not None
    monkeypatch.setattr(reproduce, "train", lambda *given, **named: without_package(SETTINGS_OF_A_ROW))
    with pytest.raises(MissingDependencyError):
        dfad.reproduce_table(TABLE, faces(world), tmp_path / "none", SETTINGS)


def test_a_figure_is_drawn_beside_its_table(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path(shutil.copytree(world / "out", tmp_path / "out"))
    assert dfad.reproduce_table("toy-table-02", (), out, SETTINGS, collect=True).figures == ()
    monkeypatch.setattr(ReportedTable, "is_figure", True)
    lines: list[str] = []
    made = dfad.reproduce_table("toy-table-02", (), out, SETTINGS, collect=True, report=lines.append)
    assert made.figures == tuple(out / f"toy-table-02.{suffix}" for suffix in ("png", "svg", "pdf"))
    assert lines == [f"figure: {path}" for path in made.figures]
    assert all(path.stat().st_size > 1000 for path in made.figures)


def test_a_plan_counts_the_faces_and_steps_that_training_takes(world: Path) -> None:
    plan = dfad.plan_table(TABLE, faces(world), SETTINGS, out=world / "out", measure=False)
    for one in plan.runs:
        record = read_record(one.run.folder / "seed-0" / "record.json")
        assert one.steps == record.run.steps
        assert one.faces == record.manifest.splits["train"].rows
        assert one.seconds is None
        assert one.command.startswith("dfad train --model toy ")
    assert [run.name for run in plan.absent] == ["Nobody [2]"]
    assert plan.lacking == ()
    nothing = dfad.plan_table(TABLE, (), SETTINGS, measure=False)
    assert {need.group for need in nothing.lacking} == {group.key for group in nothing.protocol.groups}


def test_what_cannot_be_made_is_one_line(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="toy-table-01"):
        dfad.reproduce_table("toy-table-1", (), tmp_path)
    with pytest.raises(ConfigError, match="needs --manifest: faces of synthetic, synthetic-outdoor"):
        dfad.reproduce_table(TABLE, (), tmp_path, SETTINGS)
    with pytest.raises(ConfigError, match="no row can be trained here: nobody is not a model here yet"):
        dfad.reproduce_table(TABLE, faces(world), tmp_path, replace(SETTINGS, models=("nobody",)))
    with pytest.raises(UnknownNameError, match="model in toy-table-01"):
        dfad.reproduce_table(TABLE, faces(world), tmp_path, replace(SETTINGS, models=("clip",)))
    with pytest.raises(ConfigError, match="holds no finished run of this table"):
        collected(tmp_path)
    with pytest.raises(ConfigError, match=r"GazeCLIP, Fig\. 8 consists of no runs of its own: use `dfad report "):
        dfad.plan_table("gazeclip-fig-8")
    with pytest.raises(ConfigError, match=r"BMRL, Table 2 consists of no runs of its own: an image in the paper"):
        dfad.plan_table("bmrl-2")


def test_a_table_of_several_recipes_is_refused() -> None:
    with pytest.raises(ConfigError, match="one recipe, or no difference is the model's"):
        dfad.TableSettings(recipe="author")
