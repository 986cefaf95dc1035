"""A contact sheet: a row of faces for each generator, to see at a look whether the crops are right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import atomic_path
from dfad_bench.data.images import decode_crop
from dfad_bench.data.manifest import Manifest

_SIDE = 112  # pixels of a face
_LABEL = 240  # of the name in front of it
_GAP = 4


def contact_sheet(manifests: Sequence[Manifest], path: Path, *, faces: int = 8) -> Path:
    """Draw up to `faces` faces of each group (dataset and generator), chosen by the hash that names them, as PNG.

    Raises:
        ConfigError: `path` is not a .png file, or there are no faces.
    """
    from PIL import Image, ImageDraw, ImageFont

    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: the contact sheet must be a .png file")
    rows = [row for manifest in manifests for row in _rows(manifest, faces)]
    if not rows:
        raise ConfigError(f"{path}: no faces to draw; all were refused")
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (_LABEL + faces * step + _GAP, len(rows) * step + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for index, (dataset, generator, count, crops) in enumerate(rows):
        top = _GAP + index * step
        draw.text((8, top + _SIDE // 2 - 20), f"{generator}\n{dataset}, {count:,} faces", fill="black", font=font)
        for column, crop in enumerate(crops):
            face = Image.fromarray(crop).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            sheet.paste(face, (_LABEL + column * step, top))
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")
    return path


def _rows(manifest: Manifest, faces: int) -> list[tuple[str, str, int, list[np.ndarray]]]:
    frame = manifest.frame(["sample_id", "generator"])
    chosen = {str(name): list(group["sample_id"][:faces]) for name, group in frame.groupby("generator")}
    sizes = frame["generator"].value_counts()
    images = dict(manifest.images([identity for ids in chosen.values() for identity in ids]))
    return [
        (manifest.name, name, int(sizes[name]), [decode_crop(images[identity]) for identity in ids])
        for name, ids in sorted(chosen.items(), key=lambda item: (item[0] != "real", item[0]))
    ]
