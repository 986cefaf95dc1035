"""A finished run as arrays: its record, its test and validation faces, and the outputs that scores need.

Outputs of training and validation faces and the last layer are the run's; an evaluation lies inside its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import check_hash
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord, read_record
from dfad_bench.core.run_folder import RunFolder, not_a_run
from dfad_bench.core.run_outputs import Outputs, read_last_layer, read_outputs, require_outputs
from dfad_bench.core.run_parquet import read_predictions as prediction_table
from dfad_bench.metrics.unseen import UNSEEN_SCORES, UndefinedScoreError
from dfad_bench.report.run_record import protocol_of, read_predictions
from dfad_bench.report.score import faces_of, with_untrained_columns
from dfad_bench.report.scored_faces import Faces

_DEPTH = 3  # folders between a run and what lies inside it
NO_LAYER = "the last layer is not linear in the embedding"
UNTRAINED = "the attribution expert was not trained"


@dataclass(frozen=True)
class ScoredPart:
    """The score of each face of a part, or why it has none; `remark`: what was chosen for it."""

    values: np.ndarray | None
    reason: str = ""
    remark: str = ""


@dataclass
class RunArrays:
    """What is known of the faces of a run; files are read, and their hashes compared, when they are first asked for.

    Args:
        folder: of the run or evaluation.
        resamples: of the bootstrap of intervals.
    """

    folder: Path
    resamples: int = 1000
    record: ResultRecord = field(init=False)
    protocol: Protocol = field(init=False)

    def __post_init__(self) -> None:
        path = RunFolder(self.folder).record
        if not path.is_file():
            raise ConfigError(not_a_run(self.folder, path.name))
        self.record = read_record(path)
        self.protocol = protocol_of({"protocol": {"config": self.record.protocol.config}}, str(path))

    @cached_property
    def test_frame(self) -> pd.DataFrame:
        """Predictions of the test faces."""
        about = self.record.predictions
        return read_predictions(self.folder, {"path": about.path, "sha256": about.sha256})

    @cached_property
    def test(self) -> Faces:
        """The test faces; of an expert that was not trained with the columns that `with_untrained_columns` gives."""
        return self.test_faces(self.resamples)

    def test_faces(self, resamples: int) -> Faces:
        """The same with so many resamples."""
        frame = with_untrained_columns(self.test_frame, self.protocol, self.record.model.heads)
        return faces_of(frame, self.protocol, resamples)

    @cached_property
    def own_run(self) -> tuple[RunFolder, ResultRecord]:
        """The run that was trained: this one, or the one that this evaluation lies in."""
        for folder in (self.folder, *self.folder.resolve().parents[:_DEPTH]):
            if RunFolder(folder).checkpoint.path.is_dir() or RunFolder(folder).outputs("training").is_file():
                files = RunFolder(folder)
                return files, self.record if folder == self.folder else read_record(files.record)
        return RunFolder(self.folder), self.record

    @cached_property
    def validation(self) -> Faces:
        """The validation faces of the run.

        Raises:
            ConfigError: the run was made without their predictions.
            IntegrityError: changed after they were written.
        """
        files, record = self.own_run
        path = require_outputs(files.validation, record.run.files, "a threshold from validation faces")
        check_hash(path, record.run.files[path.name])
        protocol = protocol_of({"protocol": {"config": record.protocol.config}}, str(path))
        return faces_of(prediction_table(path), protocol, self.resamples)

    def outputs(self, part: str, what: str = "a score of embeddings") -> Outputs:
        """Outputs of a part, in the order of its predictions.

        Raises:
            ConfigError: the run was made without.
            IntegrityError: changed after they were written, or of other faces.
        """
        if part not in self._read:
            files, record = (RunFolder(self.folder), self.record) if part == "test" else self.own_run
            path = require_outputs(files.outputs(part), record.run.files, what)
            found = read_outputs(path, record.run.files[path.name])
            faces = {"test": self.test_frame, "validation": None, "training": None}[part]
            names = None if faces is None else faces["sample_id"].to_numpy(dtype=str)
            if names is not None and found.sample_id.tolist() != names.tolist():
                raise IntegrityError(f"{path}: outputs of other faces than the predictions beside it")
            self._read[part] = found
        return self._read[part]

    @cached_property
    def _read(self) -> dict[str, Outputs]:
        return {}

    @cached_property
    def _training_arrays(self) -> dict[str, np.ndarray]:
        """Arrays of training faces and of the last layer; those that are not there are left out."""
        files, record = self.own_run
        if files.outputs("training").name not in record.run.files:
            return {}
        known = self.outputs("training")
        arrays = {
            "train_embedding": known.embedding, "train_logits": known.logits, "train_labels": known.label,
            "train_sources": known.source,
        }  # fmt: skip
        if files.last_layer.name in record.run.files:
            layer = read_last_layer(files.last_layer, record.run.files[files.last_layer.name])
            arrays |= {"weight": layer.weight, "bias": layer.bias}
        return arrays

    def arrays(self, part: str) -> Mapping[str, np.ndarray]:
        """The arrays of `metrics.unseen.ARRAYS` that there are for the faces of a part."""
        faces = self.test if part == "test" else self.validation
        found: dict[str, np.ndarray] = {"probs": faces.probs}
        files, record = (RunFolder(self.folder), self.record) if part == "test" else self.own_run
        if files.outputs(part).name in record.run.files:
            outputs = self.outputs(part)
            found |= {"logits": outputs.logits, "embedding": outputs.embedding, **self._training_arrays}
        return found

    def score_part(self, name: str, part: str = "test") -> ScoredPart:
        """A score of `UNSEEN_SCORES` of each face of a part, or why it is not defined."""
        if self.record.model.heads == "detection":
            return ScoredPart(None, UNTRAINED)
        score, arrays = UNSEEN_SCORES[name], self.arrays(part)
        if missing := score.missing_arrays(arrays):
            linear = {*missing} <= {"weight", "bias"}
            return ScoredPart(None, NO_LAYER if linear else f"the run kept no {missing[0].replace('_', ' ')}")
        try:
            return ScoredPart(score.compute(arrays), "", score.remark(arrays))
        except UndefinedScoreError as error:
            return ScoredPart(None, str(error))
