"""Items one after the other within a budget of time; after each a file is whole, from which a later call goes on."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import read_json, write_json
from gpu_items.item import Bench, Item, NotMeasuredError, error_line

FORMAT = 1
DONE, FAILED, SKIPPED, NOT_MEASURED = "done", "failed", "skipped", "not measured"


class OutOfTimeError(BaseException):
    """The budget ended within an item; no `except Exception` in it may swallow this."""


class Journal:
    """What became of each item, in one JSON file.

    Args:
        path: the file; where there is one of the same format, its items are known.
        facts: of device, code and faces. Items that are `done` under the same `key` are not measured again.
        key: what an item's result depends on beside its name.

    Raises:
        DFADError: the file is there and is no such file.
    """

    def __init__(self, path: Path, facts: dict[str, Any], key: str) -> None:
        self.path, self.facts, self.key = path, facts, key
        self.entries: dict[str, dict[str, Any]] = {}
        if path.is_file():
            self.entries = {entry["name"]: entry for entry in read_result(path)["items"]}

    def is_settled(self, item: Item) -> bool:
        """Whether an item need not be measured again."""
        entry = self.entries.get(item.name, {})
        return entry.get("status") == DONE and entry.get("key") == self.key

    def seconds_of(self, item: Item, bench: Bench) -> float:
        """How long an item will take: as it did before on this device, else the guess."""
        before = self.entries.get(item.name, {})
        return float(before["seconds"]) if before.get("status") == DONE else item.seconds[0 if bench.on_gpu else 1]

    def note(self, item: Item, status: str, **more: Any) -> None:
        """Keep what became of an item, in the file."""
        self.entries[item.name] = {"name": item.name, "kind": item.kind, "key": self.key, "status": status, **more}
        self.write()

    def keep_only(self, items: Sequence[Item]) -> None:
        """Forget items that are none any more, and put the others in order."""
        order = [item.name for item in items]
        self.entries = {name: self.entries[name] for name in order if name in self.entries}

    def write(self) -> None:
        """Write the file, whole or not at all."""
        write_json(self.path, {"format": FORMAT, **self.facts, "items": list(self.entries.values())})


def read_result(path: Path) -> dict[str, Any]:
    """A file of a `Journal`.

    Raises:
        DFADError: it is none.
    """
    try:
        found = read_json(path)
        entries = list(found["items"]) if found["format"] == FORMAT else [{}]
        if all(isinstance(entry[key], str) for entry in entries for key in ("name", "kind", "status")):
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DFADError(f"{path}: no result of this command ({error_line(error)}); move it away") from error
    raise DFADError(f"{path}: no result of this command; move it away")


def run_items(
    items: Sequence[Item], bench: Bench, journal: Journal, seconds: float, say: Callable[[str], None]
) -> list[str]:
    """Measure what is not yet there; the names of items that failed.

    An item that would take longer than what is left is skipped and noted, one that is interrupted by the end, too;
    later ones that are shorter still have their turn.
    """
    ends = time.monotonic() + seconds
    for item in items:
        if journal.is_settled(item):
            say(f"{item.name}: there already")
            continue
        left, expected = ends - time.monotonic(), journal.seconds_of(item, bench)
        if expected > left:
            reason = f"would take about {expected:.0f} s, {max(left, 0):.0f} s of the budget were left"
            journal.note(item, SKIPPED, reason=reason)
        else:
            _measure_one(item, bench, journal, left)
            bench.free_memory()
        entry = journal.entries[item.name]
        say(f"{item.name}: {entry['status']}" + (f" ({entry['reason']})" if "reason" in entry else ""))
    return [item.name for item in items if journal.entries[item.name]["status"] == FAILED]


def _measure_one(item: Item, bench: Bench, journal: Journal, left: float) -> None:
    began = time.monotonic()
    try:
        with time_limit(left):
            rows = item.measure(bench)
    except NotMeasuredError as error:
        journal.note(item, NOT_MEASURED, reason=str(error))
    except OutOfTimeError:
        journal.note(item, SKIPPED, reason=f"the budget ended {time.monotonic() - began:.0f} s after it began")
    except Exception as error:  # whatever it is, the other items are still measured
        journal.note(item, FAILED, reason=error_line(error))
    else:
        journal.note(item, DONE, rows=rows, seconds=round(time.monotonic() - began, 1))


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block after some seconds, where the system can (main thread, not Windows)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
