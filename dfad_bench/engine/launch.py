"""Several training processes on this machine, watched by this one; torchrun does the same and more machines."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.engine.distributed import SUPERVISED

GRACE_S = 20.0  # what the others get to end by themselves once one has failed


def launch(arguments: Sequence[str], processes: int, *, cuda_devices: int | None = None) -> int:
    """Run `python -m dfad_bench` with these arguments as a team of processes; returns its exit code.

    Ctrl-C reaches the processes by themselves, and a SIGTERM is passed on; both end with a checkpoint.

    Args:
        arguments: of the command line.
        processes: how many.
        cuda_devices: how many GPUs are to be shared out, where the processes use them.

    Raises:
        ConfigError: more processes than GPUs.
        DFADError: a process was killed, with what to do.
    """
    if cuda_devices is not None and processes > cuda_devices:
        raise ConfigError(f"--processes {processes}: {cuda_devices} GPUs here, one a process; ask for fewer")
    command = [sys.executable, "-m", "dfad_bench", *arguments]
    port = _port()
    started = [subprocess.Popen(command, env=_environment(rank, processes, port)) for rank in range(processes)]
    with _passed_on(started):
        try:
            _wait(started)
        finally:
            _end(started)
    codes = [process.returncode for process in started]
    for rank, code in enumerate(codes):
        if code < 0 and -code != signal.SIGTERM:
            name = signal.Signals(-code).name
            raise DFADError(
                f"training process {rank + 1} of {processes} was killed ({name}; SIGKILL often means that memory ran"
                " out); the same command goes on from the last checkpoint"
            )
    return max((abs(code) for code in codes), default=0)


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Until all have ended, or one has failed and the others have had their time."""
    failed_at = None
    while any(process.poll() is None for process in started):
        if failed_at is None and any(process.returncode for process in started):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > GRACE_S:
            return
        time.sleep(0.05)


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for stop in (subprocess.Popen.terminate, subprocess.Popen.kill):
        for process in started:
            if process.poll() is None:
                stop(process)
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)


@contextlib.contextmanager
def _passed_on(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """SIGTERM goes to the processes; SIGINT reached them with this one, if it came from a terminal."""

    def forward(signum: int, frame: object) -> None:
        for process in started:
            if process.poll() is None:
                process.send_signal(signum)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, forward), signal.SIGINT: signal.signal(signal.SIGINT, _not)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _not(signum: int, frame: object) -> None:
    pass


def _environment(rank: int, processes: int, port: int) -> dict[str, str]:
    threads = max(1, (os.cpu_count() or 1) // processes)
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
        SUPERVISED: "1",
    }


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
