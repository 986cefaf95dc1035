"""Which files of a run are given away and taken from others: a fixed list of names, with bounds, and their hashes.

Whatever else lies in a folder or a repository is left there: nothing of it is copied, fetched or opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, IntegrityError, listed, quoted
from dfad_bench.core.files import check_hash, read_json, sha256_file
from dfad_bench.core.run_folder import (
    CHECKPOINT,
    CONFIG,
    FACTS,
    LAST_LAYER,
    MODEL,
    OUTPUTS,
    PREDICTIONS,
    RECORD,
    SELECTION,
    TRACE,
    VALIDATION,
    WEIGHTS,
)  # fmt: skip
from dfad_bench.core.strict import from_mapping

SHARED, CARD, POINTS, ONNX = "sharing.json", "README.md", "operating_points.json", "model.onnx"
NEEDED = (CONFIG, FACTS, RECORD, SELECTION, f"{CHECKPOINT}/{WEIGHTS}", f"{CHECKPOINT}/{MODEL}")
_REFERENCES = tuple(f"{name}{part}.parquet" for name in ("facts-only", "gaze-only") for part in ("", "-train"))
OF_RUN = (
    *NEEDED, PREDICTIONS, VALIDATION, TRACE, LAST_LAYER,
    *(f"{OUTPUTS}{part}.parquet" for part in ("test", "validation", "training")), *_REFERENCES,
)  # fmt: skip
EVERY = (*OF_RUN, CARD, POINTS, SHARED, ONNX)
_MOST_BYTES = {".safetensors": 32 << 30, ".onnx": 32 << 30, ".parquet": 4 << 30}
_MOST_TEXT = 128 << 20
FORM = 1


@dataclass(frozen=True)
class SharedFile:
    """Size in bytes and hash of a file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Shared:
    """`sharing.json`: what a shared run holds, and what was changed in it before it was given away."""

    form: int
    tool: str
    model: str
    record_id: str
    files: dict[str, SharedFile]
    changed: tuple[str, ...] = ()
    licences: dict[str, str] = field(default_factory=dict)


def most_bytes(name: str) -> int:
    """The largest size a file of that name may have."""
    return _MOST_BYTES.get(Path(name).suffix, _MOST_TEXT)


def check_sizes(sizes: Mapping[str, int | None]) -> None:
    """Refuse a list of files of a run that lacks one that is needed, or holds one that is too large.

    Raises:
        ConfigError: names them.
    """
    if lacking := [name for name in NEEDED if name not in sizes]:
        raise ConfigError(
            f"no run of this toolkit: {listed(lacking)} missing (`dfad push` makes one that can be loaded)"
        )
    for name, size in sizes.items():
        if name not in EVERY:
            raise ConfigError(f"{quoted(name)} is no file of a run")
        if size is None or not 0 < size <= most_bytes(name):
            told = "of unknown size" if size is None else f"of {size:,} bytes"
            raise ConfigError(f"{name} is {told}, allowed are 1 to {most_bytes(name):,} bytes")


def read_shared(folder: Path) -> Shared | None:
    """What a folder says of the run it holds; None where it was not made to be shared.

    Raises:
        ConfigError: damaged, or of another version.
    """
    path = folder / SHARED
    if not path.is_file():
        return None
    found = from_mapping(Shared, read_json(path), str(path))
    if found.form != FORM:
        raise ConfigError(f"{path}: form {found.form}, this toolkit reads {FORM}")
    return found


def check_shared(folder: Path) -> Shared:
    """Compare every file of a shared run with its list; links, and files that are not of a run, are refused.

    Raises:
        ConfigError: not such a folder, or files that no run has.
        IntegrityError: a file that is not the one of the list.
    """
    found = read_shared(folder)
    if found is None:
        raise ConfigError(f"{folder}: no {SHARED}; `dfad push` writes folders that can be checked")
    check_sizes({**{name: file.size for name, file in found.files.items()}, SHARED: (folder / SHARED).stat().st_size})
    for name, file in found.files.items():
        path = folder / name
        if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
            raise IntegrityError(f"{path}: missing, or a link")
        if path.stat().st_size != file.size:
            raise IntegrityError(f"{path}: {path.stat().st_size:,} bytes, {SHARED} says {file.size:,}")
        check_hash(path, file.sha256)
    return found


def listed_files(folder: Path) -> dict[str, SharedFile]:
    """Hashes and sizes of the files of a folder that are given away."""
    names = (name for name in EVERY if name != SHARED and (folder / name).is_file())
    return {name: SharedFile(sha256_file(folder / name), (folder / name).stat().st_size) for name in sorted(names)}


def plain_shared(shared: Shared) -> dict[str, Any]:
    """As JSON holds it."""
    files = {name: vars(file) for name, file in shared.files.items()}
    return {**vars(shared), "files": files, "changed": list(shared.changed)}
