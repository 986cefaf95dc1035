"""The real face behind each forged one: found, stored beside the manifest, counted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.api.manifests import open_manifest, open_manifests
from dfad_bench.core.labels import FAKE
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pair_table import write_pairs

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("name", "key", "compared")


@dataclass(frozen=True, repr=False)
class PairedFaces:
    """What `infer_pairs` found.

    Attributes:
        manifest: the manifest with the forged faces; its folder holds the table now.
        pairs: a row a forged face that has a pair: `sample_id`, `target_id`, `pair_confidence` (0.5 to 1), `method`.
        unpaired: forged faces without one, by generator: `reason`, `faces`, and `wanted`, the names that would have to
            be added.
        rows: by forged generator: faces, pairs, pairs by method, and their mean confidence.
    """

    manifest: Manifest
    pairs: pd.DataFrame
    unpaired: pd.DataFrame
    rows: tuple[dict[str, Any], ...]

    def __repr__(self) -> str:
        return f"PairedFaces({self.manifest.name}: {len(self.pairs)} pairs)"


def infer_pairs(
    manifest: Path | str | Manifest,
    reals: Sequence[Path | str | Manifest] | Path | str | Manifest = (),
    *,
    dataset: str | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> PairedFaces:
    """Find the real face each forged one was made from, and store the table beside the manifest.

    Targets given by file names are looked up; where a name allows two candidates, the surroundings of the forged face
    are compared with both.

    Args:
        manifest: folder with the forged faces, or the open manifest.
        reals: manifests with real faces; none is `manifest` itself.
        dataset: name or YAML file of the dataset, where the manifest was built by a file of one's own.
        progress: shows the crops that are compared.

    Returns:
        Pairs, and what has none and why.

    Raises:
        ManifestError: not a finished manifest, or no real faces.
        UnknownNameError: no such dataset.
    """
    from dfad_bench.ingest.pairs import infer_pairs as find_pairs
    from dfad_bench.ingest.sources.spec import declared_generators, load_dataset_spec
    from dfad_bench.ingest.unpaired import count_unpaired

    forged = open_manifest(manifest)
    real = open_manifests(reals) or [forged]  # type: ignore[arg-type]
    with declared_generators(dataset) if dataset else nullcontext():
        spec = load_dataset_spec(dataset) if dataset else None
        pairs = find_pairs(forged, real, spec=spec, progress=progress)
        write_pairs(forged, pairs, real)
        return PairedFaces(forged, pairs, count_unpaired(forged, pairs, real, spec=spec), _rows(forged, pairs))


def _rows(manifest: Manifest, pairs: pd.DataFrame) -> tuple[dict[str, Any], ...]:
    faces = manifest.frame(["sample_id", "generator", "detection_label"])
    faces = faces[faces["detection_label"] == FAKE].merge(pairs, on="sample_id", how="left")
    rows = []
    for generator, group in faces.groupby("generator", observed=True):
        methods = group["method"].value_counts()
        found = int(group["target_id"].notna().sum())
        row: dict[str, Any] = {"generator": str(generator), "faces": len(group), "pairs": found}
        row |= {name: int(methods.get(name, 0)) for name in METHODS}
        row["confidence"] = round(float(group["pair_confidence"].mean()), 4) if found else None
        rows.append(row)
    return tuple(rows)
