"""The trace of a run (`trace.csv`): one row for each step, one column for each loss."""

from __future__ import annotations

import csv
from pathlib import Path

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.files import atomic_write

_FIRST = ("step", "stage", "epoch", "lr", "loss")
_LAST = ("gradient_norm", "validation")


class Trace:
    """Rows of a run, kept in memory and written whole at checkpoints, so the file never runs ahead of them.

    Args:
        path: the CSV file.
        upto: steps a resumed run goes on from; later rows of the file are forgotten. None starts empty.

    Raises:
        IntegrityError: the file of a resumed run is no trace.
    """

    def __init__(self, path: Path, upto: int | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if upto is not None and path.is_file():
            try:
                with path.open(encoding="utf-8", newline="") as file:
                    read = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file, strict=True)]
                if any(None in row for row in read):
                    raise ValueError("a row has more values than there are columns")
                self.rows = [row for row in read if int(row["step"]) <= upto]
            except (csv.Error, ValueError, LookupError, OSError) as error:
                why = ascii(str(error))[1:-1][:160]
                raise IntegrityError(f"{path}: damaged or changed ({why}); --no-resume starts again") from error

    def add(self, **values: object) -> None:
        """Add the row of a step; floats are written so that they read back equal."""
        self.rows.append({key: repr(v) if isinstance(v, float) else str(v) for key, v in values.items()})

    def note(self, **values: float) -> None:
        """Add columns to the last row."""
        self.rows[-1].update({key: repr(value) for key, value in values.items()})

    @property
    def losses(self) -> list[str]:
        """Names of all losses so far, over all stages."""
        return list(dict.fromkeys(key for row in self.rows for key in row if key not in (*_FIRST, *_LAST)))

    def write(self) -> None:
        """Write all rows; columns are the union over stages."""
        with atomic_write(self.path, "w") as file:
            writer = csv.DictWriter(file, [*_FIRST, *self.losses, *_LAST], restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
