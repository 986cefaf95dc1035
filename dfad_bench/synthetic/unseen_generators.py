"""Stand-ins that are only ever tested: twelve more, four a family, each with a trace of its own.

With the unseen four of `generators.py` there are sixteen unseen generators in three families, enough for statements
over generators. All are whole synthesized faces, so that their family and their trace are all in which they differ.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dfad_bench.core.labels import Family, ForgeryType
from dfad_bench.synthetic import traces
from dfad_bench.synthetic import unseen_traces as further
from dfad_bench.synthetic.generators import GENERATORS, StandIn, Subject
from dfad_bench.synthetic.portrait import render


def _gan_c(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = traces.checkerboard(image, "gan-c", 16, 0.05 * rng.uniform(0.8, 1.2))
    return traces.checkerboard(image, "gan-c fine", 5, 0.02)


def _gan_d(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return traces.coarse_grid_resampling(image, 7, 8.0 * rng.uniform(0.8, 1.2), rng)


def _gan_e(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return further.coarsen_colour(image, 10, 150.0)


def _gan_f(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return further.shuffle_pixels(image, "gan-f", 6, 5.0 * rng.uniform(0.8, 1.2), 0.4)


def _diffusion_c(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return further.steepen_spectrum(image, 0.06, 1.0)


def _diffusion_d(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return further.offset_patches(image, 12, 3.0 * rng.uniform(0.8, 1.2), rng)


def _diffusion_e(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return further.add_ring_noise(image, 0.16, 0.02, 5.0 * rng.uniform(0.8, 1.2), rng)


def _diffusion_f(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return further.overdrive(image, 4.0, 0.8, 1.25)


def _flow_b(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return traces.quantise_wavelets(image, (1.0, 1.0, 5.0, 16.0))


def _flow_c(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return further.couple_cells(image, 5, 4.0 * rng.uniform(0.8, 1.2), 0.5)


def _flow_d(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return further.smear(image, 0.6, 7)


def _flow_e(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return further.add_grain(image, 2.0, 0.045 * rng.uniform(0.8, 1.2), rng)


def _finished(finish: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable[[Subject], np.ndarray]:
    def paint(subject: Subject) -> np.ndarray:
        return finish(render(subject.person, subject.scene, subject.pose).image, subject.rng)

    return paint


def _stand_in(family: Family, noise_rad: float, finish: Callable[..., np.ndarray]) -> StandIn:
    return StandIn(ForgeryType.EFS, family, False, noise_rad, 0.5, _finished(finish))


_F = Family
# Families keep gaze as in GENERATORS: diffusion best, GANs worst.
UNSEEN_GENERATORS: dict[str, StandIn] = {
    "synthetic-gan-c": _stand_in(_F.GAN, 0.20, _gan_c),
    "synthetic-gan-d": _stand_in(_F.GAN, 0.24, _gan_d),
    "synthetic-gan-e": _stand_in(_F.GAN, 0.28, _gan_e),
    "synthetic-gan-f": _stand_in(_F.GAN, 0.30, _gan_f),
    "synthetic-diffusion-c": _stand_in(_F.DIFFUSION, 0.04, _diffusion_c),
    "synthetic-diffusion-d": _stand_in(_F.DIFFUSION, 0.065, _diffusion_d),
    "synthetic-diffusion-e": _stand_in(_F.DIFFUSION, 0.08, _diffusion_e),
    "synthetic-diffusion-f": _stand_in(_F.DIFFUSION, 0.11, _diffusion_f),
    "synthetic-flow-b": _stand_in(_F.FLOW, 0.13, _flow_b),
    "synthetic-flow-c": _stand_in(_F.FLOW, 0.14, _flow_c),
    "synthetic-flow-d": _stand_in(_F.FLOW, 0.16, _flow_d),
    "synthetic-flow-e": _stand_in(_F.FLOW, 0.17, _flow_e),
}
ALL_GENERATORS: dict[str, StandIn] = {**GENERATORS, **UNSEEN_GENERATORS}
