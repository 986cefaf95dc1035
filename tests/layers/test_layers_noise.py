"""SRM against a plain correlation, the richest patch against scikit-image, stems and crops by their shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.feature import graycomatrix, graycoprops

from dfad_bench.layers.conv_stem import appearance_stem, conv_stack, noise_stem
from dfad_bench.layers.crops import random_crops
from dfad_bench.layers.richest_patch import grey_levels, homogeneity, richest_index, richest_patch, tiles
from dfad_bench.layers.srm import SRM


def correlate(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(3, H, W) with (3, 5, 5), zero padding, pixel by pixel."""
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
    out = np.zeros(image.shape[1:])
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = (padded[:, y : y + 5, x : x + 5] * kernel).sum()
    return out


def test_srm_equals_a_plain_correlation() -> None:
    kv = np.outer([1, -2, 2, -2, 1], [1, -2, 2, -2, 1]).astype(float) * -1
    kv[1:4, 1:4] = [[-6, 8, -6], [8, -12, 8], [-6, 8, -6]]
    square, line = np.zeros((5, 5)), np.zeros((5, 5))
    square[1:4, 1:4] = [[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]
    line[2, 1:4] = [1, -2, 1]
    images = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0)) * 4  # large enough to be clamped
    out = SRM()(images).numpy()
    for channel, kernel in enumerate((square / 4, kv / 12, line / 2)):
        expected = correlate(images[1].numpy().astype(float), np.broadcast_to(kernel, (3, 5, 5))).clip(-3, 3)
        np.testing.assert_allclose(out[1, channel], expected, atol=1e-5)
    assert np.abs(out).max() == 3


def test_srm_sees_nothing_in_a_flat_image() -> None:
    inside = SRM()(torch.full((1, 3, 12, 12), 0.4))[..., 2:-2, 2:-2]
    assert inside.abs().max() < 1e-6


def test_srm_has_nothing_to_train() -> None:
    assert list(SRM().parameters()) == []
    assert SRM().kernel.shape == (3, 3, 5, 5)


@pytest.mark.parametrize("seed", range(4))
def test_homogeneity_equals_scikit_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grey = (rng.integers(0, 256, (20, 24)) // rng.integers(1, 30)).astype(np.uint8)
    matrix = graycomatrix(grey, distances=[1], angles=[0], levels=256, symmetric=True, normed=True)
    expected = graycoprops(matrix, "homogeneity")[0, 0]
    assert float(homogeneity(torch.from_numpy(grey).float())) == pytest.approx(expected, abs=1e-6)


def test_grey_levels_equal_pillow() -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    ours = grey_levels(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255, rounded=True)[0].numpy()
    theirs = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    assert np.abs(ours - theirs).max() <= 1  # Pillow rounds in fixed point
    assert (ours == theirs).mean() > 0.95


def test_grey_levels_are_truncated() -> None:
    """Of every colour by exact fractions; and a grey that is there already stays."""
    from fractions import Fraction

    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    pixels[0] = np.arange(16)[:, None] * 17
    weights = [Fraction(part, 1000) for part in (299, 587, 114)]
    expected = [[int(sum(w * int(v) for w, v in zip(weights, pixel, strict=True))) for pixel in row] for row in pixels]
    ours = grey_levels(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)[0]
    assert ours.tolist() == expected
    assert ours[0].tolist() == pixels[0, :, 0].tolist()


def test_truncated_and_rounded_levels_may_choose_another_patch() -> None:
    """Two quarters: one alternates between 99.6 and 100.4, the other between 100.1 and 100.9."""
    values = torch.full((32, 32), 100.0)
    values[:16, :16:2], values[:16, 1:16:2] = 99.6, 100.4  # rounded: flat; truncated: 99, 100
    values[16:, 16::2], values[16:, 17::2] = 100.1, 100.9  # rounded: 100, 101; truncated: flat
    images = (values / 255).expand(1, 3, 32, 32)
    assert richest_index(images).tolist() == [0]
    assert richest_index(images, rounded=True).tolist() == [3]


def test_tiles_are_the_four_quarters() -> None:
    image = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    quarters = tiles(image)
    assert quarters.shape == (2, 4, 3, 2, 3)
    expected = [image[:, :, :2, :3], image[:, :, :2, 3:], image[:, :, 2:, :3], image[:, :, 2:, 3:]]
    assert all(torch.equal(quarters[:, i], quarter) for i, quarter in enumerate(expected))


@pytest.mark.parametrize("rich", range(4))
def test_richest_patch_is_the_noisy_quarter(rich: int) -> None:
    image = torch.full((1, 3, 32, 32), 0.5)
    noise = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(rich))
    tiles_of = tiles(image).clone()
    tiles_of[0, rich] = noise
    y, x = divmod(rich, 2)
    image[0, :, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16] = noise
    assert richest_index(image).tolist() == [rich]
    assert torch.equal(richest_patch(image)[0], noise)


def test_richest_patch_takes_the_first_on_a_tie() -> None:
    assert richest_index(torch.zeros(3, 3, 8, 8)).tolist() == [0, 0, 0]


def test_stems_have_the_published_shapes_and_numbering() -> None:
    stem = appearance_stem()
    assert sum(p.numel() for p in stem.parameters()) == 10_813_248
    convolutions = {i: m.out_channels for i, m in enumerate(stem) if isinstance(m, torch.nn.Conv2d)}
    assert {i: convolutions[i] for i in (0, 10, 20, 30, 43)} == {0: 32, 10: 64, 20: 128, 30: 256, 43: 512}
    assert len(convolutions) == 17
    assert appearance_stem(3, (2, 2, 2, 2, 2))(torch.rand(1, 3, 64, 64)).shape == (1, 2, 2, 2)
    assert noise_stem(3, (2, 4))(torch.rand(1, 3, 24, 24)).shape == (1, 4, 6, 6)


def test_stack_refuses_unequal_lists() -> None:
    with pytest.raises(ValueError, match="2 widths for 1 groups"):
        conv_stack(3, (4, 4), (3,))


def test_random_crops_are_parts_of_their_own_image() -> None:
    images = torch.arange(2 * 1 * 6 * 7).reshape(2, 1, 6, 7)
    torch.manual_seed(0)
    crops = random_crops(images, 50, 3)
    assert crops.shape == (2, 50, 1, 3, 3)
    for image, found in zip(images, crops, strict=True):
        parts = {tuple(image[0, y : y + 3, x : x + 3].flatten().tolist()) for y in range(4) for x in range(5)}
        seen = {tuple(crop.flatten().tolist()) for crop in found}
        assert seen <= parts
        assert len(seen) > 12  # of 20 places
    torch.manual_seed(0)
    assert torch.equal(crops, random_crops(images, 50, 3))


def test_crops_larger_than_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="crops of 9 pixels do not fit in images of 8x12"):
        random_crops(torch.zeros(1, 3, 8, 12), 1, 9)
