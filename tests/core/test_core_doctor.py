from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dfad_bench.core import doctor, registry, weights
from dfad_bench.core.doctor import Finding, diagnose
from dfad_bench.core.weights import WeightFile


def named(findings: Iterator[Finding] | list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_everything_is_looked_at() -> None:
    findings = diagnose()
    topics = {finding.topic for finding in findings}
    assert topics == {"version", "device", "opencv", "video", "detector", "models", "disk", "weights"}
    assert {"python", *doctor.PACKAGES} <= named(findings).keys()
    assert all(finding.hint for finding in findings if finding.level in ("warning", "problem"))


@pytest.mark.parametrize(("compiler", "level"), [("/usr/bin/g++", "ok"), (None, "absent")])
def test_what_the_processor_does_well(compiler: str | None, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "bf16_units", lambda: ["AMX"] if compiler else [])
    monkeypatch.setattr("shutil.which", lambda name: compiler)
    cpu, compiling = list(doctor.devices())[:2]
    assert cpu.value.endswith("bf16 by AMX" if compiler else "no bf16 in hardware")
    assert (compiling.name, compiling.level) == ("compile", level)


def test_a_missing_package_is_a_problem_with_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package"))
    found = named(doctor.versions())
    assert found["numpy"].level == "ok"
    assert found["no-such-package"].level == "problem"
    assert found["no-such-package"].hint == "pip install no-such-package"


def test_a_version_out_of_range_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy",))
    monkeypatch.setattr(doctor, "_required_versions", lambda: {"numpy": "<1"})
    finding = named(doctor.versions())["numpy"]
    assert finding.level == "warning"
    assert "pip install 'numpy<1'" in finding.hint


@pytest.mark.parametrize("name", ["opencv-python-headless", "opencv-contrib-python"])
def test_another_build_of_opencv_is_fine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def version(package: str) -> str:
        raise doctor.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(doctor, "PACKAGES", ("opencv-python",))
    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.setattr(doctor.metadata, "packages_distributions", lambda: {"cv2": [name]})
    assert named(doctor.versions())["opencv-python"] == Finding("version", "opencv-python", f"{name} in its place")


def test_two_packages_that_own_cv2_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"cv2": ["opencv-python-headless", "opencv-python", "opencv-python"]}
    monkeypatch.setattr(doctor.metadata, "packages_distributions", lambda: both)
    finding = named(doctor.opencv())["cv2"]
    assert finding.level == "warning"
    assert finding.value == "owned by opencv-python, opencv-python-headless"
    assert "pip uninstall -y opencv-python opencv-python-headless" in finding.hint


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("libGL.so.1: cannot open shared object file: No such file or directory", "libgl1"),
        ("libgthread-2.0.so.0: cannot open shared object file", "libglib2.0-0"),
        ("No module named 'cv2'", "--force-reinstall"),
    ],
)
def test_opencv_that_cannot_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, message: str, hint: str
) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError(message)

    monkeypatch.setattr(doctor, "import_module", broken)
    finding = named(doctor.opencv())["import cv2"]
    assert finding.level == "problem"
    assert hint in finding.hint


def test_codecs_tell_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(doctor.codecs())["h264"].level == "ok"
    monkeypatch.setattr(doctor, "_CODECS", (("no_such_codec", "r", "decode it"),))
    (finding,) = doctor.codecs()
    assert (finding.level, finding.value) == ("problem", "not there")


def test_a_package_that_hides_ours_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    impostor = ModuleType("baselines")
    impostor.__file__ = "/somewhere/site-packages/baselines/__init__.py"
    monkeypatch.setitem(sys.modules, "baselines", impostor)
    try:
        finding = named(doctor.model_packages())["registered"]
    finally:
        registry.model_table.cache_clear()
    assert finding.level == "problem"
    assert "/somewhere/site-packages/baselines" in finding.hint


def test_two_packages_that_own_baselines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "packages_distributions", lambda: {"baselines": ["baselines", "dfad-bench"]})
    assert named(doctor.model_packages())["baselines"].level == "warning"


def test_little_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "_LITTLE_DISK", 1)
    assert next(doctor.disk(tmp_path)).level == "ok"
    monkeypatch.setattr(doctor, "_LITTLE_DISK", 1 << 62)
    assert next(doctor.disk(tmp_path)).level == "warning"


def test_weights_are_found_missing_or_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"right").hexdigest()
    rows = {
        name: WeightFile(name, f"{name}.pt", "its home page", "MIT", sha256)
        for name, sha256 in (("right", digest), ("wrong", digest), ("unhashed", None), ("page", digest), ("gone", None))
    }
    monkeypatch.setattr(weights, "weight_files", lambda: rows)
    monkeypatch.setattr(doctor, "weight_files", lambda: rows)
    for name in ("right", "wrong", "unhashed"):
        (tmp_path / f"{name}.pt").write_bytes(name.encode())
    (tmp_path / "page.pt").write_bytes(b"<!doctype html>")
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    found = named(doctor.weights())
    assert {name: found[name].level for name in rows} == {
        "right": "ok", "wrong": "problem", "unhashed": "ok", "page": "problem", "gone": "absent",
    }  # fmt: skip
    assert found["right"].value.endswith("sha256 fits")
    assert found["unhashed"].value.endswith("no hash known")
    assert "it is a web page" in found["page"].hint
    assert found["gone"].hint == "as gone.pt: its home page (MIT)"


def test_weights_without_their_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DFAD_WEIGHTS", raising=False)
    assert named(doctor.weights())["DFAD_WEIGHTS"].level == "absent"
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path / "nowhere"))
    assert named(doctor.weights())["DFAD_WEIGHTS"].level == "warning"
