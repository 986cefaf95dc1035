"""Sites of records of random predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from helpers.boards import fewer_faces, record
from helpers.toy import toy_protocol

from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_checks import Check
from dfad_bench.report.board_columns import board_columns, default_columns, known_columns
from dfad_bench.report.leaderboard import board
from dfad_bench.report.reported import ReportedScore
from dfad_bench.report.site.facts import SiteBoard, SiteFacts

CARD = {
    "display": "Toy", "paper": "A. Author, A title, CVPR 2020", "year": 2020, "task": "both", "idea": "It sees.",
    "added": "a layer", "deviations": ("one",), "notes": (), "reference": "https://example.org/code",
    "reference_licence": "MIT",
}  # fmt: skip
DATASET = {
    "title": "Drawn faces", "licence": "CC0", "homepage": "https://example.org/faces", "citation": None,
    "obtain": "draw", "crop": "raw-256", "expected": {"real": 10, "synthetic-gan-a": {"train": 5, "test": 5}},
    "expected_of": "images", "reals_in": {}, "notes": (), "unknown": (),
}  # fmt: skip
DRAWN = ("diffface", "diffae", "latdiff", "colldiff")


def site_protocol() -> Protocol:
    """The toy protocol with as many unseen generators as places over generators need."""
    base = toy_protocol()
    more = tuple(Group(name, "synthetic") for name in DRAWN)
    return fewer_faces(replace(base, unseen=(*base.unseen, *more)))


def site_board(
    protocol: Protocol,
    records: Sequence[ResultRecord],
    reported: Sequence[ReportedScore] = (),
    checks: Mapping[str, Check] | None = None,
) -> SiteBoard:
    """A board with every metric as a column, the default ones shown."""
    columns = list(dict.fromkeys([*default_columns(protocol), *known_columns()]))
    table = board(protocol, records, reported, columns=columns, checks=checks)
    first = board_columns(protocol, printed=bool(reported), per_group=False)
    return SiteBoard(protocol, table, frozenset(column.key for column in first))


def site_facts(records: Sequence[ResultRecord], protocol: Protocol, **changes: Any) -> SiteFacts:
    """The facts of a site of one board; `changes` replace fields."""
    about = {
        "boards": [site_board(protocol, records, checks=changes.get("checks"))], "records": records,
        "cards": {"toy": CARD}, "datasets": {"synthetic": DATASET}, "version": "1", "made": "2026-01-01",
    }  # fmt: skip
    return SiteFacts(**{**about, **changes})


def site_records(protocol: Protocol) -> list[ResultRecord]:
    """Three models, one of them of two seeds."""
    return [
        record(protocol, "toy", 0, draw=1), record(protocol, "toy", 1, draw=2), record(protocol, "second", 0, draw=3),
        record(protocol, "third", 0, draw=4),
    ]  # fmt: skip
