"""A finished run to one file, compared with torch before it has its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import atomic_path, sha256_file
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.load import LoadedRun, load_run
from dfad_bench.export.compare import checked
from dfad_bench.export.crops import drawn_crops, manifest_crops
from dfad_bench.export.facts import KEY, TOLERANCE, ExportFacts, facts_text
from dfad_bench.export.graph import ExportGraph, view_inputs
from dfad_bench.export.run_facts import facts_of_run
from dfad_bench.export.writers import OPSET, WRITERS, set_metadata
from dfad_bench.views.identity import read_identity

Form = Literal["onnx", "torchscript", "safetensors"]
SUFFIXES: dict[Form, tuple[str, ...]] = {
    "onnx": (".onnx",), "torchscript": (".pt", ".ts", ".torchscript"), "safetensors": (".safetensors",),
}  # fmt: skip
_STEPS = 3  # written, compared, told what the comparison found


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written: where, how many bytes, its hash, what it says of itself."""

    path: Path
    form: Form
    size: int
    sha256: str
    facts: ExportFacts


def export_run(
    folder: Path, form: Form, out: Path, *, embedding: bool = False, manifests: Sequence[Manifest] = (),
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> ExportedFile:  # fmt: skip
    """Write a finished, scored run to `out`; whole and compared, or not at all.

    Raises:
        ConfigError: not such a run, a name that is not of the format, or an operator that cannot be written.
        IntegrityError: a file that does not answer as torch does, or a run that was changed.
    """
    if form not in WRITERS:
        raise ConfigError(f"--format must be one of {', '.join(WRITERS)}, got {str(form)[:40]!r}")
    if out.suffix.lower() not in SUFFIXES[form]:
        raise ConfigError(f"{out}: a file of format {form} ends in {' or '.join(SUFFIXES[form])}")
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; name a file")
    run = load_run(folder)
    graph, facts = graph_of_run(run, form, embedding=embedding)
    crops = manifest_crops(manifests, run.protocol.image_size) if manifests else drawn_crops(run.protocol.image_size)
    source = "+".join(sorted({manifest.name for manifest in manifests})) or "drawn faces"
    progress.start(f"Exporting to {form}", _STEPS)
    try:
        written = _written(graph, facts, form, out, crops, source, progress)
    finally:
        progress.finish()
    return ExportedFile(out, form, out.stat().st_size, sha256_file(out), written)


def graph_of_run(run: LoadedRun, form: Form, *, embedding: bool) -> tuple[ExportGraph, ExportFacts]:
    """The graph of a run and its facts, before the comparison.

    Raises:
        ConfigError: the model has no graph; its card says why.
    """
    card, side = run.model.card, run.protocol.image_size
    if card.no_export and form != "safetensors":
        raise ConfigError(f"{card.display} cannot be exported to {form}: {card.no_export}; --format safetensors can be")
    views = () if card.no_export else view_inputs(run.model, side, read_identity(run.config.views))
    facts = facts_of_run(run, views, embedding=embedding)
    return ExportGraph(run.model.float(), views, facts.side, embedding=embedding), facts


def _written(
    graph: ExportGraph, facts: ExportFacts, form: Form, out: Path, crops: np.ndarray, source: str, progress: Progress
) -> ExportFacts:
    """Write and compare, then put what the comparison found into the file; it has its name only then."""
    made = {**facts.made, "torch": torch.__version__, **({"opset": OPSET} if form == "onnx" else {})}
    try:
        with atomic_path(out) as path:
            WRITERS[form](graph, path, {})
            progress.advance()
            differences = checked(graph, form, path, crops)
            progress.advance()
            check = {"faces": len(crops), "from": source, "tolerance": TOLERANCE, "differences": differences}
            facts = replace(facts, made=made, check=check)
            set_metadata(form, path, {KEY: facts_text(facts)})
            progress.advance()
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror or error})") from error
    return facts
