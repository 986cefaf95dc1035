"""What all figures share: sizes of a two-column paper, colours, hatches, and how a figure is written.

Colours are Okabe and Ito's, distinguishable with every common colour blindness; a hatch shows the family, also in
grey print. Places are in inches from the figure's upper left corner.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.escape import one_line, terminal
from dfad_bench.core.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN_IN = 3.5  # width of one column of a two-column paper
WIDE_IN = 7.16  # of both
MARGIN_IN = 0.05
TITLE_PT = 7.5
TEXT_PT = 6.5
SMALL_PT = 6.0  # nothing is smaller
DPI = 300
SVG_DPI = 200  # of the photographs in it, at the size they are shown at
SUFFIXES = ("png", "svg", "pdf")
_JPEG_QUALITY = 88
_EMBEDDED = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
FORGERY_COLOURS = {
    "EFS": "#0072B2",
    "FS": "#D55E00",
    "AM": "#009E73",
    "FR": "#CC79A7",
    "TF": "#E69F00",
    "GR": "#56B4E9",
    "none": "#D0D0D0",
}
FORGERY_NAMES = {
    "EFS": "entire face synthesis",
    "FS": "face swap",
    "AM": "attribute manipulation",
    "FR": "face reenactment",
    "TF": "talking face",
    "GR": "gaze redirection",
    "none": "forgery not known",
}
FAMILY_HATCHES = {
    "gan": "",
    "diffusion": "////",
    "flow": "++++",  # no dots: each is a path of its own in SVG, a quarter of a megabyte a bar
    "vae": "||||",
    "autoregressive": "----",
    "graphics": "xxxx",
    "none": "\\\\\\\\",
}
FAMILY_NAMES = {"gan": "GAN", "none": "family not known"}
REAL_COLOUR = "#444444"
FLOOR_COLOUR = "#777777"
_FONT = "DejaVu Sans"  # comes with matplotlib: the same everywhere
_PARTS = re.compile(r"[^-_./ ]+?(?:[-_./ ]+|(?<=[a-z])(?=[A-Z])|$)")
PLAIN_TEXT: Any = {"text.parse_math": False}  # names may hold dollar signs; no figure has formulas
_RC: Any = {
    **PLAIN_TEXT,
    "font.family": _FONT,
    "font.size": TEXT_PT,
    "axes.titlesize": TEXT_PT,
    "axes.labelsize": TEXT_PT,
    "axes.linewidth": 0.5,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "legend.fontsize": SMALL_PT,
    "hatch.linewidth": 0.4,
    "svg.hashsalt": "dfad_bench",
}


@contextmanager
def drawing() -> Iterator[None]:
    """The settings every figure is drawn and written under."""
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of that many inches, without the state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))


def text_at(figure: Figure, left: float, top: float, text: str, **look: Any) -> None:
    """Text whose upper left corner is at a place in inches."""
    wide, high = figure.get_size_inches()
    look = {"va": "top", "ha": "left", "fontsize": TEXT_PT, "linespacing": 1.15, **look}
    figure.text(left / wide, 1 - top / high, terminal(text), **look)


def legend_name(name: str) -> str:
    """A run's name for a legend, where matplotlib leaves out names that begin with an underscore."""
    return one_line(f" {name}" if name.startswith("_") else name)


def image_at(figure: Figure, left: float, top: float, side: float, image: Any) -> None:
    """An image in a square of `side` inches, framed by a hairline."""
    axes = axes_at(figure, left, top, side, side)
    axes.imshow(image, aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])


def wrapped(text: str, width: float, size: float = SMALL_PT) -> str:
    """`text` broken into lines that fit `width` inches at `size` points."""
    return _filled(re.findall(r"\S+\s*", text), width, size)


def wrapped_name(name: str, width: float, size: float = SMALL_PT) -> str:
    """A name broken after dashes, underscores, dots and spaces, or before a capital, where it is wider than `width`."""
    return _filled(_PARTS.findall(name), width, size)


