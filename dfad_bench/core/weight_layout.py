"""From a weight file's content to the tensors a network asks for: without wrappers and prefixes, which a line names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.errors import WeightsError, listed
from dfad_bench.core.notices import add_notice
from dfad_bench.core.weight_content import read_content

if TYPE_CHECKING:
    from torch import Tensor

Fits = Callable[[Mapping[str, Any]], bool]  # whether these tensors, by these names, are the network's

_WRAPPERS = ("model_state", "state_dict", "model_state_dict", "model", "net", "network", "params", "weights")
_AVERAGES = ("model_ema", "ema", "state_dict_ema", "ema_state_dict", "ema_model", "params_ema")  # of training steps
_DEEPEST = 4  # wrappers inside each other, and parts of a name that may be a prefix
_DATA_PARALLEL, _COMPILED = "module.", "_orig_mod."  # what torch puts before names
_COUNTER = "n_averaged"  # of torch's AveragedModel, beside `module.*`


def load_state_dict(path: Path, fits: Fits | None = None) -> dict[str, Tensor]:
    """Tensors of a safetensors, PyTorch or TorchScript file by the names the network gives them.

    Wrappers (`state_dict`, `model`, `model_ema`, ...) are unwrapped, `module.` and `_orig_mod.` left out. Where `fits`
    refuses the names as they are, what all names share is left out, or the one part of the file that fits is taken
    (`visual.` of a whole model). A line says so (`core.notices`).

    Args:
        path: the file; no code in it runs.
        fits: whether a mapping of names to tensors is of the network; None takes names as they are.

    Raises:
        WeightsError: not readable (says what the file is), not a plain dict of tensors, several parts that fit, or NaN
            or inf in a tensor, which is named.
    """
    state = _strip_torch_prefixes(_unwrapped(read_content(path), path), path.name)
    state = state if fits is None else _fitting_part(state, fits, path)
    if broken := not_finite(state):
        raise WeightsError(f"{path}: holds NaN or inf in {listed(broken, 3)}; get the file again")
    return state


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors with NaN or inf, also where only float32 cannot hold a value; masks may hold -inf."""
    import torch

    found = []
    for name, value in state.items():
        if value.is_floating_point() or value.is_complex():
            if value.dtype == torch.float64 or value.dtype.itemsize == 1:
                value = value.float()
            mask = name.endswith("mask")
            if not bool((~value.isnan() if mask else value.isfinite()).all()):
                found.append(name)
    return found


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what a file holds.

    Raises:
        WeightsError: there is none, or it holds something else than tensors.
    """
    import torch

    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            break
        inner = {key: content[key] for key in (*_WRAPPERS, *_AVERAGES) if isinstance(content.get(key), Mapping)}
        if not inner:
            break
        key = next(iter(inner))
        if averaged := [name for name in inner if name in _AVERAGES]:
            beside = f" is used, averaged weights ({averaged[0]!r}) lie beside it"
            add_notice(f"{path.name}: {key!r}{' (averaged weights) is used' if key in _AVERAGES else beside}")
        content = inner[key]
    what = f"{path}: does not hold a plain dict of tensors"
    if not isinstance(content, Mapping):
        raise WeightsError(f"{what}, but a {type(content).__name__}")
    if not content:
        raise WeightsError(f"{what}, but nothing")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            kind = type(value if isinstance(name, str) else name).__name__
            raise WeightsError(f"{what}: {listed([name])} is a {kind}")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise WeightsError(f"{what}: {listed([name])} is sparse, quantised or without values")
    return dict(content)


def _strip_torch_prefixes(state: dict[str, Tensor], file: str) -> dict[str, Tensor]:
    """Without what torch puts before names: `module.` at their beginning, `_orig_mod.` anywhere."""
    for mark, clean in (
        (_COMPILED, lambda name: name.replace(_COMPILED, "")),
        (_DATA_PARALLEL, lambda name: _strip_prefix(name, _DATA_PARALLEL)),
    ):
        names = {name: clean(name) for name in state}
        changed = sum(name != stripped for name, stripped in names.items())
        if changed and len(set(names.values())) == len(names):  # else two tensors would have one name
            add_notice(f"{file}: {mark!r} is left out of {changed} of {len(names)} names")
            averaged = mark == _DATA_PARALLEL and changed == len(names) - 1
            state = {names[name]: v for name, v in state.items() if not (averaged and name == _COUNTER)}
    return state


def _strip_prefix(name: str, prefix: str) -> str:
    while name.startswith(prefix) and len(name) > len(prefix):
        name = name[len(prefix) :]
    return name


def _fitting_part(state: dict[str, Tensor], fits: Fits, path: Path) -> dict[str, Tensor]:
    """The names that fit: as they are, without what all share, or of one part of the file; else as they are."""
    shared, inner = "", state
    while not fits(inner):
        first = {name.partition(".")[0] for name in inner}
        if len(first) > 1 or not all("." in name for name in inner):
            return _part(state, fits, path)
        shared += f"{next(iter(first))}."
        inner = {name.partition(".")[2]: value for name, value in inner.items()}
    if shared:
        add_notice(f"{path.name}: {shared!r}, which all names begin with, is left out")
    return inner


def _part(state: dict[str, Tensor], fits: Fits, path: Path) -> dict[str, Tensor]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        words = name.split(".")
        for depth in range(1, min(len(words), _DEEPEST)):
            prefix = ".".join(words[:depth]) + "."
            parts.setdefault(prefix, {})[name.removeprefix(prefix)] = value
    found = [prefix for prefix, part in parts.items() if fits(part)]
    found = [prefix for prefix in found if not any(prefix.startswith(o) for o in found if o != prefix)]
    if len(found) > 1:
        raise WeightsError(f"{path}: {listed(found, 3)} are all networks that fit; save the one you mean as a file")
    if not found:
        return state
    part = parts[found[0]]
    add_notice(f"{path.name}: {found[0]!r} is used, {len(part)} of {len(state)} tensors")
    return part
