"""Contact sheets: a row of faces for each generator, and the examples of an audit side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.escape import one_line
from dfad_bench.core.files import atomic_path
from dfad_bench.data.audit.findings import Face, Finding, Findings
from dfad_bench.data.images import SHEET
from dfad_bench.data.manifest import Manifest

SIDE = 112  # side of a face, pixels
_LABEL = 240  # width of the name in front of a row, pixels
_GAP = 4
_CELL = 200  # width of a face with its caption, pixels
_CAPTION = 46
_HEADING = 26
LETTERS = 29  # letters per line of a caption


def contact_sheet(manifests: Sequence[Manifest], path: Path, *, faces: int = 8) -> Path:
    """Draw up to `faces` faces of each group (dataset and generator), chosen by `sample_id`, as PNG.

    Raises:
        ConfigError: `path` is not a .png file, or there are no faces.
    """
    from PIL import Image, ImageDraw, ImageFont

    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: the contact sheet must be a .png file")
    rows = [row for manifest in manifests for row in _rows(manifest, faces)]
    if not rows:
        raise ConfigError(f"{path}: no faces to draw; all were refused")
    step = SIDE + _GAP
    sheet = Image.new("RGB", (_LABEL + faces * step + _GAP, len(rows) * step + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for index, (dataset, generator, count, crops) in enumerate(rows):
        top = _GAP + index * step
        name = f"{one_line(generator)}\n{one_line(dataset)}, {count:,} faces"
        draw.text((8, top + SIDE // 2 - 20), name, fill="black", font=font)
        for column, crop in enumerate(crops):
            sheet.paste(_thumbnail(crop), (_LABEL + column * step, top))
    with atomic_path(path) as temporary:
        _save(sheet, temporary)
    return path


def findings_sheets(manifests: Sequence[Manifest], found: Sequence[Findings], folder: Path) -> list[Path]:
    """Draw one PNG for each check with examples: a heading per remark, a row per set of faces.

    A face that was refused has no crop and is drawn as a grey square.

    Args:
        manifests: the audited manifests, in the same order.
        found: result of the audit.
        folder: folder for the files `<check>.png`.
    """
    wanted: dict[int, set[str]] = {}
    for face in (face for item in found for face in _faces(item.remarks) if face.drawable):
        wanted.setdefault(face.manifest, set()).add(face.sample_id)
    crops = {
        (number, crop.sample_id): crop.pixels()
        for number, identities in wanted.items()
        for crop in manifests[number].crops(identities)
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for item in found:
        shown = [remark for remark in item.remarks if remark.examples]
        if shown:
            paths.append(draw_sheet(item.title, shown, crops, folder / f"{item.check}.png"))
    return paths


def draw_sheet(title: str, remarks: Sequence[Finding], crops: Mapping[tuple[int, str], np.ndarray], path: Path) -> Path:
    """Draw remarks with their examples into a .png file; `crops` by number of the manifest and sample."""
    with atomic_path(path) as temporary:
        _save(_draw_remarks(title, remarks, crops), temporary)
    return path


def draw_faces(title: str, faces: Sequence[tuple[np.ndarray, Sequence[str]]], path: Path, *, columns: int = 6) -> Path:
    """Draw faces in rows, each above its caption, as PNG.

    Args:
        title: drawn above all.
        faces: a crop (H, W, 3) uint8 and the lines of its caption, at most three.
        path: of the picture.
        columns: faces in a row.
    """
    from PIL import Image, ImageDraw, ImageFont

    step, rows = SIDE + _CAPTION + _GAP, -(-len(faces) // columns)
    font, small = ImageFont.load_default(size=14), ImageFont.load_default(size=11)
    title = one_line(title)
    width = max(min(columns, len(faces)) * _CELL, int(font.getlength(title)) + 16)
    sheet = Image.new("RGB", (width + _GAP, _HEADING + rows * step + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 4), title, fill="black", font=font)
    for place, (crop, lines) in enumerate(faces):
        left, top = _GAP + place % columns * _CELL, _HEADING + place // columns * step
        sheet.paste(_thumbnail(crop), (left, top))
        draw.text((left, top + SIDE + 1), _shortened(lines), fill="black", font=small)
    with atomic_path(path) as temporary:
        _save(sheet, temporary)
    return path


def _save(sheet: Any, temporary: Path) -> None:
    """Save a sheet as PNG, marked so that a build that finds it in its source refuses it."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Software", SHEET)
    sheet.save(temporary, "PNG", pnginfo=text)


def _faces(remarks: Sequence[Finding]) -> list[Face]:
    return [face for remark in remarks for example in remark.examples for face in example]


def _draw_remarks(title: str, remarks: Sequence[Finding], crops: Mapping[tuple[int, str], np.ndarray]) -> Any:
    from PIL import Image, ImageDraw, ImageFont

    columns = max(len(example) for remark in remarks for example in remark.examples)
    step = SIDE + _CAPTION + _GAP
    height = _HEADING * (1 + len(remarks)) + step * sum(len(remark.examples) for remark in remarks) + _GAP
    font, small = ImageFont.load_default(size=14), ImageFont.load_default(size=11)
    title = one_line(title)
    texts = [one_line(f"{remark.severity}: {remark.text}") for remark in remarks]
    width = max(columns * _CELL, *(int(font.getlength(text)) + 16 for text in [title, *texts]))
    sheet = Image.new("RGB", (width + _GAP, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 4), title, fill="black", font=font)
    top = _HEADING
    for remark, text in zip(remarks, texts, strict=True):
        draw.text((8, top + 4), text, fill="black", font=font)
        top += _HEADING
        for example in remark.examples:
            for column, face in enumerate(example):
                left = _GAP + column * _CELL
                crop = crops.get((face.manifest, face.sample_id))
                sheet.paste(
                    Image.new("RGB", (SIDE, SIDE), "lightgrey") if crop is None else _thumbnail(crop), (left, top)
                )
                draw.text((left, top + SIDE + 1), _caption(face), fill="black", font=small)
            top += step
    return sheet


def _caption(face: Face) -> str:
    where = face.origin if face.frame is None else f"{face.origin} #{face.frame}"
    return _shortened((face.group, face.side, where))


def _shortened(lines: Sequence[str]) -> str:
    """Lines of a caption, each cut at its front to the width of a face."""
    shown = [one_line(line) for line in lines if line]
    return "\n".join(line if len(line) <= LETTERS else "…" + line[1 - LETTERS :] for line in shown)


def _thumbnail(crop: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _rows(manifest: Manifest, faces: int) -> list[tuple[str, str, int, list[np.ndarray]]]:
    frame = manifest.frame(["sample_id", "generator"])
    chosen = {str(name): list(group["sample_id"][:faces]) for name, group in frame.groupby("generator")}
    sizes = frame["generator"].value_counts()
    wanted = [identity for ids in chosen.values() for identity in ids]
    crops = {crop.sample_id: crop.pixels() for crop in manifest.crops(wanted)}
    return [
        (manifest.name, name, int(sizes[name]), [crops[identity] for identity in ids])
        for name, ids in sorted(chosen.items(), key=lambda item: (item[0] != "real", item[0]))
    ]
