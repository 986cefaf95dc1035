"""Affine maps of crops against independent formulas."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.trees import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dfad_bench.ingest.crop.affine import apply_affine, box_affine, compose_affines, fit_similarity, warp


@given(
    seed=st.integers(0, 1000),
    scale=st.floats(0.05, 20),
    angle_rad=st.floats(-3.1, 3.1),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_a_similarity_is_found_again(seed: int, scale: float, angle_rad: float, shift: tuple[float, float]):
    points = np.random.default_rng(seed).normal(size=(5, 2)) * 40 + 100
    turn = scale * np.array([[np.cos(angle_rad), -np.sin(angle_rad)], [np.sin(angle_rad), np.cos(angle_rad)]])
    target = points @ turn.T + shift
    affine = fit_similarity(points, target)
    np.testing.assert_allclose(apply_affine(affine, points), target, atol=1e-6 * (1 + scale))


def test_no_other_similarity_is_closer():
    rng = np.random.default_rng(0)
    points, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    # least squares over (a, b, c, d) of x' = a x - b y + c, y' = b x + a y + d, solved as a linear system
    x, y, one, zero = points[:, 0], points[:, 1], np.ones(5), np.zeros(5)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, c, d = np.linalg.lstsq(system, target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(fit_similarity(points, target), [a, -b, c, b, a, d], atol=1e-12)
    with pytest.raises(ValueError, match="all the same"):
        fit_similarity(np.ones((5, 2)), target)


def test_a_box_maps_onto_the_crop():
    corners = np.array([[10.0, 20.0], [50.0, 60.0]])
    np.testing.assert_allclose(apply_affine(box_affine((10, 20, 50, 60), 256), corners), [[0, 0], [256, 256]])


def test_warps_that_move_whole_pixels_copy_them():
    image = Image.fromarray(picture(0, 60, 50))
    pixels = np.asarray(image)
    np.testing.assert_array_equal(warp(image, (1, 0, -7, 0, 1, -5), 32), pixels[5:37, 7:39])
    quarter = warp(image, (0, -1, 50, 1, 0, 0), 50)  # x' = 50 - y, y' = x
    np.testing.assert_array_equal(quarter, np.rot90(pixels[:, :50], -1))
    outside = warp(image, (1, 0, 10, 0, 1, 0), 32)
    assert (outside[:, :9] == 0).all()


@pytest.mark.parametrize("shrink", [2, 3, 9, 20])
def test_shrinking_warps_average(shrink: int):
    rng = np.random.default_rng(1)
    side = 24
    noise = rng.integers(0, 256, (side * shrink, side * shrink, 3), dtype=np.uint8)
    crop = warp(Image.fromarray(noise), box_affine((0, 0, side * shrink, side * shrink), side), side).astype(float)
    # white noise averaged over shrink^2 pixels keeps about 1/shrink of its spread; taken by points it would keep all
    assert crop.std() / noise.std() < 1.6 / shrink
    ramp = np.repeat(np.linspace(0, 255, side * shrink)[None, :, None], side * shrink, 0).repeat(3, 2)
    there = warp(Image.fromarray(ramp.astype(np.uint8)), box_affine((0, 0, side * shrink, side * shrink), side), side)
    expected = ramp[0, :, 0].reshape(side, shrink).mean(1)
    assert np.abs(there[side // 2, 2:-2, 0] - expected[2:-2]).max() < 2


maps = st.lists(st.floats(-9, 9), min_size=6, max_size=6)


@given(maps, maps)
def test_composed_maps_do_one_after_the_other(first: list[float], second: list[float]) -> None:
    points = np.array([[0.0, 0.0], [3.0, -2.0], [-7.0, 5.0]])
    np.testing.assert_allclose(
        apply_affine(compose_affines(second, first), points),
        apply_affine(second, apply_affine(first, points)),
        atol=1e-9,
    )
