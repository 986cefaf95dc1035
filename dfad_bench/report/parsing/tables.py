"""Tables of a parsing study: distances by generator, means by forgery type and family, the test of BMRL's claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.report.gaze.estimators import FORGERIES, family_name
from dfad_bench.report.table import Column, Table, printed_cell

DIGITS = {"shares": 5, "inception": 2}
WHAT = {
    "shares": "square roots of parts' shares of the pixels, summed over parts; this toolkit's, not the paper's",
    "inception": "Inception's 2,048 features of the coloured maps, as FID is defined",
}
PRINTED_NOTE = "BMRL shows its FIDs in a picture only (Figure 7), without values: there is nothing to set beside them."
GROUP_NOTE = (
    "Means over generators, each as one, of the distance less its sampling bias; lowest and highest of them. 95 %: over"
    " other sources of the same generators."
)
CLAIM_NOTES = (
    'BMRL: "parsing images derived from GAN-generated faces retain more accurate semantic attributes than those'
    ' extracted from diffusion faces", read as: the FID of GAN maps is lower. Two-sided permutation test: families are'
    " dealt anew to the generators, within forgery types where it says so; p is Holm's over the rows that have"
    " generators enough, and the verdict is by it.",
    "It takes generators as interchangeable but for their family; the effect of other resolutions or training"
    " faces is not separated from it.",
)
_P = Column("p_two_sided", "p", "p_value", 4)
_P_HOLM = Column("p_holm", "p (Holm)", "p_value", 4)


def parsing_tables(facts: Mapping[str, Any]) -> list[Table]:
    """All tables of a study.

    Args:
        facts: of a study: `features`, `parser`, `notes`, `rows`, `groups` and `claims`.
    """
    digits = DIGITS[facts["features"]]
    tables = [_fid_table(facts, digits)]
    tables += [_group_table(facts["groups"], digits)] if facts["groups"] else []
    tables += [_claim_table(facts["claims"], digits)] if _is_tested(facts["claims"]) else []
    return tables


def short_tables(facts: Mapping[str, Any]) -> list[Table]:
    """What fits a screen: the distances, and the claim over all generators as a sentence."""
    digits = DIGITS[facts["features"]]
    claims = [claim_sentence(claim, digits) for claim in facts["claims"][:1]]
    return [_fid_table(facts, digits, claims)]


def claim_sentence(claim: Mapping[str, Any], digits: int) -> str:
    """One scope of the claim (fields of `ClaimTest`) as a sentence, with the p-value its verdict is by."""
    of = f"{claim['gan']} GAN, {claim['diffusion']} diffusion generators"
    if claim["p"] is not None:
        column = _P if claim.get(_P_HOLM.key) is None else _P_HOLM
        difference = f"{claim['difference']:.{digits}f}"
        of = f"diffusion less GAN {difference}, {column.title} {printed_cell(column, claim)}, {of}"
    asked = "Are parsing maps of GAN nearer to real than of diffusion, as BMRL says?"
    return f"{asked} {claim['scope']}: {claim['verdict']} ({of})."


def parser_name(facts: Mapping[str, Any]) -> str:
    """The parser as titles print it."""
    return str(facts["parser"] or "not named")


def _fid_table(facts: Mapping[str, Any], digits: int, more: Sequence[str] = ()) -> Table:
    rows = [_printed_row(row, digits) for row in facts["rows"]]
    columns = (
        Column("generator", "Generator", "text"),
        Column("family_name", "Family", "text"),
        Column("n", "n fake", "count"),
        Column("sources_text", "sources", "text"),
        Column("fid", "FID", digits=digits),
        Column("unbiased", "less bias", digits=digits),
        Column("interval", "95 %", "text"),
        Column("floor", "floor", digits=digits),
        Column("floor_high", "floor 95 %", digits=digits),
    )
    about = f"FID: squared Frechet distance of Gaussians over {WHAT[facts['features']]}."
    notes = (*facts["notes"], about, PRINTED_NOTE, *more)
    return Table(f"Parsing FID, parser {parser_name(facts)}", columns, rows, notes, _sections(facts["rows"]))


def _group_table(groups: Sequence[Mapping[str, Any]], digits: int) -> Table:
    rows = [
        {**group, "group": _group_name(group), "interval": _interval(group["low"], group["high"], digits)}
        for group in groups
    ]
    columns = (
        Column("group", "Group", "text"),
        Column("generators", "Generators", "count"),
        Column("sources", "sources", "count"),
        Column("value", "FID less bias", digits=digits),
        Column("interval", "95 %", "text"),
        Column("lowest", "lowest", digits=digits),
        Column("highest", "highest", digits=digits),
    )
    return Table("Parsing FID by forgery type and family", columns, rows, (GROUP_NOTE,))


def _claim_table(claims: Sequence[Mapping[str, Any]], digits: int) -> Table:
    rows = [
        {
            **claim,
            "ways": None if claim["p"] is None else f"{claim['assignments']:,} {'all' if claim['exact'] else 'drawn'}",
        }
        for claim in claims
    ]
    columns = (
        Column("scope", "Over", "text"),
        Column("gan", "GAN", "count"),
        Column("diffusion", "Diffusion", "count"),
        Column("difference", "Diffusion less GAN", digits=digits),
        _P,
        _P_HOLM,
        Column("smallest_p_two_sided", "smallest p possible", digits=4),
        Column("ways", "dealings", "text"),
        Column("verdict", "Verdict", "text"),
    )
    return Table("Are parsing maps of GAN nearer to real than of diffusion?", columns, rows, CLAIM_NOTES)


def _is_tested(claims: Sequence[Mapping[str, Any]]) -> bool:
    return any(claim["p"] is not None for claim in claims)


def _printed_row(row: Mapping[str, Any], digits: int) -> dict[str, Any]:
    interval = _interval(row["low"], row["high"], digits)
    return {
        **row,
        "family_name": family_name(str(row["family"])),
        "sources_text": f"{row['sources_real']:,} real, {row['sources_fake']:,} fake",
        "interval": row["verdict"] or interval or row["interval_verdict"],
    }


def _interval(low: float | None, high: float | None, digits: int) -> str | None:
    return None if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"


def _group_name(group: Mapping[str, Any]) -> str:
    if group["forgery"] and group["family"]:
        return f"{group['forgery']}, {family_name(group['family'])}"
    return FORGERIES[group["forgery"]] if group["forgery"] else family_name(group["family"])


def _sections(rows: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Headings above the first row of each forgery type; of each dataset too, where there are several."""
    several = len({row["dataset"] for row in rows}) > 1
    sections, last = {}, None
    for index, row in enumerate(rows):
        kind = (row["dataset"] if several else "", row["forgery"])
        if kind != last:
            sections[index] = f"{kind[0]}: {FORGERIES[kind[1]]}" if kind[0] else FORGERIES[kind[1]]
        last = kind
    return sections
