"""A tiny tree of synthetic faces, drawn once a test session and copied to whoever asks."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

import pandas as pd

from dfad_bench.synthetic import synthesize


def synthetic_tree(folder: Path, per_group: int = 6, seed: int = 0) -> Path:
    """Fill `folder` with synthetic faces, copied from the cache, and return it; it is yours to change."""
    shutil.copytree(_cached(per_group, seed), folder, dirs_exist_ok=True)
    return Path(folder)


def synthetic_truth(folder: Path) -> pd.DataFrame:
    """The ground truth of a synthetic tree."""
    return pd.read_parquet(Path(folder) / "ground_truth.parquet")


class _Kept:
    folder: tempfile.TemporaryDirectory[str] | None = None


@cache
def _cached(per_group: int, seed: int) -> Path:
    if _Kept.folder is None:
        _Kept.folder = tempfile.TemporaryDirectory(prefix="synthetic-faces-")  # removed when Python ends
    out = Path(_Kept.folder.name) / f"{per_group}-{seed}"
    synthesize(out, per_group=per_group, seed=seed)
    return out
