"""Shades of a heat table: which of a few classes of the style a share gets.

Colours are in the style, where a test computes the contrast of each with its text in both themes.
"""

from __future__ import annotations

SHADES = 7


def shade_of(share: float | None) -> int | None:
    """The shade of a share, 0 (near 0 %) to 6 (near 100 %), the same for every column; None where there is none.

    >>> shade_of(0.0), shade_of(0.5), shade_of(1.0), shade_of(None)
    (0, 3, 6, None)
    """
    return None if share is None else min(int(max(share, 0.0) * SHADES), SHADES - 1)


def legend() -> list[tuple[int, str]]:
    """Each shade with the shares it stands for, in percent."""
    return [(k, f"{100 * k / SHADES:.0f} to {100 * (k + 1) / SHADES:.0f}") for k in range(SHADES)]
