"""Whose faces reports and pages may show: those of datasets whose file says so, `show_faces: true`."""

from __future__ import annotations

from dfad_bench.core.errors import DFADError
from dfad_bench.data.manifest import Manifest


def shows_faces(manifest: Manifest) -> bool:
    """Whether the dataset file a manifest was built by, as it is now, lets its faces be shown; never by default."""
    from dfad_bench.ingest.sources.spec import load_dataset_spec

    try:
        spec = load_dataset_spec(manifest.name)
    except DFADError:  # a dataset of another installation
        return False
    return spec.show_faces and spec.sha256 == manifest.info["dataset"].get("sha256")
