"""What a site is made of: boards as they are printed elsewhere, their records, and facts of what they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_checks import Check
from dfad_bench.report.table import Table


@dataclass(frozen=True)
class SiteBoard:
    """The board of one protocol, its number columns all metrics; `shown` are the keys of those it shows at first."""

    protocol: Protocol
    table: Table
    shown: frozenset[str]

    @property
    def name(self) -> str:
        """The protocol's name."""
        return self.protocol.name


@dataclass(frozen=True)
class SiteFacts:
    """Everything the pages show; nothing is read or computed from predictions while they are rendered.

    Attributes:
        boards: one a protocol.
        records: that stand in these boards.
        checks: what was checked here of each, by `record_id`.
        cards: of registered models, as plain fields by model name.
        datasets: of dataset files, as plain fields by name.
        version: of the toolkit.
        made: when the site was rendered, as it is printed.
    """

    boards: Sequence[SiteBoard]
    records: Sequence[ResultRecord] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    version: str = ""
    made: str = ""

    @cached_property
    def by_id(self) -> dict[str, ResultRecord]:
        """Records by `record_id`."""
        return {record.record_id: record for record in self.records}

    def check_of(self, record: ResultRecord) -> Check:
        """What was checked here of a record."""
        return self.checks.get(record.record_id, Check())

    def records_of(self, row: Mapping[str, Any]) -> list[ResultRecord]:
        """The records behind a row of a board; none for rows that no run made."""
        return [self.by_id[name] for name in row.get("record_ids", ()) if name in self.by_id]
