"""The names and the layout of a run folder, written down once; every other module asks here.

    RUN/config.yaml                  every setting, resolved
    RUN/selection.parquet            which face was in which part
    RUN/trace.csv                    a row a step, a column a loss
    RUN/checkpoint/                  see `CheckpointFolder`
    RUN/predictions.parquet          test faces, every class probability
    RUN/validation.parquet           the same of validation faces, which decide thresholds
    RUN/outputs-test.parquet         logits and embeddings of the test faces; so -validation, and -training (some faces)
    RUN/last-layer.parquet           from embeddings to attribution logits, where that is linear
    RUN/facts-only.parquet           test faces by a predictor that sees facts of the files only; so gaze-only
    RUN/facts-only-train.parquet     the facts and labels it was fitted on
    RUN/not_finite.json              only where training ended so: step, terms and faces of a NaN or infinite loss
    RUN/galleries/NAME.parquet       embeddings of an enrolled generator, and NAME.json
    RUN/run.json                     facts for the record
    RUN/record.json                  facts and scores
    RUN/evaluations/<protocol>-<hash>/                     the same files for other faces, or another protocol
    RUN/evaluations/<protocol>-<hash>/robustness-<hash>/   see `RobustnessFolder`
    RUN/sensitivity-<hash>.json      the run on faces cropped otherwise, and corrupted, beside those it learnt from
    OUT/seed-<N>/, OUT/seeds.json    runs of several seeds, and their mean

Nothing here looks into a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONFIG, FACTS, RECORD, PACKED_RECORD = "config.yaml", "run.json", "record.json", "record.json.gz"
SELECTION, PREDICTIONS, VALIDATION = "selection.parquet", "predictions.parquet", "validation.parquet"
LAST_LAYER, OUTPUTS, GALLERIES = "last-layer.parquet", "outputs-", "galleries"
TRACE, NOT_FINITE, SEEDS = "trace.csv", "not_finite.json", "seeds.json"
CHECKPOINT, EVALUATIONS = "checkpoint", "evaluations"
WEIGHTS, OPTIMISER, STATE, MODEL = "model.safetensors", "optimiser.safetensors", "state.json", "model.json"
SENSITIVITY = "sensitivity-"
ROBUSTNESS, SETTINGS, CELLS = "robustness.json", "settings.json", "cells"
GRID, TABLE = "robustness.csv", "robustness.md"
_LOCK = ".lock"
_STEP, _BEST, SEED, _ROBUSTNESS = "step-", "best-", "seed-", "robustness-"
_WEIGHT_SUFFIX = Path(WEIGHTS).suffix
_KEY = 8  # digits of a hash in the name of a folder
_DEPTH = 3  # folders between a run and the robustness evaluations inside it


@dataclass(frozen=True)
class RunFolder:
    """A run, or an evaluation of it: the path of each of its files, whether there or not."""

    path: Path

    @property
    def config(self) -> Path:
        """Settings of the run; an evaluation has none of its own."""
        return self.path / CONFIG

    @property
    def selection(self) -> Path:
        """The faces of each part."""
        return self.path / SELECTION

    @property
    def trace(self) -> Path:
        """Losses of every step."""
        return self.path / TRACE

    @property
    def predictions(self) -> Path:
        """Class probabilities of the test faces."""
        return self.path / PREDICTIONS

    @property
    def validation(self) -> Path:
        """Class probabilities of the validation faces."""
        return self.path / VALIDATION

    def outputs(self, part: str) -> Path:
        """Logits and embeddings of the faces of a part: test, validation, training."""
        return self.path / f"{OUTPUTS}{part}.parquet"

    @property
    def last_layer(self) -> Path:
        """The linear layer of the attribution expert."""
        return self.path / LAST_LAYER

    def gallery(self, name: str) -> Path:
        """Embeddings of a generator that was enrolled."""
        return self.path / GALLERIES / f"{name}.parquet"

    def galleries(self) -> list[Path]:
        """What is stated of each enrolled generator."""
        return sorted(self.path.glob(f"{GALLERIES}/*.json"))

    def reference(self, name: str) -> Path:
        """Predictions of a reference predictor for the same test faces."""
        return self.path / f"{name}.parquet"

    def reference_facts(self, name: str) -> Path:
        """Facts and labels of the training faces that a reference predictor was fitted on."""
        return self.path / f"{name}-train.parquet"

    @property
    def not_finite(self) -> Path:
        """What is known of a loss that was NaN or infinite."""
        return self.path / NOT_FINITE

    @property
    def facts(self) -> Path:
        """What the engine states about the run; written last."""
        return self.path / FACTS

    @property
    def record(self) -> Path:
        """The scored result."""
        return self.path / RECORD

    @property
    def lock(self) -> Path:
        """Held by the process that works here."""
        return self.path / _LOCK

    @property
    def checkpoint(self) -> CheckpointFolder:
        """The model, and what an unfinished run goes on from."""
        return CheckpointFolder(self.path / CHECKPOINT)

    @property
    def weights_beside(self) -> Path | None:
        """The weights this folder's predictions were made with; an evaluation lies inside its run."""
        near = (self.path, *self.path.parents[:_DEPTH])
        files = (RunFolder(folder).checkpoint.weights for folder in near)
        return next((file for file in files if file.is_file()), None)

    @property
    def selection_beside(self) -> Path | None:
        """The selected faces; a robustness evaluation has those of the evaluation it lies in."""
        return next((p for p in (self.selection, RunFolder(self.path.parent).selection) if p.is_file()), None)

    def evaluation(self, protocol: str, sha256: str) -> RunFolder:
        """Where the run is evaluated under a protocol; `sha256` is of the protocol and the faces."""
        return RunFolder(self.path / EVALUATIONS / f"{protocol}-{sha256[:_KEY]}")

    def evaluations(self) -> list[Path]:
        """The folders of all evaluations of a run."""
        return sorted(self.path.glob(f"{EVALUATIONS}/*"))

    def sensitivity(self, sha256: str) -> Path:
        """The record of how numbers change with crops and quality; `sha256` is of the predictions compared."""
        return self.path / f"{SENSITIVITY}{sha256[:_KEY]}.json"

    def robustness(self, sha256: str) -> RobustnessFolder:
        """Where an evaluation is repeated on corrupted faces; `sha256` is of what decides their pixels."""
        return RobustnessFolder(self.path / f"{_ROBUSTNESS}{sha256[:_KEY]}")

    def robustness_records(self) -> list[Path]:
        """Records of all finished robustness evaluations of a run."""
        return sorted(self.path.glob(f"{EVALUATIONS}/*/{_ROBUSTNESS}*/{ROBUSTNESS}"))


