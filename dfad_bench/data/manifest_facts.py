"""Facts of a record about its faces: the manifests, the rows chosen from them, and the leaks that were kept out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dfad_bench.core.record import ManifestFacts, SplitFacts
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pools import sources_of
from dfad_bench.data.select import Selection, manifests_hash, rows_hash


def manifest_facts(
    manifests: Sequence[Manifest], selection: Selection, leakage: Mapping[str, int | None] | None = None
) -> ManifestFacts:
    """The manifests, the rows chosen from them, and the leaks that were kept out.

    `exact_duplicates_train_test` counts what is left after dropping, which is none; what was dropped is beside it, and
    `leakage`, which is known from elsewhere.
    """
    parts = {"train": selection.train, "validation": selection.validation, "unlabelled": selection.unlabelled}
    parts["test"] = selection.tested
    trained = selection.trained_on
    keys = set(sources_of(trained)) & set(sources_of(parts["test"]))
    pixels = set(trained["crop_sha256"].dropna()) & set(parts["test"]["crop_sha256"].dropna())
    return ManifestFacts(
        name="+".join(sorted({manifest.name for manifest in manifests})),
        content_sha256=manifests_hash(manifests),
        rows=sum(int(manifest.info["rows"]) for manifest in manifests),
        splits={name: split_facts(rows) for name, rows in parts.items() if len(rows)},
        leakage={
            "exact_duplicates_train_test": len(pixels),
            "near_duplicates_train_test": None,
            "identity_overlap": len(keys),
            "dropped_training_rows": selection.dropped_leaks,
            "dropped_exact_duplicates": selection.dropped_duplicates,
            **(leakage or {}),
        },
        made=_dataset_and_crop_versions(manifests),
    )


def _dataset_and_crop_versions(manifests: Sequence[Manifest]) -> dict[str, dict[str, Any]]:
    """What each dataset's manifest says it was made by; of several, what they have in common."""
    found: dict[str, dict[str, Any]] = {}
    for manifest in manifests:
        dataset, crop = manifest.info["dataset"], manifest.info.get("crop") or {}
        about = {f"dataset_{key}": dataset.get(key) for key in ("version", "sha256")}
        about |= {"crop": crop.get("name"), "crop_version": crop.get("version"), "crop_sha256": crop.get("sha256")}
        about = {key: value for key, value in about.items() if isinstance(value, str | int)}
        known = found.get(manifest.name, about)
        found[manifest.name] = {key: value for key, value in about.items() if known.get(key) == value}
    return {name: about for name, about in found.items() if about}


def split_facts(rows: pd.DataFrame) -> SplitFacts:
    """The rows of one part: how many of each group, and their hash."""
    counts = {str(key): int(n) for key, n in rows["group"].value_counts().sort_index().items()}
    return SplitFacts(len(rows), rows_hash(rows), counts)
