"""A finished run as one file for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.runs import Run, folder_of
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import Manifest

if TYPE_CHECKING:
    from dfad_bench.export.run_file import ExportedFile


def export_run(
    run: Run,
    out: Path | str,
    format: Literal["onnx", "torchscript", "safetensors"] = "onnx",
    *,
    embedding: bool = False,
    manifests: Sequence[Path | str | Manifest] | Path | str | Manifest = (),
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> ExportedFile:
    """Write a finished run to one file, with all that a crop needs inside: see docs/export.md.

    Args:
        run: its folder, or a loaded run; scored.
        out: the file; .onnx, .pt (.ts, .torchscript) or .safetensors.
        format: a graph for onnxruntime and others, a graph for torch without this toolkit, or the weights alone.
        embedding: whether the graph gives the embedding, too.
        manifests: whose crops the file is compared with torch on; without, drawn faces.
        progress: shows writing and comparing.

    Returns:
        Where, how large, its hash, and what the file says of itself.

    Raises:
        ConfigError: not a finished and scored run, another ending, or a model that has no graph, with the operator.
        IntegrityError: the file does not answer as torch does; it is not kept.
    """
    from dfad_bench.export.run_file import export_run as write

    given = [manifests] if isinstance(manifests, Path | str | Manifest) else list(manifests)
    opened = [one if isinstance(one, Manifest) else open_manifests([Path(one)])[0] for one in given]
    return write(folder_of(run), format, Path(out), embedding=embedding, manifests=opened, progress=progress)
