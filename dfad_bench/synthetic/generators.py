"""The stand-in generators: their names, how well they preserve gaze, and how each makes a face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dfad_bench.core.labels import Family, ForgeryType
from dfad_bench.synthetic import traces
from dfad_bench.synthetic.geometry import Pose
from dfad_bench.synthetic.identity import Identity, Scene, with_attributes_of, with_face_of
from dfad_bench.synthetic.portrait import Portrait, render


@dataclass(frozen=True)
class Subject:
    """The input of a generator: a person (or a target), another person, a scene, and the gaze it will render."""

    person: Identity
    other: Identity
    scene: Scene
    target_pose: Pose
    pose: Pose
    rng: np.random.Generator


@dataclass(frozen=True)
class StandIn:
    """One stand-in generator; `noise_rad` is the root mean square of its yaw error, see `poses.with_gaze_error`."""

    forgery: ForgeryType
    family: Family
    seen: bool
    noise_rad: float
    head_share: float
    paint: Callable[[Subject], np.ndarray]


def _gan_a(subject: Subject) -> np.ndarray:
    image = render(subject.person, subject.scene, subject.pose).image
    image = traces.checkerboard(image, "gan-a", 8, 0.045 * subject.rng.uniform(0.8, 1.2))
    return traces.checkerboard(image, "gan-a fine", 4, 0.015)


def _gan_b(subject: Subject) -> np.ndarray:
    image = render(subject.person, subject.scene, subject.pose).image
    return traces.nearest_upsampling(image, 6, 5.0 * subject.rng.uniform(0.8, 1.2), subject.rng)


def _diffusion_a(subject: Subject) -> np.ndarray:
    image = render(subject.person, subject.scene, subject.pose).image
    image = traces.denoise(image, cut=5.0, keep=0.08, edge=26.0)
    return traces.blotches(image, 26, 3.0, subject.rng)


def _diffusion_b(subject: Subject) -> np.ndarray:
    image = render(subject.person, subject.scene, subject.pose).image
    image = traces.remove_band(image, fine=1.2, coarse=6.0, share=0.9)
    return traces.blotches(image, 14, 3.0, subject.rng)


def _flow_a(subject: Subject) -> np.ndarray:
    image = render(subject.person, subject.scene, subject.pose).image
    return traces.quantise_wavelets(image, (6.0, 9.0, 12.0))


def _swap(subject: Subject, feather: float, mismatch: float, finish: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    target = render(subject.person, subject.scene, subject.target_pose)
    source = render(with_face_of(subject.person, subject.other), subject.scene, subject.pose)
    mask = target.inner_face(feather) * (1.0 - target.hair)
    signs = subject.rng.choice([-1.0, 1.0], 3)
    gain = 1.0 + mismatch * signs * subject.rng.uniform(0.7, 1.3, 3)
    return traces.paste(target.image, finish(source.image), mask, gain.astype(np.float32))


def _swap_gan(subject: Subject) -> np.ndarray:
    return _swap(subject, 2.0, 0.10, lambda image: traces.checkerboard(image, "swap-gan", 12, 0.045))


def _swap_diffusion(subject: Subject) -> np.ndarray:
    def finish(image: np.ndarray) -> np.ndarray:
        return traces.blotches(traces.denoise(image, 6.0, 0.1, 24.0), 20, 2.5, subject.rng)

    return _swap(subject, 6.0, 0.03, finish)


def _edit_diffusion(subject: Subject) -> np.ndarray:
    target = render(subject.person, subject.scene, subject.target_pose)
    edited = render(with_attributes_of(subject.person, subject.other), subject.scene, subject.pose)
    fresh = traces.remove_band(edited.image, fine=0.8, coarse=7.0, share=0.95)
    fresh = traces.blotches(fresh, 10, 4.0, subject.rng)
    return traces.paste(target.image, fresh, _soft_edge_mask(edited, 3.0), np.ones(3, np.float32))


def _reenact_gan(subject: Subject) -> np.ndarray:
    posed = render(subject.person, subject.scene, subject.pose)
    moved = traces.block_warp(posed.image, 16, 1.8, _eye_mask(posed), subject.rng)
    moved = traces.coarse_grid_resampling(moved, 10, 8.0, subject.rng)
    return traces.paste(posed.image, moved, _soft_edge_mask(posed, 4.0), np.ones(3, np.float32))


def _soft_edge_mask(portrait: Portrait, feather: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(np.clip(portrait.skin + portrait.hair, 0, 1), (0, 0), feather)


def _eye_mask(portrait: Portrait) -> np.ndarray:
    import cv2

    still_mask = np.zeros(portrait.skin.shape, np.uint8)
    for centre in portrait.project.iris_centres():
        cv2.circle(still_mask, tuple(int(round(float(v))) for v in centre), 26, 255, -1)
    return cv2.GaussianBlur(still_mask, (0, 0), 4.0).astype(np.float32) / 255.0


_E, _F = ForgeryType, Family
# Diffusion preserves gaze best and GANs worst, as GazeCLIP reports for real generators (Figure 1); flow is in between.
GENERATORS: dict[str, StandIn] = {
    "synthetic-gan-a": StandIn(_E.EFS, _F.GAN, True, 0.22, 0.5, _gan_a),
    "synthetic-diffusion-a": StandIn(_E.EFS, _F.DIFFUSION, True, 0.095, 0.5, _diffusion_a),
    "synthetic-swap-gan": StandIn(_E.FS, _F.GAN, True, 0.18, 0.0, _swap_gan),
    "synthetic-edit-diffusion": StandIn(_E.AM, _F.DIFFUSION, True, 0.03, 0.0, _edit_diffusion),
    "synthetic-reenact-gan": StandIn(_E.FR, _F.GAN, True, 0.31, 0.6, _reenact_gan),
    "synthetic-gan-b": StandIn(_E.EFS, _F.GAN, False, 0.26, 0.5, _gan_b),
    "synthetic-diffusion-b": StandIn(_E.EFS, _F.DIFFUSION, False, 0.12, 0.5, _diffusion_b),
    "synthetic-flow-a": StandIn(_E.EFS, _F.FLOW, False, 0.15, 0.5, _flow_a),
    "synthetic-swap-diffusion": StandIn(_E.FS, _F.DIFFUSION, False, 0.05, 0.0, _swap_diffusion),
}
GAZE_NOISE_RAD: dict[str, float] = {key: stand_in.noise_rad for key, stand_in in GENERATORS.items()}
