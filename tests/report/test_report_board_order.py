from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.boards import record
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.api.runs import leaderboard
from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.best_marks import best_marks
from dfad_bench.report.board_checks import Check
from dfad_bench.report.leaderboard import board
from dfad_bench.report.reported import reported_tables
from dfad_bench.report.table import Column, Table, render

PROTOCOL = toy_protocol()
ACC = Column("acc", "ACC", "percent", better="higher")
COST = Column("cost", "Cost", "number", better="lower")
# boards of protocols that nobody measured score constant answers on as many faces as are asked for: dear where many
TABLES_OF_PAPERS = (
    "bmrl-1",
    *(pytest.param(f"gazeclip-{name}", marks=pytest.mark.heavy) for name in ("df40", "celebdfpp", "wild", "recent")),
)


def records(folder: Path, count: int = 3) -> list[ResultRecord]:
    made = []
    for place in range(count):
        one = write_run(folder / str(place), PROTOCOL, toy_predictions(PROTOCOL, 30, seed=place), resamples=20)
        digest = f"{place:064x}"
        model = replace(one.model, name=f"m{place}", display=f"M{place}", registry_sha256=digest)
        made.append(replace(one, record_id=digest, model=model, run=replace(one.run, config_sha256=digest)))
    return made


def test_values_that_read_the_same_share_a_mark() -> None:
    rows = [{"acc": 0.80001}, {"acc": 0.8}, {"acc": 0.7}, {"acc": 0.6}, {"acc": None}]
    assert best_marks(rows, [ACC], [range(5)]) == {(0, "acc"): "best", (1, "acc"): "best", (2, "acc"): "second"}


def test_where_less_is_better_the_least_is_marked_and_blocks_do_not_mix() -> None:
    rows = [{"cost": 3.0}, {"cost": 2.0}, {"cost": 9.0}, {"cost": 1.0}]
    found = best_marks(rows, [COST], [(0, 1), (2,)])
    assert found == {(1, "cost"): "best", (0, "cost"): "second"}  # one row alone has nothing to beat


def test_marks_are_drawn_where_a_format_can() -> None:
    table = Table("T", (Column("m", "M", "text"), ACC), [{"m": "a", "acc": 0.5}, {"m": "b", "acc": 0.25}, {"m": "c"}])
    table = replace(table, marks={(0, "acc"): "best", (1, "acc"): "second"}, struck={2})
    texts = {name: render(table, name) for name in ("rich", "markdown", "csv", "json", "latex")}
    assert "**50.00**" in texts["markdown"]
    assert "<u>25.00</u>" in texts["markdown"]
    assert "~~c~~" in texts["markdown"]
    assert r"\textbf{50.00}" in texts["latex"]
    assert r"\underline{25.00}" in texts["latex"]
    assert r"\sout{c}" in texts["latex"]
    assert "ulem" in texts["latex"].splitlines()[1]
    assert "\x1b" not in texts["rich"]
    styled = table.render(styled=True)
    assert "\x1b[1m" in styled
    assert "\x1b[4m" in styled
    assert "\x1b[9m" in styled
    plain = re.sub(r"\x1b\[[0-9]*m", "", styled)
    assert [line.rstrip() for line in plain.splitlines()] == texts["rich"].splitlines()
    assert "0.5" in texts["csv"]


def test_styles_carry_no_control_characters_of_strangers() -> None:
    table = Table("\x1b[31mT", (Column("m", "\x1b[5mM", "text"), ACC), [{"m": "\x1b]0;x\x07", "acc": 0.5}])
    assert "\x1b]" not in table.render(styled=True)
    assert "\x1b[31m" not in table.render(styled=True)
    assert "\x1b[5m" not in table.render(styled=True)


def test_rows_are_sorted_by_any_number_and_keep_their_places(tmp_path: Path) -> None:
    made = records(tmp_path)
    by_rank, by_auc = board(PROTOCOL, made), board(PROTOCOL, made, sort="detection_auc")
    mine = [row for row in by_auc.rows if row["kind"] == "measured"]
    areas = [row["detection_auc"] for row in mine]
    assert areas == sorted(areas, reverse=True)
    assert by_auc.rows[0]["kind"] == "trivial"
    assert {r["model"]: r["ranks"] for r in mine} == {
        r["model"]: r["ranks"] for r in by_rank.rows if r["kind"] == "measured"
    }
    with pytest.raises(UnknownNameError, match="detection_auc"):
        board(PROTOCOL, made, sort="detection_auk")


