"""Forgery masks: by the kind of forgery, by the pair, pixel by pixel; faces that have none; pairs found later."""

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
from dfad_bench.views.provider import ViewProvider
from dfad_bench.views.registry import check_needs, view_class

FACES = 4
SWAP = {"forgery": "FS", "family": "gan"}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    rows = [toy_row("synthetic", "real", "train", k, 0) for k in range(FACES)]
    rows += [toy_row("synthetic", "synthetic-gan-a", "train", k, 0) for k in range(FACES)]
    rows += [toy_row("synthetic", "synthetic-swap-gan", "train", k, 0, **SWAP) for k in range(FACES)]
    return write_manifest(tmp_path / "synthetic", "synthetic", rows)


def pair(manifest: Manifest, count: int) -> None:
    """The first swapped faces with the real faces of their source."""
    about = manifest.frame(["sample_id", "generator", "source_key"])
    real, swapped = (
        about[about["generator"] == name].sort_values("source_key")["sample_id"].tolist()[:count]
        for name in ("real", "synthetic-swap-gan")
    )
    table = {"sample_id": swapped, "target_id": real, "source_id": None, "pair_confidence": 1.0, "method": "name",
             "margin": None}  # fmt: skip
    write_pairs(manifest, pd.DataFrame(table), [manifest])


def masks(manifest: Manifest, **settings: Any) -> tuple[dict[tuple[str, int], np.ndarray], dict[tuple[str, int], bool]]:
    """By generator and number of the face."""
    about = manifest.frame(["sample_id", "generator", "source_key"])
    source = ViewProvider([manifest], {"forgery_mask": settings}).source(
        "forgery_mask", about["sample_id"].tolist(), SIDE
    )
    values = source.gather(np.arange(len(about)), lambda: pytest.fail("a stored view")).numpy()
    keys = [(g, int(k.removeprefix("id"))) for g, k in zip(about["generator"], about["source_key"], strict=True)]
    return dict(zip(keys, values, strict=True)), dict(zip(keys, source.present.tolist(), strict=True))


@pytest.mark.parametrize("threshold", [0.1, pytest.param(0.3, marks=pytest.mark.heavy)])
def test_masks_are_by_kind_and_by_pair(manifest: Manifest, threshold: float) -> None:
    pair(manifest, FACES - 1)
    found, present = masks(manifest, threshold=threshold)
    for (generator, number), mask in found.items():
        assert mask.shape == (1, SIDE, SIDE)
        assert present[generator, number] == (generator != "synthetic-swap-gan" or number < FACES - 1)
        if generator != "synthetic-swap-gan":
            assert set(np.unique(mask)) == {int(generator == "synthetic-gan-a")}
            continue
        forged, real = (toy_face(name, number, 0).astype(int) for name in (generator, "real"))
        for y, x in ((0, 0), (5, 17), (SIDE - 1, 3), (SIDE // 2, SIDE // 2)):
            apart = sum(abs(int(forged[y, x, c]) - int(real[y, x, c])) for c in range(3)) / 3 / 255
            assert mask[0, y, x] == int(present[generator, number] and apart > threshold)


@pytest.mark.heavy
def test_pairs_that_are_found_later_give_masks_later(manifest: Manifest) -> None:
    _, before = masks(manifest)
    assert sum(before.values()) == 2 * FACES
    pair(manifest, FACES)
    _, after = masks(manifest)
    assert all(after.values())


def test_it_is_for_training_alone_and_its_threshold_is_checked() -> None:
    kind = view_class("forgery_mask")
    with pytest.raises(ConfigError, match="training only"):
        check_needs(["forgery_mask"], {"forgery_mask": kind})
    with pytest.raises(ConfigError, match=r"threshold must lie in \[0, 1\), got 1"):
        kind({"threshold": 1.0})
    assert kind({"threshold": 0.2}).fingerprint != kind().fingerprint
