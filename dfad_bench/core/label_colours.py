"""Face parsing labels: names of CelebAMask-HQ's 19, and the colour of each label, for pictures and for BMRL."""

from __future__ import annotations

import colorsys

CELEBAMASK_HQ = (
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "glasses", "left ear", "right ear",
    "earring", "nose", "mouth", "upper lip", "lower lip", "neck", "necklace", "cloth", "hair", "hat",
)  # fmt: skip

_STEP = 85  # a third of 255
# pairs of (full channel, graded channel): red-green, red-blue, green-red, ... each with 0, 85 and 170 of the second
_FAMILIES = ((0, 1, 3), (0, 2, 2), (1, 0, 3), (1, 2, 2), (2, 0, 3), (2, 1, 2))


def label_colours() -> tuple[tuple[int, int, int], ...]:
    """256 colours, RGB 0 to 255: label 0 white, the others pure and all different.

    Labels 1 to 24 have the colours that are usual in pictures of CelebAMask-HQ parsings, further ones spread hues.
    """
    colours = [(255, 255, 255)]
    for full, graded, count in _FAMILIES:
        for step in range(3 - count, 3):
            colour = [0, 0, 0]
            colour[full], colour[graded] = 255, _STEP * step
            colours.append((colour[0], colour[1], colour[2]))
    for low in (2, 1, 0):  # yellow, magenta and cyan, the third channel graded
        for step in range(3):
            mixed = [255, 255, 255]
            mixed[low] = _STEP * step
            colours.append((mixed[0], mixed[1], mixed[2]))
    while len(colours) < 256:
        hue = (len(colours) * 0.6180339887) % 1  # the golden ratio spreads any number of hues
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * (len(colours) % 2), 0.9 - 0.3 * (len(colours) % 3) / 2)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colours)
