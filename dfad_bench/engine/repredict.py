"""The predictions of a record made again: its checkpoint on the faces that its protocol chooses from the manifests.

Faces, groups, sources and labels are chosen anew, so that what is compared is not what the record's own files say.
Nothing is written to the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from dfad_bench.core.code_facts import toolkit_facts
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord, Toolkit, read_record
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_outputs import Outputs
from dfad_bench.core.run_parquet import read_predictions
from dfad_bench.core.strict import from_mapping
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import manifests_hash, rows_hash, select
from dfad_bench.engine.evaluate import OpenEvaluation, plan_evaluation
from dfad_bench.engine.facts import environment_facts, model_facts
from dfad_bench.engine.references import GAZE_ONLY, Trained, write_references
from dfad_bench.engine.settings import EvaluateSettings
from dfad_bench.views.provider import ViewProvider

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.select import Selection

_MACHINE = ("torch", "device", "cuda", "os")  # of `core.record.Environment`: what moves the last bits


@dataclass(frozen=True)
class NewPredictions:
    """Predictions made here, and how what was chosen and used differs from what the record states.

    `unlike` is empty where device, threads and versions are the record's own. `parts` are the content hashes of the
    rows that the protocol chooses (of a run: train, validation, unlabelled and test; of an evaluation: test).
    `references` are the predictions of the reference predictors, fitted anew, `no_references` why there are none.
    """

    frame: pd.DataFrame
    outputs: Outputs
    unlike: tuple[str, ...]
    manifest_sha256: str
    parts: dict[str, str]
    warnings: tuple[str, ...] = ()
    references: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    no_references: tuple[str, ...] = ()


def repredict(
    path: Path,
    manifests: Sequence[Manifest],
    settings: EvaluateSettings = EvaluateSettings(),  # noqa: B008  frozen
    *,
    views: ViewProvider | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> NewPredictions:
    """Predict the test faces of a run's or an evaluation's record with the weights of the run.

    Args:
        path: the record, in the folder of a run or of an evaluation inside it.
        manifests: one a dataset of the record's protocol.
        settings: the device.
        views: makes the views the model needs.
        progress: shows decoding and predicting.

    Raises:
        ConfigError: no run with a checkpoint there.
        IntegrityError: the weights are not what was written.
        ProtocolError: the manifests have no faces of a group.
    """
    path, folder = Path(path), Path(path).parent
    record, run = read_record(path, verify=False, ranges=False), run_beside(folder)
    protocol = from_mapping(Protocol, record.protocol.config, f"{path}: protocol")
    asked = EvaluateSettings(
        protocol=protocol, device=settings.device, views=settings.views, allow_partial=True,
        precision=record.environment.precision, force_precision=True,
    )  # fmt: skip
    plan = plan_evaluation(run.path, manifests, asked)
    opened = OpenEvaluation(plan, views, allow_partial=True, progress=progress)
    rows = opened.selection.tested
    store = opened.store(protocol.image_size)
    predicted = opened.job.predicted(opened.model, rows, store)
    parts, chosen = {"test": rows_hash(rows)}, opened.selection
    if run.path == folder:  # an evaluation has no part but this
        chosen = select(protocol, plan.manifests, allow_partial=True)
        found = {"train": chosen.train, "validation": chosen.validation, "unlabelled": chosen.unlabelled}
        parts |= {name: rows_hash(part) for name, part in found.items() if len(part)}
    unlike = _other_conditions(record, opened, trained_here=run.path == folder)
    references, without = _references(record, opened, chosen, run, trained_here=run.path == folder)
    warnings = tuple(opened.job.warnings)
    return NewPredictions(
        predicted.frame, predicted.outputs, unlike, manifests_hash(plan.manifests), parts, warnings, references, without
    )


def _references(
    record: ResultRecord, opened: OpenEvaluation, chosen: Selection, run: RunFolder, *, trained_here: bool
) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """Predictions of the reference predictors: of a run fitted on its training faces, of an evaluation on the run's."""
    trained = None if trained_here else Trained.of(run, read_facts(run.facts)["run"])
    gaze = record.run.references.get(GAZE_ONLY)
    estimator = None if gaze is None else str(gaze.about.get("estimator"))
    with TemporaryDirectory() as folder:
        files = RunFolder(Path(folder))
        classes = opened.job.protocol.num_generators
        made, without = write_references(files, chosen, opened.plan.manifests, classes, gaze=estimator, trained=trained)
        return {name: read_predictions(files.reference(name)) for name in made}, tuple(without)


def run_beside(folder: Path) -> RunFolder:
    """The run that a folder is, or that an evaluation lies in.

    Raises:
        ConfigError: neither, or no weights were kept.
    """
    weights = RunFolder(folder).weights_beside
    if weights is None:
        raise ConfigError(f"{folder}: no checkpoint beside the record, so nothing can be predicted again")
    run = RunFolder(weights.parents[1])
    if folder not in (run.path, *run.evaluations()):
        raise ConfigError(f"{folder}: only records of a run and of its evaluations on clean faces are predicted again")
    return run


def _other_conditions(record: ResultRecord, opened: OpenEvaluation, *, trained_here: bool) -> tuple[str, ...]:
    """In what device, threads, versions and code are others than the record states, with both values."""
    place, about, used = opened.job.place, record.environment, toolkit_facts()
    now = environment_facts(place, deterministic=True)
    pairs = {name: (getattr(about, name), getattr(now, name)) for name in _MACHINE}
    pairs["dfad_bench"] = (_code(record.toolkit), _code(used))
    own = model_facts(record.model.name, opened.model, asdict(opened.plan.config), None)
    pairs["code of the model"] = (record.model.registry_sha256[:8], own.registry_sha256[:8])
    if place.device.type == "cpu":
        sessions = record.run.sessions if trained_here else ()
        stated = sessions[-1].get("threads") if sessions else None  # an evaluation does not say
        pairs["threads"] = (stated, torch.get_num_threads())
    return tuple(f"{name} {_word(old)}, here {_word(new)}" for name, (old, new) in pairs.items() if old != new)


def _code(toolkit: Toolkit) -> str:
    commit = f" at {toolkit.git_commit[:8]}" if toolkit.git_commit else ""
    return f"{toolkit.version}{commit}{', changed' if toolkit.git_dirty else ''}"


def _word(value: Any) -> str:
    return "not stated" if value is None else str(value)
