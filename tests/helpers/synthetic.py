"""Tiny trees of synthetic faces, drawn once a test run for all of its workers, and copied to whoever asks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from filelock import FileLock

from dfad_bench.synthetic import synthesize


class _Kept:
    folder: Path | None = None  # of things that are made once; the same for all workers of a test run
    own: tempfile.TemporaryDirectory[str] | None = None  # outside pytest; removed when Python ends


def keep_in(folder: Path) -> None:
    """Have `made_once` use this folder: the temporary folder of a test run."""
    _Kept.folder = folder


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, filled by `make` in one process of a test run; the others wait. Not yours to change."""
    if _Kept.folder is None:
        _Kept.own = tempfile.TemporaryDirectory(prefix="made-once-")
        _Kept.folder = Path(_Kept.own.name)
    folder, done = _Kept.folder / name, _Kept.folder / f"{name}.done"
    with FileLock(_Kept.folder / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


def synthetic_tree(folder: Path, per_group: int = 6, seed: int = 0) -> Path:
    """Fill `folder` with synthetic faces, copied from those made once, and return it; it is yours to change."""
    made = made_once(f"faces-{per_group}-{seed}", lambda out: synthesize(out, per_group=per_group, seed=seed))
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return Path(folder)


def synthetic_truth(folder: Path) -> pd.DataFrame:
    """The ground truth of a synthetic tree."""
    return pd.read_parquet(Path(folder) / "ground_truth.parquet")


def shared_folder(own: Path) -> Path:
    """The folder that all workers of a test run share, from a worker's own temporary folder."""
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
