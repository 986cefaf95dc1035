"""Crops on which a file is compared with torch: of manifests, else drawn faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ManifestError
from dfad_bench.data.crop_storage import resized_pixels
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pools import ranks
from dfad_bench.synthetic.faces import draw_face
from dfad_bench.synthetic.layout import planned_paths

CROPS = 24  # faces that are compared


def drawn_crops(side: int, count: int = CROPS) -> np.ndarray:
    """(count, side, side, 3) uint8: portraits of different people and stand-in generators, the same at every call."""
    paths = pd.Series(planned_paths(per_group=2))
    chosen = paths[np.argsort(ranks(paths, "export").to_numpy(), kind="stable")[:count]]
    return np.stack([resized_pixels(draw_face(0, path)[0], side) for path in chosen])


def manifest_crops(manifests: Sequence[Manifest], side: int, count: int = CROPS) -> np.ndarray:
    """(n, side, side, 3) uint8: at most `count` crops of manifests, chosen by the hash of their names.

    Raises:
        ManifestError: they hold no face.
        IntegrityError: a crop is not what its row states.
    """
    names = [manifest.frame(["sample_id"])["sample_id"] for manifest in manifests]
    known = pd.concat(names, ignore_index=True) if names else pd.Series(dtype=str)
    chosen = set(known.iloc[np.argsort(ranks(known, "export").to_numpy(), kind="stable")[:count]])
    if not chosen:
        raise ManifestError("no faces to compare the file on; give manifests with crops, or none")
    each = zip(manifests, names, strict=True)
    found = [crop for manifest, own in each for crop in manifest.crops(chosen & set(own))]
    return np.stack([resized_pixels(crop.pixels(), side) for crop in found])
