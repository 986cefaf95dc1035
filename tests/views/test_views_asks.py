"""What a view asks for to be made of, against slow and plain computations: crops, landmarks, targets, columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.toy import SIDE, toy_face, toy_row

from dfad_bench.core.errors import ConfigError
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.pair_table import write_pairs
from dfad_bench.data.view_source import ViewValues
from dfad_bench.views import provider
from dfad_bench.views.base import Faces, View
from dfad_bench.views.provider import ViewProvider

FACES = 5


class Difference(View):
    """Where a forged face differs from its target."""

    name, meaning, kind, dtype, when = "difference", "absolute difference", "image", "uint8", "training"
    asks = ("crops", "targets")

    def shape(self, side: int) -> tuple[int, ...]:
        return (3, side, side)

    def make(self, faces: Faces) -> ViewValues:
        assert faces.crops is not None
        assert faces.targets is not None
        assert faces.has_target is not None
        assert faces.landmarks is None
        apart = np.abs(faces.crops.astype(int) - faces.targets.astype(int)).astype(np.uint8)
        return ViewValues(apart.transpose(0, 3, 1, 2).copy(), faces.has_target)


class Points(View):
    """Landmarks in the crop, where they are known, and the number of the frame."""

    name, meaning, kind, dtype = "points", "x, y of five points, scale, frame", "vector", "float32"
    asks = ("crops", "landmarks")
    columns = ("frame",)

    def shape(self, side: int) -> tuple[int, ...]:
        return (12,)

    def make(self, faces: Faces) -> ViewValues:
        assert faces.landmarks is not None
        assert faces.source_scale is not None
        frames = faces.rows["frame"].to_numpy(float)
        values = np.concatenate([faces.landmarks.reshape(-1, 10), faces.source_scale[:, None], frames[:, None]], axis=1)
        return ViewValues(values.astype(np.float32), np.isfinite(values).all(axis=1))


def row(generator: str, number: int, **changes: Any) -> dict[str, Any]:
    return toy_row("synthetic", generator, "train", number, 0, frame=number, **changes)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Real and forged faces, cut at half the size of their source from (10, 20) on; one has no landmarks."""
    found = {"landmarks": [float(k) for k in range(10, 30, 2)], "crop_affine": [0.5, 0, -5, 0, 0.5, -10]}
    rows = [row("real", number, **found) for number in range(FACES)]
    rows += [row("synthetic-gan-a", number, **(found if number else {})) for number in range(FACES)]
    return write_manifest(tmp_path / "synthetic", "synthetic", rows)


def source(manifest: Manifest, view: View, ids: list[str]) -> Any:
    return ViewProvider([manifest], views={view.name: view}).source(view.name, ids, SIDE)


def test_targets_are_the_real_faces_of_the_pairs(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "BATCH", 3)
    about = manifest.frame(["sample_id", "generator", "source_key"])
    real, forged = (about[about["generator"] == name].sort_values("source_key") for name in ("real", "synthetic-gan-a"))
    pairs = pd.DataFrame(
        {"sample_id": forged["sample_id"].tolist()[:-1], "target_id": real["sample_id"].tolist()[:-1],
         "source_id": None, "pair_confidence": 1.0, "method": "name", "margin": None}
    )  # fmt: skip
    write_pairs(manifest, pairs, [manifest])
    ids = about["sample_id"].tolist()
    view = source(manifest, Difference(), ids)
    values = view.gather(np.arange(len(ids)), lambda: None).numpy()
    for place in range(len(ids)):
        number = int(about["source_key"][place].removeprefix("id"))
        paired = about["generator"][place] != "real" and number < FACES - 1
        assert view.present[place] == paired
        faces = [toy_face(generator, number, 0).astype(int) for generator in ("synthetic-gan-a", "real")]
        expected = np.abs(faces[0] - faces[1]).transpose(2, 0, 1) if paired else np.zeros((3, SIDE, SIDE))
        assert np.array_equal(values[place], expected)


def test_landmarks_are_in_pixels_of_the_crop_stored_or_live(manifest: Manifest) -> None:
    about = manifest.frame(["sample_id", "generator", "frame"])
    ids = about["sample_id"].tolist()
    without = about[(about["generator"] != "real") & (about["frame"] == 0)]["sample_id"].item()
    found = source(manifest, Points(), ids)
    values = found.gather(np.arange(len(ids)), lambda: None).numpy()
    plain = [c for x in range(10, 30, 4) for c in (0.5 * x - 5, 0.5 * (x + 2) - 10)]
    for place, name in enumerate(ids):
        expected = [0] * 12 if name == without else [*plain, 2, about["frame"][place]]
        assert values[place].tolist() == pytest.approx(expected)
    assert found.present.tolist() == [name != without for name in ids]
    views = ViewProvider([manifest], views={"points": Points()})
    live = views.live_view("points", ids, np.zeros((len(ids), 2 * SIDE, 2 * SIDE, 3), np.uint8), SIDE)
    assert np.array_equal(live.present, found.present)
    assert isinstance(live.values, np.ndarray)
    assert np.allclose(live.values[:, :10], 2 * values[:, :10]), "crops of twice the size"
    assert np.allclose(live.values[:, 10], values[:, 10] / 2)


def test_what_needs_targets_is_not_made_from_corrupted_crops(manifest: Manifest) -> None:
    views = ViewProvider([manifest], views={"difference": Difference()})
    with pytest.raises(ConfigError, match="'difference' of corrupted faces, and nothing makes it from their crops"):
        views.check_live(["difference"])