def text_width(text: str, size: float) -> float:
    """Inches of one line at `size` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=_FONT, size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def _filled(parts: Sequence[str], width: float, size: float) -> str:
    lines = [""]
    for part in parts:
        if lines[-1] and text_width((lines[-1] + part).rstrip(), size) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)


def text_height(text: str, size: float = SMALL_PT) -> float:
    """Inches that lines of text take."""
    return (text.count("\n") + 1) * size * 1.3 / 72


def forgery_handles(forgeries: Iterable[str]) -> list[Any]:
    """Legend entries of the forgery types that are shown: a colour each."""
    from matplotlib.patches import Patch

    shown = set(forgeries)
    return [
        Patch(facecolor=FORGERY_COLOURS[name], label=FORGERY_NAMES[name]) for name in FORGERY_COLOURS if name in shown
    ]


def family_handles(families: Iterable[str]) -> list[Any]:
    """Legend entries of the families that are shown: a hatch each."""
    from matplotlib.patches import Patch

    shown = set(families)
    return [
        Patch(
            facecolor="white", edgecolor="black", linewidth=0.4, hatch=FAMILY_HATCHES[name] * 2, label=family_name(name)
        )
        for name in FAMILY_HATCHES
        if name in shown
    ]


def family_name(family: str) -> str:
    """As papers print it."""
    return FAMILY_NAMES.get(family, family)


def heading_height(heading: str) -> float:
    """Inches down to what follows the lines of a heading."""
    return 0.22 + 0.12 * heading.count("\n")


def figure_between(heading: str, foot: float, legends: Sequence[Sequence[Any]], note: str, wide: float) -> Figure:
    """A new figure with its heading, and its legends and note from `foot` inches down, where it ends."""
    heights = [_legend_height(len(handles), wide) for handles in legends]
    figure = new_figure(wide, foot + sum(heights) + text_height(note) + 0.1)
    text_at(figure, MARGIN_IN, MARGIN_IN, heading, fontsize=TITLE_PT)
    for handles, height in zip(legends, heights, strict=True):
        _legend_at(figure, foot, handles)
        foot += height
    text_at(figure, MARGIN_IN, foot + 0.03, note, fontsize=SMALL_PT)
    return figure


def _legend_at(figure: Figure, top: float, handles: Sequence[Any]) -> None:
    wide, high = figure.get_size_inches()
    if handles:
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(MARGIN_IN / wide, 1 - top / high),
            ncols=_legend_columns(wide),
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            columnspacing=1.0,
            handlelength=1.6,
            labelspacing=0.35,
        )


def _legend_height(count: int, wide: float) -> float:
    return -(-count // _legend_columns(wide)) * SMALL_PT * 1.6 / 72


def _legend_columns(wide: float) -> int:
    return 6 if wide > COLUMN_IN else 3


def save(figure: Figure, out: Path, stem: str, title: str) -> list[Path]:
    """Write the figure in every format of `SUFFIXES`; the same figure gives the same bytes."""
    undated: dict[str, dict[str, str | None]] = {
        "png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}
    }  # fmt: skip
    paths = []
    title = one_line(title)
    for suffix in SUFFIXES:
        path, dpi = out / f"{stem}.{suffix}", SVG_DPI if suffix == "svg" else DPI
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=dpi, metadata={**undated[suffix], "Title": title})
        if suffix == "svg":
            write_text(path, with_jpegs(path.read_text(encoding="utf-8")))
        paths.append(path)
    return paths


def with_jpegs(svg: str) -> str:
    """The same figure with its photographs as JPEG, a tenth of the bytes; what is transparent stays as it is."""

    def smaller(found: re.Match[str]) -> str:
        from PIL import Image

        with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
            if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                return found[0]
            written = io.BytesIO()
            image.convert("RGB").save(written, "JPEG", quality=_JPEG_QUALITY)
        return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()

    return _EMBEDDED.sub(smaller, svg)


def rows_of(count: int, most: int) -> tuple[int, int]:
    """Rows and columns for `count` panels, at most `most` a row, the rows as even as can be.

    >>> rows_of(25, 10), rows_of(3, 10), rows_of(11, 10)
    ((3, 9), (1, 3), (2, 6))
    """
    rows = -(-count // most)
    return rows, -(-count // rows)


def data_note(datasets: Sequence[str]) -> str:
    """The end of a title, where some faces are synthetic; empty where none is."""
    drawn = [name.startswith("synthetic") for name in datasets]
    if not any(drawn):
        return ""
    return ", synthetic faces" if all(drawn) else ", some faces synthetic"
