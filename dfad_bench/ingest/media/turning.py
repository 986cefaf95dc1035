"""The display matrix of a video: how its frames are rotated or mirrored to be upright."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_MATRIX = "=9i"  # a b u / c d v / x y w in fixed point: (p, q) goes to (a p + c q + x, b p + d q + y), y down


def turn_upright(image: Image.Image, matrix: Any) -> Image.Image:
    """An image rotated and mirrored as a display matrix (nine 32-bit integers, or None) says.

    Quarter turns and mirror images only; other angles leave the image as it is.
    """
    method = None if matrix is None else transpose_of(bytes(matrix))
    return image if method is None else image.transpose(method)


def transpose_of(matrix: bytes) -> Image.Transpose | None:
    """The Pillow operation that a display matrix stands for; None for no change and for other angles."""
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
