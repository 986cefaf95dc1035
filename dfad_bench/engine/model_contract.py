"""The contract every model keeps, as checks anyone can run on a registered model (also one from outside)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dfad_bench.engine.contract_checks import building, forward, gpu, missing, training
from dfad_bench.engine.contract_checks.subject import Subject


@dataclass(frozen=True)
class CheckResult:
    """One check on one model; `detail` says what is wrong, and is empty where `ok`."""

    model: str
    check: str
    ok: bool
    detail: str = ""


CHECKS: dict[str, Callable[[Subject], str]] = {
    "build": building.check_build,
    "card": building.check_card,
    "options": building.check_options,
    "weights": building.check_weights,
    "paper_size": building.check_paper_size,
    "views": building.check_views,
    "output": forward.check_output,
    "rows_independent": forward.check_rows_independent,
    "deterministic": forward.check_deterministic,
    "inference_mode": forward.check_inference_mode,
    "label_blind": forward.check_label_blind,
    "missing_views": missing.check_missing_views,
    "side_effects": forward.check_side_effects,
    "losses": training.check_losses,
    "gradients": training.check_gradients,
    "heads": training.check_heads,
    "label_polarity": training.check_label_polarity,
    "hidden_labels": training.check_hidden_labels,
    "checkpointing": training.check_checkpointing,
    "gpu": gpu.check_gpu,
    "frozen": training.check_frozen,
    "state_dict": training.check_state_dict,
}


def check_model(name: str, options: Mapping[str, Any] | None = None) -> list[CheckResult]:
    """Run every check on a registered model, tiny, on the CPU; torch's global random state is left as it was.

    Where a model cannot be built, or needs a view that nothing makes, no check after that is run. `options` are its
    settings.

    Raises:
        UnknownNameError: no such model.
    """
    subject = Subject(name, options)
    results = []
    with torch.random.fork_rng(devices=[]):
        for check, function in CHECKS.items():
            try:
                detail = function(subject)
            except Exception as error:  # a model from outside may raise anything; that is a finding, not our crash
                detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            results.append(CheckResult(name, check, not detail, detail))
            if detail and check in ("build", "views"):
                break  # no check after it could do more than fail for the same reason
    return results