def test_the_best_and_second_of_the_ranked_rows_are_marked(tmp_path: Path) -> None:
    made = board(PROTOCOL, records(tmp_path))
    values = {place: row["seen_acc"] for place, row in enumerate(made.rows) if row["kind"] == "measured"}
    best = max(values, key=lambda place: values[place])
    assert made.marks[best, "seen_acc"] == "best"
    assert all(made.rows[place]["kind"] == "measured" for place, _ in made.marks)


def test_a_refused_row_is_struck_out_with_its_reason_and_takes_no_mark(tmp_path: Path) -> None:
    made = records(tmp_path)
    checks = {made[0].record_id: Check("contradicted", why="metrics differ")}
    table = board(PROTOCOL, made, checks=checks)
    place = next(place for place, row in enumerate(table.rows) if row["model"].startswith("M0"))
    assert set(table.struck) == {place}
    assert place not in {row for row, _ in table.marks}
    assert any("metrics differ" in note for note in table.notes)
    assert "~~M0~~" in render(table, "markdown")


def test_seeds_apart_are_rows_of_their_own() -> None:
    runs = [record(PROTOCOL, seed=seed, draw=seed) for seed in range(2)]
    shown = [
        [row["seeds_shown"] for row in board(PROTOCOL, runs, every_seed=every).rows if row["kind"] == "measured"]
        for every in (False, True)
    ]
    assert shown[0] == ["0, 1"]
    assert sorted(shown[1]) == ["0", "1"]


@lru_cache
def of_paper(name: str) -> Table:
    return leaderboard(name, by_group=True)


@pytest.mark.parametrize("name", TABLES_OF_PAPERS)
@pytest.mark.parametrize("format", ["rich", "markdown", "latex", "csv", "json"])
def test_every_printed_value_stands_in_the_row_of_its_model(name: str, format: str) -> None:
    made = of_paper(name)
    text = made.render(format, width=6000) if format == "rich" else made.render(format)
    lines = text.splitlines()
    if format == "json":
        lines = [json.dumps(row) for row in json.loads(text)["rows"]]
    compared = 0
    for row in (row for table in reported_tables() if table.protocol == name and table.is_main for row in table.rows):
        mine = [
            line for line in lines if re.sub(r"[^A-Za-z0-9-]+", "", row.printed) in re.sub(r"[^A-Za-z0-9-]+", "", line)
        ]
        found = [number for line in mine for number in numbers_of(line, fractions=format in ("csv", "json"))]
        for printed in (value for value in row.cells if value is not None):
            assert min(abs(value - printed) for value in found) < 0.0051, (row.printed, printed)
            compared += 1
    assert compared > 80


def numbers_of(line: str, *, fractions: bool) -> list[float]:
    """The numbers in a line of a table; where shares are fractions also times 100."""
    found = [float(text) for text in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-\d+)?(?![\w.])", line)]
    return found + [100 * value for value in found] if fractions else found


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_a_board_compiles_with_the_packages_it_names(tmp_path: Path) -> None:
    text = of_paper("bmrl-1").render("latex")
    packages = r"\usepackage{booktabs}\usepackage[normalem]{ulem}"
    wide = r"\usepackage[paperwidth=200cm,paperheight=60cm]{geometry}"
    (tmp_path / "board.tex").write_text(
        f"\\documentclass{{article}}{wide}{packages}\\begin{{document}}\n{text}\n\\end{{document}}\n", encoding="utf-8"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "board.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stdout[-2000:]


@pytest.mark.parametrize("name", TABLES_OF_PAPERS)
def test_the_best_printed_value_of_a_group_is_marked(name: str) -> None:
    made = of_paper(name)
    reported = {place: row for place, row in enumerate(made.rows) if row["kind"] == "reported"}
    for column in (column for column in made.columns if column.key.startswith("unseen_acc:")):
        values = {
            place: round(row[column.key], 6) for place, row in reported.items() if row.get(column.key) is not None
        }
        if len(set(values.values())) < 2:
            continue
        best = {place for place, value in values.items() if value == max(values.values())}
        assert {place for place in reported if made.marks.get((place, column.key)) == "best"} == best
    assert made.marks


def test_the_command_takes_the_same_settings() -> None:
    asked = ["leaderboard", "--protocol", "bmrl-1", "--no-check", "--format", "markdown"]
    grouped = CliRunner().invoke(dfad, [*asked, "--by-group", "--no-reported", "--seeds", "all"])
    assert grouped.exit_code == 0
    assert "Reported by papers" not in grouped.output
    head = next(line for line in grouped.output.splitlines() if line.startswith("| Model"))
    assert all(group.key.split("/")[0] in head for group in load_protocol("bmrl-1").unseen)
    refused = CliRunner().invoke(dfad, [*asked, "--sort", "unseen_ac"])
    assert refused.exit_code == 1
    assert "unseen_acc" in refused.output
