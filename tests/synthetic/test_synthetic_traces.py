"""Each trace does to pixels what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from dfad_bench.synthetic import traces

RNG = np.random.default_rng(7)
FLAT = np.full((320, 320, 3), 128.0, np.float32)
NOISE = FLAT + RNG.standard_normal((320, 320, 3), dtype=np.float32) * 6


def spectrum(image: np.ndarray) -> np.ndarray:
    grey = image.mean(2)
    return np.abs(np.fft.fft2(grey - grey.mean())) ** 2


@pytest.mark.parametrize("stride", [4, 8, 10])
def test_checkerboard_has_peaks_at_multiples_of_its_frequency_only(stride: int) -> None:
    power = spectrum(traces.checkerboard(FLAT, "some-gan", stride, 0.05))
    step = 320 // stride
    on_grid = power[::step, ::step].sum()
    assert on_grid > 0.999 * power.sum()
    assert power[0, step] > 0


def test_overlap_pattern_belongs_to_the_name() -> None:
    first, again, other = (traces.overlap_pattern(name, 8) for name in ("a", "a", "b"))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert np.allclose(first.mean((0, 1)), 0, atol=1e-5)
    assert first.std() == pytest.approx(1, abs=1e-3)


def test_nearest_upsampling_repeats_blocks() -> None:
    image = traces.nearest_upsampling(FLAT, 8, 5.0, np.random.default_rng(0))
    blocks = image.reshape(40, 8, 40, 8, 3)
    assert np.allclose(blocks, blocks[:, :1, :, :1], atol=1e-3)
    assert blocks[:, 0, :, 0].std() > 3


def test_denoised_loses_texture_and_keeps_edges() -> None:
    image = NOISE.copy()
    image[:, 160:] += 90
    smooth = traces.denoise(image, 5.0, 0.08, 26.0)
    assert smooth[:, :140].std() < 0.35 * image[:, :140].std()
    assert np.abs(np.diff(smooth.mean((0, 2)))).max() > 60


def test_band_removed_takes_its_band_and_leaves_the_finest_detail() -> None:
    before, after = spectrum(NOISE), spectrum(traces.remove_band(NOISE, 1.2, 6.0, 0.9))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(320), np.fft.fftfreq(320)))
    band, finest = (frequency > 0.05) & (frequency < 0.09), frequency > 0.4
    assert after[band].sum() < 0.4 * before[band].sum()
    assert after[finest].sum() > 0.9 * before[finest].sum()


def test_blotches_are_slow() -> None:
    power = spectrum(traces.blotches(FLAT, 26, 3.0, np.random.default_rng(0)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(320), np.fft.fftfreq(320)))
    assert power[frequency < 1 / 20].sum() > 0.95 * power.sum()


def test_wavelets_quantised_finely_are_the_image_and_coarsely_are_its_means() -> None:
    assert np.allclose(traces.quantise_wavelets(NOISE, (1e-3, 1e-3, 1e-3)), NOISE, atol=0.02)
    means = NOISE.reshape(40, 8, 40, 8, 3).mean((1, 3))
    coarse = traces.quantise_wavelets(NOISE, (1e4, 1e4, 1e4))
    assert np.allclose(coarse, np.repeat(np.repeat(means, 8, 0), 8, 1), atol=1e-2)


def test_block_warp_leaves_still_regions_alone() -> None:
    still = np.zeros((320, 320), np.float32)
    still[100:200, 100:200] = 1
    moved = traces.block_warp(NOISE, 16, 1.5, still, np.random.default_rng(0))
    assert np.array_equal(moved[100:200, 100:200], NOISE[100:200, 100:200])
    assert np.abs(moved[:90] - NOISE[:90]).mean() > 1


def test_linear_resampling_has_periodic_variance() -> None:
    image = traces.coarse_grid_resampling(FLAT, 10, 5.0, np.random.default_rng(0))
    by_phase = (image - 128).var((0, 2)).reshape(32, 10).mean(0)
    assert by_phase.max() > 1.5 * by_phase.min()


def test_pasted_is_the_source_inside_and_the_target_outside() -> None:
    mask = np.zeros((320, 320), np.float32)
    mask[80:240, 80:240] = 1
    gain = np.array([1.1, 1.0, 0.9], np.float32)
    out = traces.paste(NOISE, FLAT, mask, gain)
    assert np.array_equal(out[:80], NOISE[:80])
    assert np.allclose(out[100, 100], [140.8, 128, 115.2])
