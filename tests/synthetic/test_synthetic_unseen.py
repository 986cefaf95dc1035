"""The stand-ins that are only tested: what each trace does, that no two are alike, and the tree they are drawn into."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.labels import Family, ForgeryType
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.synthetic import GENERATORS, UNSEEN_GENERATORS, synthesize
from dfad_bench.synthetic import unseen_traces as traces
from dfad_bench.synthetic.faces import plan_face
from dfad_bench.synthetic.identity import draw_identity
from dfad_bench.synthetic.layout import planned_paths, planned_unseen_paths
from dfad_bench.synthetic.portrait import render
from dfad_bench.synthetic.unseen_generators import ALL_GENERATORS, Subject

FLAT = np.full((320, 320, 3), 128.0, np.float32)
NOISE = FLAT + np.random.default_rng(7).standard_normal((320, 320, 3), dtype=np.float32) * 6
FREQUENCY = np.hypot(*np.meshgrid(np.fft.fftfreq(320), np.fft.fftfreq(320)))


def spectrum(image: np.ndarray) -> np.ndarray:
    grey = image.mean(2)
    return np.abs(np.fft.fft2(grey - grey.mean())) ** 2


def test_shuffled_pixels_have_biases_whatever_the_brightness() -> None:
    added = [traces.shuffle_pixels(level, "g", 8, 4.0, 0.0) - level for level in (FLAT, FLAT / 4)]
    assert np.allclose(*added, atol=1e-3)
    power = spectrum(added[0])
    assert power[::40, ::40].sum() > 0.999 * power.sum()
    by_phase = (traces.shuffle_pixels(NOISE, "g", 8, 0.0, 0.4) - 128).reshape(40, 8, 40, 8, 3).std((0, 2, 4))
    assert by_phase.max() > 1.4 * by_phase.min()


def test_coarse_colour_is_constant_in_blocks_and_no_value_is_extreme() -> None:
    image = traces.coarsen_colour(NOISE * 2 - 128, 10, 1e5)
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    blocks = (image - grey[..., None]).reshape(32, 10, 32, 10, 3)
    assert np.allclose(blocks, blocks[:, :1, :, :1], atol=0.15)
    assert np.ptp(traces.coarsen_colour(np.where(NOISE > 128, 255.0, 0.0).astype(np.float32), 10, 60.0)) < 120


def test_a_steeper_spectrum_falls_by_its_exponent() -> None:
    ratio = spectrum(traces.steepen_spectrum(NOISE, 0.05, 1.0)) / spectrum(NOISE)
    at = [ratio[np.abs(FREQUENCY / low - 1.05) < 0.05].mean() for low in (0.2, 0.4)]
    assert at[0] / at[1] == pytest.approx(4, rel=0.1)  # power: two times the exponent an octave
    assert ratio[(FREQUENCY > 0) & (FREQUENCY < 0.01)].mean() > 0.95


def test_offsets_of_patches_have_edges_and_no_peak() -> None:
    image = traces.offset_patches(FLAT, 10, 4.0, np.random.default_rng(0))
    assert np.allclose(image.reshape(32, 10, 32, 10, 3).std((1, 3)), 0, atol=1e-3)
    power = spectrum(image)
    assert power[::32, ::32].sum() < 0.02 * power.sum()


def test_a_ring_of_noise_lies_at_its_frequency_and_has_its_strength() -> None:
    added = traces.add_ring_noise(FLAT, 0.16, 0.02, 5.0, np.random.default_rng(0)) - FLAT
    assert added.std() == pytest.approx(5, rel=0.01)
    assert spectrum(added)[np.abs(FREQUENCY - 0.16) < 0.04].sum() > 0.99 * spectrum(added).sum()


def test_overdriven_detail_is_larger_and_its_mean_and_grey_stay() -> None:
    image = traces.overdrive(NOISE, 4.0, 0.8, 1.0)
    assert image.std() > 1.5 * NOISE.std()
    assert image.mean() == pytest.approx(NOISE.mean(), abs=0.1)
    tinted = FLAT * np.array([1.2, 1.0, 0.8], np.float32)
    assert np.ptp(traces.overdrive(tinted, 4.0, 0.0, 1.25)) == pytest.approx(1.25 * np.ptp(tinted), rel=1e-3)


def test_every_second_cell_is_changed() -> None:
    changed = (traces.couple_cells(NOISE, 5, 4.0, 0.5) != NOISE).any(2)
    for row, column in ((0, 0), (5, 5), (0, 5), (5, 0)):
        assert changed[row : row + 5, column : column + 5].all() == ((row + column) % 10 == 5)


def test_smeared_along_its_direction_only() -> None:
    along = traces.smear(NOISE, 0.0, 9)
    steps = [np.abs(np.diff(along[20:-20, 20:-20], axis=axis)).mean() for axis in (0, 1)]
    assert steps[0] > 3 * steps[1]


def test_grain_grows_with_brightness() -> None:
    bright, dark = (traces.add_grain(level, 2.0, 0.05, np.random.default_rng(0)).std() for level in (FLAT, FLAT / 4))
    assert bright == pytest.approx(4 * dark, rel=1e-3)
    assert bright == pytest.approx(0.05 * 128, rel=0.01)


def test_there_are_four_a_family_whole_faces_of_the_taxonomy() -> None:
    for key, stand_in in UNSEEN_GENERATORS.items():
        row = taxonomy()[key]
        assert (row.forgery, row.family, stand_in.seen) == (ForgeryType.EFS, stand_in.family, False)
        assert row.forgery == stand_in.forgery
    assert Counter(one.family for one in UNSEEN_GENERATORS.values()) == dict.fromkeys(
        (Family.GAN, Family.DIFFUSION, Family.FLOW), 4
    )
    groups = {group.generator for group in load_protocol("synthetic").unseen if group.dataset == "synthetic-unseen"}
    assert groups == set(UNSEEN_GENERATORS)
    assert not {one.generator for one in load_protocol("synthetic").seen} & groups


def test_families_keep_gaze_in_their_order() -> None:
    noise = {f: [one.noise_rad for one in ALL_GENERATORS.values() if one.family is f] for f in Family}
    assert max(noise[Family.DIFFUSION]) < min(noise[Family.FLOW])
    assert max(noise[Family.FLOW]) < min(noise[Family.GAN])


@pytest.mark.heavy
def test_no_two_generators_leave_the_same_trace() -> None:
    """The mean residual spectrum of one person, by ring and by direction: at most half of it is shared."""
    traced = {key: one for key, one in ALL_GENERATORS.items() if one.forgery is ForgeryType.EFS}
    prints = {}
    for key, stand_in in traced.items():
        found = []
        for shot in range(3):
            plan = plan_face(0, f"test/{key}/id5000_{shot:02d}.png")
            person = draw_identity(0, plan.identity)
            subject = Subject(person, person, plan.scene, plan.pose, plan.pose, np.random.default_rng(shot))
            found.append(np.log1p(spectrum(stand_in.paint(subject) - render(person, plan.scene, plan.pose).image)))
        prints[key] = np.mean(found, 0)[:161].ravel()
    mean = np.mean(list(prints.values()), 0)
    names, table = list(prints), np.corrcoef([value - mean for value in prints.values()])
    alike = [(a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i < j and table[i, j] > 0.7]
    assert not alike, {pair: table[names.index(pair[0]), names.index(pair[1])] for pair in alike}


def test_paths_are_test_faces_of_the_people_of_the_tested_reals() -> None:
    paths = planned_unseen_paths(per_group=3)
    assert len(paths) == len(set(paths)) == 3 * len(UNSEEN_GENERATORS)
    truths = [plan_face(0, path).truth for path in paths]
    assert {truth.split for truth in truths} == {"test"}
    assert {truth.generator for truth in truths} == set(UNSEEN_GENERATORS)
    tested = {plan_face(0, p).identity for p in planned_paths(per_group=24) if p.startswith("test/real-studio")}
    assert {truth.identity for truth in truths} == set(sorted(tested)[:3])
    assert not set(GENERATORS) & set(UNSEEN_GENERATORS)
    for number in (0, 3000):
        with pytest.raises(ConfigError, match=f"per_group is {number}"):
            planned_unseen_paths(per_group=number)


@pytest.mark.heavy
def test_the_tree_says_that_it_is_of_unseen_ones(tmp_path: Path) -> None:
    truth = synthesize(tmp_path / "faces", per_group=1, unseen=True)
    assert len(truth) == len(UNSEEN_GENERATORS) == len(list((tmp_path / "faces").rglob("*.png")))
    with pytest.raises(ConfigError, match=r"made with other settings \(per_group 1, unseen True\)"):
        synthesize(tmp_path / "faces", per_group=2)
