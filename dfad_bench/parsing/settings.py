"""What a parsing study is asked to do, written down here only; `dfad parsing-fid` takes it from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dfad_bench.core import bounds
from dfad_bench.core.settings import documented, option
from dfad_bench.gaze.settings import StudySettings

Features = Literal["shares", "inception"]
Histogram = Literal["component", "parts"]


@documented
@dataclass(frozen=True, kw_only=True)
class ParsingStudySettings(StudySettings):
    """Which faces a parsing study compares, by what of their maps, and what its figures show; see `StudySettings`."""

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
