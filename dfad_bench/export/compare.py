"""A written file against torch, on real crops: equal, or it is not kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfad_bench.core.errors import DFADError, IntegrityError
from dfad_bench.core.onnx_file import LARGEST_FILE, onnx_session
from dfad_bench.export.facts import TOLERANCE
from dfad_bench.export.graph import ExportGraph, named_failures

_BATCHES = (1, 7)  # sizes that files are run at, again and again; neither is that of the capture
Answer = Callable[[tuple[Tensor, ...]], Sequence[np.ndarray]]


def largest_differences(graph: ExportGraph, answer: Answer, crops: np.ndarray) -> dict[str, float]:
    """By output, the largest difference of a file from torch over crops (n, side, side, 3), at two batch sizes.

    Views beside pixels are drawn at random, one face of each batch without those that faces may lack. Embeddings are
    compared relative to their largest number, where that is above 1.

    Raises:
        IntegrityError: more than `TOLERANCE`, or no numbers.
    """
    found = dict.fromkeys(graph.output_names, 0.0)
    first, number = 0, 0
    while first < len(crops):
        rows = crops[first : first + _BATCHES[number % len(_BATCHES)]]
        arrays = graph.example(len(rows))
        if graph.side:
            arrays = (torch.from_numpy(np.ascontiguousarray(rows)), *arrays[1:])
        with torch.inference_mode():
            wanted = [value.numpy() for value in graph(*arrays)]
        for name, value, other in zip(found, answer(arrays), wanted, strict=True):
            if value.shape != other.shape or not np.isfinite(value).all():
                raise IntegrityError(f"{name} of the file has shape {value.shape}, not {other.shape}, or is not finite")
            apart = float(np.abs(value - other).max()) / max(1.0, float(np.abs(other).max()))
            found[name] = max(found[name], apart)
        first, number = first + len(rows), number + 1
    for name, apart in found.items():
        if apart > TOLERANCE:
            raise IntegrityError(f"{name} of the file differs from torch by {apart:.2g}, at most {TOLERANCE:g}")
    return found


def check_onnx(graph: ExportGraph, path: Path, crops: np.ndarray) -> dict[str, float]:
    """`largest_differences` of an ONNX file by onnxruntime."""
    session = onnx_session(path, largest_bytes=LARGEST_FILE)

    def answer(arrays: tuple[Tensor, ...]) -> Sequence[np.ndarray]:
        named = dict(zip(graph.input_names, (value.numpy() for value in arrays), strict=True))
        found: Sequence[np.ndarray] = session.run(graph.output_names, named)
        return found

    return largest_differences(graph, answer, crops)


def check_torchscript(graph: ExportGraph, path: Path, crops: np.ndarray) -> dict[str, float]:
    """`largest_differences` of a TorchScript archive."""
    with named_failures(graph.model, "TorchScript"):
        loaded = torch.jit.load(str(path))

    def answer(arrays: tuple[Tensor, ...]) -> Sequence[np.ndarray]:
        with torch.inference_mode():
            return [value.numpy() for value in loaded(*arrays)]

    return largest_differences(graph, answer, crops)


def check_safetensors(graph: ExportGraph, path: Path, crops: np.ndarray) -> dict[str, float]:
    """By nothing but bits: every tensor of the file is the model's.

    Raises:
        IntegrityError: another tensor.
    """
    from safetensors.torch import load_file

    state, found = graph.model.state_dict(), load_file(str(path))
    if state.keys() != found.keys() or any(not torch.equal(state[name], found[name]) for name in state):
        raise IntegrityError("the file's tensors are not the model's")
    return {}


CHECKS: dict[str, Callable[[ExportGraph, Path, np.ndarray], dict[str, float]]] = {
    "onnx": check_onnx,
    "torchscript": check_torchscript,
    "safetensors": check_safetensors,
}


def checked(graph: ExportGraph, form: str, path: Path, crops: np.ndarray) -> dict[str, Any]:
    """What a comparison found; a failure names the model and the format.

    Raises:
        IntegrityError: the file does not answer as torch does.
    """
    try:
        return CHECKS[form](graph, path, crops)
    except DFADError as error:
        text = str(error).replace(f"{path}: ", "")
        raise IntegrityError(f"{graph.model.card.display} as {form}: {text}; nothing was written") from error
