"""How faces of pictures are predicted; each setting is written down here only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dfad_bench.core import bounds
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.settings import check_settings, documented, option
from dfad_bench.ingest.media.base import Sampling

FRAMES = 32  # of a video, as in manifests


@documented
@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """How pictures and videos are read, and what is said of their faces.

    Raises:
        ConfigError: a value that nothing could use, or both `frames` and `stride`.
    """

    device: str = field(
        default="auto", metadata=option("Where to compute: auto (a GPU where there is one), cpu, cuda, cuda:N or mps.")
    )
    crop: str | None = field(
        default=None,
        metadata=option("Crop profile by name or YAML path (default: that of the faces the run learnt from)."),
    )
    frames: int | None = field(
        default=None,
        metadata=option("Frames of each video, evenly spaced (default: 32).", least=1, most=bounds.FACES),
    )
    stride: int | None = field(
        default=None, metadata=option("Instead of --frames: take every N-th frame.", least=1, most=bounds.FACES)
    )
    top: int = field(default=3, metadata=option("Classes that are named with their probability.", least=1, most=1000))
    most_faces: int = field(
        default=32,
        metadata=option("Faces of a picture, the biggest first; the others are counted.", least=1, most=1000),
    )
    stability: bool = field(
        default=False,
        metadata=option(
            "Ask again about each picture delivered in eight other ways; unsure where two turn the verdict."
        ),
    )
    estimator: str | None = field(
        default=None, metadata=option("Gaze estimator (default: geometric); none: no gaze.", metavar="NAME")
    )
    gallery: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Generator enrolled in the run (`dfad enroll`) that faces may be named by; all: every one.", metavar="NAME"
        ),
    )
    annotate: Path | None = field(
        default=None,
        metadata=option("New folder for pictures with boxes, labels and gaze drawn into them.", metavar="DIR"),
    )
    heat_maps: bool = field(
        default=False,
        metadata=option("With --annotate: draw what the first run's detection expert looks at."),
    )
    plot: Path | None = field(
        default=None, metadata=option("New folder for a timeline of each video, as SVG.", metavar="DIR")
    )
    skip: int = field(
        default=0,
        metadata=option("Leave the first N inputs out: go on with an interrupted call.", least=0, most=bounds.FACES),
    )
    item_seconds: float = field(
        default=60.0,
        metadata=option("Seconds after which a picture is refused.", flag=None, above=0, most=60 * bounds.MINUTES),
    )

    @property
    def sampling(self) -> Sampling:
        """Which frames of a video are taken."""
        frames = self.frames or (FRAMES if self.stride is None else None)
        return Sampling(frames=frames, stride=self.stride)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.frames is not None and self.stride is not None:
            raise ConfigError("PredictSettings: give frames or stride, not both")
        if self.heat_maps and self.annotate is None:
            raise ConfigError("PredictSettings: heat_maps are drawn into pictures; give annotate (--annotate DIR)")
