"""Faces beside their parsing maps, a row a family, and how a feature of the maps is distributed (BMRL Fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILY_COLOURS = {
    "real": style.REAL_COLOUR,
    "gan": "#0072B2",
    "diffusion": "#D55E00",
    "flow": "#009E73",
    "vae": "#CC79A7",
    "autoregressive": "#E69F00",
    "graphics": "#56B4E9",
    "none": "#999999",
}
_LABEL, _GAP, _BETWEEN, _AXIS = 0.62, 0.03, 0.55, 0.1
_LARGEST_FACE = 0.62
_BINS = 30


@dataclass(frozen=True)
class FamilyPanel:
    """One family: example faces with their maps, (H, W, 3) uint8 RGB each, and the feature of all its faces (n,)."""

    family: str  # "real", or a family of generators
    examples: Sequence[tuple[np.ndarray, np.ndarray]]
    values: np.ndarray


def draw_families_figure(panels: Sequence[FamilyPanel], *, title: str, note: str, axis: str) -> Figure:
    """Rows of faces and maps to the left, histograms over each other to the right.

    Args:
        panels: real first.
        title: of the figure.
        note: how faces were chosen and what the histogram shows.
        axis: name of the feature.
    """
    wide = style.WIDE_IN
    most = max((len(panel.examples) for panel in panels), default=1)
    side = min(_LARGEST_FACE, (wide * 0.6 - _LABEL) / max(2 * most, 1) - _GAP)
    heading, foot_note = style.wrapped(title, wide - 0.1, style.TITLE_PT), style.wrapped(note, wide - 0.1)
    top, pitch = style.heading_height(heading), side + 2 * _GAP
    height = max(len(panels) * pitch, 1.6)
    figure = style.figure_between(heading, top + height + 0.35, [], foot_note, wide)
    for row, panel in enumerate(panels):
        at = top + row * pitch
        name = "Real" if panel.family == "real" else style.family_name(panel.family)
        style.text_at(figure, style.MARGIN_IN, at + side / 2 - 0.05, style.wrapped(name, _LABEL - 0.05))
        for place, (face, labels) in enumerate(panel.examples):
            left = _LABEL + place * (2 * side + 3 * _GAP)
            style.image_at(figure, left, at, side, face)
            style.image_at(figure, left + side + _GAP / 2, at, side, labels)
    left = _LABEL + most * (2 * side + 3 * _GAP) + _BETWEEN
    axes = style.axes_at(figure, left, top + 0.05, wide - left - _AXIS, height - 0.05)
    _draw_histograms(axes, {panel.family: panel.values for panel in panels if len(panel.values)})
    axes.set_xlabel(axis, labelpad=2)
    axes.set_ylabel("share of the faces, %", labelpad=2)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_histograms(axes: object, values: Mapping[str, np.ndarray]) -> None:
    """Outlines of equal bins, each family's shares of its own faces."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    if not values:
        return
    every = np.concatenate(list(values.values()))
    low, high = float(every.min()), float(every.max())
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    for family, of in values.items():
        colour, name = FAMILY_COLOURS[family], "real" if family == "real" else style.family_name(family)
        shares = np.histogram(of, edges)[0] / len(of) * 100
        axes.stairs(shares, edges, color=colour, linewidth=1.0, label=f"{name} ({len(of):,})")
        axes.stairs(shares, edges, color=colour, alpha=0.15, fill=True)
    axes.set_ylim(0, axes.get_ylim()[1] * (1 + 0.06 * len(values)))  # the legend above the highest bars
    axes.legend(frameon=False, loc="upper right", handlelength=1.2, labelspacing=0.3)
