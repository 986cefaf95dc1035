"""Facts of a run for its record: code, model, rows, machine."""

from __future__ import annotations

import inspect
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.files import content_hash, sha256_file
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import Environment, ManifestFacts, ModelFacts, ProtocolFacts, SplitFacts, Toolkit
from dfad_bench.core.registry import model_table
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.version import __version__
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pools import sources_of
from dfad_bench.data.select import Selection, manifests_hash, rows_hash
from dfad_bench.engine.devices import Place
from dfad_bench.engine.needs import data_changes_of

if TYPE_CHECKING:
    import pandas as pd

_PACKAGES = ("numpy", "pandas", "pyarrow", "open_clip_torch", "timm", "facenet-pytorch", "torchvision", "pillow")


def toolkit_facts() -> Toolkit:
    """The toolkit's version, and its commit where it runs from a checkout."""
    root = Path(__file__).resolve().parents[2]
    commit, dirty = None, None
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        dirty = None if changed is None else bool(changed)
    return Toolkit(__version__, commit or None, dirty)


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


def protocol_facts(protocol: Protocol, deviations: Sequence[str]) -> ProtocolFacts:
    """The whole protocol and how the rows deviate from it."""
    return ProtocolFacts(
        name=protocol.name,
        version=str(protocol.version),
        sha256=protocol.sha256,
        config=asdict(protocol),
        deviations=tuple(deviations),
        included_generators=protocol.included_generators,
    )


def manifest_facts(
    manifests: Sequence[Manifest], selection: Selection, leakage: Mapping[str, int | None] | None = None
) -> ManifestFacts:
    """The manifests, the rows chosen from them, and the leaks that were kept out.

    `exact_duplicates_train_test` counts what is left after dropping, which is none; what was dropped is beside it, and
    `leakage`, which is known from elsewhere.
    """
    parts = {"train": selection.train, "validation": selection.validation, "unlabelled": selection.unlabelled}
    parts["test"] = selection.tested
    trained = selection.trained_on
    keys = set(sources_of(trained)) & set(sources_of(parts["test"]))
    pixels = set(trained["crop_sha256"].dropna()) & set(parts["test"]["crop_sha256"].dropna())
    return ManifestFacts(
        name="+".join(sorted({manifest.name for manifest in manifests})),
        content_sha256=manifests_hash(manifests),
        rows=sum(int(manifest.info["rows"]) for manifest in manifests),
        splits={name: _split(rows) for name, rows in parts.items() if len(rows)},
        leakage={
            "exact_duplicates_train_test": len(pixels),
            "near_duplicates_train_test": None,
            "identity_overlap": len(keys),
            "dropped_training_rows": selection.dropped_leaks,
            "dropped_exact_duplicates": selection.dropped_duplicates,
            **(leakage or {}),
        },
        made=_dataset_and_crop_versions(manifests),
    )


def _dataset_and_crop_versions(manifests: Sequence[Manifest]) -> dict[str, dict[str, Any]]:
    """What each dataset's manifest says it was made by; of several, what they have in common."""
    found: dict[str, dict[str, Any]] = {}
    for manifest in manifests:
        dataset, crop = manifest.info["dataset"], manifest.info.get("crop") or {}
        about = {f"dataset_{key}": dataset.get(key) for key in ("version", "sha256")}
        about |= {"crop": crop.get("name"), "crop_version": crop.get("version"), "crop_sha256": crop.get("sha256")}
        about = {key: value for key, value in about.items() if isinstance(value, str | int)}
        known = found.get(manifest.name, about)
        found[manifest.name] = {key: value for key, value in about.items() if known.get(key) == value}
    return {name: about for name, about in found.items() if about}


def file_hashes(files: RunFolder, references: Iterable[str] = (), outputs: Iterable[Path] = ()) -> dict[str, str]:
    """Hashes of the files of a run that nothing else binds to its record, by their path in its folder.

    `references`: the names of those it has now; an earlier call may have left others. `outputs`: files of outputs.
    """
    kept = [files.config, files.selection, files.trace, files.checkpoint.weights, files.checkpoint.model]
    kept += [path for name in references for path in (files.reference(name), files.reference_facts(name))]
    kept += outputs
    return {path.relative_to(files.path).as_posix(): sha256_file(path) for path in kept if path.is_file()}


def _split(rows: pd.DataFrame) -> SplitFacts:
    counts = {str(key): int(n) for key, n in rows["group"].value_counts().sort_index().items()}
    return SplitFacts(len(rows), rows_hash(rows), counts)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "backslashreplace").strip() if done.returncode == 0 else None
