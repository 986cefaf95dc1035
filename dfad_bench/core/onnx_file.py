"""ONNX files from outside, run by onnxruntime on the CPU.

A downloaded ONNX file is untrusted: its inputs are checked before it runs, and it cannot read other files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dfad_bench.core.errors import WeightsError, listed, need
from dfad_bench.core.weight_content import refuse_stand_ins

_LARGEST_BYTES = 1 << 30
LARGEST_FILE = 1 << 31  # of a protobuf
_EXTERNAL = 1  # TensorProto.EXTERNAL
_MOST_SHOWN = 4


def onnx_session(path: Path, *, threads: int | None = None, largest_bytes: int = _LARGEST_BYTES) -> Any:
    """A session of onnxruntime for the file.

    Args:
        path: the file.
        threads: that one call uses; None as many as torch, which is imported for that only.
        largest_bytes: of the file.

    Weights in other files are refused: onnxruntime 1.20 reads them from any path in the file, newer versions only
    from the file's folder, for which they get an empty one.
    """
    runtime, onnx = (need(name, "dfad-bench[onnx]", f"running {path.name}") for name in ("onnxruntime", "onnx"))
    refuse_stand_ins(path)
    if path.stat().st_size > largest_bytes:
        raise WeightsError(f"{path}: larger than {largest_bytes >> 20} MB")
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors differ between its implementations
        raise WeightsError(f"{path}: not readable as an ONNX file ({first_line(error)})") from error
    if elsewhere := sorted(set(_external_tensors(model))):
        raise WeightsError(
            f"{path}: keeps weights in other files ({listed(elsewhere, _MOST_SHOWN)}); convert it to one file"
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = _threads_of_torch() if threads is None else threads
    options.log_severity_level = 4  # errors are raised, not logged
    try:
        with TemporaryDirectory() as empty:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
            return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class
        raise WeightsError(f"{path}: not runnable by onnxruntime ({first_line(error)})") from error


def _threads_of_torch() -> int:
    import torch

    return torch.get_num_threads()


def _external_tensors(message: Any) -> Iterator[str]:
    """Names of all tensors at any depth (graphs, attributes, functions) whose values are not in the file."""
    for field, value in message.ListFields():
        if field.name == "external_data" or (field.name == "data_location" and value == _EXTERNAL):
            yield message.name
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _external_tensors(part)


def check_image_input(session: Any, path: Path, side: int) -> bool:
    """Whether the file takes a single image at a time.

    Raises:
        WeightsError: it takes something else than images of that side.
    """
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    free = [not isinstance(size, int) for size in shape]
    fits = len(shape) == 4 and all(
        any_size or size == wanted for any_size, size, wanted in zip(free[1:], shape[1:], (3, side, side), strict=True)
    )
    if not fits or inputs[0].type != "tensor(float)" or not (free[0] or shape[0] == 1):
        found = [(each.name, each.type, each.shape) for each in inputs]
        raise WeightsError(f"{path}: takes {found}, expected one float input [1 or more, 3, {side}, {side}]")
    return not free[0]


def first_line(error: Exception) -> str:
    """What an error of onnxruntime says, on one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
