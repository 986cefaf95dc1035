"""Small SVG figures, drawn at render time; the same text stands in a page and in a file beside it.

Colours are `currentColor` and classes of the style, with plain attributes for the file, where no style is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfad_bench.core.escape import html, one_line

if TYPE_CHECKING:
    from markupsafe import Markup

TEXT = 14  # size of letters
SERIES = 8  # dash patterns and classes of lines
_DASHES = ("", "6 3", "2 2", "8 3 2 3", "1 3", "10 4", "4 1", "12 3 3 3")


@dataclass(frozen=True)
class Figure:
    """`title` and `about` are read aloud in place of the drawing; `about` says where the numbers are."""

    name: str
    title: str
    about: str
    width: int
    height: int
    parts: Sequence[str]
    attributes: str = ""  # further ones, ours

    def inline(self) -> Markup:
        """The element for a page; every text in it was escaped here."""
        from markupsafe import Markup

        return Markup(self._element(self.attributes))

    def file(self) -> str:
        """The same as a file of its own."""
        colour = ' xmlns="http://www.w3.org/2000/svg" color="#111"'
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + self._element(colour) + "\n"

    def _element(self, more: str) -> str:
        name = html(self.name)
        return (
            f'<svg{more} class="plot" viewBox="0 0 {self.width} {self.height}" width="{self.width}"'
            f' height="{self.height}" role="img" aria-labelledby="{name}-t {name}-d" font-family="sans-serif"'
            f' font-size="{TEXT}" fill="currentColor"><title id="{name}-t">{html(one_line(self.title))}</title>'
            f'<desc id="{name}-d">{html(one_line(self.about))}</desc>{"".join(self.parts)}</svg>'
        )


def line(x1: float, y1: float, x2: float, y2: float, width: float = 1, more: str = "") -> str:
    """A straight line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor"'
        f' stroke-width="{width:g}"{more}/>'
    )


def text(x: float, y: float, words: str, anchor: str = "start", longest: int = 60) -> str:
    """A text, cut where it is longer than a figure has room for."""
    words = one_line(words)
    short = words if len(words) <= longest else words[: longest - 1] + "…"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html(short)}</text>'


def dot(x: float, y: float, radius: float = 3.5) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'


def curve(points: Sequence[tuple[float, float]], place: int, more: str = "") -> str:
    """A line through points, told from others by its dashes and not by colour alone; `more`: attributes of ours."""
    dashes = _DASHES[place % SERIES]
    pattern = f' stroke-dasharray="{dashes}"' if dashes else ""
    through = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
    look = f'class="s{place % SERIES}" fill="none" stroke="currentColor" stroke-width="2"{pattern}'
    return f'<polyline {look}{more} points="{through}"/>'


def percent_axis(left: float, right: float, top: float, bottom: float) -> list[str]:
    """Lines and numbers of 0 to 100 % along x."""
    parts = []
    for share in (0, 25, 50, 75, 100):
        x = left + (right - left) * share / 100
        parts.append(line(x, top, x, bottom, 1, ' opacity=".3"'))
        parts.append(text(x, bottom + TEXT + 3, str(share), "middle"))
    return parts
