"""Ranks as intervals: the places of a ranking that are possible within the noise of the measured numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, inf, sqrt
from statistics import stdev

_Z95 = 1.959963984540054


def half_width(halves: Sequence[float | None], values: Sequence[float | None]) -> float | None:
    """Half a 95 % interval of the mean over seeds: that over faces, and with several seeds that between them.

    Args:
        halves: half the interval over faces of each seed.
        values: the number itself, of each seed.

    >>> half_width([0.02, 0.02], [0.5, 0.5])
    0.02
    """
    known = [half for half in halves if half is not None]
    numbers = [value for value in values if value is not None]
    if not known or len(known) < len(halves) or len(numbers) < len(values):
        return None
    faces = sum(known) / len(known)  # seeds share their test faces, so more of them do not narrow it
    return hypot(faces, _Z95 * stdev(numbers) / sqrt(len(numbers))) if len(numbers) > 1 else faces


def rank_intervals(values: Sequence[float], halves: Sequence[float | None]) -> list[tuple[int, int] | None]:
    """Best and worst rank of each row, higher values being better; None without an interval.

    Two rows differ where their difference exceeds the root of the sum of both squared half widths, as for
    independent measurements. Models tested on the same faces usually differ more clearly than that (`dfad compare`
    tests two of them), so these intervals are wide rather than narrow. From a row without interval nothing is known to
    differ: that its number did not vary over these faces does not make it certain.

    >>> rank_intervals([0.9, 0.88, 0.5], [0.02, 0.02, 0.02])
    [(1, 2), (1, 2), (3, 3)]
    """
    found: list[tuple[int, int] | None] = []
    rows = list(zip(values, halves, strict=True))
    for value, half in rows:
        if half is None:
            found.append(None)
            continue
        noise_of_pair = [(other, inf if other_half is None else hypot(half, other_half)) for other, other_half in rows]
        better = sum(other > value + noise for other, noise in noise_of_pair)
        worse = sum(other < value - noise for other, noise in noise_of_pair)
        found.append((better + 1, len(rows) - worse))
    return found
