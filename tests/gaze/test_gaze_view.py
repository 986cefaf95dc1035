from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfad_bench.data.corruptions.spec import corrupt, corruptions
from dfad_bench.data.images import decode_crop
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.view_source import ViewValues
from dfad_bench.gaze.table import extract
from dfad_bench.views.provider import ViewProvider


@pytest.fixture(scope="module")
def faces(tiny_manifests: tuple[Path, Path]) -> tuple[list[Manifest], list[str], np.ndarray]:
    manifests = [Manifest.open(folder) for folder in tiny_manifests]
    pairs = []
    for manifest in manifests:
        ids = manifest.frame(["sample_id"])["sample_id"].tolist()[:6]
        pairs += [(name, decode_crop(png)) for name, png in manifest.images(set(ids))]
    return manifests, [name for name, _ in pairs], np.stack([crop for _, crop in pairs])


def live_gaze(manifests: list[Manifest], samples: list[str], crops: np.ndarray) -> ViewValues:
    return ViewProvider(manifests).live_view("gaze", samples, crops, 256)


def distance(one: ViewValues, other: ViewValues) -> np.ndarray:
    apart = np.hypot(*(one.values - other.values).T)
    return np.where(one.present & other.present, apart, np.nan)


def test_untouched_crops_get_the_gaze_of_the_table(faces) -> None:
    manifests, samples, crops = faces
    live = live_gaze(manifests, samples, crops)
    assert live.values.shape == (len(samples), 2)
    for manifest in manifests:
        table = extract(manifest, "geometric").set_index("sample_id")
        mine = [k for k, name in enumerate(samples) if name in table.index]
        assert mine
        for number, column in enumerate(("pitch_rad", "yaw_rad")):
            expected = table.loc[[samples[k] for k in mine], column].to_numpy()
            found = np.where(live.present, live.values[:, number], np.nan)[mine]
            assert np.allclose(found, expected, equal_nan=True, atol=1e-6)


def test_enlarged_crops_look_the_same_way_and_noisy_ones_do_not(faces) -> None:
    manifests, samples, crops = faces
    before = live_gaze(manifests, samples, crops)
    side = 2 * crops.shape[1]
    large = np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in crops])
    after = live_gaze(manifests, samples, large)
    apart = distance(after, before)
    assert np.degrees(np.nanmedian(apart)) < 2
    noise = corruptions()["gaussian_noise"]
    noisy = np.stack([corrupt(c, noise, 5, sample_id=s) for c, s in zip(crops, samples, strict=True)])
    moved = live_gaze(manifests, samples, noisy)
    shift = distance(moved, before)
    assert np.nanmedian(shift) > 2 * np.nanmedian(apart)
