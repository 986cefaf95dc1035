"""Files of a report's figures: pictures in three formats, and the numbers behind each."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfad_bench.core.escape import one_line
from dfad_bench.core.files import atomic_path, write_text
from dfad_bench.report.figures.style import with_jpegs
from dfad_bench.report.run_figures.base import FigureStyle, MadeFigure, drawing

DPI = 300
PAGE_DPI = 130
MOST_SVG = 60_000  # bytes of an SVG on the page; a picture of a larger one takes less
SUFFIXES = ("png", "svg", "pdf")
_UNDATED: Any = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class WrittenFigure:
    """A figure, its files by suffix (png, svg, pdf, csv), and what stands on the page: its kind and bytes."""

    figure: MadeFigure
    files: dict[str, Path]
    kind: str = field(default="", repr=False)
    shown: bytes = field(default=b"", repr=False)


def write_figure(made: MadeFigure, out: Path, style: FigureStyle) -> WrittenFigure:
    """Draw a figure and write it with its numbers; the same data give the same bytes."""
    files = {}
    with drawing(style):
        drawn = made.draw(style)
        for suffix in SUFFIXES:
            path = out / f"{made.name}.{suffix}"
            about = {**_UNDATED[suffix], "Title": one_line(made.title)}
            with atomic_path(path) as temporary:
                drawn.savefig(temporary, dpi=DPI, metadata=about)
            if suffix == "svg":
                write_text(path, with_jpegs(path.read_text(encoding="utf-8")))
            files[suffix] = path
    files["csv"] = out / f"{made.name}.csv"
    write_text(files["csv"], made.table.render("csv"))
    shown = files["svg"].read_bytes()
    if len(shown) <= MOST_SVG:
        return WrittenFigure(made, files, "image/svg+xml", shown)
    return WrittenFigure(made, files, "image/png", _smaller_picture(files["png"]))


def _smaller_picture(path: Path) -> bytes:
    """A PNG with the dots of a screen."""
    from PIL import Image

    written = io.BytesIO()
    with Image.open(path) as image:
        picture = image.convert("RGB")
        size = round(picture.width * PAGE_DPI / DPI), round(picture.height * PAGE_DPI / DPI)
        picture.resize(size, Image.Resampling.LANCZOS).save(written, "PNG", optimize=True)
    return written.getvalue()
