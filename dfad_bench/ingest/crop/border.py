"""A border around ready-made crops, in which the detector looks for faces that reach beyond the picture.

In crops cut to the face's box MTCNN misses one face in eleven without it and places others badly, see
`benchmarks/ready_made_crops.py`; what colour the border has matters less than that there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_SHARE = 4  # the border is the shorter side divided by this
_GREY = (127, 127, 127)


def border_of(image: Image.Image) -> int:
    """Pixels of the border on each side."""
    return min(image.size) // _SHARE


def bordered(image: Image.Image) -> Image.Image:
    """The RGB image in the middle of a grey one."""
    from PIL import ImageOps

    return ImageOps.expand(image, border_of(image), _GREY)
