from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from dfad_bench.layers.dct import dct2, dct_matrix


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 5, 12), (7, 7)])
def test_equals_scipy(shape: tuple[int, ...]) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = dctn(images.numpy().astype(np.float64), axes=(-2, -1), norm="ortho")
    assert np.allclose(dct2(images).numpy(), expected, atol=1e-5)


def test_rows_are_orthonormal() -> None:
    rows = dct_matrix(128)
    assert torch.allclose(rows @ rows.T, torch.eye(128), atol=1e-5)
