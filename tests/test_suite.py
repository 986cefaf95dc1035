"""The suite did not skip itself away: what needs nothing but the core dependencies must be importable here."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from importlib import import_module, metadata
from pathlib import Path

import pytest

from dfad_bench.core.registry import model_class, model_names


def test_every_registered_model_is_importable() -> None:
    names = model_names()
    assert len(names) >= 9
    for name in names:
        assert model_class(name).card.display


@pytest.mark.parametrize("module", ["facenet_pytorch", "open_clip", "timm", "cv2", "pyarrow", "sklearn", "av"])
def test_core_dependency_is_there(module: str) -> None:
    import_module(module)


def test_files_of_tests_are_short() -> None:
    folder = Path(__file__).parent
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py")}
    assert [f"{path.relative_to(folder)}: {n} lines" for path, n in lengths.items() if n > 400] == []


def test_no_benchmark_stands_in_the_way_of_a_library() -> None:
    """Python looks for modules in the folder of a script first: `benchmarks/coverage.py` once hid coverage.py."""
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    libraries = {re.split(r"[^\w.-]", line)[0].lower().replace("-", "_") for line in wanted}
    assert {"coverage", "numpy", "pytest"} <= libraries
    names = {path.stem for path in (root / "benchmarks").glob("*.py")}
    assert names & (libraries | set(sys.stdlib_module_names)) == set()


def test_what_tests_compare_with_is_installed_in_ci() -> None:
    """A comparison that is skipped shows nothing: the extra `test` brings all oracles, and CI must have them."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^A-Za-z0-9-]", line)[0] for line in project["optional-dependencies"]["test"]]
    missing = []
    for name in names:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"not installed, so their comparisons are skipped: {', '.join(missing)}; pip install -e '.[test]'")
    assert missing == []
