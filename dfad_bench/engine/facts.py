"""Facts of a run for its record: model, machine, files."""

from __future__ import annotations

import inspect
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.files import content_hash, sha256_file
from dfad_bench.core.record import Environment, ModelFacts
from dfad_bench.core.registry import model_table
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.engine.devices import Place
from dfad_bench.engine.needs import data_changes_of

_PACKAGES = ("numpy", "pandas", "pyarrow", "open_clip_torch", "timm", "facenet-pytorch", "torchvision", "pillow")


def environment_facts(place: Place, *, deterministic: bool, why: str | None = None) -> Environment:
    """Versions, device and number format; `why` it is that one."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return Environment(
        python=sys.version.split()[0],
        torch=torch.__version__,
        device=place.name,
        deterministic=deterministic,
        cuda=torch.version.cuda if place.device.type == "cuda" else None,
        os=platform.system(),
        packages=packages,
        precision=place.precision,
        precision_why=why,
    )


def model_facts(name: str, model: DFADModel, settings: Mapping[str, Any], checkpoint_sha256: str | None) -> ModelFacts:
    """Name, size, parameters and initial weights of the model."""
    card, where = model.card, model_table().get(name, f"{type(model).__module__}:{type(model).__qualname__}")
    source = inspect.getsourcefile(type(model))
    trained = [p for p in model.parameters() if p.requires_grad]
    return ModelFacts(
        name=name,
        registry_sha256=content_hash([name, where, sha256_file(Path(source)) if source else None]),
        params_total=sum(p.numel() for p in model.parameters()),
        params_trainable=sum(p.numel() for p in trained),
        checkpoint_sha256=checkpoint_sha256 if trained else None,
        init=dict(settings["init"]),
        display=card.display,
        size=settings["size"],
        heads=settings["heads"],
        task=card.task,
        reimplementation=card.task != "trivial",
        options=dict(settings["options"]),
        data_changes=data_changes_of(model),
    )


def file_hashes(files: RunFolder, references: Iterable[str] = (), outputs: Iterable[Path] = ()) -> dict[str, str]:
    """Hashes of the files of a run that nothing else binds to its record, by their path in its folder.

    `references`: the names of those it has now; an earlier call may have left others. `outputs`: files of outputs.
    """
    kept = [files.config, files.selection, files.trace, files.checkpoint.weights, files.checkpoint.model]
    kept += [path for name in references for path in (files.reference(name), files.reference_facts(name))]
    kept += outputs
    return {path.relative_to(files.path).as_posix(): sha256_file(path) for path in kept if path.is_file()}
