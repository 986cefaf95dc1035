"""The real face each forged one was made from, as pixels, for views that compare the two (masks of a forgery)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pair_table import with_pairs
from dfad_bench.views.base import Faces


class TargetCrops:
    """Targets of some faces of a manifest, by the pairs stored beside it, decoded once and mapped into memory.

    Args:
        manifest: of the forged faces.
        manifests: where the real ones may be.
        sample_ids: the forged faces whose targets are needed.
        side: to which the targets are resized.
    """

    def __init__(self, manifest: Manifest, manifests: Sequence[Manifest], sample_ids: Sequence[str], side: int) -> None:
        rows = with_pairs(manifest, manifest.frame(["sample_id", "target_id", "pair_confidence"]))
        rows = rows[rows["sample_id"].isin(set(sample_ids)) & rows["target_id"].notna()]
        columns = ["sample_id", "dataset", "crop_sha256"]
        known = pd.concat([other.frame(columns) for other in manifests], ignore_index=True)
        reals = known[known["sample_id"].isin(set(rows["target_id"]))]
        here = rows[rows["target_id"].isin(set(reals["sample_id"]))]
        self._target = dict(zip(here["sample_id"], here["target_id"], strict=True))
        self._store = CropStore.open(reals, manifests, side) if len(reals) else None

    def added_to(self, faces: Faces) -> Faces:
        """The same faces with `targets` (N, side, side, 3) and `has_target`."""
        targets = np.zeros((len(faces), faces.side, faces.side, 3), np.uint8)
        found = [row for row, name in enumerate(faces.sample_ids) if name in self._target]
        if self._store is not None and found:
            names = [self._target[faces.sample_ids[row]] for row in found]
            targets[found] = self._store.array[self._store.places(names)]
        has_target = np.zeros(len(faces), bool)
        has_target[found] = True
        return replace(faces, targets=targets, has_target=has_target)
