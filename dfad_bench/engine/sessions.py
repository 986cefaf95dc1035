"""What a run was trained with from which step on, where that moves the last bits: threads, processes, PyTorch.

Sums are taken in another order by another number of threads (on a CPU), processes or version of PyTorch, so a run that
goes on with others ends with other bits than one that does not, and agrees with it to rounding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch


@dataclass(frozen=True)
class Session:
    """From the step after `step` on; consecutive sessions that are alike are one."""

    step: int
    threads: int
    processes: int
    torch: str
    checkpointing: bool = False  # whether inner results of a block were computed again, which moves no bits

    @property
    def plain_values(self) -> dict[str, Any]:
        """As records hold it; `checkpointing` only where it was on."""
        return {name: value for name, value in asdict(self).items() if name != "checkpointing" or value}


def begin_session(
    before: Sequence[Session], step: int, processes: int, checkpointing: bool = False
) -> tuple[Session, ...]:
    """The sessions of a run that begins, or goes on after `step`, in this process.

    `checkpointing` is whether it was asked for and possible; a session has it once a block was computed again
    (`computed_again`), or where the one before it had.
    """
    had = bool(before) and before[-1].checkpointing
    now = Session(step, torch.get_num_threads(), processes, torch.__version__, checkpointing and had)
    alike = bool(before) and replace(before[-1], step=step) == now and checkpointing == had
    return tuple(before) if alike else (*before, now)


def computed_again(sessions: tuple[Session, ...], true: bool) -> tuple[Session, ...]:
    """The sessions, of which the last has computed inner results of a block again where `true`."""
    return (*sessions[:-1], replace(sessions[-1], checkpointing=True)) if true and sessions else sessions


def session_changes(sessions: Sequence[Session], device: str) -> list[str]:
    """A line for each step at which something changed; the CPU's threads count on the device "cpu" only."""
    lines = []
    for before, after in zip(sessions, sessions[1:], strict=False):
        pairs = {name: (getattr(before, name), getattr(after, name)) for name in ("threads", "processes", "torch")}
        if device != "cpu":
            del pairs["threads"]
        if changed := [f"{name} {old}, then {new}" for name, (old, new) in pairs.items() if old != new]:
            rounding = "the weights are those of an uninterrupted run to rounding only, not bit for bit"
            lines.append(f"went on after step {after.step} with other means ({'; '.join(changed)}): {rounding}")
    return lines
