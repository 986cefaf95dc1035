"""An item: something that is measured by itself, in rows; and the bench that it is measured on."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from dfad_bench.core.contract import Size
from dfad_bench.engine.devices import Place, place
from dfad_bench.report.table import Column

Rows = list[dict[str, Any]]


class NotMeasuredError(Exception):
    """What an item needs is not here; one line says what."""


class DisagreementError(Exception):
    """What was measured is not what it must be; one line says what."""


@dataclass
class Bench:
    """Where items are measured.

    Args:
        device: a device of torch.
        scratch: folder for files, removed afterwards.
        manifests: folders of manifests whose faces are used; none: faces are drawn.
    """

    device: torch.device
    scratch: Path
    manifests: tuple[Path, ...] = ()
    kept: dict[str, Any] = field(default_factory=dict)  # what several items use, by name

    @property
    def on_gpu(self) -> bool:
        """Whether sizes are whole; on a CPU they are cut, so that the command ends."""
        return self.device.type == "cuda"

    @property
    def size(self) -> Size:
        """Widths of the models."""
        return "paper" if self.on_gpu else "tiny"

    def choose(self, on_gpu: Any, cut: Any) -> Any:
        """The first on a GPU, else the second."""
        return on_gpu if self.on_gpu else cut

    def place(self, precision: str = "fp32") -> Place:
        """The device with a number format."""
        return place(str(self.device), precision)

    @cached_property
    def fast_format(self) -> str:
        """The format that runs are made in there."""
        return "bf16" if self.on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"

    def free_memory(self) -> None:
        """Drop what the last item left."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class Item:
    """One thing to measure.

    `measure` gives rows with the columns of its kind. `seconds` is how long it is expected to take on a GPU and, with
    sizes cut, on a CPU: guesses, until it has been measured on the same device.
    """

    name: str  # "kind" or "kind/what"
    seconds: tuple[float, float]
    measure: Callable[[Bench], Rows]

    @property
    def kind(self) -> str:
        """Name of its kind."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Kind:
    """A table: the columns of the rows of its items, and how to read them."""

    name: str
    title: str
    columns: tuple[Column, ...]
    about: str = ""


def error_line(error: BaseException) -> str:
    """An error on one line of bounded length."""
    text = " ".join(str(error).split())[:240]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
