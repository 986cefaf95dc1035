"""Checkpoints: whole or not at all, hashed, the last two kept; nothing in them can run code.

Files and folders are named by `core.run_folder.CheckpointFolder`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as TypingProtocol

from torch import Tensor, nn

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.errors import DFADError, IntegrityError, listed
from dfad_bench.core.files import (
    atomic_path,
    check_hash,
    content_hash,
    is_plain_relative,
    read_json,
    sha256_file,
    sweep_temporaries,
    write_json,
)
from dfad_bench.core.run_folder import OPTIMISER, STATE, CheckpointFolder
from dfad_bench.core.run_folder import WEIGHTS as MODEL
from dfad_bench.core.strict import from_mapping
from dfad_bench.core.weights import other_kinds
from dfad_bench.engine.sessions import Session

KEEP = 2
_MOST = 1 << 53  # of any count: what a double can count


@dataclass(frozen=True)
class Best:
    """The best weights of a stage: validation loss, after which step, in which file."""

    loss: float
    step: int
    file: str
    sha256: str

    def __post_init__(self) -> None:
        if "/" in self.file or self.file == "." or not is_plain_relative(self.file):
            raise ValueError(f"file {self.file[:60]!r} must be the name of a file of this folder")


@dataclass(frozen=True)
class Position:
    """Where a run stands. Random draws need no state: each step's seed follows from the run's seed and `step`."""

    seed: int
    stage: int = 0  # number of the stage
    epoch: int = 0  # in the stage
    batch: int = 0  # batches done in the epoch
    step: int = 0  # batches done in the run
    stage_step: int = 0  # batches done in the stage
    waited: int = 0  # epochs since the validation loss was best
    best: Best | None = None
    resumed: int = 0
    wall_s: float = 0.0
    epochs_done: float = 0.0
    reductions: int = 0  # of the learning rate, by a `plateau` schedule of the stage
    begun: bool = False  # whether the stage's `before_stage` has been called
    scaler: dict[str, float] = field(default_factory=dict)  # gradient scaling of fp16
    sessions: tuple[Session, ...] = ()  # begins later than step 0 where earlier versions did not say

    def __post_init__(self) -> None:
        names = ("stage", "epoch", "batch", "step", "stage_step", "waited", "resumed", "reductions", "epochs_done")
        if wrong := [name for name in names if not 0 <= getattr(self, name) < _MOST]:
            raise ValueError(f"{', '.join(wrong)} must be from 0 to {_MOST}")


@dataclass(frozen=True)
class _State:
    """`state.json`: a position, the settings it belongs to, and what its files must hash to."""

    position: Position
    config_sha256: str
    files: dict[str, str]
    sha256: str = ""  # of all the rest

    @property
    def content(self) -> str:
        """What `sha256` must be."""
        return _content(asdict(self))


@dataclass(frozen=True)
class _Finished:
    """`model.json`."""

    status: Literal["complete", "partial"]
    sha256: str
    selection: Literal["best_on_val", "last"] | None = None
    step: int | None = None


@dataclass(frozen=True)
class Restored:
    """A checkpoint read back."""

    position: Position
    weights: dict[str, Tensor]
    optimiser: dict[str, Any] | None
    skipped: tuple[str, ...]  # damaged checkpoints that were newer


class Optimiser(TypingProtocol):
    """One optimiser, or several as one (`engine.optimisers`)."""

    def state_dict(self) -> dict[str, Any]:
        """State as of a torch optimiser."""


def save(folder: Path, model: nn.Module, optimiser: Optimiser | None, position: Position, config_sha256: str) -> None:
    """Write one checkpoint and remove all but the last two; what they refer to stays."""
    place = CheckpointFolder(folder).step(position.step)
    if place.exists():
        shutil.rmtree(place)  # of an earlier stage or attempt at this very step
    files = {MODEL: save_weights(place / MODEL, model)}
    if optimiser is not None:
        files[OPTIMISER] = _save_optimiser(place / OPTIMISER, optimiser)
    state = _State(position, config_sha256, files)
    write_json(place / STATE, asdict(replace(state, sha256=state.content)))
    _prune(folder)


def load_latest(folder: Path, *config_sha256: str) -> Restored | None:
    """The newest checkpoint that is whole, of the run of any of these settings; None where there is none.

    Raises:
        IntegrityError: it was made with other settings, or there are checkpoints and every one is damaged.
    """
    sweep_temporaries(folder)
    skipped: list[str] = []
    for place in _steps(folder)[::-1]:
        sweep_temporaries(place)
        try:
            state = _read_state(folder, place)
            weights = load_weights(place / MODEL)
            optimiser = _read_optimiser(place / OPTIMISER) if OPTIMISER in state.files else None
        except (DFADError, OSError) as error:
            skipped.append(f"{place.name}: {error}")
            continue
        if state.config_sha256 not in config_sha256:
            raise IntegrityError(f"{place}: made with other settings; use another --out, or remove the folder")
        position = replace(state.position, resumed=state.position.resumed + 1)
        return Restored(position, weights, optimiser, tuple(skipped))
    if skipped:
        raise IntegrityError(f"{folder}: no checkpoint is whole ({skipped[0]}); --no-resume starts again")
    return None


def latest_position(folder: Path) -> Position | None:
    """Where the newest checkpoint that is whole stands; None where there is none."""
    for place in _steps(folder)[::-1]:
        with suppress(DFADError, OSError):
            return _read_state(folder, place).position
    return None


def fill(model: DFADModel, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Put a run's weights into its model.

    Raises:
        IntegrityError: they are of another model, or complex numbers or integers where the model has none.
    """
    if kinds := other_kinds(weights, model.state_dict()):
        raise IntegrityError(
            f"{folder}: not weights of {model.card.display} ({listed(kinds, 3)}); --no-resume starts again"
        )
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise other_version(folder, model.card.display, "parameters or buffers") from error


