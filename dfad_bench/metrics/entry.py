"""What an entry of the metric table says, and how the functions it names are called."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal

import numpy as np

On = Literal["seen", "unseen", "ranking", "retrieval", "detection", "processed", "gaze-distributions", "gaze-pairs"]
Averaging = Literal["macro", "pooled"]
Needs = Literal["any", "forged", "real", "both", "classes"]
# set of faces -> the arrays that a metric on it may take, by the names of its parameters
SETS: dict[str, tuple[str, ...]] = {
    "seen": ("probs", "labels"),
    "unseen": ("probs", "threshold"),
    "ranking": ("seen_probs", "labels", "unseen_probs"),
    "retrieval": ("probs", "generators", "registered"),
    "detection": ("labels", "p_fake", "scores"),
    "processed": ("p_fake",),
    "gaze-distributions": ("mean_a", "cov_a", "mean_b", "cov_b"),
    "gaze-pairs": ("a", "b"),
}
SCORED = (
    "seen",
    "unseen",
    "ranking",
    "retrieval",
    "detection",
    "processed",
)  # sets of predictions; gaze has no predictions
QUICK_DRAWS = ("auc", "oscr", "ap", "eer", "fpr95", "fpr95_openood", "ece")
_ALLOWED: dict[str, tuple[str, ...]] = {
    "averaging": ("macro", "pooled"),
    "needs": ("any", "forged", "real", "both", "classes"),
}


@dataclass(frozen=True)
class Metric:
    """One entry of the table: what is computed, on which faces, and how it is averaged.

    A function takes the arrays that its parameters name. Which there are is said by `SETS`: `probs` (n, classes),
    `labels` (n,) the class of each face (detection: 1 forged, 0 real), `p_fake` and `scores` (n,) the probability of
    being forged, `threshold` a float, `generators` (n,) names, `registered` (n,) bool.

    Attributes:
        function: "module:function" of the metric: arrays in, a float out, or None where it is not defined.
        higher_is_better: whether a larger value is the better one.
        unit: "share" (0 to 1, printed in percent), or a physical unit such as "rad^2".
        on: the faces it is computed on. "seen": test faces of seen groups. "unseen": test faces of unseen groups, once
            a threshold of the protocol. "ranking": seen against unseen faces. "retrieval": faces with and without a
            known generator. "detection": forged against real faces, of unseen and of seen groups. "gaze-...": gaze
            vectors; computed by the gaze analyses, not from predictions.
        averaging: "macro": of each group alone, and the mean over groups ("detection": each forged group against all
            real faces); "pooled": of all faces of the set together. Both may be asked for.
        needs: which detection labels must be present for the value to be defined. "both" and "classes" need forged and
            real faces; a mean of values by face is of each alone and then of the two, or of all together.
        settings: further keyword arguments of `function`, kept in the record.
        near_far: whether it is computed for the unseen groups near to and far from the seen generators, too.
        per_face: "module:function" of what the metric averages: (n,) bool or float, one value a face. With it the
            interval and the paired test of two models are exact or fast; without it both are bootstrapped by calling
            `function` on each resample. The mean is over the faces that `needs` names; for "both", of both means.
        draws: the statistic of `ClusterBootstrap` that is this metric, to resample it faster.
        biased: whether resampling shifts its value, so that the draws make no interval.
        main: whether `dfad compare` tests it without `--all`.
        note: a convention the name does not tell, such as which class is positive; printed beneath tables that show it.
    """

    function: str
    higher_is_better: bool
    unit: str
    on: On
    averaging: tuple[Averaging, ...]
    needs: Needs = "any"
    settings: Mapping[str, Any] = field(default_factory=dict)
    near_far: bool = False
    per_face: str | None = None
    draws: str | None = None
    biased: bool = False
    main: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        if self.on not in SETS:
            raise ValueError(f"{self.function}: on={self.on!r}, expected one of {', '.join(SETS)}")
        if not isinstance(self.averaging, tuple) or not self.averaging:
            raise ValueError(f"{self.function}: averaging must be a tuple of {' or '.join(_ALLOWED['averaging'])}")
        for name, values in (("averaging", self.averaging), ("needs", (self.needs,))):
            if odd := [value for value in values if value not in _ALLOWED[name]]:
                raise ValueError(f"{self.function}: {name}={odd[0]!r}, expected one of {', '.join(_ALLOWED[name])}")
        if self.needs != "any" and self.on != "detection":
            raise ValueError(f"{self.function}: needs={self.needs!r} is of detection labels, which {self.on!r} has not")
        if self.draws is not None and self.on not in ("ranking", "detection"):
            raise ValueError(f"{self.function}: draws={self.draws!r}, but {self.on!r} is no set of two classes")
        if self.draws not in (None, *QUICK_DRAWS):
            raise ValueError(f"{self.function}: draws={self.draws!r}, expected one of {', '.join(QUICK_DRAWS)}")
        self._check_set()

    def _check_set(self) -> None:
        """Refuse what an entry says and its set cannot do."""
        if doubled := [name for name in dict.fromkeys(self.averaging) if self.averaging.count(name) > 1]:
            raise ValueError(f"{self.function}: averaging names {doubled[0]!r} twice")
        if self.draws == {"ranking": "ece", "detection": "oscr"}.get(self.on, ""):
            raise ValueError(f"{self.function}: draws={self.draws!r} is not a statistic of {self.on!r}")
        if self.near_far and self.on not in ("unseen", "ranking"):
            raise ValueError(f"{self.function}: near_far is of unseen faces, which {self.on!r} does not single out")
        if self.per_face is not None and self.on == "ranking":
            raise ValueError(f"{self.function}: per_face, but 'ranking' has two arrays of faces; leave it out")
        if reserved := sorted({*SETS[self.on], "threshold"} & set(self.settings)):
            raise ValueError(
                f"{self.function}: settings name {reserved[0]!r}, which is given by the faces or the protocol"
            )

    def resolve(self) -> Callable[..., Any]:
        """The metric's function, for callers with arrays of their own."""
        return load(self.function)

    def compute(self, **arrays: Any) -> float | None:
        """The metric of some arrays, by their names in `SETS`; None where it is not defined (None, NaN or inf).

        Raises:
            TypeError: the function takes an array that its set does not have, or returns no number.
        """
        value = self._call(self.function, arrays)
        if value is not None and not isinstance(value, int | float | np.integer | np.floating):
            raise TypeError(f"{self.function} returns {type(value).__name__}; a metric is a float, or None")
        return None if value is None or not np.isfinite(value) else float(value)

    def compute_per_face(self, **arrays: Any) -> np.ndarray:
        """The value of each face (n,), of which the metric is the mean.

        Raises:
            ValueError: the entry has no `per_face`.
            TypeError: as of `compute`.
        """
        if self.per_face is None:
            raise ValueError(f"{self.function} has no values by face")
        return np.asarray(self._call(self.per_face, arrays))

    def _call(self, path: str, arrays: Mapping[str, Any]) -> Any:
        function = load(path)
        offered = {**arrays, **self.settings}
        parameters = _parameters(function)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            named = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
            if absent := [p.name for p in named if p.default is p.empty and p.name not in offered]:
                raise TypeError(f"{path} takes {', '.join(absent)}; the set {self.on!r} has {', '.join(offered)}")
            offered = {p.name: offered[p.name] for p in named if p.name in offered}
        try:
            return function(**offered)
        except Exception as error:  # a mistake of the function: it keeps its kind and its traceback
            error.add_note(f"in the metric {path}, on the set {self.on!r}")
            raise


def load(path: str) -> Callable[..., Any]:
    """The function of a "module:function" text.

    Raises:
        ValueError: not such a text.
        ImportError, AttributeError: no such module or function.
    """
    module, colon, name = path.partition(":")
    if not colon:
        raise ValueError(f"{path!r} is not of the form module:function")
    # most metrics are called thousands of times a score: what is imported is not looked for again
    function: Callable[..., Any] = getattr(sys.modules.get(module) or import_module(module), name)
    return function


@lru_cache(maxsize=256)  # reading a signature takes longer than a metric of a few hundred faces
def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(function).parameters.values())
