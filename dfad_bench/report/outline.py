"""GazeCLIP's Table I: generators, their kinds, counts and labels, from the taxonomy and the protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.report.table import Column, Table

OUTLINE = "gazeclip-table-01"
_COLUMNS = (
    Column("part", "Part", "text"),
    Column("dataset", "Dataset", "text"),
    Column("forgery", "Type", "text"),
    Column("family", "Sub-type", "text"),
    Column("generator", "Generator", "text"),
    Column("train", "Train #", "count"),
    Column("test", "Test #", "count"),
    Column("detection", "DFD label", "text"),
    Column("attribution", "DFA label", "text"),
)
_FOUND = (Column("found_train", "Train found", "count"), Column("found_test", "Test found", "count"))
_NOTES = (
    "Train #, Test #: faces the protocols take. DFD label: 0 real, 1 forged; DFA label: the class, -1 unseen.",
    "Type and sub-type are the taxonomy's, which follows the paper's Table I; `manifests/taxonomy.yaml`.",
)


def outline_table(protocols: Sequence[Protocol], found: Mapping[str, Mapping[str, int]]) -> Table:
    """The outline of several protocols that share their seen groups.

    Args:
        protocols: the first one's seen groups, then the unseen ones of all, each once.
        found: faces by `dataset/generator` and split that manifests hold; empty without manifests.
    """
    groups = [("seen", protocols[0], group) for group in sorted(protocols[0].seen, key=lambda group: group.label)]
    known = {group.key for _, _, group in groups}
    for protocol in protocols:
        for group in protocol.unseen:
            if group.key not in known:
                known.add(group.key)
                groups.append(("unseen", protocol, group))
    rows = [_row(part, protocol, group, found) for part, protocol, group in groups]
    columns = (*_COLUMNS, *(_FOUND if found else ()))
    title = "GazeCLIP, Table I: Outline of the data and of the protocol"
    return Table(title, columns, rows, (*_NOTES, f"Protocols: {', '.join(p.name for p in protocols)}."))


def _row(part: str, protocol: Protocol, group: Group, found: Mapping[str, Mapping[str, int]]) -> dict[str, object]:
    taxon, counts = group.taxon, found.get(f"{group.dataset}/{group.generator}")
    seen = part == "seen"
    return {
        "part": part,
        "dataset": group.dataset,
        "forgery": "Real" if taxon.forgery.value == "none" else taxon.forgery.value,
        "family": None if taxon.grouping.value == "none" else taxon.grouping.value,
        "generator": taxon.display,
        "train": (group.train or protocol.train_per_group) if seen else None,
        "test": group.test or protocol.test_per_group,
        "detection": str(taxon.detection_label),
        "attribution": str(group.label),
        "found_train": None if counts is None else counts.get("train", 0) + counts.get("", 0),
        "found_test": None if counts is None else counts.get("test", 0),
    }
