"""Faces outside of any protocol, embedded by a finished run: those of a manifest, or pictures in a folder.

Pictures in a folder are taken for crops already, as a release of crops has them, and are only resized; models that read
views need a manifest.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, listed
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_outputs import Outputs
from dfad_bench.data.crop_profiles import refuse_others
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.images import ImageRefused, decode_image, formats_of
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.face_predictor import FacePredictor
from dfad_bench.engine.load import LoadedRun, trained_faces
from dfad_bench.views.provider import ViewProvider

MOST_FILES = 10_000
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class EmbeddedFaces:
    """Outputs of loose faces, the names of their files, why others were refused, and what a reader must know."""

    run: LoadedRun
    outputs: Outputs
    names: tuple[str, ...]
    refused: dict[str, str]
    warnings: tuple[str, ...]


def embed_faces(
    run: Path,
    faces: Path | Manifest,
    *,
    device: str = "auto",
    views: ViewProvider | None = None,
    most: int = MOST_FILES,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> EmbeddedFaces:
    """Logits and embeddings of faces by the weights of a finished run.

    Args:
        run: its folder.
        faces: a folder of pictures that are face crops, or a manifest.
        device: where to compute: auto, cpu, cuda or cuda:N.
        views: makes the views the model needs, of a manifest.
        most: the most faces taken.
        progress: shows predicting.

    Raises:
        ConfigError: not a finished run, no usable faces, too many, or a model that needs views of a folder.
        ProtocolError: a manifest cropped otherwise than the faces the run learnt from.
    """
    opened = FacePredictor.open(run, device)
    protocol, needs = opened.loaded.protocol, opened.needs
    if isinstance(faces, Manifest):
        refuse_others(protocol, [faces], read_facts(opened.files.facts)["manifest"].get("made") or {}, str(run))
        found = _of_manifest(faces, protocol.image_size, most, progress)
    elif needs.views:
        raise ConfigError(f"{faces}: {needs.display} reads {', '.join(needs.views)}; give a manifest of these faces")
    else:
        found = _of_folder(faces, protocol.image_size, most)
    rows = found.rows
    ids = rows["sample_id"].tolist()
    if views is not None and needs.views:
        views.follow({name: values for name, values in needs.view_settings.items() if name in needs.views})
    sources = {name: views.source(name, ids, protocol.image_size) for name in needs.views} if views is not None else {}
    made, lacking = opened.predict(rows, found.store, sources, progress)
    lines = (*found.warnings, *lacking, *_known_faces(opened.files, rows))
    return EmbeddedFaces(opened.loaded, made.outputs, found.names, found.refused, lines)


@dataclass(frozen=True)
class _FoundFaces:
    """Faces to embed: their rows, crops and names, why others were refused, and what a reader must know."""

    rows: pd.DataFrame
    store: CropStore
    names: tuple[str, ...]
    refused: dict[str, str]
    warnings: tuple[str, ...] = ()


def _of_manifest(manifest: Manifest, side: int, most: int, progress: Progress) -> _FoundFaces:
    rows = manifest.frame(["sample_id", "dataset", "crop_sha256", "source_key", "origin"])
    _check_count(len(rows), most, str(manifest.folder))
    store = CropStore.open(rows, [manifest], side, cache="none", progress=progress)
    return _FoundFaces(rows, store, tuple(rows["origin"].astype(str)), {})


def _of_folder(folder: Path, side: int, most: int) -> _FoundFaces:
    crops, names, refused = read_pictures(folder, side, most)
    keys = [hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16] for name in names]
    hashes = [hashlib.sha256(crop.tobytes()).hexdigest() for crop in crops]
    rows = pd.DataFrame({"sample_id": keys, "source_key": keys, "crop_sha256": hashes})
    line = "pictures are taken for face crops as they are, and each file for a source of its own"
    return _FoundFaces(rows, CropStore(np.stack(crops), keys), tuple(names), refused, (line,))


def read_pictures(folder: Path, side: int, most: int) -> tuple[list[np.ndarray], list[str], dict[str, str]]:
    """Square pictures below a folder as (side, side, 3) uint8, their names, and why others were refused.

    Raises:
        ConfigError: no folder, too many files, or none that can be used.
    """
    from PIL import Image

    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of face pictures")
    paths: list[Path] = []
    for place_, folders, files in os.walk(folder):  # links to folders are not followed
        folders.sort()
        paths += [Path(place_) / name for name in sorted(files) if name.lower().endswith(_SUFFIXES)]
        _check_count(len(paths), most, str(folder), least=0)
    crops, names, refused = [], [], {}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            picture = decode_image(path, formats=formats_of(path.name))
        except ImageRefused as error:
            refused[name] = f"{error.status}: {error.reason}"
            continue
        if picture.width != picture.height:
            refused[name] = f"not_a_crop: {picture.width}x{picture.height} is not square"
            continue
        resized = picture if picture.width == side else picture.resize((side, side), Image.Resampling.LANCZOS)
        crops.append(np.asarray(resized, dtype=np.uint8))
        names.append(name)
    if not crops:
        why = f" ({listed(sorted(set(refused.values())), 2, '; ')})" if refused else ""
        raise ConfigError(
            f"{folder}: no picture that is a face crop{why}; `dfad build-manifest --dataset images` crops faces"
        )
    return crops, names, refused


def _check_count(count: int, most: int, where: str, least: int = 1) -> None:
    if not least <= count <= most:
        raise ConfigError(f"{where}: {count} faces; {max(least, 1)} to {most:,} can be taken")


def _known_faces(files: RunFolder, rows: pd.DataFrame) -> list[str]:
    """A line where the run was trained on some of these faces, or on faces of their sources."""
    sources, pixels = trained_faces(files)
    known = rows["source_key"].isin(sources) | rows["crop_sha256"].isin(pixels)
    return (
        [f"{int(known.sum())} of {len(rows)} faces share a source or pixels with training faces"] if known.any() else []
    )
