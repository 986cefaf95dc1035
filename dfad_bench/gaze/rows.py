"""One row of a study: a generator compared with real faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dfad_bench.gaze.fid import FidStudy
from dfad_bench.gaze.pairs import PairStudy


class ComparedGenerator(Protocol):
    """What means over generators and tests of claims read of a generator, whatever was compared."""

    @property
    def dataset(self) -> str:
        """Of the forged faces."""

    @property
    def generator(self) -> str:
        """Its name."""

    @property
    def forgery(self) -> str:
        """Forgery type."""

    @property
    def family(self) -> str:
        """Family of generators."""

    @property
    def distance(self) -> float | None:
        """From real faces; None where there is none."""

    @property
    def debiased(self) -> float | None:
        """The distance less its sampling bias, below zero where that is larger."""

    @property
    def faces(self) -> int:
        """Compared on each side."""

    @property
    def effective_sources(self) -> int:
        """Of equal size, on the side that has fewer."""


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

    @property
    def distance(self) -> float | None:
        """See `ComparedGenerator`; square radians."""
        return self.fid.fid_rad2

    @property
    def debiased(self) -> float | None:
        """See `ComparedGenerator`; square radians."""
        return self.fid.debiased_rad2

    @property
    def faces(self) -> int:
        """See `ComparedGenerator`."""
        return self.fid.n

    @property
    def effective_sources(self) -> int:
        """See `ComparedGenerator`."""
        return self.fid.sources_effective
