"""Tables of gaze with a known truth, for tests of the study."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dfad_bench.gaze.backends import Distance, closed_form_2d
from dfad_bench.gaze.fid import FidStudy, RealSide, Side, study_fid

REAL_SD = np.array([0.08, 0.15])


def gaze_frame(
    counts: dict[str, int],
    *,
    reals: int = 400,
    shift: dict[str, float] | None = None,
    dataset: str = "toy",
    seed: int = 0,
) -> pd.DataFrame:
    """Real faces, and per generator as many forged ones, their yaw shifted; swaps keep their target's gaze.

    Names that begin with "swap" or "edit" get a real target each, the others are entirely synthesised.
    """
    rng = np.random.default_rng(seed)
    real_ids = [f"{dataset}-real-{i:04d}" for i in range(reals)]
    gaze = rng.standard_normal((reals, 2)) * REAL_SD
    frames = [_rows(real_ids, gaze, dataset, "real", "none", "none", 0, None)]
    for name, count in counts.items():
        moved = np.array([0.0, (shift or {}).get(name, 0.0)])
        ids = [f"{dataset}-{name}-{i:04d}" for i in range(count)]
        if name.startswith(("swap", "edit")):
            targets = rng.integers(0, reals, count)
            values = gaze[targets] + moved + rng.standard_normal((count, 2)) * 0.01
            forgery = "FS" if name.startswith("swap") else "AM"
            frames.append(_rows(ids, values, dataset, name, forgery, "gan", 1, [real_ids[t] for t in targets]))
        else:
            values = rng.standard_normal((count, 2)) * REAL_SD + moved
            frames.append(_rows(ids, values, dataset, name, "EFS", "diffusion", 1, None))
    return pd.concat(frames, ignore_index=True)


def study_of(
    real: np.ndarray, fake: np.ndarray, *, resamples: int = 200, seed: int = 0, distance: Distance = closed_form_2d
) -> FidStudy:
    """The distance of faces (n, 2) that are a source each."""
    sides = Side.of_single(real, "real"), Side.of_single(fake, "fake")
    scope = RealSide("toy", sides[0], seed=seed, resamples=resamples, distance=distance)
    return study_fid(*sides, None, scope.distances(*sides) if len(fake) > 1 else np.zeros(0), distance=distance)


def _rows(
    ids: list[str],
    gaze: np.ndarray,
    dataset: str,
    generator: str,
    forgery: str,
    family: str,
    label: int,
    targets: list[str] | None,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": ids,
            "dataset": dataset,
            "generator": generator,
            "forgery": forgery,
            "family": family,
            "detection_label": label,
            "target_id": targets if targets is not None else [None] * len(ids),
            "pitch_rad": gaze[:, 0],
            "yaw_rad": gaze[:, 1],
            "confidence": 0.9,
            "flags": 0,
        }
    )