def other_version(folder: Path, model: str, what: str) -> IntegrityError:
    """The error about a checkpoint that an earlier version of the model has written."""
    return IntegrityError(
        f"{folder}: the checkpoint is of a version of {model} with other {what}; --no-resume starts again"
    )


def save_best(folder: Path, model: nn.Module, loss: float, step: int) -> Best:
    """Write the best weights so far; `save` must follow, which refers to them."""
    path = CheckpointFolder(folder).best(step)
    return Best(loss, step, path.name, save_weights(path, model))


def finish(folder: Path, model: nn.Module, facts: dict[str, Any]) -> str:
    """Write the finished model and its hash, which is returned; checkpoints stay."""
    digest = save_weights(folder / MODEL, model)
    write_json(CheckpointFolder(folder).model, {**facts, "sha256": digest})
    return digest


def load_finished(folder: Path) -> dict[str, Tensor]:
    """The weights of a finished model.

    Raises:
        IntegrityError: missing, or not what was written.
    """
    files = CheckpointFolder(folder)
    if not files.model.is_file() or not files.weights.is_file():
        raise IntegrityError(f"{folder}: holds no finished model; run the same `dfad train` again")
    check_hash(files.weights, read_finished(folder)["sha256"])
    return load_weights(files.weights)


def read_finished(folder: Path) -> dict[str, Any]:
    """How training ended, and the hash of the model it made.

    Raises:
        ConfigError: missing, not JSON, or a key that is unknown, missing or of another type.
    """
    path = CheckpointFolder(folder).model
    return asdict(from_mapping(_Finished, read_json(path), str(path)))


def clear(folder: Path) -> None:
    """Remove checkpoints and the finished model."""
    files = CheckpointFolder(folder)
    for place in files.steps():
        shutil.rmtree(place)
    for path in (*files.bests(), files.weights, files.model):
        path.unlink(missing_ok=True)


def keep_last(folder: Path) -> None:
    """Remove all checkpoints of a finished run but the last one, from which it can be trained on."""
    _prune(folder, 1)


