"""What importing our packages costs: names that are imported on first use, and nothing heavy before."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from test_architecture import NAMES_ONLY, ROOT


def test_lazy_names_are_those_type_checkers_see() -> None:
    import dfad_bench

    text = (ROOT / "dfad_bench" / "__init__.py").read_text(encoding="utf-8")
    blocks = [node for node in ast.parse(text).body if isinstance(node, ast.If)]
    (block,) = blocks
    seen = {alias.name: f"{line.module}:{alias.name}" for line in block.body for alias in line.names}  # type: ignore[attr-defined]
    assert seen == dfad_bench._PUBLIC
    assert sorted(dfad_bench._PUBLIC) == sorted(dfad_bench.__all__)
    assert set(dfad_bench.__all__) <= set(dir(dfad_bench))
    for name in dfad_bench.__all__:
        assert (getattr(dfad_bench, name).__doc__ or "").strip(), f"{name} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        dfad_bench.trian  # noqa: B018


@pytest.mark.parametrize("package", NAMES_ONLY)
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    assert heavy_after(f"import {package}") == []


def test_help_imports_no_torch_pandas_numpy() -> None:
    start = "import sys; sys.argv = ['dfad', '--help']\nfrom dfad_bench.cli.main import main\n"
    assert heavy_after(start + "try: main()\nexcept SystemExit: pass") == []


def test_build_workers_start_without_torch_and_pandas() -> None:
    assert heavy_after("import dfad_bench.ingest.workers.processes") == ["numpy", "pyarrow"]


def test_options_made_from_settings_import_no_torch_pandas_numpy() -> None:
    assert heavy_after("from dfad_bench.cli import build_manifest, evaluate, train") == []


def heavy_after(code: str) -> list[str]:
    """Which heavy packages a fresh interpreter holds after running `code`."""
    heavy = ("torch", "pandas", "numpy", "pyarrow", "cv2", "PIL", "scipy", "sklearn", "matplotlib", "rich", "timm")
    ask = f"\nimport sys\nprint('LOADED', *[n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + ask], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.splitlines()[-1].split()[1:]
