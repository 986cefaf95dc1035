"""Runs and evaluations with their settings given as keywords."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfad_bench.core.protocol import Protocol
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine import evaluate, robustness, run
from dfad_bench.engine.job import RunResult
from dfad_bench.engine.limits import Limits
from dfad_bench.engine.robustness import RobustnessResult
from dfad_bench.engine.settings import EvaluateSettings, RobustnessSettings, TrainSettings

_PASSED_ON = ("views", "progress")


def run_training(
    model: str,
    protocol: Protocol | str,
    manifests: Sequence[Manifest],
    out: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008  frozen
    **settings: Any,
) -> RunResult:
    """Train without logs; `settings` are fields of `TrainSettings`, and what `engine.run.run_training` takes."""
    passed_on = {name: settings.pop(name) for name in _PASSED_ON if name in settings}
    settings = {"logs": (), **vars(limits), **{k: v for k, v in settings.items() if v is not None}}
    asked = TrainSettings(model=model, protocol=protocol, **settings)
    return run.run_training(asked, manifests, out, **passed_on)


def run_evaluation(path: Path, manifests: Sequence[Manifest], **settings: Any) -> RunResult:
    """Predict other faces; `settings` are fields of `EvaluateSettings`, and what `run_evaluation` takes."""
    passed_on = {name: settings.pop(name) for name in _PASSED_ON if name in settings}
    return evaluate.run_evaluation(path, manifests, EvaluateSettings(**settings), **passed_on)


def run_robustness(path: Path, manifests: Sequence[Manifest], **settings: Any) -> RobustnessResult:
    """Predict corrupted faces in this process; `settings` of `RobustnessSettings`, or `names` and `file`."""
    passed_on = {name: settings.pop(name) for name in _PASSED_ON if name in settings}
    if "names" in settings:
        settings["corruptions"] = tuple(settings.pop("names"))
    if "file" in settings:
        settings["corruptions_file"] = settings.pop("file")
    asked = RobustnessSettings(**{"workers": 0, **settings})
    return robustness.run_robustness(path, manifests, asked, **passed_on)