def save_weights(path: Path, model: nn.Module) -> str:
    """Write a state dict as safetensors; returns the file's hash."""
    return _save_tensors(path, model.state_dict())


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict.

    Raises:
        IntegrityError: not a safetensors file.
    """
    return _load_tensors(path)[0]


def _save_optimiser(path: Path, optimiser: Optimiser) -> str:
    """Write an optimiser's state: tensors by `<parameter>/<name>`, all else as JSON in the header."""
    state = optimiser.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for number, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{number}/{name}"] = value
            else:
                plain.setdefault(str(number), {})[name] = value
    return _save_tensors(path, tensors, {"plain": plain, "groups": state["param_groups"]})


def _read_optimiser(path: Path) -> dict[str, Any]:
    """An optimiser's state as its `load_state_dict` takes it."""
    tensors, header = _load_tensors(path)
    try:
        state: dict[int, dict[str, Any]] = {int(number): dict(values) for number, values in header["plain"].items()}
        for key, value in tensors.items():
            number, _, name = key.partition("/")
            state.setdefault(int(number), {})[name] = value
        groups = [{**group, "params": [int(n) for n in group["params"]]} for group in header["groups"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{path}: not an optimiser's state ({type(error).__name__})") from error
    for group in groups:
        group.update({key: tuple(value) for key, value in group.items() if key == "betas"})  # JSON knows lists only
    return {"state": state, "param_groups": groups}


def _save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any] | None = None) -> str:
    from safetensors.torch import save_file

    # a copy each: safetensors refuses tensors that share memory, and tied weights do
    copies = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    with _disk(path) as temporary:
        save_file(copies, temporary, {"dfad": json.dumps(header, sort_keys=True)} if header else None)
    return sha256_file(path)


def _load_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("dfad", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118  no dict
    except (SafetensorError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise IntegrityError(f"{path}: not a whole safetensors file ({str(error).splitlines()[0][:80]})") from error


@contextmanager
def _disk(path: Path) -> Iterator[Path]:
    """`atomic_path` for writers that say neither what went wrong nor where when the disk is full."""
    from safetensors import SafetensorError

    try:
        with atomic_path(path) as temporary:
            yield temporary
    except (RuntimeError, SafetensorError) as error:
        text = str(error).splitlines()[0]
        raise DFADError(f"{path}: not written ({text}); is the disk full? Free some space and run again") from error


def _read_state(folder: Path, place: Path) -> _State:
    """The state of a checkpoint, once all its files have been found whole."""
    path = place / STATE
    raw = read_json(path)
    state = from_mapping(_State, raw, str(path))
    if state.sha256 != _content(raw):
        raise IntegrityError(f"{path}: damaged or changed")
    if "begun" not in raw["position"]:  # written before there were hooks
        state = replace(state, position=replace(state.position, begun=state.position.stage_step > 0))
    if MODEL not in state.files or not state.files.keys() <= {MODEL, OPTIMISER}:
        raise IntegrityError(f"{path}: lists other files than this version writes")
    for name, expected in state.files.items():
        check_hash(place / name, expected)
    if state.position.best is not None:
        check_hash(folder / state.position.best.file, state.position.best.sha256)
    return state


def _content(state: Mapping[str, Any]) -> str:
    """The hash of a state's values, over the keys the file has; earlier versions wrote fewer keys."""
    return content_hash({**state, "sha256": ""})


def _steps(folder: Path) -> list[Path]:
    """Committed checkpoints, oldest first."""
    return [place for place in CheckpointFolder(folder).steps() if (place / STATE).is_file()]


def _prune(folder: Path, keep: int = KEEP) -> None:
    kept = _steps(folder)[-keep:]
    for place in CheckpointFolder(folder).steps():
        if place not in kept:
            shutil.rmtree(place)
    referred = set()
    for place in kept:
        best = (read_json(place / STATE)["position"] or {}).get("best")
        referred.add(best["file"] if best else None)
    for path in CheckpointFolder(folder).bests():
        if path.name not in referred:
            path.unlink()
