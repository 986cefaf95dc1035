"""Tables of a claim tested on runs, and what the paper's own table says of it."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

from dfad_bench.metrics import METRICS
from dfad_bench.report.claims_of_papers import Printed, RunClaim
from dfad_bench.report.paired_numbers import LEVEL
from dfad_bench.report.run_claims import ALL, ClaimResult, ClaimRow
from dfad_bench.report.table import Column, Table


def claim_tables(claim: RunClaim, found: ClaimResult) -> list[Table]:
    """What was measured, and what is printed where anything is."""
    printed = claim.printed()
    return [_measured_table(claim, found), *([printed_table(claim, printed)] if printed else [])]


def _measured_table(claim: RunClaim, found: ClaimResult) -> Table:
    columns = (
        Column("scope", "Models", "text"),
        Column("number", "Number", "text"),
        Column("seeds_text", "Seeds", "text"),
        Column("better", f"{claim.setting} {claim.better}", "by_unit"),
        Column("worse", claim.worse, "by_unit"),
        Column("difference", "lift", "by_unit"),
        Column("low", "95 % from", "by_unit"),
        Column("high", "to", "by_unit"),
        Column("counts", "over", "text"),
        Column("p", "p", "p_value", 4),
        Column("p_holm", "p (Holm)", "p_value", 4),
        Column("verdict", "Verdict", "text"),
    )
    tests = sum(row.p is not None for row in found.rows)
    notes = (
        f"{claim.says} ({claim.paper}).",
        claim.reading,
        f"Two-sided; p is Holm's over the {tests} tests of this table, and decides at {LEVEL:g}. {ALL}: the mean of the"
        " models' differences, each model as one. Over sources and seeds the statement is about these models; over"
        " sources and models it is about models like these.",
        *found.notes,
        *(f"Left out: {line}." for line in found.left_out),
    )
    title = f"Claim {claim.name} ({found.protocol}, {found.faces:,} faces of {found.sources:,} sources)"
    return Table(title, columns, [_printed_row(row) for row in found.rows], notes)


def _printed_row(row: ClaimRow) -> dict[str, object]:
    at = "" if row.threshold is None else f" @{row.threshold:g}"
    low, high = row.ci95 or (None, None)
    few, many = row.seeds
    scope = f"{row.scope} ({row.models})" if row.scope == ALL else row.scope
    return {
        **vars(row), "scope": scope, "unit": METRICS[row.metric].unit, "low": low, "high": high,
        "number": f"{row.task} {row.metric}{at}, {row.subset} ({row.averaging})",
        "seeds_text": f"{few}" if few == many else f"{few} to {many}",
    }  # fmt: skip


def printed_table(claim: RunClaim, printed: Sequence[Printed]) -> Table:
    """The compared cells of the paper's table, and how many differ as it says."""
    rows = [{**vars(cells), "lift": cells.better - cells.worse} for cells in printed]
    columns = (
        Column("row", "Model", "text"),
        Column("column", "Number", "text"),
        Column("better", "claimed better, %", digits=2),
        Column("worse", "worse, %", digits=2),
        Column("lift", "lift", digits=2),
    )
    return Table(f"Printed: {claim.paper}", columns, rows, tuple(printed_lines(printed)))


def printed_lines(printed: Sequence[Printed]) -> list[str]:
    """How many printed differences are as claimed, and a sign test over models for each number.

    >>> printed_lines([Printed("a", "ACC", 2, 1), Printed("b", "ACC", 3, 1)])[1]
    'ACC: 2 of 2 models as claimed; sign test over models, two-sided, p = 0.50.'
    """
    above = sum(cells.better > cells.worse for cells in printed)
    lines = [f"{above} of {len(printed)} printed differences are as claimed, without seeds or intervals."]
    for column in dict.fromkeys(cells.column for cells in printed):
        differ = [
            cells.better > cells.worse for cells in printed if cells.column == column and cells.better != cells.worse
        ]
        lines.append(
            f"{column}: {sum(differ)} of {len(differ)} models as claimed; sign test over models, two-sided,"
            f" p = {sign_test(sum(differ), len(differ)):.2f}."
        )
    return lines


def sign_test(above: int, of: int) -> float:
    """Two-sided p-value of so many positive signs.

    >>> sign_test(6, 6)
    0.03125
    """
    tail = sum(comb(of, k) for k in range(max(above, of - above), of + 1)) / 2**of
    return min(1.0, 2 * tail)
