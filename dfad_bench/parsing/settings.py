"""What a parsing study is asked to do, written down here only; `dfad parsing-fid` takes it from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dfad_bench.core import bounds
from dfad_bench.core.settings import check_settings, documented, option
from dfad_bench.gaze.settings import LEAST_DRAWN

Features = Literal["shares", "inception"]
Histogram = Literal["component", "parts"]


@documented
@dataclass(frozen=True, kw_only=True)
class ParsingStudySettings:
    """Which faces a parsing study compares, by what of their maps, and what its figures show.

    `generators` and `min_faces` choose for the figures only: tables and files have every generator.

    Raises:
        ConfigError: a value no study could use; names the field.
    """

    features: Features = field(
        default="shares",
        metadata=option(
            "What is compared of a map: shares (ours, no network: square roots of each part's share of the pixels) or"
            " inception (as FID is defined: 2,048 features of the coloured map; needs weights)."
        ),
    )
    fid_weights: str | None = field(
        default=None,
        metadata=option("Inception's file for --features inception, by name or path.  [default: pt_inception]"),
    )
    histogram: Histogram = field(
        default="component",
        metadata=option(
            "What the histogram shows, which BMRL does not say: component (the first principal one of all compared"
            " features) or parts (the share of brows, eyes, nose, mouth and lips)."
        ),
    )
    side: int = field(
        default=224, metadata=option("Side of the maps, in pixels; BMRL's P has 224.", least=16, most=bounds.SIDE)
    )
    samples: int = field(
        default=10_000,
        metadata=option("Most real and most forged faces per generator.", least=2, most=bounds.FACES),
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
            "Faces from which on figures draw a generator's bar; with fewer they say how many.",
            least=LEAST_DRAWN,
            most=bounds.FACES,
        ),
    )
    device: str = field(default="auto", metadata=option("Where networks run: auto, cpu, cuda or cuda:N."))
    seed: int = field(default=0, metadata=option("Every random choice follows from it.", least=0, most=bounds.SEED))

    def __post_init__(self) -> None:
        check_settings(self)
