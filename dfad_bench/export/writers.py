"""Graphs and weights as files: ONNX, TorchScript, safetensors. Each writes to a path that is not yet the user's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dfad_bench.core.errors import ConfigError, need
from dfad_bench.core.files import atomic_write
from dfad_bench.export.graph import TRACED_ROWS, ExportGraph, named_failures
from dfad_bench.export.resizing import FixedResizing

OPSET = 18  # the oldest with all operators of `torch.onnx`; onnxruntime 1.14 and later run it
_LARGEST_BYTES = (1 << 31) - (1 << 24)  # of a protobuf, with room for the graph
_DYNAMIC = {0: torch.export.Dim.DYNAMIC}


def write_onnx(graph: ExportGraph, path: Path, metadata: Mapping[str, str]) -> None:
    """An ONNX file: captured by `torch.export`, converted by `torch.onnx` (dynamo), batch free, weights inside.

    Raises:
        ConfigError: too large for one file, or an operator that cannot be written; one line with model and operator.
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    display = graph.model.card.display
    onnx = need("onnx", "dfad-bench[onnx]", "export to ONNX")
    need("onnxscript", "dfad-bench[onnx]", "export to ONNX")
    with named_failures(graph.model, "ONNX"):
        program = torch.onnx.export(_captured(graph), (), dynamo=True, verbose=False, opset_version=OPSET)
    assert program is not None
    size = sum(value.numel() * value.element_size() for value in graph.model.state_dict().values())
    if size > _LARGEST_BYTES:
        raise ConfigError(
            f"{display} cannot be exported to ONNX: weights of {size >> 20:,} MB, one file holds 2,032 MB"
        )
    with named_failures(graph.model, "ONNX"):
        proto = program.model_proto
    _forget_origins(proto)
    _rename(proto.graph, [value.name for value in proto.graph.input], graph.input_names)
    _rename(proto.graph, [value.name for value in proto.graph.output], graph.output_names)
    onnx.helper.set_model_props(proto, dict(metadata))
    with atomic_write(path) as file:
        file.write(proto.SerializeToString())


def _captured(graph: ExportGraph) -> Any:
    """The exported program; a graph that looks at sizes in a way the first capture fixes is captured by bytecode."""
    rows = graph.example(TRACED_ROWS)
    resizing = FixedResizing()
    shapes = (tuple(_DYNAMIC for _ in rows),)
    with torch.no_grad(), resizing:
        graph(*rows)  # makes the matrices
        try:
            return torch.export.export(graph, rows, dynamic_shapes=shapes, strict=False)
        except Exception as first:  # of many kinds; what the second way says may be less plain
            try:
                return torch.export.export(graph, rows, dynamic_shapes=shapes, strict=True)
            except Exception:
                raise first from None


def _forget_origins(proto: Any) -> None:
    """Leave out where in Python each operator came from: paths of this machine, and much of the file."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        if hasattr(value, "metadata_props"):
            del value.metadata_props[:]
        value.doc_string = ""
    for function in proto.functions:
        del function.metadata_props[:]
        function.doc_string = ""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]


def _rename(graph: Any, old: list[str], new: list[str]) -> None:
    """Give inputs or outputs of a graph their names; what had such a name inside gets another."""
    names = dict(zip(old, new, strict=True))
    inside = {output for node in graph.node for output in node.output} | {value.name for value in graph.initializer}
    names |= {name: f"{name}_inside" for name in new if name in inside and name not in names}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)


def write_torchscript(graph: ExportGraph, path: Path, metadata: Mapping[str, str]) -> None:
    """A TorchScript archive, traced; the metadata are extra files of it.

    Raises:
        ConfigError: an operator that cannot be traced; one line with model and operator.
    """
    rows = graph.example(TRACED_ROWS)
    with named_failures(graph.model, "TorchScript"), torch.no_grad(), FixedResizing():
        graph(*rows)  # makes the matrices
        traced = torch.jit.trace(graph, rows, check_trace=False)
        torch.jit.save(traced, str(path), _extra_files=dict(metadata))


def write_safetensors(graph: ExportGraph, path: Path, metadata: Mapping[str, str]) -> None:
    """The weights of the model with the metadata in the header; to run them needs the model's code."""
    from safetensors.torch import save_file

    state = {name: value.detach().clone().contiguous() for name, value in graph.model.state_dict().items()}
    save_file(state, str(path), metadata=dict(metadata))


def set_metadata(form: str, path: Path, metadata: Mapping[str, str]) -> None:
    """Replace the metadata of a file that a writer here wrote; all else in it stays."""
    if form == "onnx":
        import onnx

        proto = onnx.load(path)
        onnx.helper.set_model_props(proto, dict(metadata))
        with atomic_write(path) as file:
            file.write(proto.SerializeToString())
    elif form == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated, which the documentation says
            torch.jit.save(torch.jit.load(str(path)), str(path), _extra_files=dict(metadata))
    else:
        from safetensors.torch import load_file, save_file

        save_file(load_file(str(path)), str(path), metadata=dict(metadata))


WRITERS = {"onnx": write_onnx, "torchscript": write_torchscript, "safetensors": write_safetensors}