@dataclass(frozen=True)
class RobustnessFolder(RunFolder):
    """The faces of an evaluation under corruptions.

    settings.json         what decides the pixels of every cell
    cells/blur-3.parquet  predictions of one corruption and severity; beside it its definition and hash
    predictions.parquet   all cells and the clean faces; columns `corruption` and `severity`
    robustness.json       the record
    robustness.csv, .md   every number, and the headline ones
    """

    @property
    def record(self) -> Path:
        """The scored result; named apart, so that leaderboards read records of clean faces only."""
        return self.path / ROBUSTNESS

    @property
    def settings(self) -> Path:
        """What decides the pixels."""
        return self.path / SETTINGS

    @property
    def cells(self) -> Path:
        """Predictions of each corruption and severity."""
        return self.path / CELLS

    @property
    def grid(self) -> Path:
        """Every number as a table."""
        return self.path / GRID

    @property
    def table(self) -> Path:
        """The headline numbers as a table."""
        return self.path / TABLE

    def cell(self, corruption: str, severity: int) -> Path:
        """Predictions of one corruption and severity."""
        return self.cells / f"{corruption}-{severity}.parquet"


@dataclass(frozen=True)
class CheckpointFolder:
    """Weights of a run.

    model.safetensors, model.json          the finished model, and its hash
    best-00000100.safetensors              the best weights on validation so far
    step-00000120/model.safetensors        weights and buffers after a step
    step-00000120/optimiser.safetensors    the optimiser's tensors; its settings as JSON in the header
    step-00000120/state.json               written last: where the run stands, and the hashes of the others
    """

    path: Path

    @property
    def weights(self) -> Path:
        """The finished model."""
        return self.path / WEIGHTS

    @property
    def model(self) -> Path:
        """Hash of the finished model, and how training ended."""
        return self.path / MODEL

    def step(self, number: int) -> Path:
        """The checkpoint after a step."""
        return self.path / f"{_STEP}{number:08d}"

    def steps(self) -> list[Path]:
        """Every checkpoint, whole or not, oldest first."""
        return sorted(self.path.glob(f"{_STEP}*"))

    def best(self, step: int) -> Path:
        """The best weights, found after a step."""
        return self.path / f"{_BEST}{step:08d}{_WEIGHT_SUFFIX}"

    def bests(self) -> list[Path]:
        """All files of best weights."""
        return sorted(self.path.glob(f"{_BEST}*{_WEIGHT_SUFFIX}"))


@dataclass(frozen=True)
class SeedsFolder:
    """Runs that differ in the seed, and their mean."""

    path: Path

    @property
    def summary(self) -> Path:
        """Mean and spread of every number."""
        return self.path / SEEDS

    @property
    def records(self) -> Path:
        """A pattern that all their records fit, for messages."""
        return self.path / f"{SEED}*" / RECORD

    def run(self, seed: int) -> Path:
        """The folder of one run."""
        return self.path / f"{SEED}{seed}"

    def runs(self) -> list[Path]:
        """The folders of all runs, in the order of their seeds."""
        named = ((path.name.removeprefix(SEED), path) for path in self.path.glob(f"{SEED}*") if path.is_dir())
        return [path for _, path in sorted((int(name), path) for name, path in named if name.isdecimal())]

    def evaluation(self, name: str) -> SeedsFolder:
        """Where the mean of an evaluation lies that each run has under that name."""
        return SeedsFolder(self.path / EVALUATIONS / name)


def runs_in(folder: Path) -> list[Path]:
    """The runs that a folder stands for: those of several seeds where it holds such, else itself."""
    files = RunFolder(folder)
    own = files.record.is_file() or files.facts.is_file() or files.config.is_file()
    return (SeedsFolder(folder).runs() if not own else []) or [folder]


def not_a_run(folder: Path, lacking: str = "") -> str:
    """What an error says of a folder that is not that of a finished run; `lacking` names the file looked for."""
    seeds = SeedsFolder(folder).runs()
    if seeds:
        return f"{folder}: holds runs of several seeds; give one of them, such as {seeds[0]}"
    missing = f"no {lacking}; " if lacking else ""
    return f"{folder}: {missing}not the folder of a finished run (`dfad train --out {folder}` makes one)"
