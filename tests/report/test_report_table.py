"""Tables on terminals of any width: nothing is lost, nothing sticks out."""

from __future__ import annotations

import pytest

from dfad_bench.report.table import Column, Table, render

COLUMNS = (
    Column("generator", "Generator", "text"),
    *(Column(f"v{index}", f"measure {index}") for index in range(9)),
    Column("why", "Verdict", "text"),
)
ROWS = [
    {"generator": name, **{f"v{index}": 100.0 * row + index for index in range(9)}, "why": why}
    for row, (name, why) in enumerate(
        [
            ("few_shot_face_translation", "a sentence that is much too long for one column of a table"),
            ("ghost", "0.1 to 0.2"),
        ]
    )
]
TABLE = Table("Title", COLUMNS, ROWS, ("A note.",), {0: "attribute manipulation"})


@pytest.mark.parametrize("width", [60, 80, 120, 160, 240])
def test_no_line_is_longer_than_the_terminal_and_no_value_is_lost(width: int) -> None:
    drawn = render(TABLE, "rich", width=width)
    assert max(map(len, drawn.splitlines())) <= width
    for text in [
        "few_shot_face_translation",
        "0.1 to 0.2",
        *(f"{100 * row + i}.00" for row in (0, 1) for i in range(9)),
    ]:
        assert text in drawn
    assert "…" not in drawn
    words = " ".join(drawn.split())
    assert all(word in words for word in ROWS[0]["why"].split())


def test_parts_of_a_table_repeat_the_names_of_the_rows_and_its_headings() -> None:
    wide, narrow = (render(TABLE, "rich", width=width) for width in (240, 80))
    assert wide.count("ghost") == wide.count("attribute manipulation") == wide.count("Generator") == 1
    assert narrow.count("ghost") == narrow.count("attribute manipulation") == narrow.count("Generator") > 1
    assert narrow.count("Title") == narrow.count("A note.") == 1
    assert all(narrow.count(f"10{index}.00") == 1 for index in range(9))


def test_several_names_are_repeated() -> None:
    columns = (Column("dataset", "Dataset", "text"), *COLUMNS)
    table = Table("", columns, [{"dataset": "df40", **row} for row in ROWS], names=2)
    narrow = render(table, "rich", width=80)
    assert narrow.count("df40") == 2 * narrow.count("Generator") == 2 * narrow.count("Dataset") > 2


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert render(TABLE, "rich") == render(TABLE, "rich", width=80)
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("os.get_terminal_size", _no_terminal)
    assert render(TABLE, "rich") == render(TABLE, "rich", width=160)  # as into a pipe


def _no_terminal(_: int) -> None:
    raise OSError


def test_a_path_is_broken_not_cut() -> None:
    path = "/".join(["folder"] * 20)
    drawn = render(
        Table("", (Column("a", "A"), Column("path", "File", "text")), [{"a": 1, "path": path}]), "rich", width=60
    )
    assert "".join(drawn.split("File")[1].replace("1.00", "").replace("─", "").split()) == path


def test_a_table_without_rows_and_one_of_a_single_column() -> None:
    assert "Verdict" in render(Table("", COLUMNS, []), "rich", width=80)
    assert "ghost" in render(Table("", COLUMNS[:1], ROWS), "rich", width=80)
