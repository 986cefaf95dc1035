"""What a study of distances is asked to do; each setting is written down here only, and commands take it from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dfad_bench.core import bounds
from dfad_bench.core.settings import check_settings, documented, option

FidBackend = Literal["closed-form", "pytorch-fid"]
LEAST_DRAWN = 4  # faces of a side: a Gaussian through three or fewer is more chance than gaze


@documented
@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Which faces a study of distances compares, of gaze or of parsing maps, and what its figures show.

    `generators` and `min_faces` choose for the figures only: tables and files have every generator.

    Raises:
        ConfigError: a value no study could use; names the field.
    """

    samples: int = field(
        default=10_000,
        metadata=option("Most real and most forged faces (or pairs) per generator.", least=2, most=bounds.FACES),
    )
    equal_n: bool = field(
        default=True,
        metadata=option(
            "The same number of faces for all generators, or all faces of each.", flag="--equal-n/--no-equal-n"
        ),
    )
    generators: tuple[str, ...] = field(
        default=(), metadata=option("Generators in the figures, separated by commas.  [default: all]", metavar="NAMES")
    )
    min_faces: int = field(
        default=LEAST_DRAWN,
        metadata=option(
            "Faces from which on figures draw a generator; with fewer they say how many.",
            least=LEAST_DRAWN,
            most=bounds.FACES,
        ),
    )
    device: str = field(default="auto", metadata=option("Where to compute: auto, cpu, cuda or cuda:N."))
    seed: int = field(default=0, metadata=option("Every random choice follows from it.", least=0, most=bounds.SEED))

    def __post_init__(self) -> None:
        check_settings(self)


@documented
@dataclass(frozen=True, kw_only=True)
class GazeSettings(StudySettings):
    """Which faces a gaze study compares, how, and what its figures show; see `StudySettings`."""

    fid_backend: FidBackend = field(
        default="closed-form",
        metadata=option("The closed form in two dimensions, or pytorch-fid's function: equal values, slower."),
    )
