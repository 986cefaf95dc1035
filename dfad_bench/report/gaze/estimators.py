"""Tables beside the per-generator ones: groups, the paper's claim, and estimators side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.core.labels import ForgeryType
from dfad_bench.report.table import Column, Table, printed_cell

_DEG2 = math.degrees(1.0) ** 2
FORGERIES = {
    ForgeryType.EFS.value: "entire face synthesis",
    ForgeryType.FS.value: "face swap",
    ForgeryType.AM.value: "attribute manipulation",
    ForgeryType.FR.value: "face reenactment",
    ForgeryType.TF.value: "talking face",
    ForgeryType.GR.value: "gaze redirection",
    ForgeryType.NONE.value: "forgery type not known",
}
_GROUP_NOTE = (
    "Means over generators, each as one, of the distance less its sampling bias; lowest and highest of them. 95 %: over"
    " other sources of the same generators."
)
_CLAIM_NOTES = (
    'GazeCLIP: "the FID score of the diffusion-generated gaze mode is lower than that of the GAN-synthesized one".'
    " Two-sided permutation test: families are dealt anew to the generators, within forgery types where it says so;"
    " p is Holm's over the rows that have generators enough, and the verdict is by it. Generators whose gaze is the"
    " direction of the head (*) are left out.",
    "It takes generators as interchangeable but for their family; the effect of other resolutions or training"
    " faces is not separated from it.",
)
_P = Column("p_two_sided", "p", "p_value", 4)
_P_HOLM = Column("p_holm", "p (Holm)", "p_value", 4)
_SIDE_NOTES = ("FIDs of different estimators are not comparable; the order of the generators is.",)


def family_name(family: str) -> str:
    """How a family is printed: "none" of a forged face is an unknown family."""
    return "not known" if family == "none" else family


def group_table(groups: Sequence[Mapping[str, Any]], estimator: str) -> Table:
    """One row a forgery type, a family, or both (fields of `GroupGaze`)."""
    rows, sections = [], {}
    for index, group in enumerate(groups):
        kind = _kind(group)
        if not index or kind != _kind(groups[index - 1]):
            sections[index] = kind
        rows.append(
            {
                "group": _group_name(group),
                "generators": group["generators"],
                **{f"{key}_deg2": group[f"{key}_rad2"] * _DEG2 for key in ("fid", "lowest", "highest")},
                "sources": group["sources"],
                "interval": _interval(group["low_rad2"], group["high_rad2"]),
                "fid_rad2": group["fid_rad2"],
                "with_pairs": group["with_pairs"],
                "cosine_2d": group["cosine_2d"],
                "angle_deg": None if group["angle_rad"] is None else math.degrees(group["angle_rad"]),
            }
        )
    columns = (
        Column("group", "Group", "text"),
        Column("generators", "Generators", "count"),
        Column("sources", "sources", "count"),
        Column("fid_rad2", "FID, rad²", digits=6),
        Column("fid_deg2", "FID, deg²"),
        Column("interval", "95 %", "text"),
        Column("lowest_deg2", "lowest"),
        Column("highest_deg2", "highest"),
        Column("with_pairs", "with pairs", "count"),
        Column("cosine_2d", "cosine 2-D"),
        Column("angle_deg", "angle, deg"),
    )
    title = f"Gaze by forgery type and family, estimator {estimator}"
    return Table(title, columns, rows, (_GROUP_NOTE,), sections)


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low * _DEG2:.2f} to {high * _DEG2:.2f}"


def _kind(group: Mapping[str, Any]) -> str:
    if group["forgery"] and group["family"]:
        return "families within a forgery type"
    return "forgery types" if group["forgery"] else "families"


def _group_name(group: Mapping[str, Any]) -> str:
    if group["forgery"] and group["family"]:
        return f"{group['forgery']}, {family_name(group['family'])}"
    return FORGERIES[group["forgery"]] if group["forgery"] else family_name(group["family"])


def claim_table(claims: Sequence[Mapping[str, Any]], estimator: str) -> Table:
    """The paper's claim, a row a scope (fields of `ClaimTest`)."""
    rows = [
        {
            **claim,
            "difference_deg2": None if claim["difference_rad2"] is None else claim["difference_rad2"] * _DEG2,
            "ways": None if claim["p"] is None else f"{claim['assignments']:,} {'all' if claim['exact'] else 'drawn'}",
        }
        for claim in claims
    ]
    columns = (
        Column("scope", "Over", "text"),
        Column("diffusion", "Diffusion", "count"),
        Column("gan", "GAN", "count"),
        Column("difference_deg2", "GAN less diffusion, deg²"),
        _P,
        _P_HOLM,
        Column("smallest_p_two_sided", "smallest p possible", digits=4),
        Column("ways", "dealings", "text"),
        Column("verdict", "Verdict", "text"),
    )
    return Table(f"Is diffusion nearer to real than GAN? Estimator {estimator}", columns, rows, _CLAIM_NOTES)


def claim_line(claim: Mapping[str, Any]) -> str:
    """One scope of the paper's claim (fields of `ClaimTest`) as a sentence, with the p-value its verdict is by."""
    of = f"{claim['diffusion']} diffusion, {claim['gan']} GAN generators"
    if claim["p"] is not None:
        difference = f"{claim['difference_rad2'] * _DEG2:.2f}"
        column = _P if claim.get(_P_HOLM.key) is None else _P_HOLM  # none: no test, for lack of generators
        of = f"GAN less diffusion {difference} deg², {column.title} {printed_cell(column, claim)}, {of}"
    return f"Is diffusion nearer to real than GAN, as GazeCLIP says? {claim['scope']}: {claim['verdict']} ({of})."


def side_by_side_table(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], agreement: Sequence[Mapping[str, Any]]
) -> Table:
    """FID and paired cosine of every estimator, a row a generator (rows of `GazeReport.flat` by estimator)."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for index, of_estimator in enumerate(rows.values()):
        for row in of_estimator:
            key = (row["dataset"], row["generator"])
            shown = found.setdefault(key, {"dataset": key[0], "generator": key[1], "forgery": row["forgery"]})
            fid, cosine = row.get("fid_rad2"), row.get("cosine_2d")
            verdict = row.get("fid_verdict") or ""
            shown[f"fid_{index}"] = verdict or (None if fid is None else f"{fid * _DEG2:.2f}")
            shown[f"cosine_{index}"] = row.get("pair_verdict") or (None if cosine is None else f"{cosine:.2f}")
    several = len({dataset for dataset, _ in found if dataset}) > 1
    columns = [Column("dataset", "Dataset", "text")] if several else []
    columns += [Column("generator", "Generator", "text"), Column("forgery", "Forgery", "text")]
    columns += [Column(f"fid_{index}", f"FID deg², {name}", "text") for index, name in enumerate(rows)]
    columns += [Column(f"cosine_{index}", f"cosine 2-D, {name}", "text") for index, name in enumerate(rows)]
    notes = (*(_agreement_note(facts) for facts in agreement), *_SIDE_NOTES)
    rows_named = 2 if several else 1
    return Table("Estimators side by side", tuple(columns), list(found.values()), notes, names=rows_named)


def _agreement_note(facts: Mapping[str, Any]) -> str:
    what = "FID" if facts["measure"] == "fid" else "paired 2-D cosine"
    pair = f"order of the generators by {what}, {facts['first']} and {facts['second']}"
    if facts["spearman"] is None:
        return f"Spearman, {pair}: not defined over {facts['generators']} generators."
    return f"Spearman, {pair}: {facts['spearman']:.2f} over {facts['generators']} generators."
