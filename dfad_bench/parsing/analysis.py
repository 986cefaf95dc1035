"""Parsing maps of real compared with forged faces, by generator: FID (BMRL Figs. 2 and 7), means, test of the claim.

The statistics are those of the gaze study (`dfad_bench.gaze`): faces are chosen by a hash of their id, chance is
counted over sources, real faces of the same dataset come first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.errors import ManifestError
from dfad_bench.core.labels import FAKE, REAL, ForgeryType
from dfad_bench.gaze.backends import Distance
from dfad_bench.gaze.claims import Claim, ClaimTest, check_claims
from dfad_bench.gaze.families import ENOUGH_FACES, Drawn, GroupDistance, group_distances, rows_with_enough_faces
from dfad_bench.gaze.fid import Measured, Side, measure_distance
from dfad_bench.gaze.scopes import Scope, Settings, choose_rows, equal_count, ids_hash, scopes_of
from dfad_bench.gaze.sources import LEAST_SOURCES, sources_of

if TYPE_CHECKING:
    import pandas as pd

CLAIMS = (Claim("parsing-fid", "BMRL, Figs. 2 and 7", nearer="gan", farther="diffusion"),)
PLACE = "place"  # column: the row of a face in the matrix of vectors, -1 where it has none


@dataclass(frozen=True)
class GeneratorParsing:
    """The results of one generator of one dataset."""

    dataset: str
    generator: str
    forgery: str
    family: str
    reals: str  # the real faces it is compared with: a dataset, or "all"
    found: int  # forged faces with a map
    without: int  # forged faces without
    measured: Measured = field(repr=False)
    verdict: str = ""  # why there is no distance, "" where there is one
    faces_sha256: str = ""  # hash of the compared ids: real ones, an empty line, forged ones, each sorted

    @property
    def distance(self) -> float | None:
        """See `gaze.rows.ComparedGenerator`."""
        return self.measured.value

    @property
    def debiased(self) -> float | None:
        """See `gaze.rows.ComparedGenerator`."""
        return self.measured.debiased

    @property
    def faces(self) -> int:
        """See `gaze.rows.ComparedGenerator`."""
        return self.measured.n

    @property
    def effective_sources(self) -> int:
        """See `gaze.rows.ComparedGenerator`."""
        return self.measured.sources_effective


@dataclass(frozen=True)
class ParsingReport:
    """Rows by dataset, forgery and generator; means over generators; the test of the paper's claim; notes."""

    rows: tuple[GeneratorParsing, ...]
    groups: tuple[GroupDistance, ...]
    claims: tuple[ClaimTest, ...]
    notes: tuple[str, ...]

    def flat(self) -> list[dict[str, Any]]:
        """One flat dict of plain values per row: for tables, CSV and JSON; `fid` is the distance."""
        names = {"value": "fid"}
        return [
            {
                **{key: value for key, value in vars(row).items() if key != "measured"},
                **{names.get(key, key): value for key, value in vars(row.measured).items()},
            }
            for row in self.rows
        ]


def compare_maps(
    frame: pd.DataFrame,
    vectors: np.ndarray,
    distance: Distance,
    *,
    samples: int,
    seed: int,
    resamples: int,
    equal_n: bool,
) -> ParsingReport:
    """Compare the maps of each generator's faces with those of real faces.

    Args:
        frame: a row a face: sample_id, dataset, generator, forgery, family, detection_label, `PLACE`, and source_key
            where known.
        vectors: (n, d) features of maps.
        distance: of Gaussians over them.
        samples: most faces on each side.
        seed: of every choice and resample.
        resamples: of the sources; 0: neither floors nor intervals.
        equal_n: the same number of faces for all generators, else as many as each has.

    Raises:
        ManifestError: there are no real or no forged faces with a map.
    """
    frame = frame.sort_values("sample_id", kind="stable")
    seen = frame[frame[PLACE] >= 0]
    reals, fakes = (seen[seen["detection_label"] == label] for label in (REAL, FAKE))
    for what, faces in (("real", reals), ("forged", fakes)):
        if faces.empty:
            raise ManifestError(f"no {what} face with a parsing map in these manifests; add one that has (--manifest)")

    def compared(rows: pd.DataFrame) -> Side:
        return Side(vectors[rows[PLACE].to_numpy()], sources_of(rows))

    settings = Settings(samples, seed, resamples, distance)
    forged = frame[frame["detection_label"] == FAKE]
    scopes = scopes_of(reals, forged["dataset"].unique(), settings, compared)
    groups = {(str(key[0]), str(key[1])): of for key, of in forged.groupby(["dataset", "generator"], observed=True)}  # type: ignore[index]  # of two columns
    counts = [int((of[PLACE] >= 0).sum()) for of in groups.values()]
    n = equal_count([len(scopes[key[0]].rows) for key in groups], counts, samples)
    rows, drawn = [], {}
    for (key, of), count in zip(groups.items(), counts, strict=True):
        scope = scopes[key[0]]
        side = min(n if equal_n else min(samples, len(scope.rows)), count)
        row, drawn[key] = _compare_generator(of, side, scope, settings, compared)
        rows.append(row)
    order = [kind.value for kind in ForgeryType]
    rows.sort(key=lambda row: (row.dataset, order.index(row.forgery), row.generator))
    sentences = tuple(_notes(rows, n if equal_n else None, settings))
    claims = check_claims(rows, claims=CLAIMS, seed=seed)
    return ParsingReport(tuple(rows), group_distances(rows, drawn), claims, sentences)


