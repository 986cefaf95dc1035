"""Tables as papers printed them: shipped and included ones, averages recomputed beside the printed ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.resources import SHIPPED, find_yaml, origin, per_include, yaml_files
from dfad_bench.core.settings import Heads
from dfad_bench.core.strict import read_dataclass

AVERAGE = "average"
SEEN = "seen"
UNSEEN = "unseen"
TOLERANCE = 0.01  # printed averages have two decimals, some are cut instead of rounded
# what tables print of what a model costs -> the head of its column
COSTS = {"params_m": "Params M", "flops_g": "FLOPs G", "inference_s": "Inference s"}
_OTHER_FILES = {"efficiency"}  # read by the profiler, which compares it with measured models


@dataclass(frozen=True)
class ReportedColumn:
    """One printed column.

    `split` is the column's head ("SimSwap"), or "average", "seen", "unseen"; `group` is the group of the table's
    protocol it stands for (`df40/simswap`). Units: percent for "acc" and "auc", millions of parameters, 10^9
    operations, seconds. `heads`: the experts of the run the column is of.
    """

    split: str
    task: Literal["attribution", "detection", "efficiency"]
    metric: Literal["acc", "auc", "params_m", "flops_g", "inference_s"]
    threshold: float | None = None
    group: str | None = None
    heads: Heads = "both"

    @property
    def is_average(self) -> bool:
        """Whether the column averages others of its table."""
        return self.split == AVERAGE


@dataclass(frozen=True)
class ReportedRow:
    """One printed row: `cells` follow the table's columns, `null` where the paper has a dash.

    `model` is our registry name, `printed` the paper's, `variant` the setting of an ablation. `mismatch` says where
    a printed average is not the mean of its cells. `options` of the model and settings of `views` are those of a run
    that measures the row; `lacks` says why there can be none.
    """

    model: str
    printed: str
    cells: tuple[float | None, ...] = ()
    variant: str | None = None
    note: str | None = None
    mismatch: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lacks: str | None = None


@dataclass(frozen=True)
class Average:
    """A printed average and the mean of the cells it should average, both as printed (percent)."""

    row: ReportedRow
    column: ReportedColumn
    printed: float
    recomputed: float
    cells: int

    @property
    def agrees(self) -> bool:
        """Whether the two differ by rounding only."""
        return abs(self.printed - self.recomputed) <= TOLERANCE + 1e-9


@dataclass(frozen=True)
class ReportedScore:
    """A row's headline at one threshold, as fractions; `None` where the table does not print it."""

    model: str
    printed: str
    table: str
    threshold: float | None
    seen_acc: float | None
    unseen_acc: float | None  # the mean recomputed from the cells; the printed one where no cells are printed
    unseen_acc_printed: float | None
    detection_acc: float | None
    detection_auc: float | None
    groups: dict[str, float]  # unseen accuracy by protocol group
    variant: str | None
    note: str | None
    costs: Mapping[str, float] = field(default_factory=dict)  # of `COSTS`, what the table prints


