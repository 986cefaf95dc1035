"""Bad luck of a training run: damaged checkpoints, kills, little memory. For tests and `benchmarks/train_faults.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from helpers.toy import RECIPE, Toy, ToyConfig, toy_protocol, toys_registered
from helpers.training import run_training

from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import sha256_file
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine import checkpoint
from dfad_bench.engine.checkpoint import MODEL, Position
from dfad_bench.engine.fit import Limits

TESTS = Path(__file__).resolve().parents[1]
SAME = (f"checkpoint/{MODEL}", "trace.csv", "predictions.parquet", "selection.parquet", "config.yaml")


def damaged(data: bytes, number: int, seed: int) -> Iterator[bytes]:
    """Copies of a file with bits flipped, parts cut, zeroed, doubled or swapped, or with another header length."""
    rng = np.random.default_rng(seed)
    for turn in range(number):
        changed, place = bytearray(data), int(rng.integers(0, len(data)))
        head = int(rng.integers(0, min(len(data), 600)))
        span = int(rng.integers(1, 64))
        kind = turn % 7
        if kind == 0:
            changed[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del changed[place:]
        elif kind == 2:
            changed[place : place + span] = bytes(len(changed[place : place + span]))
        elif kind == 3:
            changed[head] = int(rng.integers(0, 256))
        elif kind == 4:
            changed += changed[place : place + span]
        elif kind == 5:
            changed[:8] = int(rng.integers(0, 2**63)).to_bytes(8, "little")
        else:
            changed[head : head + span] = rng.bytes(len(changed[head : head + span]))
        yield bytes(changed)


def damaged_checkpoints(folder: Path, name: str, number: int, seed: int) -> dict[str, int]:
    """What becomes of damaged copies of one file of a checkpoint.

    Each is offered twice: as it lies in a run folder, and straight to the reader behind the hash. Counts are of those
    refused, those that are the same bytes, those accepted though different, and those that end in another error.
    """
    torch.manual_seed(0)
    model = Toy(3, ToyConfig())
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    sum(p.square().sum() for p in model.parameters()).backward()
    optimiser.step()
    checkpoint.save(folder, model, optimiser, Position(0, step=1), "config")
    path = folder / "step-00000001" / name
    whole = path.read_bytes()
    read = checkpoint.load_weights if name == MODEL else checkpoint._read_optimiser
    counts = {"tried": 0, "refused": 0, "identical": 0, "accepted": 0, "crashes": 0}
    for data in damaged(whole, number, seed):
        path.write_bytes(data)
        counts["tried"] += 1
        try:
            checkpoint.load_latest(folder, "config")
            counts["identical" if data == whole else "accepted"] += 1
        except DFADError:
            counts["refused"] += 1
        except Exception:
            counts["crashes"] += 1
        try:
            read(path)
        except DFADError:
            pass
        except Exception:  # anything but one line
            counts["crashes"] += 1
    path.write_bytes(whole)
    return counts


def train(root: Path, out: Path, delay_s: float, epochs: int = 3) -> None:
    """Train the toy model to its end, with checkpoints every other step."""
    manifests = [Manifest.open(root / name) for name in ("synthetic", "synthetic-outdoor")]
    recipe, limits = replace(RECIPE, epochs=epochs), Limits(checkpoint_steps=2)
    with toys_registered():
        run_training(
            "toy", toy_protocol(), manifests, out, recipe=recipe, device="cpu", options={"delay_s": delay_s},
            limits=limits,
        )  # fmt: skip


def die_in_write(number: int) -> None:
    """Have this process killed in the middle of its `number`-th safetensors file."""
    import safetensors.torch

    write, count = safetensors.torch.save_file, 0

    def half(tensors, path, metadata=None):
        nonlocal count
        count += 1
        write(tensors, path, metadata)
        if count == number:
            os.truncate(path, os.path.getsize(path) // 2)  # noqa: PTH202
            os.kill(os.getpid(), signal.SIGKILL)

    safetensors.torch.save_file = half


def kill_training(start: Callable[[int], Forked], out: Path, kills: int, writes: int, seed: int) -> tuple[int, int]:
    """Kill a run again and again: `writes` times in the middle of a checkpoint's file, else at a random moment.

    Args:
        start: starts the run in a process that is killed in the middle of its n-th file, or (0) not.
        out: its folder.
        kills: how often.
        writes: how many of them while a file is half written.
        seed: of the moments.

    Returns:
        Kills that hit a run at work, and those of them that left half a file.
    """
    rng, hit, halves = np.random.default_rng(seed), 0, 0
    for kill in range(kills):
        in_write = kill < writes
        process = start(1 + int(rng.integers(0, 5)) if in_write else 0)
        if not in_write:
            _wait_for_training(out, process)
            time.sleep(float(rng.uniform(0, 0.6)))
            process.kill()
        code = process.wait(timeout=120)
        hit += code == -signal.SIGKILL
        halves += bool(list((out / "checkpoint").rglob(".*.tmp*")))
    return hit, halves


def _wait_for_training(out: Path, process: Forked) -> None:
    """Until the run has written a checkpoint since now, or has ended."""
    began, deadline = time.time(), time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        states = list((out / "checkpoint").glob("step-*/state.json"))
        if any(_written(path) > began for path in states):
            return
        time.sleep(0.01)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # replaced by a newer one meanwhile
        return 0.0


def differing(one: Path, other: Path) -> list[str]:
    """Files of two finished runs that should be the same and are not."""
    return [name for name in SAME if sha256_file(one / name) != sha256_file(other / name)]


class Forked:
    """A forked copy of this process that calls a function: as `subprocess.Popen`, without seconds of imports."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            try:
                torch.set_num_threads(1)
                act()
                os._exit(0)
            finally:
                os._exit(1)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit code."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def forked(root: Path, out: Path, delay_s: float, die_at: int = 0, epochs: int = 3) -> Forked:
    """`train` in a fork of this process, which must have one thread only."""

    def act() -> None:
        if die_at:
            die_in_write(die_at)
        train(root, out, delay_s, epochs)

    return Forked(act)


