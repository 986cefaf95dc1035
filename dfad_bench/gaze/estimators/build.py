"""Building a registered gaze estimator by name, with its weights and settings."""

from __future__ import annotations

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.gaze.estimators.base import GazeEstimator


def build_estimator(name: str, weights: str | None = None) -> GazeEstimator:
    """A registered estimator with its weights, given by name or by path.

    Settings of networks follow the name: `eth_xgaze:yaw_pitch,bgr` (see `network.SETTING_WORDS`).

    Raises:
        UnknownNameError: no estimator of that name.
        WeightsError: weights missing, or given to an estimator that takes none.
        ConfigError: a setting the estimator does not have.
    """
    from dfad_bench.core.weights import find_weights

    kind, (_, _, words) = estimator_class(name), name.partition(":")
    file = find_weights(weights) if weights is not None else None
    if not words:
        return kind.build(file)
    from dfad_bench.gaze.estimators.network import NetworkEstimator, settings_of

    if not issubclass(kind, NetworkEstimator):
        raise ConfigError(f"estimator {quoted(name)}: {kind.name} has no settings; leave {quoted(':' + words)} out")
    return kind.build(file, **settings_of(words))


def estimator_names() -> list[str]:
    """Every name and alias `build_estimator` knows."""
    from dfad_bench.gaze.estimators import ALIASES

    return sorted({*estimator_table(), *ALIASES})


def estimator_table() -> dict[str, str]:
    """Every estimator's name and where it is: ours, then those of other distributions (`dfad_bench.estimators`).

    Raises:
        DFADError: a name is registered twice.
    """
    from dfad_bench.core.registry import with_entry_points
    from dfad_bench.gaze.estimators import ESTIMATORS

    return with_entry_points("estimator", ESTIMATORS, "dfad_bench.estimators")


def estimator_class(name: str) -> type[GazeEstimator]:
    """The class of an estimator, by name or alias; settings after the name are ignored.

    Raises:
        UnknownNameError: no estimator of that name.
    """
    from dfad_bench.core.registry import resolve
    from dfad_bench.gaze.estimators import ALIASES

    table = estimator_table()
    known = {**table, **{alias: table[real] for alias, real in ALIASES.items() if real in table}}
    return resolve("estimator", name.partition(":")[0], known)
