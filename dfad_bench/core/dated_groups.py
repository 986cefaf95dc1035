"""Groups that a protocol deals to seen and unseen by the month in which their generators were released.

A protocol file lists them under `dated`, and under `released` the months of both sides:

    released: {seen: ..2021-12, unseen: 2022-01..}
    dated:
      - {generator: stylegan2, dataset: df40}
      - {generator: dit, dataset: df40}

They are dealt when the file is read, so that the protocol, its hash and every record have plain groups; a month that
the taxonomy changes gives another protocol. Who cannot be placed is named in `left_out`, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.labels import group_key
from dfad_bench.core.months import MonthRange
from dfad_bench.core.strict import from_mapping
from dfad_bench.core.taxonomy import taxonomy

_WORKED_OUT = "left_out"


@dataclass(frozen=True)
class ReleaseMonths:
    """The months of the generators that are seen and of those that are unseen, as `FROM..TO`; they share none."""

    seen: str
    unseen: str

    def __post_init__(self) -> None:
        try:
            shared = self.seen_months.overlaps(self.unseen_months)
        except ConfigError as error:  # so that who reads the file puts its name before it
            raise ValueError(str(error)) from error
        if shared:
            raise ValueError(f"seen {self.seen} and unseen {self.unseen} share a month")

    @property
    def seen_months(self) -> MonthRange:
        """Months of seen generators."""
        return MonthRange.parse(self.seen, "seen")

    @property
    def unseen_months(self) -> MonthRange:
        """Months of unseen generators."""
        return MonthRange.parse(self.unseen, "unseen")


def deal_by_month(raw: Any, where: str) -> Any:
    """The mapping of a protocol file with its `dated` groups dealt to `seen` and `unseen`; others as they are.

    Labels of seen groups go on from those that the file gives, in the order of `dated`.

    Raises:
        ConfigError: only one of `released` and `dated`, a bad range, a group without a generator of the taxonomy, one
            generator as two classes, or no generator on a side; names `where`.
    """
    if not isinstance(raw, Mapping):
        return raw
    if _WORKED_OUT in raw and "dated" not in raw:
        return raw  # written out after its groups were dealt, as for the processes of a run
    if _WORKED_OUT in raw:
        raise ConfigError(f"{where}: `left_out` is worked out from `dated` and `released`; leave it out")
    if ("dated" in raw) != ("released" in raw):
        raise ConfigError(
            f"{where}: `released` says by which months the groups of `dated` are dealt; give both or none"
        )
    if "dated" not in raw:
        return raw
    months = from_mapping(ReleaseMonths, raw["released"], f"{where}: released")
    seen, unseen, out = _dealt_groups(raw["dated"], months, f"{where}: dated")
    for side, groups in (("seen", seen), ("unseen", unseen)):
        if not groups:
            months_of_side = getattr(months, side)
            raise ConfigError(
                f"{where}: no generator of `dated` was released in {months_of_side} ({side}): {listed(out)}"
            )
    given = raw.get("seen") or []
    labelled = [{**group, "label": len(given) + place} for place, group in enumerate(seen)]
    rest = {key: value for key, value in raw.items() if key != "dated"}
    return {**rest, "seen": [*given, *labelled], "unseen": [*(raw.get("unseen") or []), *unseen], _WORKED_OUT: out}


def _dealt_groups(groups: Any, months: ReleaseMonths, where: str) -> tuple[list[Any], list[Any], list[str]]:
    """Seen groups, unseen groups, and a text for each that is neither."""
    if not isinstance(groups, list):
        raise ConfigError(f"{where}: must be a list of groups, got {quoted(groups)}")
    seen: list[Any] = []
    unseen: list[Any] = []
    out: list[str] = []
    for place, group in enumerate(groups):
        name = group.get("generator") if isinstance(group, Mapping) else None
        if not isinstance(name, str) or name not in taxonomy():
            raise ConfigError(f"{where}[{place}]: {quoted(name)} is no generator of the taxonomy")
        if "label" in group:
            raise ConfigError(f"{where}[{place}]: labels of dated groups follow from their months; leave `label` out")
        row = taxonomy()[name]
        key = group_key(str(group.get("dataset")), row.key, group.get("source"))
        if (why := row.undated_reason) is not None or row.released is None:
            out.append(f"{key}: {why}")
        elif row.released in months.seen_months:
            if row.key in [other["generator"] for other in seen]:
                raise ConfigError(f"{where}[{place}]: {row.key} is seen twice; a class is one group, list one of them")
            seen.append(group)
        elif row.released in months.unseen_months:
            unseen.append(group)
        else:
            out.append(f"{key}: of {row.released}, in neither range of months")
    return seen, unseen, out
