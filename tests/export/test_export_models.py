"""Every registered model, tiny, as a file of each form: what it answers is what torch answers, at any batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import some_fast

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.onnx_file import onnx_session
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.engine.contract_checks.subject import SIDE, Subject
from dfad_bench.export.facts import KEY, TOLERANCE
from dfad_bench.export.graph import ExportGraph, view_inputs
from dfad_bench.export.writers import write_onnx, write_torchscript

FAST = ("always_fake", "majority")  # to convert any network takes seconds
# what the converters of torch 2.14 cannot do yet; strict, so that a model that converts again is noticed
NOT_YET = {
    "onnx": {"forensics_adapter": "aten.view of attention over a free number of faces"},
    "torchscript": {
        "forensics_adapter": "a size is rounded, which a traced size cannot be",
        "lida": "aten::__and__ of a tensor and a Python bool",
    },
}
METADATA = {KEY: '{"a": "\\u00e9"}'}


def graph_of(name: str) -> ExportGraph:
    torch.set_num_threads(1)
    model = Subject(name).build().eval()
    return ExportGraph(model, view_inputs(model, SIDE), SIDE if model.needs_images else None, embedding=True)


def expected(graph: ExportGraph, arrays: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    with torch.no_grad():
        return [value.numpy() for value in graph(*arrays)]


def assert_equal(found: list[Any], wanted: list[np.ndarray]) -> None:
    assert [value.shape for value in found] == [value.shape for value in wanted]
    for value, other in zip(found, wanted, strict=True):
        assert np.isfinite(value).all()
        assert np.abs(value - other).max() <= TOLERANCE * max(1.0, float(np.abs(other).max()))


def known(params: list[Any], form: str) -> list[Any]:
    """The parameters, those of `NOT_YET` expected to fail."""
    found = []
    for each in params:
        reason = NOT_YET[form].get(each.values[0])
        marks = [*each.marks, pytest.mark.xfail(strict=True, reason=reason)] if reason else each.marks
        found.append(pytest.param(*each.values, marks=marks, id=each.id))
    return found


def exportable(names: list[str]) -> list[str]:
    return [name for name in names if not model_class(name).card.no_export]


@pytest.mark.parametrize("name", known(some_fast(exportable(model_names()), FAST), "onnx"))
def test_onnx_answers_as_torch_at_any_batch(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    graph = graph_of(name)
    write_onnx(graph, tmp_path / "model.onnx", METADATA)
    session = onnx_session(tmp_path / "model.onnx")
    assert [each.name for each in session.get_inputs()] == graph.input_names
    assert [each.name for each in session.get_outputs()] == graph.output_names
    assert session.get_modelmeta().custom_metadata_map == METADATA
    for rows in (1, 5):
        arrays = graph.example(rows)
        named = dict(zip(graph.input_names, (value.numpy() for value in arrays), strict=True))
        assert_equal(session.run(None, named), expected(graph, arrays))


@pytest.mark.parametrize(
    "name", known(some_fast(exportable(model_names()), (*FAST, "xception", "gazeclip", "vfm_probe")), "torchscript")
)
def test_torchscript_answers_as_torch_at_any_batch(name: str, tmp_path: Path) -> None:
    graph = graph_of(name)
    write_torchscript(graph, tmp_path / "model.pt", METADATA)
    extra = dict.fromkeys(METADATA, "")
    loaded = torch.jit.load(str(tmp_path / "model.pt"), _extra_files=extra)
    assert {key: value.decode() for key, value in extra.items()} == METADATA
    for rows in (1, 5):
        arrays = graph.example(rows)
        with torch.no_grad():
            assert_equal([value.numpy() for value in loaded(*arrays)], expected(graph, arrays))


@pytest.mark.parametrize("name", [name for name in model_names() if model_class(name).card.no_export])
def test_what_cannot_be_exported_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be exported"):
        graph_of(name)


def test_one_face_without_a_gaze_is_told_by_nan() -> None:
    graph = graph_of("gazeclip")
    images, gaze = graph.example(2, missing=False)
    other = gaze.clone()
    gaze[1], other[1] = float("nan"), torch.tensor([0.3, -0.2])
    with torch.no_grad():
        without, given = graph(images, gaze), graph(images, other)
    assert torch.allclose(without[1][0], given[1][0], atol=1e-6)
    assert not torch.allclose(without[1][1], given[1][1], atol=1e-6)


class Unwritable(DFADModel):
    """Uses an operator that ONNX has no form of."""

    card = model_class("xception").card

    def __init__(self) -> None:
        super().__init__(3, 2)

    def embed(self, inputs: Any) -> torch.Tensor:
        return torch.linalg.eigvals(inputs.images[:, :, :3, :3].mean(1)).real


@pytest.mark.heavy
def test_a_failure_is_one_line_with_model_and_operator(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    graph = ExportGraph(Unwritable(), (), 16, embedding=False)
    with pytest.raises(ConfigError) as found:
        write_onnx(graph, tmp_path / "model.onnx", METADATA)
    text = str(found.value)
    assert text.startswith("Xception cannot be exported to ONNX: ")
    assert "\n" not in text
    assert "operator aten" in text
    assert not list(tmp_path.iterdir())
