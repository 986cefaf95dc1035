"""Records are read, compared, ranked, verified and imported where there is no torch, OpenCV, Pillow, ..."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.heavy
def test_commands_of_a_light_installation_run_without_torch(tmp_path: Path) -> None:
    program = ROOT / "tests" / "helpers" / "light_commands.py"
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), str(ROOT / "tests" / "fixtures"), "--refuse"],
        capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "needs torch, which is not installed" in done.stdout


def test_the_light_requirements_are_some_of_the_full_ones() -> None:
    full = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    lines = (ROOT / "requirements-light.txt").read_text(encoding="utf-8").splitlines()
    light = [line for line in lines if line and not line.startswith("#")]
    assert set(light) < set(full)
    assert not [line for line in light if "torch" in line or "opencv" in line]
