"""MobileGaze: every backbone's published layout loads, ONNX files run and are checked, wrong ones are one line."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from gaze_fits import faces, inputs, random_state, steer_binned, targets, write, zero_head
from rendered_eyes import draw_faces

from dfad_bench.core.errors import MissingDependencyError, WeightsError
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.estimators.mobilegaze import MobileGazeEstimator
from dfad_bench.gaze.estimators.nets.mobileone import FEATURES, MobileOneS0
from dfad_bench.gaze.table import VALUES

LAYERS = ("fc_yaw", "fc_pitch")
pytestmark = pytest.mark.usefixtures("one_thread")

# backbone: features, size of the published file in MiB
BACKBONES = {
    "resnet18": (512, 43.0),
    "resnet34": (512, 81.6),
    "resnet50": (2048, 91.3),
    "mobilenet_v2": (1280, 9.6),
    "mobileone_s0": (FEATURES, 4.8),
}


class SmallMobileGaze(MobileGazeEstimator):
    side = 64  # the trunks end in an average: any side will do


def trunk_state(name: str) -> dict[str, torch.Tensor]:
    from torchvision import models

    with torch.device("meta"):
        module = MobileOneS0() if name == "mobileone_s0" else models.get_model(name, weights=None)
    state = random_state(module, seed=1)
    return {key: value for key, value in state.items() if not key.startswith(("fc.", "classifier."))}


@pytest.fixture(scope="module", params=list(BACKBONES))
def published(request, tmp_path_factory):
    """A file in the published layout whose heads are fitted to `targets`, and its state dict."""
    trunk, features = trunk_state(request.param), BACKBONES[request.param][0]
    path = tmp_path_factory.mktemp("mobilegaze") / f"{request.param}.pt"
    estimator = SmallMobileGaze(write({**trunk, **zero_head(LAYERS, features, 90)}, path))
    state = {**trunk, **steer_binned(estimator, LAYERS, 90)}
    return request.param, write(state, path)


@pytest.mark.heavy
def test_published_layouts_give_the_angles_they_were_made_for(published) -> None:
    name, path = published
    assert path.stat().st_size / 2**20 == pytest.approx(BACKBONES[name][1], rel=0.02)
    estimator = SmallMobileGaze.build(path)
    found = estimator.estimate(*faces())
    np.testing.assert_allclose(np.stack([found.pitch_rad, found.yaw_rad], axis=1), targets(), atol=5e-4)
    assert estimator.remarks == ()
    assert MobileGazeEstimator.build(path).prepare(*draw_faces(1, seed=0)[:2]).images.shape == (1, 448, 448, 3)


@pytest.mark.heavy
def test_rows_do_not_depend_on_each_other(published) -> None:
    estimator = SmallMobileGaze(published[1], order="yaw_pitch")
    crops, landmarks = draw_faces(3, seed=2)[:2]
    whole = estimator.estimate(crops, landmarks)
    single = estimator.estimate(crops[1:2], landmarks[1:2])
    for column in VALUES:
        np.testing.assert_allclose(getattr(single, column)[0], getattr(whole, column)[1], atol=1e-5)


def test_mobileone_has_the_papers_shape() -> None:
    with torch.device("meta"):
        trunk = MobileOneS0()
    state = {key: tuple(value.shape) for key, value in trunk.state_dict().items()}
    assert state["stage0.reparam_conv.weight"] == (48, 3, 3, 3)
    assert state["stage1.0.reparam_conv.weight"] == (48, 1, 3, 3)
    assert state["stage4.1.reparam_conv.weight"] == (1024, 256, 1, 1)
    assert len(state) == 2 * (1 + 2 * (2 + 8 + 10 + 1))
    # table 4 of the paper: 2.1 million with the classifier of 1000 classes
    assert sum(value.numel() for value in trunk.parameters()) + 1025 * 1000 == pytest.approx(2.1e6, rel=0.03)
    maps = trunk.stage3(trunk.stage2(trunk.stage1(trunk.stage0(torch.zeros(1, 3, 64, 64, device="meta")))))
    assert trunk.stage4(maps).shape == (1, 1024, 2, 2)


def test_what_does_not_fit_is_one_line(tmp_path) -> None:
    trunk, head = trunk_state("mobileone_s0"), zero_head(LAYERS, FEATURES, 90)

    def message(state: dict[str, torch.Tensor]) -> str:
        with pytest.raises(WeightsError) as caught:
            build_estimator("mobilegaze", str(write(state, tmp_path / "other.pt")))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    l2cs = {f"{key.replace('.', '_gaze.')}": value for key, value in head.items()}
    assert "expected weights of MobileGaze, but the file looks like L2CS-Net" in message({**trunk, **l2cs})
    unfused = {key.replace("reparam_conv", "rbr_conv.0"): value for key, value in trunk.items()}
    assert "missing: conv1.weight" in message({**unfused, **head})
    part = {key: value for key, value in trunk.items() if not key.startswith("stage2.3.")}
    assert "missing: stage2.3.reparam_conv.weight, stage2.3.reparam_conv.bias" in message({**part, **head})
    assert "fc_yaw has 66 bins" in message({**trunk, **zero_head(LAYERS, FEATURES, 66)})
    assert "fc_yaw.weight (90, 7)" in message({**trunk, **zero_head(LAYERS, 7, 90)})


def test_without_onnxruntime_the_extra_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = tmp_path / "resnet18_gaze.onnx"
    path.write_bytes(b"")
    with pytest.raises(MissingDependencyError, match=r"resnet18_gaze\.onnx needs dfad-bench\[onnx\]: pip install"):
        build_estimator("mobilegaze", str(path))


# ---- ONNX files: two linear layers on the pixels, exported here


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra onnx)")
    return pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Logits (90, pixels) of yaw and pitch, as arrays."""
    path = write(
        {**trunk_state("mobileone_s0"), **zero_head(LAYERS, FEATURES, 90)}, tmp_path_factory.mktemp("o") / "a.pt"
    )
    estimator = SmallMobileGaze(path)
    estimator.network.trunk = torch.nn.Flatten()
    assert inputs(estimator).shape == (12, 3, 64, 64)
    return {key: value.numpy() for key, value in steer_binned(estimator, LAYERS, 90).items()}


