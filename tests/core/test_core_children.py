"""Worker processes: no traceback on Ctrl-C while they start, and none that keeps its parent waiting."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.misbehaving import hears_interrupts, sleep_stopped

from dfad_bench.cli import main
from dfad_bench.core import children
from dfad_bench.core.children import Stillness, WorkerPool, follow_parent, interrupts_blocked
from dfad_bench.engine import launch

MASK = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"


def blocked() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_processes_started_in_the_block_get_no_interrupt() -> None:
    def said() -> str:
        return subprocess.run([sys.executable, "-c", MASK], capture_output=True, text=True, check=True).stdout.strip()

    with interrupts_blocked():
        assert said() == "True"
    assert not blocked()
    assert said() == "False"


def test_an_interrupt_in_the_block_is_not_lost() -> None:
    def interrupted() -> None:
        with interrupts_blocked():
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not blocked()


@pytest.mark.heavy
def test_workers_of_a_pool_hear_no_interrupt_from_their_first_instruction_on() -> None:
    pool = WorkerPool(1, follow_parent)
    try:
        assert pool.submit(hears_interrupts).result() is False
        assert not blocked()
    finally:
        pool.end()


def test_training_processes_start_without_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Started:
        returncode = 0

        def __init__(self, *arguments: object, **more: object) -> None:
            masks.append(blocked())

        def poll(self) -> int:
            return 0

        def wait(self, timeout: float) -> int:
            return 0

        terminate = kill = None  # of processes that have not ended

    masks: list[bool] = []
    monkeypatch.setattr(launch.subprocess, "Popen", Started)
    assert launch.launch(["list", "models"], 2) == 0
    assert masks == [True, True]


@pytest.mark.parametrize(("rank", "said"), [("0", "Interrupted.\n"), ("1", "")])
def test_an_interrupt_while_dfad_is_imported_is_one_line_of_the_first_process(rank: str, said: str) -> None:
    command = [sys.executable, "-m", "dfad_bench", "list", "models"]
    with interrupts_blocked():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "RANK": rank})
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].decode() == said
    assert process.returncode == 130


@pytest.mark.parametrize(("rank", "said"), [("0", "Interrupted.\n"), ("1", "")])
def test_an_interrupt_of_a_command_is_one_line_of_the_first_process(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], rank: str, said: str
) -> None:
    def interrupted(**options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(sys, "argv", ["dfad", "list", "models"])
    monkeypatch.setattr("dfad_bench.cli.list_names.command.callback", interrupted)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130
    assert capfd.readouterr().err == said


@pytest.mark.heavy
def test_a_stopped_worker_does_not_keep_a_pool_from_ending() -> None:
    pool = WorkerPool(1, follow_parent)
    pool.submit(sleep_stopped)
    time.sleep(1)
    began = time.monotonic()
    pool.end(0.3)
    assert time.monotonic() - began < 5
    assert not multiprocessing.active_children()


def test_stillness_begins_anew_with_every_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(children.time, "monotonic", lambda: now[0])
    watch = Stillness()
    found = []
    for seconds, mark in ((0, 1), (5, 1), (6, 2), (9, 2), (9, None), (10, 2)):
        now[0] = seconds
        found.append((watch.seconds("a", mark), watch.seconds("b", 1)))
    assert found == [(0, 0), (5, 5), (0, 6), (3, 9), (0, 9), (0, 10)]
