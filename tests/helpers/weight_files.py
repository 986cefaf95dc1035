"""Small weight files, and the line with which one is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from dfad_bench.core.errors import WeightsError
from dfad_bench.core.weights import load_state_dict

NAMES = ("conv1.weight", "bn1.running_mean", "fc.bias")
STATE = {name: torch.arange(4.0) + i for i, name in enumerate(NAMES)}
NOT_READABLE = "not readable as weights: "


def fits(state: Any) -> bool:
    return "conv1.weight" in state


def refused(path: Path, **more: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(WeightsError) as caught:
            load_state_dict(path, **more)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = STATE) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[k], v) for k, v in expected.items())


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def prefixed(prefix: str, state: dict[str, torch.Tensor] = STATE) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}
