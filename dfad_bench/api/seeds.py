"""The mean of several seeds, as it lies beside their runs."""

from __future__ import annotations

from collections.abc import Sequence

from dfad_bench.core.files import write_json
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.run_folder import SeedsFolder
from dfad_bench.report.aggregate import seeds_table
from dfad_bench.report.table import Table


def write_seeds(place: SeedsFolder, records: Sequence[ResultRecord]) -> Table:
    """Write mean and spread of every number of several seeds, and give them as a table.

    Raises:
        ConfigError: the records differ in more than the seed.
    """
    whole = seeds_table(records, every=True)
    write_json(place.summary, {"title": whole.title, "rows": [dict(row) for row in whole.rows]})
    return whole
