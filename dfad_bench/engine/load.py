"""A finished run, opened again: its model, settings, protocol and record, without manifests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dfad_bench.core.contract import DFADModel, WeightFiles
from dfad_bench.core.device import find_device
from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import check_hash
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord, read_record
from dfad_bench.core.registry import model_class
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_parquet import read_selection
from dfad_bench.core.strict import from_mapping
from dfad_bench.data.pools import shared_sources
from dfad_bench.data.prompts import class_prompts
from dfad_bench.engine import checkpoint
from dfad_bench.engine.config import RunConfig, read_config
from dfad_bench.engine.seeding import derived, seed_all


@dataclass(frozen=True)
class LoadedRun:
    """A finished run.

    `model` is in eval mode with its trained weights: `model(Inputs(images))` takes (B, 3, H, W) RGB in [0, 1] and
    gives an `Output` with attribution logits (B, x), in the order of `generators`, detection logits (B, 2), real
    first, and the embedding (B, d). `record` is None where the run was not scored.
    """

    folder: Path
    model: DFADModel
    config: RunConfig
    protocol: Protocol
    record: ResultRecord | None

    def __repr__(self) -> str:
        """In one line, without the modules of the model."""
        config = self.config
        return (
            f"LoadedRun({config.model}, {config.size}, seed {config.seed}, {self.protocol.name}, {str(self.folder)!r})"
        )

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of the attribution classes, in the order of the logits."""
        return tuple(group.generator for group in sorted(self.protocol.seen, key=lambda group: group.label))


def load_run(folder: Path | str, *, device: str = "cpu") -> LoadedRun:
    """Open a finished run; neither manifests nor pre-trained weights are needed.

    Args:
        folder: of the run.
        device: where the model goes: auto, cpu, cuda or cuda:N.

    Raises:
        ConfigError: not the folder of a finished run, or no such device.
        IntegrityError: model or record are not what was written.
        UnknownNameError: the model is not registered here, e.g. because its package is not installed.
    """
    files, where = RunFolder(Path(folder)), find_device(device)
    config, protocol = read_config(files.path), trained_protocol(files)
    with _generators_kept():
        model = build_model(config, protocol)
    load_trained(model, files)
    record = read_record(files.record) if files.record.is_file() else None
    return LoadedRun(files.path, model.to(where).eval(), config, protocol, record)


def trained_protocol(files: RunFolder) -> Protocol:
    """The protocol a finished run was trained under, from its facts.

    Raises:
        ConfigError: damaged facts.
    """
    return from_mapping(Protocol, read_facts(files.facts)["protocol"]["config"], f"{files.facts}: protocol")


def build_model(config: RunConfig, protocol: Protocol, weights: WeightFiles | None = None) -> DFADModel:
    """The model of a run, freshly initialised from the run's seed.

    Raises:
        UnknownNameError: no such model.
        ConfigError: bad options.
        WeightsError: pre-trained weights that do not fit.
    """
    seed_all(derived(config.seed, "weights"))
    return model_class(config.model).build(
        protocol.num_generators,
        size=config.size,
        weights=weights,
        class_prompts=class_prompts(protocol, config.templates),
        options=config.model_options,
    )


def load_trained(model: DFADModel, files: RunFolder) -> None:
    """Put the trained weights of a finished run into its model.

    Raises:
        IntegrityError: missing, not what was written, not those of the run's facts, or of another model.
    """
    weights = checkpoint.load_finished(files.checkpoint.path)
    stated = read_facts(files.facts)["model"]["checkpoint_sha256"]
    if stated not in (None, checkpoint.read_finished(files.checkpoint.path)["sha256"]):  # None: nothing was learnt
        raise IntegrityError(f"{files.checkpoint.weights}: not the weights of {files.facts.name}; train again")
    checkpoint.fill(model, weights, files.checkpoint.path)


def checked_selection(files: RunFolder) -> pd.DataFrame:
    """The faces a finished run was trained, validated and tested on, compared with the hash its facts keep of them.

    Raises:
        ConfigError: the file is missing.
        IntegrityError: the file is damaged or was changed.
    """
    path = files.selection
    if not path.is_file():
        raise ConfigError(f"{path}: missing, so the faces that were trained on are not known; train again")
    facts = read_facts(files.facts) if files.facts.is_file() else {"run": {}}
    stated = facts["run"].get("files", {}).get(path.name)  # runs of earlier versions state none
    if stated is not None:
        check_hash(path, stated)
    return read_selection(path)


def trained_faces(files: RunFolder) -> tuple[set[str], set[str]]:
    """Sources (`data.pools.shared_sources`) and hashes of the pixels of all faces a run was trained on.

    Raises:
        ConfigError: the run does not say.
        IntegrityError: the file that says so is damaged or was changed.
    """
    rows = checked_selection(files)
    learnt = rows[rows["part"] != "test"]
    datasets = (group.partition("/")[0] for group in learnt["group"])
    return set(shared_sources(learnt["source_key"], datasets)), set(learnt["crop_sha256"].dropna())


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Leave Python's, NumPy's and torch's global generators as they were: opening a run draws nothing."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  models may draw from it
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
