"""Ready-made crops by an ONNX file: the run's own predictions without torch, and files of strangers refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfad_bench.api.predict_onnx import predict_onnx
from dfad_bench.core.errors import ConfigError, DFADError, WeightsError
from dfad_bench.export.facts import KEY, Band, ExportFacts, UnseenRule, ViewInput, facts_text
from dfad_bench.export.runner import ExportedModel

onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIDE = 8
FACTS = ExportFacts(
    model={"name": "toy", "display": "Toy"},
    classes=("real", "=gan"),
    side=SIDE,
    views=(),
    width=None,
    detection=Band(0.4, 0.6, "within 0.1 of 0.5"),
    unseen=UnseenRule(0.9, "the papers'"),
    protocol={},
    run={},
    crops={"faces": {}},
    licence={},
)


def model_of(facts: str | None, *, change: Callable[[Any], None] | None = None, side: int = SIDE) -> Any:
    """P(fake) is the mean of the red channel over 255; the classes are real and not."""
    helper, kind = onnx.helper, onnx.TensorProto
    images = helper.make_tensor_value_info("images", kind.UINT8, ["N", side, side, 3])
    outputs = [helper.make_tensor_value_info("p_fake", kind.FLOAT, ["N"])]
    outputs.append(helper.make_tensor_value_info("p_generator", kind.FLOAT, ["N", 2]))
    constants = {
        "axes": np.array([1, 2]), "red": np.array(0), "scale": np.array(255, np.float32),
        "one": np.array(1, np.float32), "last": np.array([1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=kind.FLOAT),
        helper.make_node("ReduceMean", ["values", "axes"], ["means"], keepdims=0),
        helper.make_node("Gather", ["means", "red"], ["level"], axis=1),
        helper.make_node("Div", ["level", "scale"], ["p_fake"]),
        helper.make_node("Sub", ["one", "p_fake"], ["p_real"]),
        helper.make_node("Unsqueeze", ["p_real", "last"], ["left"]),
        helper.make_node("Unsqueeze", ["p_fake", "last"], ["right"]),
        helper.make_node("Concat", ["left", "right"], ["p_generator"], axis=1),
    ]
    initial = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "toy", [images], outputs, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    if facts is not None:
        helper.set_model_props(model, {KEY: facts})
    if change is not None:
        change(model)
    return model


def written(path: Path, model: Any) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "toy.onnx", model_of(facts_text(FACTS)))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "crops"
    folder.mkdir()
    for red in (0, 127, 255):
        Image.new("RGB", (SIDE, SIDE), (red, 9, 9)).save(folder / f"{red:03}.png")
    Image.new("RGB", (2 * SIDE, 2 * SIDE), (255, 0, 0)).save(folder / "large.png")
    Image.new("RGB", (2 * SIDE, SIDE)).save(folder / "wide.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_rows_are_those_of_predict(file: Path, pictures: Path) -> None:
    found = predict_onnx(pictures, file, top=1)
    rows = {Path(row["input"]).name: row for row in found}
    assert [rows[name]["verdict"] for name in ("000.png", "127.png", "255.png", "large.png")] == [
        "real", "unsure", "fake", "fake",
    ]  # fmt: skip
    assert [rows[name]["generator"] for name in ("000.png", "127.png", "255.png")] == ["real", "unseen", "=gan"]
    assert rows["127.png"]["top"] == [{"generator": "real", "probability": pytest.approx(128 / 255, abs=1e-6)}]
    assert rows["large.png"]["width"] == 2 * SIDE
    assert "16x8" in rows["wide.png"]["reason"]
    assert rows["broken.png"]["kind"] == "refused"
    assert (found.inputs_done, found.inputs_refused) == (6, 2)
    assert sum(found.left_out.values()) == 1
    assert {key for row in rows.values() for key in row} <= set(found.columns)


def test_a_view_that_faces_may_lack_is_nan_and_said(tmp_path: Path, pictures: Path) -> None:
    def with_gaze(model: Any) -> None:
        gaze = onnx.helper.make_tensor_value_info("gaze", onnx.TensorProto.FLOAT, ["N", 2])
        model.graph.input.append(gaze)

    view = ViewInput("gaze", (2,), "float32", "pitch and yaw", "masked", "nan")
    path = written(tmp_path / "a.onnx", model_of(facts_text(replace(FACTS, views=(view,))), change=with_gaze))
    found = predict_onnx(pictures / "255.png", path)
    assert [row["verdict"] for row in found] == ["fake"]
    assert found.remarks == ["no gaze is given with pictures: masked"]
    needed = replace(view, missing="", told_by="never")
    strict = written(tmp_path / "b.onnx", model_of(facts_text(replace(FACTS, views=(needed,))), change=with_gaze))
    with pytest.raises(ConfigError, match="reads the view gaze of every face"):
        predict_onnx(pictures, strict)
    crops = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    assert ExportedModel.open(strict).answer(crops, {"gaze": np.zeros((2, 2))}).p_fake.tolist() == [0, 0]
    with pytest.raises(ConfigError, match=r"must be \(2, 2\)"):
        ExportedModel.open(strict).answer(crops, {"gaze": np.zeros((2, 3))})


def external(model: Any) -> None:
    tensor = model.graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def own_operator(model: Any) -> None:
    model.graph.node[3].domain = "com.strangers"
    model.opset_import.append(onnx.helper.make_opsetid("com.strangers", 1))


def other_names(model: Any) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "pixels"


def no_probabilities(model: Any) -> None:
    model.graph.initializer[2].CopyFrom(onnx.numpy_helper.from_array(np.array(1, np.float32), "scale"))


BAD = {
    "external": (facts_text(FACTS), external, "other files"),
    "operator": (facts_text(FACTS), own_operator, "not runnable"),
    "names": (facts_text(FACTS), other_names, "its inputs are"),
    "no-facts": (None, None, "not a file that `dfad export` wrote"),
    "bad-facts": ('{"format": 1}', None, "metadata"),
    "long-facts": ("x" * (2 << 20), None, "characters long"),
    "other-side": (facts_text(replace(FACTS, side=9)), None, "its inputs are"),
    "other-classes": (facts_text(replace(FACTS, classes=("a",))), None, "p_generator"),
    "numbers": (facts_text(FACTS), no_probabilities, "gives no probabilities"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_of_strangers_are_refused_in_one_line(case: str, tmp_path: Path, pictures: Path) -> None:
    facts, change, words = BAD[case]
    path = written(tmp_path / "a.onnx", model_of(facts, change=change))
    with pytest.raises(DFADError, match=words) as found:
        list(predict_onnx(pictures / "255.png", path))
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"<html>", None])
def test_what_is_no_onnx_is_refused_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((WeightsError, ConfigError)) as found:
        ExportedModel.open(path)
    assert "\n" not in str(found.value)


def without_torch(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """`dfad` where torch cannot be imported."""
    program = (
        "import sys; sys.modules['torch'] = None\nfrom dfad_bench.__main__ import main\n"
        f"sys.argv = {['dfad', *map(str, words)]!r}\nmain()"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)


def test_the_command_needs_no_torch(file: Path, pictures: Path) -> None:
    found = without_torch("predict", pictures, "--onnx", file, "--json", "--quiet")
    assert found.returncode == 3, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["about", *lines_between(lines), "end"]
    assert lines[-1]["verdicts"] == {"real": 1, "unsure": 1, "fake": 2}
    assert "Traceback" not in found.stderr


def lines_between(lines: list[dict[str, Any]]) -> Iterator[str]:
    return (line["kind"] for line in lines[1:-1])


def test_options_that_a_file_cannot_follow_are_refused(file: Path, pictures: Path) -> None:
    from click.testing import CliRunner

    from dfad_bench.cli.main import dfad

    for words in ([], ["--onnx", str(file), "--run", "x"], ["--onnx", str(file), "--frames", "3"]):
        found = CliRunner().invoke(dfad, ["predict", str(pictures), *words])
        assert found.exit_code == 2, found.output
    shown = CliRunner().invoke(dfad, ["predict", str(pictures / "255.png"), "--onnx", str(file), "--csv"])
    assert shown.exit_code == 0, shown.output
    assert ",'=gan," in shown.stdout
