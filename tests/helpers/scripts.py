"""Scripts of `benchmarks/`, loaded as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def benchmark(name: str) -> ModuleType:
    """The module `benchmarks/<name>.py`; skips the test where there is none, as beside an installed wheel."""
    file = ROOT / "benchmarks" / f"{name}.py"
    if not file.is_file():
        pytest.skip("not a checkout: benchmarks are not shipped in the wheel")
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module
