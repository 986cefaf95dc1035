"""A contact sheet of what a build refused, drawn from the source folder: a manifest keeps no picture of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import safe_relative
from dfad_bench.data.audit.findings import Face, Finding
from dfad_bench.data.contact_sheet import SIDE, draw_sheet
from dfad_bench.data.images import ImageRefused, decode_image, formats_of
from dfad_bench.data.manifest import OK, Manifest

_MOST = 12  # pictures of a status
_COLUMNS = ("sample_id", "generator", "split", "origin", "frame", "status", "reason")


def refused_sheet(manifests: Sequence[Manifest], roots: Sequence[Path], path: Path, *, most: int = _MOST) -> Path:
    """Draw up to `most` refused pictures of each status, by origin, with generator, reason and origin below.

    Only image files are drawn; a grey square stands for any other, and for one that is missing or does not decode.

    Args:
        manifests: whose refused rows are shown.
        roots: the source folder of each, as given to the build.
        path: the .png file.
        most: pictures of a status in a manifest.

    Raises:
        ConfigError: another number of folders than of manifests, or nothing was refused.
    """
    if len(manifests) != len(roots):
        raise ConfigError(f"--refused: {len(roots)} folders for {len(manifests)} manifests; give one each, in order")
    remarks: list[Finding] = []
    pictures: dict[tuple[int, str], np.ndarray] = {}
    for number, (manifest, root) in enumerate(zip(manifests, roots, strict=True)):
        rows = manifest.frame(_COLUMNS, status=None)
        rows = rows[rows["status"] != OK].sort_values(["origin", "sample_id"])
        for status, group in rows.groupby("status"):
            shown = group.head(most)
            faces = [_face(number, row) for row in shown.to_dict("records")]
            remarks.append(Finding("info", f"{manifest.name}: {status}, {len(group):,} rows", _lines(faces)))
            found = {face.sample_id: _picture(root, face) for face in faces}
            pictures |= {(number, name): image for name, image in found.items() if image is not None}
    if not remarks:
        raise ConfigError(f"{path}: nothing was refused, so there is nothing to draw")
    return draw_sheet("Refused", remarks, pictures, path)


def _lines(faces: Sequence[Face], width: int = 4) -> tuple[tuple[Face, ...], ...]:
    return tuple(tuple(faces[start : start + width]) for start in range(0, len(faces), width))


def _face(number: int, row: Mapping[Any, Any]) -> Face:
    frame = row["frame"]
    return Face(
        manifest=number,
        sample_id=str(row["sample_id"]),
        group=str(row["generator"]),
        side=str(row["reason"] or ""),
        origin=str(row["origin"]),
        frame=None if frame is None or frame != frame else int(frame),  # NaN beside others that have one
        drawable=False,
    )


def _picture(root: Path, face: Face) -> np.ndarray | None:
    from PIL import ImageOps

    try:
        image = decode_image(safe_relative(root, face.origin), formats=formats_of(face.origin))
    except (ImageRefused, ConfigError, OSError, ValueError):
        return None
    return np.asarray(ImageOps.pad(image, (SIDE, SIDE), color="lightgrey"))
