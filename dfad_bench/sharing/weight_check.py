"""What lies under `$DFAD_WEIGHTS`: opened without running code, and compared with what is known of it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dfad_bench.core.errors import DFADError, MissingDependencyError, WeightsError
from dfad_bench.core.files import sha256_file
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.weight_content import refuse_stand_ins
from dfad_bench.core.weight_layout import load_state_dict
from dfad_bench.core.weight_pins import Pin
from dfad_bench.core.weights import WeightFile

Verdict = Literal["published", "pinned", "not known", "absent", "another file", "refused"]
WRONG = ("another file", "refused")


@dataclass(frozen=True)
class WeightFinding:
    """What is there of one weight file. `why` says what is wrong with it, or what could not be looked at."""

    name: str
    path: Path | None
    verdict: Verdict
    size: int | None = None
    sha256: str | None = None
    why: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether it must not be used."""
        return self.verdict in WRONG


def check_content(path: Path) -> tuple[str, ...]:
    """Open a weight file as tensors alone; returns what could not be looked at.

    Raises:
        WeightsError: it is something else, damaged, or needs code to be run.
    """
    refuse_stand_ins(path)
    if path.suffix == ".onnx":
        return _check_onnx(path)
    if path.suffix == ".task":  # MediaPipe's: an archive of TFLite files, which only MediaPipe reads
        if not zipfile.is_zipfile(path):
            raise WeightsError(f"{path}: not readable as weights: it is no MediaPipe task (a zip archive)")
        return ("a MediaPipe task: its networks were not opened",)
    with collect_notices():
        load_state_dict(path)
    return ()


def _check_onnx(path: Path) -> tuple[str, ...]:
    from dfad_bench.core.onnx_file import LARGEST_FILE, onnx_session

    try:
        onnx_session(path, largest_bytes=LARGEST_FILE)
    except MissingDependencyError:
        return ("an ONNX file: not opened, dfad-bench[onnx] is not installed",)
    return ()


def check_file(name: str, path: Path | None, row: WeightFile | None, pin: Pin | None) -> WeightFinding:
    """Compare one file with its row of `weights.yaml` and its pin, and open it."""
    if path is None or not (path.exists() or path.is_symlink()):
        return WeightFinding(name, path, "absent")
    try:
        notes = check_content(path)
        size, sha256 = path.stat().st_size, sha256_file(path)
    except (DFADError, OSError) as error:
        return WeightFinding(name, path, "refused", why=str(error))
    facts = (size, sha256)
    if row is not None and (found := _difference(row, size, sha256)):
        return WeightFinding(name, path, "another file", *facts, why=found)
    if row is not None and row.sha256 is not None:
        return WeightFinding(name, path, "published", *facts, why="; ".join(notes))
    if pin is None:
        return WeightFinding(name, path, "not known", *facts, why="; ".join(("no hash is known", *notes)))
    if pin.sha256 != sha256:
        why = f"sha256 {pin.sha256[:12]}… was pinned on {pin.pinned_utc[:10]}"
        return WeightFinding(name, path, "another file", *facts, why=why)
    return WeightFinding(name, path, "pinned", *facts, why="; ".join(notes))


def _difference(row: WeightFile, size: int, sha256: str) -> str:
    if row.size is not None and size != row.size:
        return f"the published file has {row.size:,} bytes"
    if row.sha256 is not None and sha256 != row.sha256:
        return f"the published file has sha256 {row.sha256[:12]}…"
    if row.sha256_starts is not None and not sha256.startswith(row.sha256_starts):
        return f"the published file's sha256 begins with {row.sha256_starts}"
    return ""
