"""What steps came to, read some steps later: into trace, logs and progress, or an error that names the step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfad_bench.core.errors import DFADError
from dfad_bench.core.progress import Progress
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.engine.devices import Place
from dfad_bench.engine.loggers import Logs
from dfad_bench.engine.step import NotFiniteError, Stepper, StepValues
from dfad_bench.engine.trace import Trace


@dataclass(frozen=True)
class IssuedStep:
    """A step the device was given: its number in the run, where it stands, its learning rate, the rows of its faces."""

    step: int
    stage: str
    epoch: int
    rate: float
    index: np.ndarray


class Readings:
    """The steps since the last reading.

    Args:
        folder: of the run; the step that is not finite is written there.
        faces: whose rows the steps name.
        place: device and number format.
        progress: one step each.
        logs: receive the losses of every step; None on all processes but the first.
        lead: whether this process writes.
    """

    def __init__(
        self, folder: Path, faces: FaceDataset, place: Place, progress: Progress, logs: Logs | None, *, lead: bool
    ) -> None:
        self._folder, self._faces, self._place, self._lead = Path(folder), faces, place, lead
        self._progress, self._logs = progress, logs
        self._issued: list[IssuedStep] = []
        self._began_s = self._seconds = 0.0
        self._speed: float | None = None

    @property
    def count(self) -> int:
        """Steps that have not been read."""
        return len(self._issued)

    def begin(self) -> None:
        """A step begins; time until now, as of waiting for faces, does not count for speeds."""
        self._began_s = time.monotonic()

    def add(self, step: IssuedStep) -> None:
        """The step was given to the device."""
        self._issued.append(step)
        self._count_seconds()

    def read(self, stepper: Stepper, trace: Trace) -> list[bool]:
        """Read all of them; for each flag whether any process had it in any of them (none where nothing was issued).

        Raises:
            DFADError: a step was not finite; its number, terms and faces are named.
        """
        issued, self._issued = self._issued, []
        try:
            found = stepper.read()
        except NotFiniteError as error:
            self._show(issued, error.before, trace)
            raise self._refusal(error, issued[len(error.before)]) from error
        if not found:
            return []
        self._count_seconds()
        self._show(issued, found, trace)
        return [any(each) for each in zip(*(flags for _, flags in found), strict=True)]

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self._seconds, self._began_s = self._seconds + now - self._began_s, now

    def _show(self, issued: list[IssuedStep], found: Sequence[StepValues], trace: Trace) -> None:
        speed = sum(len(step.index) for step in issued) / max(self._seconds, 1e-9)
        self._seconds = 0.0
        for step, (values, _) in zip(issued, found, strict=False):
            trace.add(step=step.step, stage=step.stage, epoch=step.epoch, lr=step.rate, **values)
            self._speed = speed if self._speed is None else 0.9 * self._speed + 0.1 * speed
            shown = {"loss": values["loss"], "lr": step.rate, "faces/s": round(self._speed)}
            self._progress.advance(1, **shown, epoch=step.epoch + 1)
            if self._logs is not None:
                self._logs.log(step.step, {**values, "lr": step.rate, "faces_per_s": speed})

    def _refusal(self, error: NotFiniteError, step: IssuedStep) -> DFADError:
        faces = [str(name) for name in self._faces.sample_ids[step.index]]
        path = RunFolder(self._folder).not_finite
        if self._lead:
            error.write(path, step=step.step, stage=step.stage, sample_ids=faces)
        return error.refusal(path, step=step.step, sample_ids=faces, precision=self._place.precision)
