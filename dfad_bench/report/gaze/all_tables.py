"""All tables of a gaze study; one that would hold nothing is a line under the first table instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.report.gaze.estimators import claim_line, claim_table, group_table, side_by_side_table
from dfad_bench.report.gaze.published import published_table
from dfad_bench.report.gaze.tables import fid_table, pair_table, short_table
from dfad_bench.report.table import Table


def gaze_tables(facts: Mapping[str, Any]) -> list[Table]:
    """The tables of every estimator, then those over several.

    Args:
        facts: of a study: `estimators` with their notes and remarks, `rows`, `groups`, `claims` and `agreement`.
    """

    def of(key: str, name: str) -> list[dict[str, Any]]:
        return [entry for entry in facts[key] if entry["estimator"] == name]

    tables = []
    for name, about in facts["estimators"].items():
        rows, groups, claims = of("rows", name), of("groups", name), of("claims", name)
        lines = list(_left_out(rows, groups, claims))
        tables.append(fid_table(rows, name, [*about["notes"], *about["remarks"], *lines]))
        tables += [pair_table(rows, name)] if _has_pairs(rows) else []
        tables += [group_table(groups, name)] if groups else []
        tables += [claim_table(claims, name)] if _has_claims(claims) else []
    return tables + _over_several(facts)


def short_tables(facts: Mapping[str, Any]) -> list[Table]:
    """What fits a screen: a table an estimator, and the estimators side by side; arguments as of `gaze_tables`."""
    tables = []
    for name, about in facts["estimators"].items():
        rows = [row for row in facts["rows"] if row["estimator"] == name]
        claims = [claim for claim in facts["claims"] if claim["estimator"] == name]
        tables.append(short_table(rows, name, [*about["notes"], *about["remarks"], *map(claim_line, claims[:1])]))
    return [*tables, *_over_several(facts)]


def _over_several(facts: Mapping[str, Any]) -> list[Table]:
    rows_of = {name: [row for row in facts["rows"] if row["estimator"] == name] for name in facts["estimators"]}
    tables = [side_by_side_table(rows_of, facts["agreement"])] if len(rows_of) > 1 else []
    published = published_table(rows_of)
    return [*tables, published] if published else tables


def _has_pairs(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row.get("cosine_2d") is not None or row.get("angle_rad") is not None for row in rows)


def _has_claims(claims: Sequence[Mapping[str, Any]]) -> bool:
    return any(claim["p"] is not None or claim["difference_rad2"] is not None for claim in claims)


def _left_out(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]], claims: Sequence[Mapping[str, Any]]
) -> list[str]:
    """A line for each table that is left out."""
    lines = []
    if not _has_pairs(rows):
        why = ", ".join(
            dict.fromkeys(str(row.get("pair_verdict") or "no pairs") for row in rows if row["forgery"] != "control")
        )
        lines.append(f"No table of forged faces against their targets: {why} (`dfad infer-pairs` looks for pairs).")
    if not groups:
        lines.append("No table by forgery type and family: no generator has faces enough.")
    if not _has_claims(claims):
        why = "; ".join(dict.fromkeys(str(claim["verdict"]) for claim in claims)) or "too few generators"
        lines.append(f"No test of diffusion against GAN: {why}.")
    return lines
