"""A model that reads the gaze, its estimator and prompts: loose pictures get the very numbers of its run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.toy import toy_protocol
from helpers.training import run_training

import dfad_bench as dfad
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.report.run_record import build_record
from dfad_bench.views.provider import ViewProvider


@pytest.mark.heavy
def test_a_model_that_reads_gaze_answers_as_in_its_run(tiny_manifests: tuple[Path, Path], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    opened, run = [dfad.open_manifest(path) for path in tiny_manifests], tmp_path / "run"
    views = ViewProvider(opened, {})
    run_training("gazeclip", toy_protocol(image_size=64), opened, run, size="tiny", device="cpu", epochs=1, views=views)
    build_record(run, resamples=0)
    kept = pd.read_parquet(RunFolder(run).predictions).set_index("sample_id")
    known = opened[0].frame(["sample_id", "origin"]).set_index("sample_id")
    kept = kept.join(known, how="inner")
    assert len(kept) >= 6
    paths = [str(Path(tiny_manifests[0]).parent / "faces" / origin) for origin in kept["origin"]]
    rows = [row for row in dfad.predict(paths, run, device="cpu", top=3) if row["kind"] == "face"]
    assert [row["input"] for row in rows] == paths
    assert np.isfinite([row["yaw_rad"] for row in rows]).any()  # there is a gaze to read
    assert np.abs(np.array([row["p_fake"] for row in rows]) - kept["p_fake"]).max() < 1e-6
    for row, (_, face) in zip(rows, kept.iterrows(), strict=True):
        expected = sorted((float(face[f"p_{k}"]) for k in range(3)), reverse=True)
        assert [one["probability"] for one in row["top"]] == pytest.approx(expected, abs=1e-6)
