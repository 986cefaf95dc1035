from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfad_bench.data.corruptions.spec import corrupt, corruptions
from dfad_bench.data.images import decode_crop
from dfad_bench.data.manifest import Manifest
from dfad_bench.gaze.live import LiveGaze
from dfad_bench.gaze.table import COLUMNS, extract


@pytest.fixture(scope="module")
def faces(tiny_manifests: tuple[Path, Path]) -> tuple[list[Manifest], list[str], np.ndarray]:
    manifests = [Manifest.open(folder) for folder in tiny_manifests]
    pairs = []
    for manifest in manifests:
        ids = manifest.frame(["sample_id"])["sample_id"].tolist()[:6]
        pairs += [(name, decode_crop(png)) for name, png in manifest.images(set(ids))]
    return manifests, [name for name, _ in pairs], np.stack([crop for _, crop in pairs])


def test_untouched_crops_get_the_gaze_of_the_table(faces) -> None:
    manifests, samples, crops = faces
    live = LiveGaze(manifests, "geometric")("gaze", samples, crops)
    assert tuple(live.columns) == COLUMNS
    for manifest in manifests:
        table = extract(manifest, "geometric").set_index("sample_id")
        mine = [k for k, name in enumerate(samples) if name in table.index]
        assert mine
        for column in ("pitch_rad", "yaw_rad"):
            expected = table.loc[[samples[k] for k in mine], column]
            assert np.allclose(live[column].to_numpy()[mine], expected, equal_nan=True, atol=1e-6)


def test_enlarged_crops_look_the_same_way_and_noisy_ones_do_not(faces) -> None:
    manifests, samples, crops = faces
    live = LiveGaze(manifests, "geometric")
    before = live("gaze", samples, crops)
    side = 2 * crops.shape[1]
    large = np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in crops])
    after = live("gaze", samples, large)
    apart = np.hypot(after["pitch_rad"] - before["pitch_rad"], after["yaw_rad"] - before["yaw_rad"])
    assert np.degrees(np.nanmedian(apart)) < 2
    noise = corruptions()["gaussian_noise"]
    noisy = np.stack([corrupt(c, noise, 5, sample_id=s) for c, s in zip(crops, samples, strict=True)])
    moved = live("gaze", samples, noisy)
    shift = np.hypot(moved["pitch_rad"] - before["pitch_rad"], moved["yaw_rad"] - before["yaw_rad"])
    assert np.nanmedian(shift) > 2 * np.nanmedian(apart)
