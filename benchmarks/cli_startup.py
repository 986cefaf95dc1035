"""How long does `dfad --help` take, in units of starting Python? Prints a ratio measured in one run.

Example: python benchmarks/cli_startup.py --out benchmarks/results/cli_startup.json
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json

HELP = "import sys; sys.argv = ['dfad', '--help']; from dfad_bench.cli.main import main; main()"


def seconds(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="runs of each, alternating")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    seconds(HELP)  # compiles the bytecode
    pairs = [(seconds("pass"), seconds(HELP)) for _ in range(options.repeats)]
    bare, shown = (statistics.median(column) for column in zip(*pairs, strict=True))
    result = {
        "question": "seconds of `dfad --help` over seconds of `python -c pass`, medians",
        "ratio": round(shown / bare, 2),
        "help_seconds": round(shown, 4),
        "python_seconds": round(bare, 4),
        "repeats": options.repeats,
        "hardware": {"machine": platform.machine(), "cores": usable_cores(), "python": platform.python_version()},
    }
    sys.stdout.write(f"dfad --help: {shown:.3f} s, python -c pass: {bare:.3f} s, ratio {shown / bare:.2f}\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
