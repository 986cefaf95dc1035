"""An ONNX file with two outputs of binned angles, run by onnxruntime behind the interface of a torch module.

A downloaded ONNX file is untrusted: its inputs and outputs are checked before it runs, and it cannot read other files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from dfad_bench.core.errors import WeightsError, need
from dfad_bench.core.weights import refuse_stand_ins
from dfad_bench.gaze.estimators.loading import list_names
from dfad_bench.gaze.estimators.nets.binned import BINS_DEG, expected_angle

_LARGEST_BYTES = 1 << 30
_EXTERNAL = 1  # TensorProto.EXTERNAL


class OnnxGaze(nn.Module):
    """Outputs by position: yaw, pitch.

    Args:
        path: the file.
        side: side of the square input images, pixels.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
        WeightsError: not a file of that kind.
    """

    def __init__(self, path: Path, side: int) -> None:
        super().__init__()
        self.path = path
        self.session = _session(path)
        self.one_by_one = _check_input(self.session, path, side)
        _check_outputs(self.session, path)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, side, side) to (B, 2) radians, on the CPU: yaw, pitch."""
        if self.one_by_one and len(images) > 1:
            return torch.cat([self(image[None]) for image in images])
        name = self.session.get_inputs()[0].name
        try:
            logits = self.session.run(None, {name: images.cpu().numpy()})
        except Exception as error:  # onnxruntime's errors have no common class
            raise WeightsError(f"{self.path}: does not run ({_first_line(error)})") from error
        found = [tuple(each.shape) for each in logits]
        if any(len(shape) != 2 or shape[0] != len(images) or shape[1] not in BINS_DEG for shape in found):
            raise WeightsError(f"{self.path}: outputs {found} for {len(images)} faces, expected two of {_bin_names()}")
        return torch.stack([expected_angle(torch.from_numpy(each)) for each in logits], dim=1)


def _session(path: Path) -> Any:
    """A session of onnxruntime for the file.

    Weights in other files are refused: onnxruntime 1.20 reads them from any path in the file, newer versions only
    from the file's folder, for which they get an empty one.
    """
    runtime, onnx = (need(name, "dfad-bench[onnx]", f"running {path.name}") for name in ("onnxruntime", "onnx"))
    refuse_stand_ins(path)
    if path.stat().st_size > _LARGEST_BYTES:
        raise WeightsError(f"{path}: larger than {_LARGEST_BYTES >> 20} MB")
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors differ between its implementations
        raise WeightsError(f"{path}: not readable as an ONNX file ({_first_line(error)})") from error
    if elsewhere := sorted(set(_external_tensors(model))):
        raise WeightsError(f"{path}: keeps weights in other files ({list_names(elsewhere)}); convert it to one file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised, not logged
    try:
        with TemporaryDirectory() as empty:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
            return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class
        raise WeightsError(f"{path}: not runnable by onnxruntime ({_first_line(error)})") from error


def _external_tensors(message: Any) -> Iterator[str]:
    """Names of all tensors at any depth (graphs, attributes, functions) whose values are not in the file."""
    for field, value in message.ListFields():
        if field.name == "external_data" or (field.name == "data_location" and value == _EXTERNAL):
            yield message.name
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _external_tensors(part)


def _check_input(session: Any, path: Path, side: int) -> bool:
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


def _check_outputs(session: Any, path: Path) -> None:
    outputs = session.get_outputs()
    last = [each.shape[-1] if each.shape else 0 for each in outputs]
    fits = all(each.type == "tensor(float)" for each in outputs) and all(
        not isinstance(size, int) or size in BINS_DEG for size in last
    )
    if len(outputs) != 2 or not fits:
        found = [(each.name, each.type, each.shape) for each in outputs]
        raise WeightsError(f"{path}: gives {found}, expected two float outputs of {_bin_names()}")


def _bin_names() -> str:
    return " or ".join(f"{bins} bins" for bins in BINS_DEG)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