@dataclass(frozen=True)
class ReportedTable:
    """One table of a paper. `protocol_inferred`: the paper does not name the test set; its values show it.

    `added` are rows that the paper does not have and that can be measured beside its own.
    """

    name: str
    paper: str
    table: str
    title: str
    protocol: str
    columns: tuple[ReportedColumn, ...]
    rows: tuple[ReportedRow, ...]
    protocol_inferred: bool = False
    notes: tuple[str, ...] = ()
    added: tuple[ReportedRow, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("two columns are the same")
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"row {quoted(row.printed)} has {len(row.cells)} cells for {len(self.columns)} columns"
                )
        if printed := [row.printed for row in self.added if row.cells]:
            raise ValueError(f"added row {quoted(printed[0])} has cells; what a paper printed belongs to rows")
        self._check_cells()
        keys = [(row.model, row.printed, row.variant) for row in (*self.rows, *self.added)]
        if twice := sorted({str(key) for key in keys if keys.count(key) > 1}):
            raise ValueError(f"rows listed twice: {quoted(twice)}")

    def _check_cells(self) -> None:
        """Refuse a percentage beyond 0 to 100, a negative cost, and a threshold that is no share."""
        for column in self.columns:
            if column.threshold is not None and not 0 < column.threshold < 1:
                raise ValueError(f"column {column.split!r}: threshold {column.threshold:g} must lie between 0 and 1")
        for row in self.rows:
            for column, cell in zip(self.columns, row.cells, strict=True):
                most = 100 if column.metric in ("acc", "auc") else inf
                if cell is not None and not 0 <= cell <= most:
                    limits = "0 to 100 percent" if most == 100 else "0 or more"
                    raise ValueError(
                        f"row {row.printed!r}, {column.split} {column.metric}: {cell:g}, expected {limits}"
                    )

    @property
    def is_main(self) -> bool:
        """Whether the table compares systems group by group (the others are ablations and summaries)."""
        return any(column.group for column in self.columns)

    @property
    def is_figure(self) -> bool:
        """Whether it is one in its paper, drawn beside its numbers here."""
        return self.table.startswith("Fig")

    @property
    def has_numbers(self) -> bool:
        """Whether any cell is printed; a figure's values are in its image."""
        return any(cell is not None for row in self.rows for cell in row.cells)

    def averages(self) -> Iterator[Average]:
        """Every printed average whose cells are printed too (detection averages have none)."""
        for row in self.rows:
            for column, printed in zip(self.columns, row.cells, strict=True):
                cells = self._cells_behind(row, column)
                if column.is_average and printed is not None and cells:
                    yield Average(row, column, printed, fmean(cells), len(cells))

    def scores(self) -> Iterator[ReportedScore]:
        """Every row's headline, once a threshold."""
        thresholds = list(dict.fromkeys(c.threshold for c in self.columns if c.threshold is not None))
        for row in self.rows:
            for threshold in thresholds:
                yield self._score(row, threshold)

    def _score(self, row: ReportedRow, threshold: float) -> ReportedScore:
        values = dict(zip(self.columns, row.cells, strict=True))

        def find(task: str, metric: str, splits: tuple[str, ...], at: float | None = None) -> float | None:
            for column, value in values.items():
                if (column.task, column.metric, column.threshold) == (task, metric, at) and column.split in splits:
                    return None if value is None else round(value / 100, 6)
            return None

        groups = {
            c.group: round(v / 100, 6)
            for c, v in values.items()
            if c.group and c.threshold == threshold and v is not None
        }
        printed = find("attribution", "acc", (AVERAGE, UNSEEN), threshold)
        return ReportedScore(
            model=row.model,
            printed=row.printed,
            table=f"{self.paper}, {self.table}",
            threshold=threshold,
            seen_acc=find("attribution", "acc", (SEEN,)),
            unseen_acc=fmean(groups.values()) if groups else printed,
            unseen_acc_printed=printed,
            detection_acc=find("detection", "acc", (AVERAGE, UNSEEN)),
            detection_auc=find("detection", "auc", (AVERAGE, UNSEEN)),
            groups=groups,
            variant=row.variant,
            note="; ".join(text for text in (self._mismatch(row, threshold), row.note) if text) or None,
            costs={c.metric: v for c, v in values.items() if c.task == "efficiency" and v is not None},
        )

    def _mismatch(self, row: ReportedRow, threshold: float) -> str | None:
        """What a row's `mismatch` says of one threshold, where the table has several."""
        if row.mismatch is None or len({column.threshold for column in self.columns} - {None}) < 2:
            return row.mismatch
        mine = (a for a in self.averages() if a.row is row and a.column.threshold in (threshold, None))
        off = [
            f"average at {threshold:g} printed {a.printed:.2f}, mean of its {a.cells} cells {a.recomputed:.2f}"
            for a in mine
            if not a.agrees
        ]
        return "; ".join(off) or None

    def _cells_behind(self, row: ReportedRow, average: ReportedColumn) -> list[float]:
        wanted = (average.task, average.metric, average.threshold)
        pairs = zip(self.columns, row.cells, strict=True)
        return [v for c, v in pairs if c.group and (c.task, c.metric, c.threshold) == wanted and v is not None]


def read_table(path: Path) -> ReportedTable:
    """Read one transcribed table.

    Raises:
        ConfigError: unknown keys, rows of another length than the columns, or a name unlike the file's.
    """
    table = read_dataclass(ReportedTable, path)
    if table.name != path.stem:
        raise ConfigError(f"{path}: name {quoted(table.name)} must equal the file's name")
    return table


@per_include
def reported_tables() -> list[ReportedTable]:
    """Every transcribed table, by file name; those of included folders last."""
    return [load_table(name) for name in yaml_files("leaderboards", "reported") if name not in _OTHER_FILES]


def load_table(name: str) -> ReportedTable:
    """A shipped or included table by name; an included one passes `check_table`.

    Raises:
        UnknownNameError, ConfigError: no such table, or a bad file.
    """
    path = find_yaml("leaderboards", "reported", name)
    table = read_table(path)
    if origin(path) != SHIPPED:
        check_table(table, str(path))
    return table


def check_table(table: ReportedTable, where: str) -> None:
    """Refuse what the form of a table does not show: unknown groups, averages that are off and not flagged.

    Args:
        table: a transcribed table.
        where: its file, for the message.

    Raises:
        UnknownNameError: its protocol does not exist.
        ConfigError: a column of no unseen group of the protocol, or a printed average that is not the mean of its
            cells in a row without `mismatch`, or `mismatch` where it is.
    """
    known = [group.key for group in load_protocol(table.protocol).unseen]
    for column in table.columns:
        if column.group and column.group not in known:
            raise ConfigError(f"{where}: columns: no unseen group {quoted(column.group)} in {table.protocol}; {known}")
    off = {id(average.row): average for average in table.averages() if not average.agrees}
    for row in table.rows:
        average = off.get(id(row))
        if average is not None and not row.mismatch:
            means = f"printed {average.printed:.2f}, mean of its {average.cells} cells {average.recomputed:.2f}"
            raise ConfigError(f"{where}: rows: {row.printed}: {means}; compare the cells, or say so in `mismatch`")
        if average is None and row.mismatch:
            raise ConfigError(f"{where}: rows: {row.printed}: `mismatch`, yet every printed average recomputes")


def reported_scores(protocol: str) -> list[ReportedScore]:
    """What papers printed for a protocol in their main tables; ablations are left out."""
    tables = [table for table in reported_tables() if table.protocol == protocol and table.is_main]
    return [score for table in tables for score in table.scores()]
