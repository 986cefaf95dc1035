"""Settings of `run_report`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dfad_bench.core.errors import ConfigError
from dfad_bench.engine.settings import ViewSettings


@dataclass(frozen=True)
class RunReportSettings:
    """What a report shows and how.

    Attributes:
        figures: names of `report.run_figures.registry.FIGURES`; all where none is given.
        style: sizes: "screen", or "paper", the columns of a two-column paper with 8-point text.
        seed: of t-SNE, bands and histograms by chance.
        faces_per_group: most embeddings of a group in the map, 1 or more.
        heat_faces: faces of a group behind a mean heat-map, 1 or more.
        device: where heat-maps are computed.
        views: settings of views the models need, where they are not those they were trained with.
    """

    figures: tuple[str, ...] = ()
    style: Literal["screen", "paper"] = "screen"
    seed: int = 0
    faces_per_group: int = 500
    heat_faces: int = 8
    device: str = "cpu"
    views: ViewSettings = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("faces_per_group", "heat_faces"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ConfigError(f"{name}: {getattr(self, name)}, expected 1 to 1,000,000")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed: {self.seed}, expected 0 to {2**32 - 1}")
