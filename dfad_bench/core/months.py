"""Ranges of months, as `2024-01..2024-06`, `2025-01..` or `..2024-06`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dfad_bench.core.errors import ConfigError, quoted

MONTH = re.compile(r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])")
_FORM = "a range of months is FROM..TO as 2024-01..2024-06, 2025-01.. or ..2024-06"


@dataclass(frozen=True)
class MonthRange:
    """Months from `first` to `last`, both included; None where it is open.

    >>> months = MonthRange.parse("2024-01..")
    >>> "2025-03" in months, "2023-12" in months, str(months)
    (True, False, '2024-01..')
    """

    first: str | None
    last: str | None

    @classmethod
    def parse(cls, text: str, where: str = "released") -> MonthRange:
        """The range that a text says; one month is a range of itself.

        Raises:
            ConfigError: not a range, of things that are no months, or one that ends before it begins.
        """
        first, dots, last = str(text).strip().partition("..")
        if not dots:
            last = first
        if not (first or last):
            raise ConfigError(f"{where}: {quoted(text)} names no month; {_FORM}")
        if bad := [month for month in (first, last) if month and not MONTH.fullmatch(month)]:
            raise ConfigError(f"{where}: {quoted(bad[0])} is no month of a year; {_FORM}")
        if first and last and last < first:
            raise ConfigError(f"{where}: {quoted(text)} ends before it begins; {_FORM}")
        return cls(first or None, last or None)

    def __contains__(self, month: str) -> bool:
        return (self.first is None or month >= self.first) and (self.last is None or month <= self.last)

    def __str__(self) -> str:
        return self.first if self.first and self.first == self.last else f"{self.first or ''}..{self.last or ''}"

    def overlaps(self, other: MonthRange) -> bool:
        """Whether a month may be in both."""
        latest_start = max(self.first or "", other.first or "")
        earliest_end = min(month for month in (self.last, other.last, "9999-12") if month is not None)
        return latest_start <= earliest_end
