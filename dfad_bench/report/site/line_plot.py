"""Curves of several models in one panel or more, with their names beneath.

In a page every curve is there, and those beyond the first few are not drawn until a reader chooses them: the script
shows and hides curves by `data-row`. The file beside the page has the first ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dfad_bench.core.escape import html
from dfad_bench.report.site import svg

MOST = svg.SERIES  # curves that can be told apart
PERCENT = tuple((share / 100, str(share)) for share in (0, 50, 100))
_WIDTH, _LEFT, _RIGHT, _LINE = 480, 44, 14, 20
_HIGH = {1: 170, 2: 104}  # of a panel, by how many stand side by side
_TOP, _BENEATH = 30, 30


@dataclass(frozen=True)
class Panel:
    """One pair of axes. Points and ticks are shares of its width and height, curves by the key of their row."""

    heading: str
    curves: Mapping[str, Sequence[tuple[float, float]]]
    x: Sequence[tuple[float, str]]
    y: Sequence[tuple[float, str]] = PERCENT


@dataclass(frozen=True)
class LinePlot:
    """What a page shows, and what the file beside it holds."""

    inline: svg.Figure
    file: svg.Figure


def line_plot(
    name: str,
    title: str,
    about: str,
    panels: Sequence[Panel],
    names: Mapping[str, str],
    columns: int = 1,
    every: Sequence[str] = (),
) -> LinePlot | None:
    """The figure; None where there is no curve.

    Args:
        name: of the element, unique on its page.
        title: of the figure.
        about: what is read aloud in its place.
        panels: all with the same keys, or fewer.
        names: what each curve is called, by key, in the order of places.
        columns: panels side by side, 1 or 2.
        every: keys of all figures of the page: where no more than `MOST`, a curve looks the same in all of them.
    """
    if not panels or not names:
        return None
    left_out = f" The first {MOST} of {len(names)} models." if len(names) > MOST else ""
    shown = dict(list(names.items())[:MOST])
    first = _TOP + -(-len(panels) // columns) * (_HIGH[columns] + _TOP + _BENEATH) - _TOP + 10
    figures, looks = [], _looks(names, every)
    for keys, inline in ((names, True), (shown, False)):
        parts = [part for place, panel in enumerate(panels) for part in _panel(panel, place, columns)]
        for place, panel in enumerate(panels):
            for number, key in enumerate(keys):
                points = [_at(x, y, place, columns) for x, y in panel.curves.get(key, ())]
                if points:
                    parts.append(svg.curve(points, looks[key], _row(key, number) if inline else ""))
        for number, (key, words) in enumerate(keys.items()):
            parts.append(_legend(words, number, looks[key], first, _row(key, number) if inline else ""))
        follows = f' data-first="{first}" data-line="{_LINE}" data-most="{MOST}"'
        height = first + min(len(keys), MOST) * _LINE
        figures.append(svg.Figure(name, title, about + left_out, _WIDTH, height, parts, follows if inline else ""))
    return LinePlot(*figures)


def _row(key: str, number: int) -> str:
    """The attributes by which the script finds a curve, and which hide those that are not drawn at first."""
    return f' data-row="{html(key)}"' + (' display="none"' if number >= MOST else "")


def _looks(names: Mapping[str, str], every: Sequence[str]) -> dict[str, int]:
    order = list(dict.fromkeys([*every, *names]))
    return {key: place for place, key in enumerate(order if len(order) <= MOST else names)}


def _legend(words: str, number: int, look: int, first: int, more: str) -> str:
    """A piece of the curve and its name; the script moves it up where fewer are drawn."""
    y = first + min(number, MOST - 1) * _LINE
    piece = svg.curve([(_LEFT, -5), (_LEFT + 44, -5)], look)
    return f'<g{more} transform="translate(0 {y})">{piece}{svg.text(_LEFT + 54, 0, words, longest=48)}</g>'


def _corner(place: int, columns: int) -> tuple[float, float, float]:
    """Left, right and top of a panel's axes."""
    width, column, row = _WIDTH / columns, place % columns, place // columns
    top = _TOP + row * (_HIGH[columns] + _TOP + _BENEATH)
    return column * width + _LEFT, (column + 1) * width - _RIGHT, float(top)


def _at(x: float, y: float, place: int, columns: int) -> tuple[float, float]:
    left, right, top = _corner(place, columns)
    return left + (right - left) * x, top + _HIGH[columns] * (1 - y)


def _panel(panel: Panel, place: int, columns: int) -> list[str]:
    """Heading, lines across and numbers of one pair of axes."""
    left, right, top = _corner(place, columns)
    bottom = top + _HIGH[columns]
    parts = [svg.text(left - _LEFT + 2, top - 13, panel.heading, longest=56 // columns)]
    for share, words in panel.y:
        y = bottom - _HIGH[columns] * share
        parts += [svg.line(left, y, right, y, 1, ' opacity=".3"'), svg.text(left - 6, y + 5, words, "end")]
    for share, words in panel.x:
        parts.append(svg.text(left + (right - left) * share, bottom + svg.TEXT + 4, words, "middle"))
    return parts