def _compare_generator(
    every: pd.DataFrame, side: int, scope: Scope, settings: Settings, compared: Any
) -> tuple[GeneratorParsing, Drawn]:
    seen = every[every[PLACE] >= 0]
    real, fake = scope.choose(side, settings.seed), choose_rows(seen, side, settings.seed)
    sides = compared(real), compared(fake)
    enough = side >= 2
    floor = scope.side.floor(sides[0].shape, sides[1].shape) if enough else None
    drawn = scope.side.distances(*sides) if enough else np.zeros(0)
    first = every.iloc[0]
    row = GeneratorParsing(
        dataset=str(first["dataset"]),
        generator=str(first["generator"]),
        forgery=str(first["forgery"]),
        family=str(first["family"]),
        reals=scope.name,
        found=len(seen),
        without=len(every) - len(seen),
        measured=measure_distance(*sides, floor, drawn, distance=settings.distance),
        verdict="" if enough else f"only {len(seen)} with a map" if side == len(seen) else f"only {side} real",
        faces_sha256=ids_hash(real, fake),
    )
    return row, Drawn(drawn, frozenset(sides[1].sources.tolist()))


def _notes(rows: list[GeneratorParsing], n: int | None, settings: Settings) -> Iterator[str]:
    limit = f"(at most {settings.samples:,}, by hash, seed {settings.seed})"
    if n is None:
        yield f"Distances on as many faces a side as each generator has {limit}: compare each with its own floor."
    else:
        yield f"Distances on {n:,} real and {n:,} forged faces a generator {limit}."
        if few := [f"{_name(row)} ({row.faces})" for row in rows if 2 <= row.faces < n]:
            yield f"Fewer faces, so a higher floor of their own: {', '.join(few)}."
        if n < ENOUGH_FACES:
            yield f"Fewer than {ENOUGH_FACES} faces a side: read distances only against their floor."
    if pooled := sorted({row.dataset for row in rows if row.reals == "all"}):
        yield f"Compared with all real faces, having none or too few of their own: {', '.join(pooled)}."
    if settings.resamples:
        yield (
            "Floor: mean distance of two draws of real faces with as many sources and faces as the two sides have. The"
            " interval (95 %, over sources) is of the distance less its sampling bias; either needs"
            f" {LEAST_SOURCES} sources of equal size a side, and faces that vary."
        )
    else:
        yield (
            "Not resampled: no floor, no interval, and no sampling bias taken off, so that generators of fewer sources"
            " look farther from real faces, and a family of such generators, too."
        )
    within = {(row.dataset, row.generator) for row in rows_with_enough_faces(rows)}
    few = [_name(row) for row in rows if row.distance is not None and (row.dataset, row.generator) not in within]
    if few:
        yield f"Too few faces or sources to enter group means and tests: {', '.join(few)}."
    if without := sum(row.without for row in rows):
        yield f"{without:,} forged faces without a map are left out."
    for row in rows:
        if row.verdict:
            yield f"{_name(row)}: {row.verdict}; a distance needs two faces a side."


def _name(row: GeneratorParsing) -> str:
    return f"{row.dataset}/{row.generator}"
