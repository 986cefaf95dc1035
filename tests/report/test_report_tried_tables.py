"""The committed tables of tiny models: today's layouts, every row that can be made here, and what they are not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dfad_bench.api.table_runs import row_name
from dfad_bench.report.reported import load_table

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "tables"
GAZECLIP = [*(f"gazeclip-table-{number:02d}" for number in (4, 5, 6, 9, 10, 11, 12, 13)), "gazeclip-figure-09"]
BMRL = [f"bmrl-table-{number:02d}" for number in (4, 6, 7, 8, 9, 10)]
NAMES = GAZECLIP + BMRL
ON_REAL_FACES = {"gazeclip-table-04": "0, 1", "gazeclip-table-08": "0"}  # seeds
FIGURE_MODELS = ("xception", "clip", "gazeclip")

if not FOLDER.is_dir():
    pytest.skip("not a checkout: results are not shipped in the wheel", allow_module_level=True)


@pytest.mark.parametrize("name", NAMES)
def test_each_row_of_the_layout_is_measured_or_says_what_it_lacks(name: str) -> None:
    layout, made = load_table(name), json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    rows = [row for row in (*layout.rows, *layout.added) if not layout.is_figure or row.model in FIGURE_MODELS]
    measured = [row for row in made["rows"] if row["kind"] == "measured"]
    assert [row["row"] for row in measured] == [row_name(row) for row in rows]
    for row in measured:
        if row["seeds"] is None:
            assert any("Not measured" in note and row["row"] in note for note in made["notes"])
            continue
        assert row["seeds"] == ("0, 1" if name in GAZECLIP else "0")
        assert all(row[f"c{place}"] is not None for place in range(len(layout.columns)))
    assert sum(row["seeds"] is not None for row in measured) >= (1 if name == "gazeclip-table-05" else len(rows))
    assert "they say nothing about real generators" in made["notes"][0]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_the_same_table(name: str) -> None:
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    made = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert made["title"] in page
    assert "they say nothing about real generators" in page
    assert len([line for line in page.splitlines() if line.startswith("| ")]) >= len(made["rows"])


def test_all_that_is_there_is_one_of_them() -> None:
    stems = {path.stem for path in FOLDER.iterdir()} - {"README"}
    assert stems == {*NAMES, *(f"{name}-corpus" for name in ON_REAL_FACES)}


@pytest.mark.parametrize("name", ON_REAL_FACES)
def test_a_table_on_real_faces_has_all_rows_and_no_difference_to_printed_values(name: str) -> None:
    made = json.loads((FOLDER / f"{name}-corpus.json").read_text(encoding="utf-8"))
    measured = [row for row in made["rows"] if row["kind"] == "measured"]
    assert [row["row"] for row in measured] == [row_name(row) for row in load_table(name).rows]
    for row in measured:
        numbers = [value for key, value in row.items() if re.fullmatch(r"c\d+", key)]
        assert row["seeds"] == ON_REAL_FACES[name]
        assert len(numbers) >= 3
        assert None not in numbers
    assert any(note.startswith("No difference to printed values: protocol corpus") for note in made["notes"])
    assert made["title"] in (FOLDER / f"{name}-corpus.md").read_text(encoding="utf-8")
