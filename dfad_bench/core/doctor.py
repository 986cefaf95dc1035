"""Checks of the installation and the machine: versions, device, OpenCV, FFmpeg, disk, weights, shadowed packages."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core.cores import bf16_units, usable_cores
from dfad_bench.core.errors import (
    AbsentWeightsError,
    DFADError,
    IntegrityError,
    ShadowedPackageError,
    WeightsError,
)
from dfad_bench.core.includes import check_included
from dfad_bench.core.registry import model_table
from dfad_bench.core.weights import find_weights, weight_files

Level = Literal["ok", "absent", "warning", "problem"]  # absent: optional and not installed
DISTRIBUTION = "dfad-bench"
PACKAGES = (
    "torch", "torchvision", "open_clip_torch", "timm", "facenet-pytorch", "opencv-python", "pillow", "pyarrow",
    "pandas", "numpy", "scipy", "scikit-learn", "av", "pytorch-fid", "click", "rich",
)  # fmt: skip
_LIBGL = "apt-get install libgl1 libglib2.0-0, or replace opencv-python by opencv-python-headless"
_CODECS = (("h264", "r", "decode H.264 videos"), ("libx264", "w", "write H.264 (video compression as a corruption)"))
_DETECTOR_FILES = ("pnet.pt", "rnet.pt", "onet.pt")
_LITTLE_DISK = 10 << 30


@dataclass(frozen=True)
class Finding:
    """The result of one check. `hint` says what to do, or where to get what is missing."""

    topic: str
    name: str
    value: str
    level: Level = "ok"
    hint: str = ""


def diagnose(folder: Path | None = None) -> list[Finding]:
    """All checks of this installation; `folder` is the one whose free disk space is read (default: the current one)."""
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        versions, devices, opencv, codecs, detector, model_packages, lambda: disk(folder or Path.cwd()), weights,
        included_files,
    )  # fmt: skip
    return [finding for look in looks for finding in look()]


def versions() -> Iterator[Finding]:
    """Python and the required packages, compared with the version ranges of this distribution."""
    yield Finding("version", "python", platform.python_version())
    asked = _required_versions()
    for name in PACKAGES:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "opencv-python" and (other := _owners("cv2")):
                yield Finding("version", name, f"{other[0]} in its place")
                continue
            yield Finding(
                "version",
                name,
                "not installed",
                "problem",
                f"pip install {name}{asked.get(_plain_name(name), '')}",
            )
            continue
        wanted = asked.get(_plain_name(name), "")
        fits = _fits(found, wanted)
        hint = "" if fits else f"the toolkit was tried with {wanted}: pip install '{name}{wanted}'"
        yield Finding("version", name, found, "ok" if fits else "warning", hint)


def devices() -> Iterator[Finding]:
    """The usable CPU cores and the CUDA devices, what each computes well, and whether code can be compiled."""
    units = " and ".join(bf16_units())
    bf16 = f"bf16 by {units}" if units else "no bf16 in hardware"
    yield Finding("device", "cpu", f"{usable_cores()} cores, {platform.machine()}, {bf16}")
    yield _compiler()
    try:
        torch = import_module("torch")
    except (ImportError, OSError) as error:  # OSError: a CUDA library that cannot be loaded
        yield Finding("device", "cuda", "unknown", "problem", f"torch cannot be imported ({_first_line(error)})")
        return
    if not torch.cuda.is_available():
        yield Finding("device", "cuda", "none", "absent", "everything runs on the CPU; training full models takes long")
        return
    for index in range(torch.cuda.device_count()):
        yield Finding("device", f"cuda:{index}", _gpu_words(torch, index))


def _gpu_words(torch: Any, index: int) -> str:
    """Name, memory and number formats of a GPU; bf16 and TF32 came with the same generation, 8.0."""
    facts, (free, total) = torch.cuda.get_device_properties(index), torch.cuda.mem_get_info(index)
    formats = "bf16 and TF32" if facts.major >= 8 else "no bf16 or TF32 in hardware"
    return f"{facts.name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free, {formats}"


def _compiler() -> Finding:
    """The C++ compiler that `--compile` needs, as torch looks for it."""
    names = [name for name in (os.environ.get("CXX"), "g++", "clang++") if name]
    if found := next((path for name in names if (path := shutil.which(name))), None):
        return Finding("device", "compile", f"{Path(found).name}: --compile can be used")
    return Finding("device", "compile", "no C++ compiler", "absent", "--compile trains without it; apt-get install g++")


def opencv() -> Iterator[Finding]:
    """Whether `cv2` can be imported, and belongs to one package only."""
    owners = _owners("cv2")
    if len(owners) > 1:
        hint = f"they overwrite each other's files: pip uninstall -y {' '.join(owners)}, then install one of them"
        yield Finding("opencv", "cv2", f"owned by {', '.join(owners)}", "warning", hint)
    try:
        yield Finding("opencv", "import cv2", str(import_module("cv2").__version__))
    except ImportError as error:
        text = _first_line(error)
        system = any(name in text for name in ("libGL", "libgthread", "libglib"))
        hint = _LIBGL if system else "pip install --force-reinstall opencv-python"
        yield Finding("opencv", "import cv2", text, "problem", hint)


def codecs() -> Iterator[Finding]:
    """Which codecs the FFmpeg inside PyAV can read and write."""
    try:
        av = import_module("av")
    except ImportError as error:
        yield Finding("video", "PyAV", _first_line(error), "problem", "pip install av")
        return
    for name, mode, use in _CODECS:
        try:
            av.codec.Codec(name, mode)
        except ValueError:  # PyAV's UnknownCodecError
            level: Level = "problem" if mode == "r" else "warning"
            yield Finding(
                "video", name, "not there", level, f"cannot {use}: install PyAV from its wheel (pip install av)"
            )
        else:
            yield Finding("video", name, f"can {use}")


def detector() -> Iterator[Finding]:
    """Whether the face detector's weights came with its package."""
    spec = util.find_spec("facenet_pytorch")
    if spec is None or not spec.submodule_search_locations:
        return  # `versions` reports it
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    absent = [name for name in _DETECTOR_FILES if not (folder / name).is_file()]
    if absent:
        hint = "pip install --force-reinstall --no-deps facenet-pytorch==2.5.3"
        yield Finding("detector", "MTCNN", f"{', '.join(absent)} missing in {folder}", "problem", hint)
    else:
        yield Finding("detector", "MTCNN", "weights in the package")


