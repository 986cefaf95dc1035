"""Face recognition networks of ArcFace's kind (Deng et al., CVPR 2019): their input, and IResNet by its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dfad_bench.core.errors import WeightsError
from dfad_bench.core.onnx_file import check_image_input, first_line, onnx_session
from dfad_bench.core.weights import load_into, load_state_dict

SIDE = 112
DIM = 512
# where eyes, nose and mouth corners come to lie in the 112-pixel face, pixel centres counted from 0
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_GRID = 7  # of the last feature map
_LAYERS = ("layer1", "layer2", "layer3", "layer4")
_MARKS = ("conv1.weight", "layer1.0.prelu.weight", "fc.weight", "features.running_mean")

Network = Callable[[Tensor], Tensor]  # faces (N, 3, 112, 112) to embeddings (N, 512); N may have to be 1


def aligned_faces(crops: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crops turned, scaled and shifted so that five points lie as near to `TEMPLATE` as a similarity can bring them.

    Args:
        crops: (N, H, W, 3) uint8.
        landmarks: (N, 5, 2) in crop pixels, continuous: the first pixel's centre is at 0.5; nan where unknown.

    Returns:
        Faces (N, 112, 112, 3) uint8, black where a crop does not reach, and which of them have landmarks (N,).
    """
    import cv2

    faces, known = np.zeros((len(crops), SIDE, SIDE, 3), np.uint8), np.zeros(len(crops), bool)
    for row, (crop, points) in enumerate(zip(crops, landmarks - 0.5, strict=True)):
        z, w = points @ [1, 1j], TEMPLATE @ [1, 1j]
        spread = (np.abs(z - z.mean()) ** 2).sum()
        if not np.isfinite(spread) or spread < 1e-6:
            continue
        turn = (np.conj(z - z.mean()) * (w - w.mean())).sum() / spread  # least squares over the complex plane
        shift = w.mean() - turn * z.mean()
        matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
        faces[row] = cv2.warpAffine(np.ascontiguousarray(crop), matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        known[row] = True
    return faces, known


class _Unit(nn.Module):
    """The improved residual unit (ArcFace, section 3.1): norm, convolution, norm, PReLU, convolution, norm."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        changes = stride != 1 or channels != width
        shortcut = [nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)] if changes else []
        self.downsample = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1(self.bn1(x))
        return self.bn3(self.conv2(self.prelu(self.bn2(y)))) + self.downsample(x)


class IResNet(nn.Module):
    """(N, 3, 112, 112) in [-1, 1] to (N, 512), not normalised; parameter names are those of insightface's files.

    Args:
        depths: units of the four layers; 3, 13, 30, 3 is the network of 100 layers.
        widths: of the stem and the four layers.
    """

    def __init__(self, depths: Sequence[int], widths: Sequence[int] = (64, 64, 128, 256, 512)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = nn.PReLU(widths[0])
        for name, channels, width, depth in zip(_LAYERS, widths[:-1], widths[1:], depths, strict=True):
            units = [_Unit(width if number else channels, width, 1 if number else 2) for number in range(depth)]
            self.add_module(name, nn.Sequential(*units))
        self.bn2 = nn.BatchNorm2d(widths[-1])
        self.fc = nn.Linear(widths[-1] * _GRID**2, DIM)
        self.features = nn.BatchNorm1d(DIM)

    def forward(self, faces: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(faces)))
        for name in _LAYERS:
            x = self.get_submodule(name)(x)
        embedding: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return embedding


def recognition_network(path: Path, device: str) -> Network:
    """The network in a file: an ONNX graph of one image input and one output of 512, or a state dict of an IResNet.

    Raises:
        WeightsError: no such network.
        MissingDependencyError: onnx or onnxruntime is not installed, and the file is `.onnx`.
    """
    if path.suffix == ".onnx":
        return _OnnxNetwork(path)
    state = load_state_dict(path, _is_iresnet)
    model = _built(state, path)
    load_into(model, state, path, "an ArcFace IResNet state dict")
    return model.eval().requires_grad_(False).to(device)


def _is_iresnet(state: Mapping[str, Any]) -> bool:
    return all(mark in state for mark in _MARKS)


def _built(state: Mapping[str, Tensor], path: Path) -> IResNet:
    """The network whose depths and widths the names and shapes in a file tell."""
    if not _is_iresnet(state):
        lacking = next(mark for mark in _MARKS if mark not in state)
        raise WeightsError(f"{path}: not an ArcFace IResNet state dict (lacks {lacking}); other networks as .onnx")
    depths = [1 + max(_numbers(state, layer), default=-1) for layer in _LAYERS]
    stems = ["conv1.weight", *(f"{layer}.0.conv1.weight" for layer in _LAYERS)]
    if min(depths) < 1 or any(name not in state or state[name].ndim != 4 for name in stems):
        raise WeightsError(f"{path}: not an ArcFace IResNet state dict (units of {', '.join(_LAYERS)} are lacking)")
    return IResNet(depths, [len(state[name]) for name in stems])


def _numbers(state: Mapping[str, Tensor], layer: str) -> list[int]:
    parts = (name.split(".") for name in state)
    return [int(p[1]) for p in parts if p[0] == layer and len(p) > 2 and p[1].isdecimal() and len(p[1]) < 4]


class _OnnxNetwork:
    def __init__(self, path: Path) -> None:
        self.path, self.session = path, onnx_session(path)
        check_image_input(self.session, path, SIDE)

    def __call__(self, faces: Tensor) -> Tensor:
        try:
            found = self.session.run(None, {self.session.get_inputs()[0].name: faces.cpu().numpy()})
        except Exception as error:  # onnxruntime's errors have no common class
            raise WeightsError(f"{self.path}: does not run ({first_line(error)})") from error
        shapes = [each.shape for each in found]
        if shapes != [(len(faces), DIM)]:
            raise WeightsError(f"{self.path}: outputs {shapes} for {len(faces)} faces, expected one of {DIM} a face")
        return torch.from_numpy(found[0])
