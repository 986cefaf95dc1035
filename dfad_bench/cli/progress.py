"""Progress bars on stderr: drawn on a terminal, a plain line per bar elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dfad_bench.core.escape import one_line
from dfad_bench.core.progress import NoProgress, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID


class TerminalProgress:
    """A rich progress bar with rate, remaining time and the latest facts."""

    def __init__(self) -> None:
        self._bar: RichBar | None = None
        self._task: TaskID | None = None

    def start(self, label: str, total: int | None) -> None:
        """Start a bar; one left open by an error is closed first."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.finish()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),  # names of datasets are in it
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            console=Console(stderr=True),
            redirect_stdout=False,  # results go to stdout while it runs, wherever that leads
        )
        self._bar.start()
        self._task = self._bar.add_task(one_line(label), total=total, facts="")

    def advance(self, steps: int = 1, **facts: object) -> None:
        """Advance the bar and show the facts."""
        if self._bar is not None and self._task is not None:
            text = "  ".join(f"{key} {_short_text(value)}" for key, value in facts.items())
            self._bar.advance(self._task, steps)
            if text:
                self._bar.update(self._task, facts=text)

    def finish(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar, self._task = None, None


class LogProgress(NoProgress):
    """For logs and pipes: one line when a bar starts."""

    def start(self, label: str, total: int | None) -> None:
        """Print the label."""
        sys.stderr.write(f"{one_line(label)}{f' ({total})' if total is not None else ''} ...\n")


def make_progress(quiet: bool = False) -> Progress:
    """Bars on a terminal, one line per bar elsewhere, nothing with `--quiet`."""
    if quiet:
        return NoProgress()
    return TerminalProgress() if sys.stderr.isatty() else LogProgress()


def _short_text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))
