"""Sources on both sides of a split: as the source gives it, or as a protocol deals it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dfad_bench.data.audit.findings import Finding, Findings, Kind, faces_at
from dfad_bench.data.audit.subject import Subject

_COLUMNS: dict[str, Kind] = {
    "group": "text", "train": "count", "test": "count", "sources on both sides": "count",
    "train faces that leak": "count", "share": "percent",
}  # fmt: skip
_EXAMPLES = 12


def check(subject: Subject) -> Findings:
    """Per group, the training faces whose source has test faces in any group.

    Under a protocol: of all rows it could take, and whether any is left among those it does take. The toolkit
    drops such training faces, so they are a warning; one that is left is an error.
    """
    if subject.protocol is None:
        rows = subject.kept.assign(row=subject.kept.index)
        text = "of the split as released have test faces, too: a protocol drops the training faces"
        title = "Sources on both sides of the split as released"
        return Findings("split_leaks", title, _COLUMNS, *_leaks(subject, rows, text))
    name = subject.protocol.name
    title = f"Sources on both sides of protocol {name}, before leaks are dropped"
    if subject.candidates is None or subject.candidates.empty:
        return Findings("split_leaks", title, _COLUMNS, [], (_obstacle(subject),))
    rows = _placed(subject, subject.candidates)
    table, remarks = _leaks(subject, rows, f"have test faces, too: protocol {name} drops the training faces")
    if subject.obstacle:
        remarks = (*remarks, _obstacle(subject))
    return Findings("split_leaks", title, _COLUMNS, table, (*_left(subject), *remarks))


def _leaks(subject: Subject, rows: pd.DataFrame, text: str) -> tuple[list[dict[str, Any]], tuple[Finding, ...]]:
    train, test = rows[rows["side"] == "train"], rows[rows["side"] == "test"]
    leaking = train[train["source_key"].isin(set(test["source_key"]))]
    table = []
    for group in sorted({*train["group"], *test["group"]}):
        here, lost = train[train["group"] == group], leaking[leaking["group"] == group]
        table.append(
            {
                "group": group, "train": len(here), "test": int((test["group"] == group).sum()),
                "sources on both sides": lost["source_key"].nunique(), "train faces that leak": len(lost),
                "share": len(lost) / len(here) if len(here) else None,
            }
        )  # fmt: skip
    if not table:
        return table, (Finding("info", "no face is on a side of a split; --protocol deals them"),)
    if leaking.empty:
        return table, ()
    sources = leaking["source_key"].drop_duplicates()
    note = f"{len(sources):,} sources ({len(leaking):,} training faces, {len(leaking) / len(train):.1%}) {text}"
    return table, (Finding("warning", note, _examples(subject, leaking, test, sources)),)


def _examples(subject: Subject, train: pd.DataFrame, test: pd.DataFrame, sources: pd.Series) -> Any:
    some = sources.head(_EXAMPLES)
    one = train.drop_duplicates("source_key").set_index("source_key")["row"]
    other = test.drop_duplicates("source_key").set_index("source_key")["row"]
    return tuple(faces_at(subject.faces, [int(one[key]), int(other[key])]) for key in some)


def _left(subject: Subject) -> tuple[Finding, ...]:
    """Sources that the protocol's own parts share; none, unless `select` is broken."""
    if subject.selection is None:
        return ()
    train = pd.concat([subject.selection.train, subject.selection.validation])
    test = subject.selection.tested
    left = train[train["source_key"].isin(set(test["source_key"]))]
    if left.empty:
        return ()
    return (Finding("error", f"{len(left):,} chosen training faces share a source with test faces"),)


def _placed(subject: Subject, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the place of each in the subject's faces."""
    places = pd.Series(subject.faces.index, index=subject.faces["sample_id"])
    places = places[~places.index.duplicated()]
    return rows.assign(row=places.reindex(rows["sample_id"]).to_numpy())


def _obstacle(subject: Subject) -> Finding:
    return Finding("info", subject.obstacle or "the manifests hold no face of the protocol")
