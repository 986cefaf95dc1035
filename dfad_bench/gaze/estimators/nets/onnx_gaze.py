"""An ONNX file with two outputs of binned angles, run by onnxruntime behind the interface of a torch module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfad_bench.core.errors import WeightsError
from dfad_bench.core.onnx_file import check_image_input, first_line, onnx_session
from dfad_bench.gaze.estimators.nets.binned import BINS_DEG, expected_angle


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
        self.session = onnx_session(path)
        self.one_by_one = check_image_input(self.session, path, side)
        _check_outputs(self.session, path)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, side, side) to (B, 2) radians, on the CPU: yaw, pitch."""
        if self.one_by_one and len(images) > 1:
            return torch.cat([self(image[None]) for image in images])
        name = self.session.get_inputs()[0].name
        try:
            logits = self.session.run(None, {name: images.cpu().numpy()})
        except Exception as error:  # onnxruntime's errors have no common class
            raise WeightsError(f"{self.path}: does not run ({first_line(error)})") from error
        found = [tuple(each.shape) for each in logits]
        if any(len(shape) != 2 or shape[0] != len(images) or shape[1] not in BINS_DEG for shape in found):
            raise WeightsError(f"{self.path}: outputs {found} for {len(images)} faces, expected two of {_bin_names()}")
        return torch.stack([expected_angle(torch.from_numpy(each)) for each in logits], dim=1)


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
