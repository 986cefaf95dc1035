"""Claims of papers about training, tested on runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.api.runs import Run, runs_of
from dfad_bench.core.errors import UnknownNameError
from dfad_bench.report.claim_tables import claim_tables
from dfad_bench.report.claims_of_papers import CLAIMS
from dfad_bench.report.compare import RESAMPLES
from dfad_bench.report.run_claims import ClaimResult, check_run_claim
from dfad_bench.report.table import Table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ClaimTested:
    """A claim tested on runs: rows with verdicts, and the tables that are printed."""

    result: ClaimResult
    tables: list[Table] = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """A row a scope and number."""
        import pandas as pd

        return pd.DataFrame([vars(row) for row in self.result.rows])


def check_claim(name: str, runs: Sequence[Run], *, resamples: int = RESAMPLES, seed: int = 0) -> ClaimTested:
    """Test a claim of a paper on finished runs: is the lift over all models different from zero?

    Args:
        name: `dfacc-over-vcc`, `dfacc-lifts` or `classes-ease-detection`.
        runs: folders of runs, or of runs of several seeds, or loaded runs, of both sides in any order: models with and
            without what is claimed to help.
        resamples: of the paired bootstrap over sources.
        seed: of the paired bootstrap.

    Returns:
        A row a number for all models together and for each, with interval, Holm's p and verdict: "as claimed",
        "opposite of what is claimed", "undecided", or "not testable" and why.

    Raises:
        UnknownNameError: no such claim.
        ConfigError: not finished runs, runs that cannot be compared, or no pair among them.
    """
    if name not in CLAIMS:
        raise UnknownNameError("claim", name, CLAIMS)
    folders: list[Path] = [folder for run in runs for folder in runs_of(run)]
    result = check_run_claim(CLAIMS[name], folders, resamples=resamples, seed=seed)
    return ClaimTested(result, claim_tables(CLAIMS[name], result))
