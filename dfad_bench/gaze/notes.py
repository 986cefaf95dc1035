"""Notes to a gaze study: how many faces were compared, with which real faces, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.data.manifest import OK
from dfad_bench.gaze.claims import gaze_is_eyes
from dfad_bench.gaze.estimators.base import GazeFlag
from dfad_bench.gaze.families import ENOUGH_FACES, rows_with_enough_faces
from dfad_bench.gaze.pairs import NO_TARGET
from dfad_bench.gaze.sources import LEAST_SOURCES

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.gaze.rows import GeneratorGaze


def notes(
    rows: Sequence[GeneratorGaze], frame: pd.DataFrame, usable: np.ndarray, *, n: int | None, samples: int, seed: int
) -> Iterator[str]:
    """Sentences under the tables.

    Args:
        rows: rows of the study.
        frame: every face of it.
        usable: which of these have a gaze.
        n: faces on each side if the same for all, else None.
        samples: limit on the number of faces.
        seed: seed of the choice of faces.
    """
    yield from _notes_on_choice(rows, n, samples, seed)
    yield from _notes_on_losses(rows, frame, usable)
    yield from _notes_on_pairs(rows)


def _notes_on_choice(rows: Sequence[GeneratorGaze], n: int | None, samples: int, seed: int) -> Iterator[str]:
    limit = f"(at most {samples:,}, by hash, seed {seed})"
    if n is None:
        yield f"Distances on as many faces a side as each generator has {limit}: compare each with its own floor."
    else:
        yield f"Distances on {n:,} real and {n:,} forged faces a generator {limit}."
        if few := [f"{_name(row)} ({row.fid.n})" for row in rows if 2 <= row.fid.n < n]:
            yield f"Fewer faces, so a higher floor of their own: {', '.join(few)}."
        if n < ENOUGH_FACES:
            yield f"Fewer than {ENOUGH_FACES} faces a side: read distances only against their floor."
    if own := sorted({row.dataset for row in rows if row.reals != "all"}):
        yield f"Compared with the real faces of the same dataset: {', '.join(own)}."
    if pooled := sorted({row.dataset for row in rows if row.reals == "all"}):
        yield f"Compared with all real faces, having none or too few of their own: {', '.join(pooled)}."
    yield (
        "Floor: mean distance of two draws of real faces with as many sources and faces as the two sides have. The"
        " interval (95 %, over sources) is of the distance less its sampling bias. Either needs"
        f" {LEAST_SOURCES} sources of equal size a side, and faces that vary."
    )
    within = {(row.dataset, row.generator) for row in rows_with_enough_faces(rows)}
    few = [_name(row) for row in rows if row.fid.fid_rad2 is not None and (row.dataset, row.generator) not in within]
    if few:
        yield f"Too few faces or sources to enter group means and tests: {', '.join(few)}."
    if heads := [_name(row) for row in rows if not gaze_is_eyes(row)]:
        yield f"Marked *: the gaze is the direction of the head, so not in the test of the claim: {', '.join(heads)}."


def _notes_on_losses(rows: Sequence[GeneratorGaze], frame: pd.DataFrame, usable: np.ndarray) -> Iterator[str]:
    for row in rows:
        if row.fid_verdict:
            lost = f" ({row.refused:,} refused, {row.dropped:,} without a gaze)" if row.refused or row.dropped else ""
            yield f"{_name(row)}: {row.fid_verdict}{lost}; a distance needs two faces a side."
    known = frame["detection_label"] >= 0
    seen = (frame["status"] == OK).to_numpy() if "status" in frame else np.ones(len(frame), dtype=bool)
    if refused := int((~seen & known).sum()):
        yield f"{refused:,} faces were refused when the manifests were built."
    if dropped := int((~usable & seen & known).sum()):
        yield f"{dropped:,} faces without a gaze (no head pose) are left out."
    yield from _notes_on_flags(frame[usable & known])
    named = frame["source_key"].notna() if "source_key" in frame else np.zeros(len(frame), dtype=bool)
    if unnamed := int((usable & known & ~named).sum()):
        yield f"{unnamed:,} faces name no source: each counts as one of its own."
    if unlabelled := int((~known & seen).sum()):
        yield f"{unlabelled:,} faces without a known label are left out."


def _notes_on_flags(faces: pd.DataFrame) -> Iterator[str]:
    """Notes on the flags of faces with a gaze, where flags are given."""
    flags = faces["flags"].to_numpy(dtype=float).astype(int) if "flags" in faces else np.zeros(0, dtype=int)
    if resized := int((flags & GazeFlag.RESIZED.value != 0).sum()):
        yield f"{resized:,} of {len(flags):,} faces have no head pose: not normalised, the whole crop was resized."
    if head_only := int((flags & GazeFlag.HEAD_ONLY.value != 0).sum()):
        yield f"{head_only:,} of {len(flags):,} faces have the head's direction only: eyes too small or cut off."


def _notes_on_pairs(rows: Sequence[GeneratorGaze]) -> Iterator[str]:
    if missing := sum(row.pairs.missing for row in rows):
        yield f"{missing:,} pairs are left out: their real target is not in these manifests or has no gaze."
    if not any(row.pairs.n for row in rows) and any(row.pairs.verdict != NO_TARGET for row in rows):
        yield "No forged face has its target in these manifests: add the manifest of the targets, or infer pairs."


def _name(row: GeneratorGaze) -> str:
    return f"{row.dataset}/{row.generator}"
