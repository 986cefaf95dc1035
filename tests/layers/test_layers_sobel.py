"""The edge view against loops over pixels and against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from dfad_bench.layers.sobel import edges, sobel


def sobel_loop(grey: np.ndarray) -> np.ndarray:
    """Pixel by pixel; a border pixel's missing neighbour is the one on the other side."""
    height, width = grey.shape
    found = np.zeros_like(grey)

    def at(y: int, x: int) -> float:
        y, x = abs(y), abs(x)
        return float(grey[2 * (height - 1) - y if y >= height else y, 2 * (width - 1) - x if x >= width else x])

    for y in range(height):
        for x in range(width):
            across = sum(w * (at(y + d, x + 1) - at(y + d, x - 1)) for d, w in ((-1, 1), (0, 2), (1, 1)))
            down = sum(w * (at(y + 1, x + d) - at(y - 1, x + d)) for d, w in ((-1, 1), (0, 2), (1, 1)))
            found[y, x] = (across**2 + down**2) ** 0.5
    return found


def test_sobel_equals_a_loop_over_pixels() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (7, 9))
    assert np.allclose(sobel(torch.tensor(grey)[None, None])[0, 0].numpy(), sobel_loop(grey))


def test_edges_equal_opencv() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(grey, cv2.CV_64F, dx, 1 - dx, ksize=3) for dx in (1, 0))
    found = edges(torch.tensor(picture).permute(2, 0, 1)[None] / 255)
    assert found.shape == (1, 1, 32, 40)
    assert np.abs(found[0, 0].numpy() - np.hypot(across, down) / 255).max() < 4.5 / 255  # a grey level may round apart


def test_a_step_from_black_to_white_exceeds_one_and_a_flat_picture_has_no_edge() -> None:
    step = torch.zeros(1, 3, 6, 6)
    step[..., 3:] = 1
    assert float(edges(step).max()) == 4.0
    assert float(edges(torch.full((1, 3, 6, 6), 0.3)).max()) == 0.0