def export(onnx, layers, path, *, batch="batch", side=64, names=("yaw", "pitch"), outputs=2, external=None):
    """An ONNX file; `external` is where its first weight is said to be."""
    from onnx import helper, numpy_helper

    nodes = [helper.make_node("Flatten", ["input"], ["pixels"])]
    values, results = [], []
    for layer, name in list(zip(LAYERS, names, strict=True))[:outputs]:
        nodes.append(helper.make_node("Gemm", ["pixels", f"{layer}.weight", f"{layer}.bias"], [name], transB=1))
        values += [numpy_helper.from_array(layers[f"{layer}.{part}"], f"{layer}.{part}") for part in ("weight", "bias")]
        results.append(
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, len(layers[f"{layer}.bias"])])
        )
    if external:
        values[0].ClearField("raw_data")
        values[0].data_location = onnx.TensorProto.EXTERNAL
        values[0].external_data.add(key="location", value=external)
    image = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [batch, 3, side, side])
    model = helper.make_model(
        helper.make_graph(nodes, "gaze", [image], results, values), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 10
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("batch", ["batch", 1])
@pytest.mark.parametrize("names", [("yaw", "pitch"), ("pitch", "yaw")])
def test_onnx_outputs_count_by_position(onnx, layers, tmp_path, batch, names) -> None:
    estimator = SmallMobileGaze.build(export(onnx, layers, tmp_path / "gaze.onnx", batch=batch, names=names))
    found = estimator.estimate(*faces())
    np.testing.assert_allclose(np.stack([found.pitch_rad, found.yaw_rad], axis=1), targets(), atol=5e-4)
    assert estimator.remarks == ()
    crops, landmarks = faces()
    np.testing.assert_allclose(estimator.estimate(crops[3:4], landmarks[3:4]).yaw_rad, found.yaw_rad[3:4], atol=1e-6)


def test_onnx_of_another_shape_is_refused(onnx, layers, tmp_path) -> None:
    def message(name: str, **how) -> str:
        with pytest.raises(WeightsError) as caught:
            SmallMobileGaze.build(export(onnx, how.pop("layers", layers), tmp_path / name, **how))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    small = {key: value[:, : 3 * 32 * 32] if value.ndim == 2 else value for key, value in layers.items()}
    assert "expected one float input [1 or more, 3, 64, 64]" in message("small.onnx", side=32, layers=small)
    assert "expected one float input" in message("four.onnx", batch=4)
    assert "expected two float outputs of 90 bins or 28 bins" in message("single.onnx", outputs=1)
    few = {key: value[:66] for key, value in layers.items()}
    assert "expected two float outputs of 90 bins or 28 bins" in message("bins.onnx", layers=few)
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"no protobuf at all")
    with pytest.raises(WeightsError, match=r"not readable as an ONNX file|not runnable by onnxruntime") as caught:
        SmallMobileGaze.build(junk)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["beside.bin", "../outside.bin", "absolute"])
def test_onnx_reads_no_other_file(onnx, layers, tmp_path, monkeypatch, place) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.chdir(folder)
    target = tmp_path / "outside.bin" if place != "beside.bin" else folder / place
    target.write_bytes(layers["fc_yaw.weight"].tobytes())
    path = export(onnx, layers, folder / "gaze.onnx", external=str(target) if place == "absolute" else place)
    with pytest.raises(WeightsError, match=r"keeps weights in other files \(fc_yaw\.weight\)"):
        SmallMobileGaze.build(path)


def test_onnx_reads_no_other_file_for_constants_of_a_function(onnx, layers, tmp_path) -> None:
    from onnx import helper, numpy_helper

    path = export(onnx, layers, tmp_path / "gaze.onnx")
    model = onnx.load_model(path)
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "hidden")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    body = [helper.make_node("Constant", [], ["y"], value=tensor)]
    model.functions.append(helper.make_function("own", "Own", [], ["y"], body, [helper.make_opsetid("", 17)]))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"keeps weights in other files \(hidden\)"):
        SmallMobileGaze.build(path)
