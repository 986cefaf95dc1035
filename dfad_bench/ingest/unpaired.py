"""Why a forged face has no pair, and which real faces would have to be added."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.processed import processed_rows
from dfad_bench.ingest.pairs import candidates_of, faces_by_name, has_no_target, shipped_spec
from dfad_bench.ingest.sources.spec import DatasetSpec
from dfad_bench.ingest.sources.template import Template

FROM_NOTHING = "made from no face"
NO_RULE = "no rule"  # neither the file name nor the dataset file gives a target
NOT_AT_HAND = "real not at hand"  # the real manifests lack the target, its candidates or the frame
COLUMNS = ["generator", "reason", "faces", "wanted"]


def count_unpaired(
    manifest: Manifest, pairs: pd.DataFrame, reals: Sequence[Manifest], *, spec: DatasetSpec | None = None
) -> pd.DataFrame:
    """Forged faces of `manifest` without a row in `pairs`, counted by generator and reason.

    Args:
        manifest: with the forged faces.
        pairs: as `infer_pairs` gives them.
        reals: where the real faces are, as `infer_pairs` had them.
        spec: the dataset file of `manifest`; None is the shipped one of its name.

    Returns:
        Columns `generator`, `reason` (of this module), `faces` and `wanted`: names of candidates, as the dataset file
        calls them, that are not among the real faces; sorted.
    """
    spec = spec if spec is not None else shipped_spec(manifest.name)
    entries = [(entry, Template(entry.path)) for entry in spec.entries] if spec else []
    faces = manifest.frame(["sample_id", "generator", "detection_label", "origin", "target_id"])
    faces = faces[(faces["detection_label"] == FAKE) & ~faces["sample_id"].isin(pairs["sample_id"])]
    counts: dict[tuple[str, str], int] = {}
    wanted: dict[tuple[str, str], set[str]] = {}
    for generator, origin, target in zip(faces["generator"], faces["origin"], faces["target_id"], strict=True):
        names: tuple[str, ...] = ()
        if has_no_target(generator):
            reason = FROM_NOTHING
        else:
            names = candidates_of(spec, entries, generator, origin) if spec else ()
            reason = NOT_AT_HAND if pd.notna(target) or len(names) > 1 else NO_RULE
        key = (str(generator), reason)
        counts[key] = counts.get(key, 0) + 1
        wanted.setdefault(key, set()).update(names)
    here = _names_present(reals, set().union(*wanted.values()))
    rows = [(*key, counts[key], sorted(wanted[key] - here)) for key in sorted(counts)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _names_present(reals: Sequence[Manifest], names: set[str]) -> set[str]:
    """Those of `names` that belong to a real video or image."""
    if not names:
        return set()
    real = pd.concat(
        [m.frame(["sample_id", "generator", "detection_label", "origin", "frame", "source_key"]) for m in reals]
    )
    return set(faces_by_name(real[(real["detection_label"] == REAL) & ~processed_rows(real)], names))
