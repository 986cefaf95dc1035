"""When training stops early, and how often it writes a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """When to stop early (the run is then partial and can go on), and how often to write a checkpoint.

    `max_steps` counts all steps of the run, those of earlier calls too; `max_minutes` counts this call. Every epoch
    ends with a checkpoint. `log_steps` steps are done between readings of their losses; None: as suits the device.
    """

    max_steps: int | None = None
    max_minutes: float | None = None
    checkpoint_steps: int | None = None
    checkpoint_minutes: float = 10.0
    log_steps: int | None = None

    def reached(self, step: int, *, late: bool) -> str | None:
        """Which limit ends the run after `step` steps, in words; `late`: its minutes are over."""
        if self.max_steps is not None and step >= self.max_steps:
            before = f"; the run had {step} before" if step > self.max_steps else ""
            return f"limit of {self.max_steps} steps in all{before}"
        return f"limit of {self.max_minutes:g} minutes in one call" if late else None

    def checkpoint_due(self, step: int, seconds: float) -> bool:
        """Whether to write a checkpoint after `step` steps, `seconds` after the last one (0: not to be asked now)."""
        every = self.checkpoint_steps
        return seconds > 60 * self.checkpoint_minutes or (every is not None and step % every == 0)
