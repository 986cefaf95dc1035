"""Named weight files under `$DFAD_WEIGHTS`: finding, hash check, and loading into a network.

Reading, for models and gaze estimators alike, is `load_state_dict` (`weight_layout.py`, `weight_content.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dfad_bench.core.errors import AbsentWeightsError, ConfigError, UnknownNameError, WeightsError, listed, quoted
from dfad_bench.core.files import check_hash
from dfad_bench.core.resources import table_files
from dfad_bench.core.strict import from_mapping, read_yaml
from dfad_bench.core.weight_content import refuse_stand_ins
from dfad_bench.core.weight_layout import load_state_dict
from dfad_bench.core.weight_pins import read_pins

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "WeightFile",
    "find_weights",
    "how_to_get",
    "load_into",
    "load_state_dict",
    "one_file",
    "other_kinds",
    "place_of",
    "refuse_stand_ins",
    "row_of",
    "weight_files",
]

_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
# plain HTTP from this machine only, as from a mirror on it
_SOURCES = ("http://127.0.0.1:", "http://localhost:", "hf://", "https://", "timm:", "open_clip:")
_COUNTER = "num_batches_tracked"  # of batch norms; files of before 2018 lack it, and nothing here depends on it


@dataclass(frozen=True)
class WeightFile:
    """One row of `weights.yaml`: where a file comes from and under which terms.

    `source` is `origin` for programs (see `sharing.places`), None where a person must get the file. Size in bytes and
    hash are None where nobody has said them; `sha256_starts` holds the first digits that a publisher puts into a name.
    """

    name: str
    file: str  # name under $DFAD_WEIGHTS
    origin: str  # where to get it
    licence: str
    sha256: str | None = None
    notes: str | None = None
    activation: Literal["quick_gelu", "gelu"] | None = None  # of CLIP towers, which the tensors do not show
    source: str | None = None
    size: int | None = None
    sha256_starts: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {quoted(self.name)} must be of lower-case letters, digits and '_'")
        if not _FILE.fullmatch(self.file):
            raise ValueError(f"file {quoted(self.file)} must be the name of a file under $DFAD_WEIGHTS, not a path")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 {quoted(self.sha256)} must be 64 lower-case hexadecimal digits, or null")
        if self.sha256_starts is not None and not re.fullmatch("[0-9a-f]{6,64}", self.sha256_starts):
            raise ValueError(f"sha256_starts {quoted(self.sha256_starts)} must be 6 to 64 hexadecimal digits, or null")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be 1 byte or more, got {self.size}")
        if self.source is not None and not self.source.startswith(_SOURCES):
            raise ValueError(
                f"source {quoted(self.source)} must begin with {', '.join(_SOURCES[2:-1])} or {_SOURCES[-1]}"
            )


def weight_files() -> dict[str, WeightFile]:
    """Every weight file that has a row in a shipped or included `weights.yaml`, by name.

    Raises:
        ConfigError: a bad row, or a name or file that two rows have.
    """
    rows: dict[str, WeightFile] = {}
    places: dict[str, Path] = {}  # of names and files
    for path in table_files("weights.yaml"):
        raw = read_yaml(path, unicode_only=True) or {}
        if not isinstance(raw, Mapping) or not all(isinstance(row, Mapping) for row in raw.values()):
            raise ConfigError(f"{path}: must map names to file, origin, licence, sha256")
        for name, values in raw.items():
            if "name" in values:
                raise ConfigError(f"{path}: {name}: unknown key 'name'; the row's own name is it")
            row = from_mapping(WeightFile, {**values, "name": name}, f"{path}: {name}")
            for name_used in {row.name, row.file} & places.keys():
                raise ConfigError(
                    f"{path}: {name}: {quoted(name_used)} is taken by a row of {places[name_used]}; rename it"
                )
            rows[name] = row
            places |= {row.name: path, row.file: path}
    return rows


def find_weights(name_or_path: str) -> Path:
    """A weight file by its name in `weights.yaml` or by path.

    Raises:
        AbsentWeightsError: a name whose file is not there; says where to get it and where to put it.
        WeightsError: no such file, or no weight file but a folder, a Git LFS pointer, a web page.
        IntegrityError: another file than the published one, or than the one that was fetched by this name.
    """
    path = Path(name_or_path)
    known = weight_files()
    if name_or_path not in known and (path.suffix or "/" in name_or_path or path.exists()):
        refuse_stand_ins(path)
        return path
    if name_or_path not in known:
        raise UnknownNameError("weight file", name_or_path, known)
    row = known[name_or_path]
    place = place_of(row)
    if place is None or not place.is_file():
        fetched = f"`dfad weights fetch {row.name}`, or " if row.source else ""
        raise AbsentWeightsError(f"weights {quoted(row.name)} not found; {fetched}{how_to_get(row)}")
    refuse_stand_ins(place)
    pinned = read_pins(place.parent).get(row.file)
    if expected := row.sha256 or (pinned.sha256 if pinned else None):
        check_hash(place, expected)
    return place


def how_to_get(row: WeightFile) -> str:
    """What a person does to have a weight file: where it is, under which licence, and where to put it."""
    place = place_of(row)
    where = f"as {place}" if place else f"as {row.file} in a folder and set DFAD_WEIGHTS to it"
    return f"get them from {row.origin} ({row.licence}) and put them {where}"


def row_of(path: Path) -> WeightFile | None:
    """The row of `weights.yaml` that a file under `$DFAD_WEIGHTS` has; None for any other file."""
    for row in weight_files().values():
        place = place_of(row)
        if place is not None and place.name == path.name and place.exists() and place.samefile(path):
            return row
    return None


def place_of(row: WeightFile) -> Path | None:
    """Where the file of a row belongs; None where `$DFAD_WEIGHTS` is not set."""
    folder = os.environ.get("DFAD_WEIGHTS")
    return Path(folder) / row.file if folder else None


def one_file(weights: Path | Mapping[str, Path], model: str) -> Path:
    """The single weight file of a model that takes one.

    Raises:
        ConfigError: several were given by name.
    """
    if isinstance(weights, Mapping):
        raise ConfigError(f"{model} takes one weight file, without a name; got {', '.join(weights)}")
    return weights


def load_into(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, what: str, *, hint: str = "", keep: Iterable[str] = ()
) -> None:
    """Load the tensors of a file into a module; no tensor of either may be left over.

    Args:
        module: keeps its own precision and device.
        state: by the module's own names.
        path: where `state` is from, for messages.
        what: what the file should hold, with its article: "a CViT state dict".
        hint: what to do where names differ.
        keep: names of the module that the file need not have; they keep their values. Counters of batch norms do, too.

    Raises:
        WeightsError: names, shapes or kinds of numbers (complex, integer) differ; a few are named.
    """
    own, kept = module.state_dict(), set(keep)
    missing = [name for name in own if name not in state and name not in kept and not name.endswith(_COUNTER)]
    extra = [name for name in state if name not in own]
    if missing or extra:
        parts = [f"{why} {listed(names, 3)}" for why, names in (("lacks", missing), ("has unknown", extra)) if names]
        raise WeightsError(f"{path}: not {what} ({'; '.join(parts)}){hint}")
    shapes = [
        f"{name} {tuple(value.shape)} instead of {tuple(own[name].shape)}"
        for name, value in state.items()
        if value.shape != own[name].shape
    ]
    if shapes:
        raise WeightsError(f"{path}: does not fit {what.partition(' ')[2]} ({listed(shapes, 3)})")
    if kinds := other_kinds(state, own):
        raise WeightsError(f"{path}: not {what} ({listed(kinds, 3)})")
    module.load_state_dict(dict(state), strict=False)


def other_kinds(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Tensors whose values torch would silently change on loading, each with both types, for messages.

    Of complex numbers it leaves out the imaginary part; integers, as quantised weights have them, lack their scale.

    >>> import torch
    >>> other_kinds({"a": torch.zeros(1, dtype=torch.int8)}, {"a": torch.zeros(1)})
    ['a int8 instead of float32']
    """
    return [
        f"{name} {_kind(value)} instead of {_kind(own[name])}"
        for name, value in state.items()
        if name in own
        and (value.is_complex() > own[name].is_complex() or value.is_floating_point() < own[name].is_floating_point())
    ]


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
