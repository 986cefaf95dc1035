"""The result of a build: counts, the first refusals, and remarks for the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import RefusedInputsError, quoted
from dfad_bench.data.manifest import OK, Manifest
from dfad_bench.ingest.plan import Plan, counts_of, first_refusals
from dfad_bench.ingest.sources.base import Listing, counts_as_overlooked
from dfad_bench.ingest.sources.spec import DatasetSpec
from dfad_bench.ingest.survey import COMPLETE, coverage
from dfad_bench.ingest.survey_notes import advice

_EXAMPLES = 10


@dataclass(frozen=True)
class BuildReport:
    """The result of a build. `counts`: images by generator and status; `ignored`: files left out, by reason."""

    out: Path
    dataset: str
    counts: dict[str, dict[str, int]]
    rows: int
    refused: int
    reasons: list[dict[str, Any]]  # the first refusals: origin, status, reason, rows
    ignored: dict[str, int]
    ignored_examples: dict[str, list[str]]
    files: int = 0  # images and videos that were listed
    overlooked: int = 0  # pictures, videos, archives and folders left out, but for those left out on purpose
    notes: tuple[str, ...] = ()
    parts_built: int = 0
    parts_kept: int = 0
    parts_missing: int = 0  # parts that other shards still have to make; 0: the manifest is finished
    manifest_sha256: str = ""

    def check_refused(self, most: float) -> None:
        """Raise if more than the fraction `most` of the inputs was refused, or of the files left out.

        Raises:
            RefusedInputsError: with the fraction and the first reason.
        """
        state = f"{self.parts_missing} parts to come" if self.parts_missing else "complete"
        if self.rows and self.refused / self.rows > most:
            first = f"; first: {quoted(self.reasons[0]['origin'])}: {self.reasons[0]['status']}" if self.reasons else ""
            first += next((f"; {note}" for note in self.notes if "--follow-links" in note), "")
            raise RefusedInputsError(
                f"{self.out}: {state}, but {self.refused} of {self.rows} images were refused "
                f"({self.refused / self.rows:.1%}, limit {most:.1%}){first}"
            )
        share = self.overlooked / max(1, self.files + self.overlooked)
        if share > most:
            reasons = ((number, why) for why, number in self.ignored.items() if counts_as_overlooked(why))
            raise RefusedInputsError(
                f"{self.out}: {state}, but {self.overlooked} of {self.files + self.overlooked} files were left out "
                f"({share:.1%}, limit {most:.1%}); most: {max(reasons)[1]}. List under `skip` of the dataset file what "
                "is not meant to be read, or raise --max-refused"
            )


def make_report(
    out: Path,
    spec: DatasetSpec,
    listing: Listing,
    manifest: Manifest | None,
    plan: Plan,
    *,
    missing: list[str],
    built: int,
    kept: int,
    limit: int | None,
) -> BuildReport:
    """Count the parts that are present (all but `missing`) and collect the remarks."""
    absent = set(missing)
    parts = [out / name for name, _ in plan.parts if name not in absent]
    counts = counts_of(parts)
    notes = _shortfalls(spec, listing)
    if limit is not None:
        notes.append(f"limited to {limit:,} images of each generator and split")
    if missing:
        notes.append(
            f"{len(parts)} of {len(plan.parts)} parts are present; the shard that makes the last one finishes the "
            f"manifest, or `dfad merge-manifests --out {out}` does"
        )
    return BuildReport(
        out=out,
        dataset=spec.name,
        counts=counts,
        rows=sum(sum(row.values()) for row in counts.values()),
        refused=sum(number for row in counts.values() for status, number in row.items() if status != OK),
        reasons=first_refusals(parts, _EXAMPLES),
        ignored=dict(sorted(listing.ignored.items())),
        ignored_examples=listing.examples,
        files=len(listing.samples),
        overlooked=listing.overlooked,
        notes=(*listing.notes, *advice(listing), *notes),
        parts_built=built,
        parts_kept=kept,
        parts_missing=len(missing),
        manifest_sha256=manifest.sha256 if manifest else "",
    )


def _shortfalls(spec: DatasetSpec, listing: Listing) -> list[str]:
    """A line for each generator whose number of files is not that of the release."""
    return [
        f"{row.generator}: {row.verdict} ({row.found:,} {spec.expected_of} found)"
        for row in coverage(spec, listing)
        if row.generator in spec.expected and not row.verdict.startswith(COMPLETE)
    ]
