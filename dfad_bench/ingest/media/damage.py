"""Which decoded frames are damaged themselves, or were predicted from a frame that is."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator
from typing import Any, NamedTuple

_BETWEEN = 3  # FFmpeg's picture type B: may be predicted from the frame after it, too


class Decoded(NamedTuple):
    """A frame of FFmpeg and its position among the shown frames.

    `damaged` is the position of the damaged frame it depends on (its own where it is damaged itself), None where it
    depends on none.
    """

    frame: Any
    number: int
    damaged: int | None


def trace_damage(
    frames: Iterable[tuple[Any, int]], lost: Container[int], keys: Collection[int] = ()
) -> Iterator[Decoded]:
    """Frames in order of presentation, each with the damaged frame it depends on.

    A frame that is damaged or lost spoils those shown after it up to the next whole keyframe, and the B-frames just
    before it. Which of these were predicted from it is not known, so all of them count. B-frames are held back until
    the frame after them is decoded.

    Args:
        frames: FFmpeg's frames with their positions, ascending.
        lost: positions of frames that could not be decoded; may grow while frames are taken.
        keys: positions of keyframes, where the file states them: AV1 shows old keyframes again, which end no damage.
    """
    held: list[tuple[Any, int]] = []
    before, damaged = -1, None  # the last frame that is no B-frame; the damaged frame that those after it depend on
    for frame, number in frames:
        held.append((frame, number))
        if frame.pict_type == _BETWEEN:
            continue
        inside = _first_damage(held, lost, before)
        damaged = inside if damaged is None else damaged
        yield from (Decoded(f, n, _first_damage_of(f, n, damaged)) for f, n in held[:-1])
        if frame.key_frame and not frame.is_corrupt and (not keys or number in keys):
            damaged = None
        yield Decoded(frame, number, _first_damage_of(frame, number, damaged))
        held, before = [], number
    inside = _first_damage(held, lost, before)
    damaged = inside if damaged is None else damaged
    yield from (Decoded(f, n, _first_damage_of(f, n, damaged)) for f, n in held)


def _first_damage(held: list[tuple[Any, int]], lost: Container[int], before: int) -> int | None:
    if not held:
        return None
    damaged = [number for frame, number in held if frame.is_corrupt]
    damaged += [number for number in range(before + 1, held[-1][1] + 1) if number in lost]
    return min(damaged, default=None)


def _first_damage_of(frame: Any, number: int, damaged: int | None) -> int | None:
    return number if frame.is_corrupt else damaged
