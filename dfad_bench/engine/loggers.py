"""Loggers that receive the losses of a run during training, besides `trace.csv`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from dfad_bench.core.errors import ConfigError, DFADError, need, quoted


class Logger(Protocol):
    """Receives values step by step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step; a step may come more than once, with other names."""

    def close(self) -> None:
        """Close the log; the run has ended or been interrupted."""


class TensorBoard:
    """Event files in `tensorboard/` of the run folder, written by TensorBoard's own writer.

    Args:
        out: the run folder.
        step: steps done before; later ones of a killed run are hidden.
    """

    def __init__(self, out: Path, step: int, settings: Mapping[str, Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the package's own dependencies
            from torch.utils.tensorboard import SummaryWriter
        self._writer: Any = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1, flush_secs=30)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log one scalar for each value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close; a disk that is full by now loses the last lines of this log and nothing else."""
        with contextlib.suppress(OSError):
            self._writer.close()


class WandB:
    """A run of Weights & Biases that goes on under the same name when it is resumed."""

    def __init__(self, out: Path, step: int, settings: Mapping[str, Any]) -> None:
        wandb = need("wandb", "wandb", "--wandb")
        known = {key: value for key, value in settings.items() if key != "project"}
        self._run: Any = wandb.init(
            project=settings["project"],
            name=f"{out.parent.name}-{out.name}",
            id=str(settings["run_id"]),
            dir=str(out),
            resume="allow",
            config=known,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log all values of a step in one call."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Upload the remaining values and close the run."""
        self._run.finish()


# name -> how a logger of that name is made, and the module it needs
LOGGERS: dict[str, tuple[Callable[[Path, int, Mapping[str, Any]], Logger], str]] = {
    "tensorboard": (TensorBoard, "tensorboard"),
    "wandb": (WandB, "wandb"),
}


def lacking(names: Sequence[str]) -> list[str]:
    """A line for each of the named logs whose package is not installed.

    Raises:
        ConfigError: no such log.
    """
    lines = []
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(f"no log named {quoted(name)}; known: {', '.join(LOGGERS)}")
        if find_spec(LOGGERS[name][1]) is None:
            lines.append(f"no {name} log: pip install {LOGGERS[name][1]} (trace.csv has the same numbers)")
    return lines


class Logs:
    """Several loggers as one, opened at the first number; one that fails is dropped with a line in `notes`.

    Args:
        names: of `LOGGERS`; those not installed are left out.
        out: the run folder.
        settings: of the run, for logs that show them.
    """

    def __init__(self, names: Sequence[str], out: Path, settings: Mapping[str, Any]) -> None:
        self._names = [name for name in names if find_spec(LOGGERS[name][1]) is not None]
        self._out, self._settings = out, settings
        self._open: dict[str, Logger] | None = None
        self.notes: list[str] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass the values on to every logger."""
        if self._open is None:
            self._open = {}
            for name in self._names:
                self._try(name, lambda name=name: self._add(name, step - 1))  # type: ignore[misc]
        for name, logger in list(self._open.items()):
            self._try(name, lambda logger=logger: logger.log(step, values))  # type: ignore[misc]

    def close(self) -> None:
        """Close every logger; the next number opens them again."""
        for name, logger in list((self._open or {}).items()):
            self._try(name, logger.close)
        self._open = None

    def _add(self, name: str, step: int) -> None:
        assert self._open is not None
        self._open[name] = LOGGERS[name][0](self._out, step, self._settings)

    def _try(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except DFADError:
            raise
        except Exception as error:  # a log is a convenience; whatever its package raises must not end a run
            self.notes.append(f"the {name} log ended ({type(error).__name__}: {error})")
            if self._open is not None:
                self._open.pop(name, None)
            self._names = [other for other in self._names if other != name]
