"""What a build is asked to do; each setting is written down here only, and `dfad build-manifest` takes it from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dfad_bench.core import bounds
from dfad_bench.core.cores import usable_cores
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.settings import check_settings, documented, option

Engine = Literal["serial", "processes", "ray"]
FRAMES = 32  # of a video, where neither `frames` nor `stride` is given
_MOST_WORKERS = 8


@documented
@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """How the faces of a dataset are cropped into a manifest.

    `engine`, `workers`, `shard` and `item_seconds` change how a build is done; all else changes its result, and a
    folder keeps to it.

    Raises:
        ConfigError: a value no build could use, or both `frames` and `stride`.
    """

    workers: int | None = field(
        default=None,
        metadata=option(
            "Worker processes (default: one per core, at most 8; with Ray one per CPU); 0: no worker process.",
            least=0,
            most=bounds.PROCESSES,
        ),
    )
    engine: Engine = field(
        default="processes",
        metadata=option(
            "Where parts are made. ray: on the cluster RAY_ADDRESS names, else on a local one; needs the extra `ray`."
        ),
    )
    shard: tuple[int, int] | None = field(
        default=None,
        metadata=option(
            "Make only every N-th part from the I-th on (I from 0): one of N jobs, on hosts that share --out.",
            metavar="I/N",
        ),
    )
    device: str = field(
        default="cpu",
        metadata=option(
            "Device of the face detector: cpu, cuda or cuda:N. Results differ in the last digits: use one only."
        ),
    )
    limit: int | None = field(
        default=None, metadata=option("Most images or videos of each generator and split.", least=1, most=bounds.FACES)
    )
    crop: str | None = field(
        default=None, metadata=option("Crop profile by name or YAML path (default: the dataset's).")
    )
    generator: str | None = field(
        default=None, metadata=option("Generator of all files, for --dataset images and videos.")
    )
    frames: int | None = field(
        default=None,
        metadata=option("Frames of each video, evenly spaced (default: 32).", least=1, most=bounds.FACES),
    )
    stride: int | None = field(
        default=None, metadata=option("Instead of --frames: take every N-th frame.", least=1, most=bounds.FACES)
    )
    only: Mapping[str, str] = field(
        default_factory=dict,
        metadata=option(
            "Files whose path holds this value of a field of the dataset's paths, as in compression=c40.",
            metavar="FIELD=VALUE",
        ),
    )
    from_deepfakebench: Path | None = field(
        default=None,
        metadata=option("A JSON of DeepfakeBench that lists the frames; its paths begin in --root."),
    )
    prefixes: Mapping[str, str] = field(
        default_factory=dict,
        metadata=option(
            "Replace the beginning OLD of listed paths by NEW (empty: by nothing), for lists of another computer.",
            flag="--map-prefix",
            metavar="OLD=NEW",
        ),
    )
    labels: Mapping[str, str] = field(
        default_factory=dict,
        metadata=option(
            "Meaning of label values without a name, as in 0=real,1=fake; in place of fake also who made them.",
            metavar="VALUE=NAME",
        ),
    )
    follow_links: bool = field(
        default=False,
        metadata=option("Read files and folders that links in --root lead to elsewhere; each one once."),
    )
    shard_size: int = field(default=256, metadata=option("Images per part.", least=1, most=bounds.BATCH))
    item_seconds: float = field(
        default=60.0,
        metadata=option("Seconds after which an image is refused.", flag=None, above=0, most=60 * bounds.MINUTES),
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.frames is not None and self.stride is not None:
            raise ConfigError("BuildSettings: give frames or stride, not both")

    @property
    def processes(self) -> int:
        """Parts that are made at a time; 0 with Ray stands for as many as its cluster has CPUs."""
        if self.workers is not None:
            return self.workers
        return 0 if self.engine == "ray" else min(usable_cores(), _MOST_WORKERS)
