"""How much memory a call takes, as the system counts it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from dfad_bench.engine import memory
from dfad_bench.engine.memory import peak_bytes

CPU, MIB = torch.device("cpu"), 2**20
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts the peak of a process")


@linux
@pytest.mark.parametrize("size", [64, 96])  # larger than what the C library may keep for reuse
def test_the_peak_is_what_a_call_holds_at_most(size: int) -> None:
    def call() -> None:
        first = torch.ones(size * MIB // 4)
        second = first + 1
        del first, second
        torch.ones(MIB // 4)

    found = [peak_bytes(call, CPU) for _ in range(2)]  # the same again: what the first freed does not hide it
    for peak in found:
        assert peak is not None
        assert 2 * size * MIB * 0.95 < peak < 2 * size * MIB * 1.2 + 8 * MIB


def test_a_call_that_holds_nothing_takes_nothing() -> None:
    calls: list[int] = []
    peak = peak_bytes(lambda: calls.append(1), CPU)
    assert calls == [1]
    assert peak is None or peak < 4 * MIB


def test_where_the_system_does_not_say_the_call_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "Path", lambda name: Path("/nowhere") / Path(name).name)
    calls: list[int] = []
    assert peak_bytes(lambda: calls.append(1), CPU) is None
    assert calls == [1]
