"""Suites of faults, as the commands under benchmarks/ run them: arguments, timing, rows."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Suites = Mapping[str, tuple[str, Callable[[Path, float], Row | None]]]
HARDWARE = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"


def arguments(description: str | None, suites: Suites) -> argparse.Namespace:
    """`--out`, `--size`, `--only`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the results as JSON here")
    parser.add_argument("--size", type=float, default=1.0, help="share of the full numbers (default 1)")
    parser.add_argument("--only", choices=suites, action="append", help="one suite; may be given again")
    return parser.parse_args()


def run_suites(suites: Suites, asked: argparse.Namespace) -> dict[str, Row]:
    """A row a suite; those that are not possible here are left out and named."""
    rows: dict[str, Row] = {}
    for name in asked.only or suites:
        what, suite = suites[name]
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            row = suite(Path(folder), asked.size)
        if row is None:
            sys.stderr.write(f"{what}: not possible here, left out\n")
            continue
        rows[name] = {"what": what, "wrong": 0, **row, "seconds": round(time.perf_counter() - began, 1)}
        sys.stderr.write(f"{what}: {rows[name]}\n")
    return rows


def shown(rows: Mapping[str, Row]) -> list[Row]:
    """Rows as a table shows them."""
    return [{**row, "seconds": f"{row['seconds']:g}"} for row in rows.values()]
