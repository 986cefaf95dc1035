"""Face embeddings: alignment, IResNet by its file's names, ONNX files, and the substitute without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dfad_bench.core.errors import WeightsError
from dfad_bench.core.notices import collect_notices
from dfad_bench.views.arcface import TEMPLATE, IResNet, aligned_faces, recognition_network
from dfad_bench.views.base import Faces
from dfad_bench.views.registry import view_class

DEPTHS, WIDTHS = (1, 2, 1, 1), (4, 4, 6, 6, 8)


def network() -> IResNet:
    """A small one with statistics that are not those of a new network."""
    torch.manual_seed(0)
    model = IResNet(DEPTHS, WIDTHS)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "weight", "bias")) and value.ndim == 1:
            value.uniform_(-0.5, 1)
    return model.eval()


def by_names(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The embedding from a file's tensors by their names alone."""

    def norm(x: Tensor, name: str) -> Tensor:
        parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts)

    x = F.prelu(norm(F.conv2d(x, state["conv1.weight"], padding=1), "bn1"), state["prelu.weight"])
    for layer in range(1, 5):
        unit = 0
        while (place := f"layer{layer}.{unit}") and f"{place}.conv1.weight" in state:
            stride = 2 if unit == 0 else 1
            y = F.conv2d(norm(x, f"{place}.bn1"), state[f"{place}.conv1.weight"], padding=1)
            y = F.prelu(norm(y, f"{place}.bn2"), state[f"{place}.prelu.weight"])
            y = norm(F.conv2d(y, state[f"{place}.conv2.weight"], stride=stride, padding=1), f"{place}.bn3")
            if f"{place}.downsample.0.weight" in state:
                x = norm(F.conv2d(x, state[f"{place}.downsample.0.weight"], stride=stride), f"{place}.downsample.1")
            x, unit = x + y, unit + 1
    x = F.linear(norm(x, "bn2").flatten(1), state["fc.weight"], state["fc.bias"])
    return norm(x, "features")


@pytest.mark.parametrize("wrapped", [pytest.param(False, marks=pytest.mark.heavy), True])
def test_an_iresnet_is_built_from_the_names_and_shapes_of_its_file(tmp_path: Path, wrapped: bool) -> None:
    state = dict(network().state_dict())
    torch.save({f"module.{k}": v for k, v in state.items()} if wrapped else state, tmp_path / "r.pth")
    faces = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with collect_notices() as lines:
        found = recognition_network(tmp_path / "r.pth", "cpu")(faces)
    assert bool(lines) == wrapped
    assert found.shape == (2, 512)
    assert torch.allclose(found, by_names(state, faces), atol=1e-4)


def test_the_published_size_is_that_of_iresnet_100() -> None:
    with torch.device("meta"):
        model = IResNet((3, 13, 30, 3))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 65.16
    assert {"layer3.29.bn3.weight", "layer1.0.downsample.0.weight", "features.running_mean"} <= set(model.state_dict())


def test_other_files_are_one_line(tmp_path: Path) -> None:
    def message(**changes: Any) -> str:
        state = {**network().state_dict(), **changes}
        torch.save({k: v for k, v in state.items() if v is not None}, tmp_path / "r.pth")
        with pytest.raises(WeightsError) as caught:
            recognition_network(tmp_path / "r.pth", "cpu")
        return str(caught.value)

    assert "not an ArcFace IResNet state dict (lacks features.running_mean)" in message(
        **{"features.running_mean": None}
    )
    assert "not an ArcFace IResNet state dict" in message(**{"extra.weight": torch.zeros(1)})
    assert "does not fit" in message(**{"fc.weight": torch.zeros(256, 8 * 49)})


