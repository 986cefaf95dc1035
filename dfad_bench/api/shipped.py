"""Versions and hashes of shipped files that only their own packages can read."""

from __future__ import annotations

from functools import cache
from typing import Any

from dfad_bench.core.errors import DFADError
from dfad_bench.core.resources import shipped_names


@cache
def shipped_hash(kind: str, name: str) -> tuple[Any, str] | None:
    """Version and hash of a shipped dataset (`datasets`) or crop profile (`crops`); None for other names."""
    if name not in shipped_names("manifests", kind):
        return None
    try:
        if kind == "crops":
            from dfad_bench.ingest.crop.cropper import load_crop_profile

            profile = load_crop_profile(name)
            return profile.version, profile.sha256
        from dfad_bench.ingest.sources.spec import load_dataset_spec

        spec = load_dataset_spec(name)
        return spec.version, spec.sha256
    except DFADError:  # a broken folder is included: shipped files cannot be recognised then
        return None