def model_packages() -> Iterator[Finding]:
    """Whether another package hides ours (OpenAI Baselines also installs `baselines`)."""
    model_table.cache_clear()
    try:
        yield Finding("models", "registered", str(len(model_table())))
    except ShadowedPackageError as error:
        yield Finding("models", "registered", "hidden by another package", "problem", str(error))
    except DFADError as error:
        yield Finding("models", "registered", "named twice", "problem", str(error))
    owners = _owners("baselines")
    if len(owners) > 1:
        hint = "they overwrite each other's files: uninstall all, then install dfad-bench alone"
        yield Finding("models", "baselines", f"owned by {', '.join(owners)}", "warning", hint)


def disk(folder: Path) -> Iterator[Finding]:
    """Free space where manifests and runs would be written."""
    free = shutil.disk_usage(folder).free
    hint = "150,000 crops take about 16 GB" if free < _LITTLE_DISK else ""
    yield Finding("disk", str(folder), f"{free / 2**30:.1f} GiB free", "warning" if hint else "ok", hint)


def weights() -> Iterator[Finding]:
    """Every published weight file: found, missing (and where to get it) or not the published one."""
    folder = os.environ.get("DFAD_WEIGHTS")
    if not folder:
        yield Finding("weights", "DFAD_WEIGHTS", "not set", "absent", "set it to a folder for published weights")
    elif not Path(folder).is_dir():
        yield Finding(
            "weights", "DFAD_WEIGHTS", f"{folder}: no such folder", "warning", "make it, or correct the variable"
        )
    for name, row in weight_files().items():
        terms = f"{row.origin} ({row.licence})"
        try:
            place = find_weights(name)
        except IntegrityError as error:
            yield Finding("weights", name, "not the published file", "problem", f"{error}; get it from {terms}")
        except AbsentWeightsError:
            yield Finding("weights", name, "not found", "absent", f"as {row.file}: {terms}")
        except WeightsError as error:
            yield Finding("weights", name, "no weight file", "problem", f"{error}; get it from {terms}")
        else:
            checked = "sha256 fits" if row.sha256 else "no hash known"
            yield Finding("weights", name, f"{place}, {checked}", "ok", row.licence)


def included_files() -> Iterator[Finding]:
    """Every file of the included folders, read as the commands read it."""
    for file in check_included():
        hint = file.problem.removeprefix(f"{file.path}: ")
        yield Finding("include", str(file.path), "bad" if hint else "as it must be", "problem" if hint else "ok", hint)


def _owners(package: str) -> list[str]:
    """The distributions that install a top-level package."""
    return sorted(set(metadata.packages_distributions().get(package, [])))


def _required_versions() -> dict[str, str]:
    """Package to version range, as this distribution declares it; empty in a checkout that is not installed."""
    try:
        from packaging.requirements import Requirement

        lines = metadata.requires(DISTRIBUTION) or []
    except (ImportError, metadata.PackageNotFoundError):
        return {}
    requirements = [Requirement(line) for line in lines]
    return {_plain_name(item.name): str(item.specifier) for item in requirements if item.marker is None}


def _fits(version: str, wanted: str) -> bool:
    if not wanted:
        return True
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version.partition("+")[0], prereleases=True)


def _plain_name(name: str) -> str:
    return name.lower().replace("_", "-")


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