def test_faces_are_turned_so_that_their_points_lie_where_the_network_expects_them() -> None:
    turn = np.array([[1.5, -0.6], [0.6, 1.5]])
    points = TEMPLATE @ turn.T + [60, 10]  # pixel centres counted from 0
    crop = np.zeros((256, 256, 3), np.uint8)
    for place, (x, y) in enumerate(points):
        crop[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3, place % 3] = 255
    lost = np.full((5, 2), np.nan)
    faces, known = aligned_faces(np.stack([crop, crop]), np.stack([points + 0.5, lost]))
    assert known.tolist() == [True, False]
    assert not faces[1].any()
    for place, (x, y) in enumerate(TEMPLATE):
        assert faces[0, round(y), round(x), place % 3] > 128
        assert faces[0, round(y), round(x)].sum() == faces[0, round(y), round(x), place % 3]


def made(view: Any, count: int = 3, device: str = "cpu") -> Any:
    generator = np.random.default_rng(0)
    crops = generator.integers(0, 256, (count, 128, 128, 3), dtype=np.uint8)
    landmarks = np.stack([TEMPLATE + 8.0] * count)
    landmarks[1] = np.nan
    ids = tuple(map(str, range(count)))
    return view.make(Faces(ids, 64, device, pd.DataFrame({"sample_id": ids}), crops, landmarks))


def test_the_substitute_is_the_same_for_a_face_whatever_the_others_are_and_says_what_it_is() -> None:
    view = view_class("face_embedding")()
    three, two = made(view), made(view, 2)
    assert three.present.tolist() == [True, False, True]
    assert np.array_equal(three.values[:2], two.values)
    assert np.linalg.norm(three.values[0]) == pytest.approx(512**0.5, rel=1e-4)
    assert "knows no identity, is a stand-in" in view.substitute()
    assert view.identity()["substitute"] == view.substitute()


@pytest.mark.heavy
def test_a_network_of_the_user_embeds_the_aligned_face(tmp_path: Path) -> None:
    state = dict(network().state_dict())
    torch.save(state, tmp_path / "r.pth")
    view = view_class("face_embedding")({"weights": str(tmp_path / "r.pth")})
    found = made(view)
    generator = np.random.default_rng(0)
    crop = generator.integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)[:1]
    face, _ = aligned_faces(crop, np.stack([TEMPLATE + 8.0]))
    pixels = (torch.from_numpy(face).permute(0, 3, 1, 2).float() - 127.5) / 127.5
    assert np.allclose(found.values[0], by_names(state, pixels)[0].numpy(), atol=1e-4)
    assert view.substitute() == ""
    assert view.fingerprint != view_class("face_embedding")().fingerprint
    raw = view_class("face_embedding")({"weights": str(tmp_path / "r.pth"), "normalised": False})
    assert raw.fingerprint != view.fingerprint
    assert not np.allclose(made(raw).values[0], found.values[0], atol=1e-2)


@pytest.fixture(scope="module")
def onnx() -> Any:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra onnx)")
    return pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")


@pytest.mark.parametrize("batch", ["batch", 1])
def test_an_onnx_file_embeds_face_by_face(onnx: Any, tmp_path: Path, batch: str | int) -> None:
    found = made(view_class("face_embedding")({"weights": str(saved_onnx(onnx, tmp_path / "r.onnx", batch))}))
    assert found.values.shape == (3, 512)
    assert found.values[0] == pytest.approx(np.full(512, found.values[0, 0]))


def test_an_onnx_file_of_another_output_is_one_line(onnx: Any, tmp_path: Path) -> None:
    view = view_class("face_embedding")({"weights": str(saved_onnx(onnx, tmp_path / "r.onnx", "batch", 128))})
    with pytest.raises(WeightsError, match="expected one of 512 a face"):
        made(view)


def saved_onnx(onnx: Any, path: Path, batch: str | int, dim: int = 512) -> Path:
    """A network that repeats the mean of a face `dim` times."""
    helper = onnx.helper
    image = helper.make_tensor_value_info("input.1", onnx.TensorProto.FLOAT, [batch, 3, 112, 112])
    output = helper.make_tensor_value_info("683", onnx.TensorProto.FLOAT, [batch, dim])
    ones = onnx.numpy_helper.from_array(np.full((3 * 112**2, dim), 1 / (3 * 112**2), np.float32), "w")
    nodes = [helper.make_node("Flatten", ["input.1"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["683"])]
    graph = helper.make_graph(nodes, "g", [image], [output], [ones])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
