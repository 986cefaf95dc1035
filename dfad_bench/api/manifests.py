"""Manifests, opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfad_bench.data.manifest import Manifest


def open_manifest(folder: Path | str | Manifest) -> Manifest:
    """Open a finished manifest.

    Args:
        folder: of the manifest; one that is open already is given back.

    Returns:
        `frame(columns)` gives a row a face as a DataFrame, without pixels; `images(sample_ids)` gives pairs of
        `sample_id` and PNG bytes of the (256, 256, 3) RGB crop.

    Raises:
        ManifestError: missing, unfinished, of another version, or with a part missing.
    """
    return folder if isinstance(folder, Manifest) else Manifest.open(Path(folder))


def open_manifests(folders: Sequence[Path | str | Manifest]) -> list[Manifest]:
    """Open several; one folder alone is taken as a list of one."""
    single = isinstance(folders, Path | str | Manifest)
    listed: Any = [folders] if single else folders
    return [open_manifest(folder) for folder in listed]
