"""Signals during clean-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from dfad_bench.core.interrupts import uninterrupted


def test_a_signal_in_the_block_takes_effect_at_its_end():
    done = []

    def clean_up() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        clean_up()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_blocks_nest_and_leave_ignored_signals_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted(), uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_only_the_first_signal_of_a_process_interrupts_it(first: str):
    text = f"""
        import os, signal
        from dfad_bench.core.interrupts import interrupt_once
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupt_once()
        try:
            os.kill(os.getpid(), signal.{first})
        except KeyboardInterrupt:
            for kind in (signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), kind)
            print("cleaned up")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cleaned up\n", "")


def test_a_signal_long_after_the_first_ends_the_process():
    text = """
        import os, signal
        from dfad_bench.core import interrupts
        interrupts._PATIENCE_SECONDS = -1.0
        interrupts.interrupt_once()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            print("clean-up that hangs")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (130, "")


IMPORTED = """
    import os, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "click":
                os.kill(os.getpid(), signal.SIGINT)
    sys.meta_path.insert(0, Finder())
    sys.argv = ["dfad", "list", "models"]
    from dfad_bench.__main__ import main
    main()
"""
SWALLOWED = """
    import os, signal, time
    from dfad_bench.core.interrupts import interrupt_once
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt_once()
    class Watched:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)  # what it raises here, Python drops
    try:
        Watched()
        time.sleep(20)
    except KeyboardInterrupt:
        raise SystemExit(130)
"""
AT_THE_END = """
    import atexit, os, signal
    atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))
    from dfad_bench.core.interrupts import interrupt_once
    interrupt_once()
    class Last:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
    last = Last()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        raise SystemExit(130)
"""


@pytest.mark.parametrize("text", [IMPORTED, SWALLOWED, AT_THE_END])
def test_an_interrupt_ends_with_130_whenever_it_comes(text: str):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=15)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
