"""Ways to compute the Frechet distance of Gaussians.

In two dimensions the closed form, and pytorch-fid's function as a check; in any number of them by eigenvalues, or of
each dimension for itself.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from dfad_bench.core.errors import UnknownNameError, need
from dfad_bench.metrics import METRICS

CLOSED_FORM = "closed-form"
PYTORCH_FID = "pytorch-fid"
Distance = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def closed_form_2d(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> np.ndarray:
    """The metric `frechet_distance` of the table: `gaussian_frechet_2d`, whose arguments these are."""
    distances: np.ndarray = METRICS["frechet_distance"].resolve()(mean_a, cov_a, mean_b, cov_b)
    return distances


def pytorch_fid_2d(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> np.ndarray:
    """`gaussian_frechet_2d` by pytorch-fid's `calculate_frechet_distance`, one call per pair of Gaussians.

    Args:
        mean_a: (..., 2).
        cov_a: (..., 2, 2).
        mean_b: as `mean_a`, broadcast against it.
        cov_b: as `cov_a`.

    Raises:
        MissingDependencyError: pytorch-fid is not installed.
    """
    calculate = pytorch_fid_function()
    shape = np.broadcast_shapes(mean_a.shape, mean_b.shape)
    means = [np.broadcast_to(mean, shape).reshape(-1, 2) for mean in (mean_a, mean_b)]
    covs = [np.broadcast_to(cov, (*shape, 2)).reshape(-1, 2, 2) for cov in (cov_a, cov_b)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for singular covariances it warns although the value is right
        found = [calculate(*pair) for pair in zip(means[0], covs[0], means[1], covs[1], strict=True)]
    return np.array(found, dtype=np.float64).clip(min=0).reshape(shape[:-1])  # rounding can leave -1e-17


def any_dimension(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> np.ndarray:
    """`metrics.frechet.frechet_distance` over any leading axes, below which the arguments are broadcast.

    Args:
        mean_a: (..., d).
        cov_a: (..., d, d).
        mean_b: as `mean_a`.
        cov_b: as `cov_a`.
    """
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0))[..., None, :]) @ vectors.swapaxes(-1, -2)  # A^1/2
    inner = root @ cov_b @ root
    roots = np.sqrt(np.linalg.eigvalsh((inner + inner.swapaxes(-1, -2)) / 2).clip(min=0)).sum(axis=-1)
    traces = np.trace(cov_a, axis1=-2, axis2=-1) + np.trace(cov_b, axis1=-2, axis2=-1)
    found: np.ndarray = ((mean_a - mean_b) ** 2).sum(axis=-1) + traces - 2 * roots
    return found.clip(min=0)  # rounding can leave -1e-17


def separate_dimensions(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> np.ndarray:
    """The sum over dimensions of the Frechet distance in one: (m_a - m_b)^2 + (s_a - s_b)^2, covariances left out.

    Arguments as of `any_dimension`, of which it is the value for diagonal covariances. Where there are not many more
    sources than dimensions, covariances are nearly singular, and what chance adds to the whole distance cannot be
    taken off again; it can here.
    """
    deviations = [np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1).clip(min=0)) for cov in (cov_a, cov_b)]
    found: np.ndarray = ((mean_a - mean_b) ** 2).sum(axis=-1) + ((deviations[0] - deviations[1]) ** 2).sum(axis=-1)
    return found


FID_BACKENDS: dict[str, Distance] = {CLOSED_FORM: closed_form_2d, PYTORCH_FID: pytorch_fid_2d}


def fid_backend(name: str) -> Distance:
    """The distance function of that name.

    Raises:
        UnknownNameError: no such backend.
    """
    if name not in FID_BACKENDS:
        raise UnknownNameError("FID backend", name, FID_BACKENDS)
    return FID_BACKENDS[name]


@cache
def pytorch_fid_function() -> Callable[..., Any]:
    """pytorch-fid's `calculate_frechet_distance`, with a `sqrtm` that takes `disp`, and without output.

    pytorch-fid 0.3.0 calls `sqrtm(..., disp=False)`, of which newer SciPy warns and which SciPy 1.18 rejects; and it
    prints to stdout where the product of the covariances has no root (it then adds 1e-6 to both diagonals). The
    function is copied with a name space of its own, so that other users of SciPy and pytorch-fid see no change.

    Raises:
        MissingDependencyError: pytorch-fid is not installed.
    """
    module = need("pytorch_fid.fid_score", "pytorch-fid", "--fid-backend pytorch-fid")
    original = module.calculate_frechet_distance
    names = {**original.__globals__, "print": _print_nothing}
    if not accepts_disp(module.linalg.sqrtm):
        names["linalg"] = SimpleNamespace(sqrtm=_with_disp(module.linalg.sqrtm))
    return FunctionType(original.__code__, names, original.__name__, original.__defaults__, original.__closure__)


def _print_nothing(*_: object) -> None:
    """Print nothing: stdout is reserved for tables and JSON."""


def accepts_disp(sqrtm: Callable[..., Any]) -> bool:
    """Whether a `sqrtm` has the argument `disp` and has not deprecated it (its default is then no longer True)."""
    parameter = inspect.signature(sqrtm).parameters.get("disp")
    return parameter is not None and parameter.default is True


def _with_disp(sqrtm: Callable[..., Any]) -> Callable[..., Any]:
    def with_disp(matrix: np.ndarray, disp: bool = True) -> Any:
        root = sqrtm(matrix)
        return root if disp else (root, None)

    return with_disp
