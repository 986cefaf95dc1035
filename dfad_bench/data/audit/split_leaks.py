"""Sources on both sides of a split: the split of the release, or that of a protocol."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dfad_bench.data.audit.findings import Finding, Findings, Kind, faces_at
from dfad_bench.data.audit.subject import Subject
from dfad_bench.data.pools import sources_of

_COLUMNS: dict[str, Kind] = {
    "group": "text", "train": "count", "test": "count", "sources on both sides": "count",
    "train faces that leak": "count", "share": "percent",
}  # fmt: skip
_EXAMPLES = 12


def check(subject: Subject) -> Findings:
    """Per group, the training faces whose source has test faces in any group.

    With a protocol: among all rows it could choose, and whether any remains among those it does choose. The toolkit
    drops such training faces, so they are a warning; one that remains is an error.
    """
    if subject.protocol is None:
        rows = subject.kept_faces.assign(row=subject.kept_faces.index)
        text = "of the split as released have test faces, too: a protocol drops the training faces"
        title = "Sources on both sides of the split as released"
        return Findings("split_leaks", title, _COLUMNS, *_leaks(subject, rows, text))
    name = subject.protocol.name
    title = f"Sources on both sides of protocol {name}, before leaks are dropped"
    if subject.candidates is None or subject.candidates.empty:
        return Findings("split_leaks", title, _COLUMNS, [], (_obstacle(subject),))
    rows = _with_positions(subject, subject.candidates)
    table, remarks = _leaks(subject, rows, f"have test faces, too: protocol {name} drops the training faces")
    if subject.obstacle:
        remarks = (*remarks, _obstacle(subject))
    return Findings("split_leaks", title, _COLUMNS, table, (*_remaining_leaks(subject), *remarks))


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
        return table, (Finding("info", "no face has a split; give --protocol to divide them"),)
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


def _remaining_leaks(subject: Subject) -> tuple[Finding, ...]:
    """Sources that are still on both sides after the protocol's selection; none unless `select` has a bug."""
    if subject.selection is None:
        return ()
    train = subject.selection.trained_on
    test = subject.selection.tested
    left = train[sources_of(train).isin(set(sources_of(test)))]
    if left.empty:
        return ()
    return (Finding("error", f"{len(left):,} chosen training faces share a source with test faces"),)


def _with_positions(subject: Subject, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the position of each in the subject's faces."""
    places = pd.Series(subject.faces.index, index=subject.faces["sample_id"])
    places = places[~places.index.duplicated()]
    return rows.assign(row=places.reindex(rows["sample_id"]).to_numpy())


def _obstacle(subject: Subject) -> Finding:
    return Finding("info", subject.obstacle or "the manifests hold no face of the protocol")
