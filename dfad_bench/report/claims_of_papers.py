"""Claims of papers about ways to train, as a table: which runs it pairs, by which setting, on which numbers.

A row a claim; the test is `run_claims.py`. A claim about generators' distances is `dfad_bench.gaze.claims`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dfad_bench.report.reported import ReportedTable, reported_tables

Key = tuple[str, str, str, str]  # task, metric, subset, averaging
_SEEN: Key = ("attribution", "seen_accuracy", "seen", "macro")
_UNSEEN: Key = ("attribution", "unseen_accuracy", "unseen", "macro")
_OSCR: Key = ("attribution", "oscr", "seen-vs-unseen", "micro")


@dataclass(frozen=True)
class Printed:
    """Two cells of a printed table that a claim compares, percent: what it says is better first."""

    row: str
    column: str
    better: float
    worse: float


@dataclass(frozen=True)
class RunClaim:
    """One way to train a model gives better numbers than another.

    Attributes:
        name: on the command line.
        paper: where it is printed.
        says: what it says, in the paper's words.
        reading: what had to be decided to test it.
        setting: what the paired runs differ in: the option `centre_loss`, or `heads`.
        better: its value in runs that should have better numbers.
        worse: and in the others.
        numbers: the scopes; higher is better in all of them.
        printed: the compared cells of the paper's table.
    """

    name: str
    paper: str
    says: str
    reading: str
    setting: str
    better: str
    worse: str
    numbers: tuple[Key, ...]
    printed: Callable[[], list[Printed]] = list


def _table(name: str) -> ReportedTable:
    return next(table for table in reported_tables() if table.name == name)


def _table_4() -> list[Printed]:
    """DFACC beside VCC of the same model, where both are printed."""
    table = _table("bmrl-table-04")
    of = {(row.model, row.variant): row for row in table.rows}
    found = []
    for model in dict.fromkeys(row.model for row in table.rows):
        sides = of[model, "loss=DFACC"].cells, of[model, "loss=VCC"].cells
        for column, better, worse in zip(table.columns, *sides, strict=True):
            if better is not None and worse is not None:
                found.append(Printed(model, f"{column.split} ACC", better, worse))
    return found


def _table_7() -> list[Printed]:
    """ACC over the eleven classes beside ACC over the two, as its text compares them: on seen generators."""
    table = _table("bmrl-table-07")
    place = {(column.task, column.split): index for index, column in enumerate(table.columns)}
    found = []
    for row in table.rows:
        better, worse = (row.cells[place[task, "seen"]] for task in ("attribution", "detection"))
        if better is not None and worse is not None:
            found.append(Printed(row.model, "seen ACC", better, worse))
    return found


_DFACC = 'BMRL: DFACC "can be introduced into DFA models to enhance traceability"'
CLAIMS: dict[str, RunClaim] = {
    claim.name: claim
    for claim in (
        RunClaim(
            "dfacc-over-vcc", "BMRL, Table 4",
            _DFACC,
            "Table 4 sets it against the vanilla contrastive-center loss: --set centre_loss=dfacc against vcc. Seen and"
            " unseen ACC are the table's; OSCR stands beside them, since unseen ACC alone is won without confidence.",
            "centre_loss", "dfacc", "vcc", (_SEEN, _UNSEEN, _OSCR), _table_4,
        ),
        RunClaim(
            "dfacc-lifts", "BMRL, abstract and Table 4",
            _DFACC,
            "Taken at its word: against the same model without any such loss, --set centre_loss=dfacc against none."
            " Table 4 prints no such row (Table 8 does for BMRL alone: +0.14 seen, +4.39 unseen).",
            "centre_loss", "dfacc", "none", (_SEEN, _UNSEEN, _OSCR),
        ),
        RunClaim(
            "classes-ease-detection", "BMRL, Table 7",
            'BMRL: "there is a growing distinction between pristine and forged images, as the number of categories'
            ' rises, which facilitates deepfake detection"',
            "Table 7 sets ACC over eleven classes beside ACC over two: two tasks, of which no test can say that one"
            " eases the other. Tested is what the text concludes: detection by a model that learns the generators,"
            " too, against the same model with --heads detection.",
            "heads", "both", "detection",
            (
                ("detection", "accuracy", "seen", "micro"), ("detection", "accuracy", "unseen", "micro"),
                ("detection", "auc", "seen", "micro"), ("detection", "auc", "unseen", "micro"),
            ),
            _table_7,
        ),
    )
}  # fmt: skip
