"""One row of a gaze study: a generator compared with real faces."""

from __future__ import annotations

from dataclasses import dataclass

from dfad_bench.gaze.fid import FidStudy
from dfad_bench.gaze.pairs import PairStudy


@dataclass(frozen=True)
class GeneratorGaze:
    """The results of one generator of one dataset."""

    dataset: str
    generator: str
    forgery: str
    family: str
    reals: str  # the real faces it is compared with: a dataset, or "all"
    found: int  # forged faces with a gaze
    dropped: int  # forged faces without
    low_confidence: float | None  # share of the compared forged faces with a confidence below 0.5
    head_only: float | None  # share whose gaze is the head direction only; None where flags are not given
    fid: FidStudy
    pairs: PairStudy
    refused: int = 0  # forged faces without a crop, hence without an estimate
    fid_verdict: str = ""  # why there is no distance, "" where there is one
    faces_sha256: str = ""  # hash of the compared ids: real ones, an empty line, forged ones, each sorted
