"""What is independent in a gaze study: sources (videos, identities, targets), not faces.

Frames of one video have nearly one gaze, so that 16 of them say little more than one. All numbers of a study that
speak of chance (floor, intervals, means, tests) count sources. How few are too few for an interval was found by
simulation: `benchmarks/gaze_coverage.py --few`, with its result in `benchmarks/results/gaze_sources.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.data.pools import qualified, videos

if TYPE_CHECKING:
    import pandas as pd

LEAST_SOURCES = 10  # of equal size, on either side, for the interval of a distance
LEAST_FLOOR_SOURCES = 5  # real ones, for a floor
LEAST_PAIR_SOURCES = {"cosine_2d": 30, "cosine_3d": 10, "angle_rad": 8}  # for the interval of a mean over pairs
ENOUGH_SOURCES = 10  # a generator with fewer does not enter means and tests where others have more


def sources_of(rows: pd.DataFrame) -> np.ndarray:
    """The source (n,) of each face: its `source_key` with the dataset in front, where it has none the face itself."""
    if "source_key" not in rows:
        return rows["sample_id"].to_numpy(dtype=str)
    return qualified(rows).to_numpy(dtype=str)


def with_videos(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a manifest with a `source_key` for frames of videos that name none: the video.

    Args:
        rows: columns dataset, source_key, origin, frame.
    """
    keys = rows["source_key"]
    return rows.assign(source_key=keys.where(keys.notna(), videos(rows)))
