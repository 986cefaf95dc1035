"""Several training processes on this machine, supervised by this one; use torchrun for several machines."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from dfad_bench.core.children import interrupts_blocked
from dfad_bench.core.cores import usable_cores
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.engine.distributed import SUPERVISED

GRACE_S = 20.0  # seconds for the others to end by themselves once one has failed


def launch(arguments: Sequence[str], processes: int, *, cuda_devices: int | None = None, silent: bool = False) -> int:
    """Run `python -m dfad_bench` with these arguments as a team of processes; returns its exit code.

    Ctrl-C and SIGTERM are passed on, and end training with a checkpoint; so does the end of this process.

    Args:
        arguments: of the command line.
        processes: how many.
        cuda_devices: how many GPUs are to be shared out, where the processes use them.
        silent: drop what they print on stdout.

    Raises:
        ConfigError: more processes than GPUs.
        DFADError: a process was killed, with what to do.
    """
    if cuda_devices is not None and processes > cuda_devices:
        raise ConfigError(f"--processes {processes}: {cuda_devices} GPUs here, one for each process; ask for fewer")
    command = [sys.executable, "-m", "dfad_bench", *arguments]
    port = _free_port()
    end, held = os.pipe()  # `held` closes with this process, however it ends
    more: dict[str, Any] = {} if os.name == "nt" else {"pass_fds": (end,), "process_group": 0}  # signals: one way only
    more |= {"stdout": subprocess.DEVNULL} if silent else {}
    started: list[subprocess.Popen[bytes]] = []
    with _forwarded_signals(started):
        try:
            surroundings = (_environment(rank, processes, port, end) for rank in range(processes))
            with interrupts_blocked():  # Ctrl-C reaches them once they handle it
                started.extend(subprocess.Popen(command, env=each, **more) for each in surroundings)
            _wait_for(started)
        finally:
            _stop(started)
            os.close(end)
            os.close(held)
    codes = [process.returncode for process in started]
    for rank, code in enumerate(codes):
        if code < 0 and -code != signal.SIGTERM:
            name = signal.Signals(-code).name
            raise DFADError(
                f"training process {rank + 1} of {processes} was killed ({name}; SIGKILL often means that memory ran"
                " out); the same command goes on from the last checkpoint"
            )
    return max((abs(code) for code in codes), default=0)


def _wait_for(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended, or for `GRACE_S` after one has failed."""
    failed_at = None
    while any(process.poll() is None for process in started):
        if failed_at is None and any(process.returncode for process in started):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > GRACE_S:
            return
        time.sleep(0.05)


def _stop(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for stop in (subprocess.Popen.terminate, subprocess.Popen.kill):
        for process in started:
            if process.poll() is None:
                stop(process)
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)


@contextlib.contextmanager
def _forwarded_signals(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Pass Ctrl-C and SIGTERM on to the processes, which end by themselves."""

    def forward(signum: int, frame: object) -> None:
        for process in started:
            if process.poll() is None:
                process.send_signal(signum)

    before = {kind: signal.signal(kind, forward) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def end_with_launcher() -> None:
    """In a process of `launch`: end as on SIGTERM when the launching process ends, even if it was killed."""
    text = os.environ.get(SUPERVISED, "")
    if os.name == "nt" or not text.isdigit():
        return

    def follow() -> None:
        try:
            os.read(int(text), 1)  # nothing is ever written: returns at the end of the other side
        except OSError:  # no such pipe: the variable is left over from another process
            return
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, name="end-with-launcher", daemon=True).start()


def _environment(rank: int, processes: int, port: int, end: int) -> dict[str, str]:
    threads = max(1, usable_cores() // processes)
    return {
        "OMP_NUM_THREADS": str(threads),
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # DDP warns that a model without unused parameters could do with less
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        SUPERVISED: str(end),
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