def starved(root: Path, out: Path, megabytes: int, width: int, words: Path) -> int:
    """Train in a fork that may take so much more memory; its exit code: 0, 1 with one line in `words`, 70 otherwise."""
    import resource

    def act() -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        limit = pages * resource.getpagesize() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        manifests = [Manifest.open(root / name) for name in ("synthetic", "synthetic-outdoor")]
        try:
            with toys_registered():
                recipe = replace(RECIPE, epochs=1, batch_size=1000)
                run_training(
                    "toy", toy_protocol(), manifests, out, recipe=recipe, device="cpu", options={"width": width}
                )
        except DFADError as error:
            words.write_text(f"{error}\n", encoding="utf-8")
            os._exit(1)
        except BaseException as error:
            words.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
            os._exit(70)

    return Forked(act).wait(timeout=120)


def starved_apart(root: Path, folder: Path, cases: Sequence[tuple[int, int]]) -> list[tuple[int, str]]:
    """`starved` for each (megabytes, width), as exit code and words, in forks of one fresh interpreter.

    What a test process has mapped, freed or started before decides where a limit strikes; a fresh one has not.
    """
    command = [sys.executable, "-m", "helpers.train_faults", str(root), str(folder), json.dumps(list(cases))]
    paths = {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True, timeout=300, check=True)
    return [(code, words) for code, words in json.loads(done.stdout)]


def main() -> None:
    torch.set_num_threads(1)
    root, folder, cases = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    train(root, folder / "warm", 0.0, 1)  # whatever is imported late is there before the limit
    ended = []
    for number, (megabytes, width) in enumerate(cases):
        words = folder / f"words{number}"
        words.write_text("")
        code = starved(root, folder / f"run{number}", megabytes, width, words)
        ended.append((code, words.read_text(encoding="utf-8")))
    sys.stdout.write(json.dumps(ended))


if __name__ == "__main__":
    main()
