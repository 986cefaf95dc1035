"""Named weight files under `$DFAD_WEIGHTS`: found, checked by hash, loaded without pickle of code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import UnknownNameError, WeightsError
from dfad_bench.core.files import check_hash
from dfad_bench.core.resources import shipped
from dfad_bench.core.strict import from_mapping, read_yaml

_WRAPPERS = ("model_state", "state_dict", "model", "net")


@dataclass(frozen=True)
class WeightFile:
    """One row of `manifests/weights.yaml`: where a file comes from and under which terms."""

    name: str
    file: str  # name under $DFAD_WEIGHTS
    origin: str  # where a user gets it
    licence: str
    sha256: str | None = None
    notes: str | None = None


def weight_files() -> dict[str, WeightFile]:
    """Every weight file the toolkit knows how to load."""
    path = shipped("manifests") / "weights.yaml"
    raw = read_yaml(path) or {}
    return {name: from_mapping(WeightFile, {"name": name, **row}, f"{path}: {name}") for name, row in raw.items()}


def find_weights(name_or_path: str) -> Path:
    """A weight file by its name in `manifests/weights.yaml` or by path.

    Raises:
        WeightsError: not there; says where to get it and where to put it.
        IntegrityError: another file than the published one.
    """
    path = Path(name_or_path)
    if path.suffix or "/" in name_or_path:
        if path.is_file():
            return path
        raise WeightsError(f"{path}: no such weight file")
    known = weight_files()
    if name_or_path not in known:
        raise UnknownNameError("weight file", name_or_path, known)
    row = known[name_or_path]
    folder = os.environ.get("DFAD_WEIGHTS")
    place = Path(folder) / row.file if folder else None
    if place is None or not place.is_file():
        where = f"as {place}" if place else f"as {row.file} in a folder and set DFAD_WEIGHTS to it"
        raise WeightsError(
            f"weights {row.name!r} not found; get them from {row.origin} ({row.licence}) and put them {where}"
        )
    if row.sha256:
        check_hash(place, row.sha256)
    return place


def load_state_dict(path: Path) -> dict[str, Any]:
    """Tensors of a safetensors or PyTorch file; common wrappers and the `module.` prefix are taken off.

    Raises:
        WeightsError: the file is not a plain dict of tensors.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{path}: not readable as weights ({type(error).__name__}); a safetensors file, or a torch file that holds"
            " tensors and nothing that could run"
        ) from error
    for key in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path}: holds no plain dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}
