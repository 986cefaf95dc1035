"""The display matrix of a video: how its frames are turned or mirrored to stand upright."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_MATRIX = "=9i"  # a b u / c d v / x y w in fixed point: (p, q) goes to (a p + c q + x, b p + d q + y), y down


def upright(image: Image.Image, matrix: Any) -> Image.Image:
    """An image turned and mirrored as a display matrix (nine 32-bit integers, or None) says.

    Quarter turns and mirror images only; other angles leave it as it is.
    """
    method = None if matrix is None else turn_of(bytes(matrix))
    return image if method is None else image.transpose(method)


def turn_of(matrix: bytes) -> Image.Transpose | None:
    """Pillow's name of what a display matrix does; None if nothing, or no quarter turn."""
    from PIL import Image

    if len(matrix) != struct.calcsize(_MATRIX):
        return None
    a, b, _, c, d, *_ = struct.unpack(_MATRIX, matrix)
    turn = Image.Transpose
    if not b and not c:
        straight = {(False, True): turn.FLIP_LEFT_RIGHT, (True, False): turn.FLIP_TOP_BOTTOM}
        straight[False, False] = turn.ROTATE_180
        return straight.get((a > 0, d > 0)) if a and d else None
    if a or d or not b or not c:
        return None
    crossed = {(True, True): turn.TRANSPOSE, (True, False): turn.ROTATE_270, (False, True): turn.ROTATE_90}
    crossed[False, False] = turn.TRANSVERSE
    return crossed[b > 0, c > 0]
