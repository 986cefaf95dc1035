"""Fixed matrices resize as torch does."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dfad_bench.export.resizing import FixedResizing


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(9, 31), (40, 17), (32, 20), (64, 64)])
def test_matrices_equal_antialiased_interpolation(size: tuple[int, int], mode: str) -> None:
    images = torch.rand(2, 3, 32, 20, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(images, size, mode=mode, antialias=True, align_corners=False)
    with FixedResizing() as fixed:
        found = F.interpolate(images, size, mode=mode, antialias=True, align_corners=False)
    assert len(fixed.matrices) == 2
    assert float((found - wanted).abs().max()) < 2e-6


def test_other_resizing_is_left_alone() -> None:
    images = torch.rand(1, 1, 8, 8)
    with FixedResizing() as fixed:
        assert torch.equal(
            F.interpolate(images, (4, 4), mode="bilinear"), F.interpolate(images, (4, 4), mode="bilinear")
        )
        F.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)
    assert not fixed.matrices
