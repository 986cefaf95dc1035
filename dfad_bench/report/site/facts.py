"""What a site is made of: boards as they are printed elsewhere, their records, and facts of what they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_checks import Check
from dfad_bench.report.site.run_curves import RunCurves
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

    @cached_property
    def _digits(self) -> int:
        """Digits of a record's name that tell the rows of this board apart."""
        names = {str(row["record_ids"][0]) for row in self.table.rows if row.get("record_ids")}
        return next(n for n in (6, 8, 16, 64) if n == 64 or len({name[:n] for name in names}) == len(names))

    def row_key(self, row: Mapping[str, Any]) -> str:
        """What a row is called in addresses and figures, of its first record; "" for rows that no run made."""
        names = row.get("record_ids")
        return str(names[0])[: self._digits] if names else ""


@dataclass(frozen=True)
class SiteFacts:
    """Everything the pages show; nothing is read or computed from predictions while they are rendered.

    Attributes:
        boards: one a protocol.
        records: that stand in these boards.
        checks: what was checked here of each, by `record_id`.
        cards: of registered models, as plain fields by model name.
        datasets: of dataset files, as plain fields by name.
        curves: what was read from the folders of runs, by `record_id`.
        version: of the toolkit.
        made: when the site was rendered, as it is printed.
    """

    boards: Sequence[SiteBoard]
    records: Sequence[ResultRecord] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curves: Mapping[str, RunCurves] = field(default_factory=dict)
    version: str = ""
    made: str = ""

    @cached_property
    def by_id(self) -> dict[str, ResultRecord]:
        """Records by `record_id`."""
        return {record.record_id: record for record in self.records}

    def check_of(self, record: ResultRecord) -> Check:
        """What was checked here of a record."""
        return self.checks.get(record.record_id, Check())

    def curves_of(self, record: ResultRecord) -> RunCurves:
        """What was read from the folder of a run; nothing where it is not here."""
        return self.curves.get(record.record_id, RunCurves())

    def records_of(self, row: Mapping[str, Any]) -> list[ResultRecord]:
        """The records behind a row of a board; none for rows that no run made."""
        return [self.by_id[name] for name in row.get("record_ids", ()) if name in self.by_id]
