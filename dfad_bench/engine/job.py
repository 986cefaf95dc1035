"""The pieces of one run or evaluation: crops, views, model, training, prediction, and the facts that finish it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.code_facts import protocol_facts, toolkit_facts
from dfad_bench.core.contract import DFADModel, WeightFiles
from dfad_bench.core.files import write_json
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.progress import Progress
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import PredictionFacts, Samples
from dfad_bench.core.registry import model_class
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_parquet import write_predictions, write_selection
from dfad_bench.core.settings import Cache
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset, mixed_order
from dfad_bench.data.dataset_age import version_notes
from dfad_bench.data.leak_check import find_leaks
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.manifest_facts import manifest_facts
from dfad_bench.data.prompts import class_prompts
from dfad_bench.data.sampling import require_unlabelled
from dfad_bench.data.select import Selection
from dfad_bench.engine import checkpoint, compiling, facts
from dfad_bench.engine.config import RunConfig, plain
from dfad_bench.engine.devices import Place
from dfad_bench.engine.distributed import Team
from dfad_bench.engine.extend import kept_lengths, stale_evaluations
from dfad_bench.engine.finetune import Parent, start_from, unseen_warnings
from dfad_bench.engine.fit import FitResult, Trainer
from dfad_bench.engine.gradient_checkpointing import blocks_of, left_out_blocks
from dfad_bench.engine.independence import require_independent, require_repeatable
from dfad_bench.engine.interrupts import one_line
from dfad_bench.engine.kept_outputs import keep_outputs, remove_outputs
from dfad_bench.engine.limits import Limits
from dfad_bench.engine.load import build_model
from dfad_bench.engine.loggers import Logs
from dfad_bench.engine.needs import Needs, random_start, views_needed, without_view
from dfad_bench.engine.precision import PrecisionChoice
from dfad_bench.engine.predict import Predicted, predict_outputs
from dfad_bench.engine.references import Trained, write_references
from dfad_bench.engine.seeding import make_deterministic
from dfad_bench.engine.sessions import session_changes
from dfad_bench.engine.stage_batches import StageBatches
from dfad_bench.views.identity import read_identity
from dfad_bench.views.provider import ViewProvider

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.view_source import ViewSource


@dataclass(frozen=True)
class RunResult:
    """A run folder, how it ended, and whether this call had to do anything (`fresh`)."""

    out: Path
    status: str
    stopped: str
    fresh: bool
    warnings: tuple[str, ...] = ()
    lead: bool = True  # False on all processes of a team but the first, which writes the results


class Job:
    """The pieces of one run or evaluation.

    Args:
        config: settings of the run.
        protocol: what is evaluated; the run's own, or another with the same seen generators.
        manifests: those the protocol names.
        place: device and precision.
        out: where predictions and facts go.
        needs: of the model.
        views: makes the views the model needs.
        progress: shows decoding, training and predicting.
        team: the processes that train together.
        cache: where the crops lie.
    """

    def __init__(
        self,
        config: RunConfig,
        protocol: Protocol,
        manifests: Sequence[Manifest],
        place: Place,
        out: Path,
        needs: Needs,
        views: ViewProvider | None,
        progress: Progress,
        team: Team | None = None,
        cache: Cache = "disk",
    ) -> None:
        self.team, self.cache = team or Team(), cache
        self.config, self.protocol, self.manifests = config, protocol, list(manifests)
        self.place, self.out, self.progress = place, out, progress
        self.files, self.needs = RunFolder(out), needs
        self.warnings: list[str] = [protocol.left_out_note] if protocol.left_out_note else []
        self.warnings += version_notes(manifests)
        self.checkpointing = False  # of a training: whether inner results are computed again in the backward pass
        self.leak_check = False  # of a training: whether training faces are compared with test faces
        self.keeps_outputs = True  # whether logits and embeddings are kept beside the predictions
        self.trained: Trained | None = None  # of an evaluation: the run
        self.precision_why: str | None = None  # why the number format is what it is
        self._independent = False  # whether the model was found to answer for each face alone
        self.lacking: dict[str, dict[str, int]] = {}  # view -> part -> faces that have none
        self.leakage: dict[str, int | None] = {}  # counts of the record's `leakage` that the selection does not hold
        self.views = views_needed(needs, views) if needs.all_views else None
        self.warnings += [] if self.views is None else self.views.substitutes(needs.all_views)
        make_deterministic()

    def train(
        self,
        selection: Selection,
        weights: WeightFiles | Parent | None,
        limits: Limits,
        resume: bool,
        logs: Logs | None = None,
    ) -> RunResult:
        """Train from pre-trained weights, those of another run, or random ones; predict and write the facts."""
        with one_line("before training", "use a smaller protocol, or a machine with more memory"):
            if self.team.lead:
                write_selection(self.files.selection, selection.rows)
            store = self.team.lead_first(lambda: self.store(selection.rows))
            if self.leak_check and self.team.lead:
                self._look_for_leaks(selection, store)
            model = self._started(weights, selection)
            trainer = self._trainer(model, selection, store, limits, logs)
        with one_line("while training", "lower batch_size in the recipe, or use a machine with more memory"):
            fitted = trainer.run(resume=resume)
            self.team.leave()
        if not self.team.lead:
            return RunResult(self.out, fitted.status, fitted.stopped, True, lead=False)
        self.warnings += [f"damaged checkpoint passed over: {text}" for text in fitted.skipped]
        self.warnings += session_changes(fitted.position.sessions, self.place.device.type)
        self.warnings += logs.notes if logs is not None else []
        self.warnings += selection.leak_notes
        self.warnings += [*self._misnamed_losses(trainer.trace.losses), *stale_evaluations(self.files, self.config)]
        digest = str(checkpoint.read_finished(self.files.checkpoint.path)["sha256"])
        with one_line("while predicting", "use a machine with more memory; the trained model is kept"):
            status = self.predict(
                model, selection, store, self._run_facts(fitted, trainer.batches), fitted.status, digest
            )
        if fitted.status == "complete":
            checkpoint.keep_last(self.files.checkpoint.path)
        return RunResult(self.out, status, fitted.stopped, True, tuple(dict.fromkeys(self.warnings)))

    def take_precision(self, chosen: PrecisionChoice) -> None:
        """Keep why the number format was chosen for the record, and say what is wrong with it."""
        self.precision_why = chosen.why
        self.warnings += chosen.warnings

    def _look_for_leaks(self, selection: Selection, store: CropStore) -> None:
        """Say which training faces look like test faces; the record keeps how many."""
        found = find_leaks(selection, store, self.manifests)
        self.warnings += found.warnings
        self.leakage |= found.recorded

    def _started(self, weights: WeightFiles | Parent | None, selection: Selection) -> DFADModel:
        """The model with the weights it starts from."""
        self.warnings += random_start(self.config.model, self.config.size, self.needs, self.config.init)
        if not isinstance(weights, Parent):
            with collect_notices() as notices:
                model = self.build(weights)
            self.warnings += [*notices, *self._implied()]
            return model
        model = self.build()
        self.warnings += start_from(model, weights, self.config, self.protocol)
        self.warnings += [*unseen_warnings(self.config.init, self.protocol), *weights.warnings(selection, self.config)]
        self.leakage |= weights.leakage(self.protocol, selection)
        return model

    def _implied(self) -> list[str]:
        """A line for each option that follows from the weight file."""
        changed = model_class(self.config.model).options_before(self.config.size)
        found = {name: value for name, value in self.config.implied.items() if name not in changed}
        return [
            f"{name}={value}, as the weights were trained with; --set {name}=... overrules"
            for name, value in found.items()
        ]

    def _misnamed_losses(self, losses: Sequence[str]) -> list[str]:
        """A line for each loss weight that looks misspelt; other unknown names may be losses of other models."""
        recipe = self.config.recipe
        near = {
            name: get_close_matches(name, losses, n=1, cutoff=0.7) for name in recipe.loss_weights if name not in losses
        }
        words = f"recipe {recipe.name}: loss_weights has {{!r}}, no loss of this model; did you mean {{}}?"
        return [words.format(name, found[0]) for name, found in near.items() if found]

    def store(self, rows: pd.DataFrame) -> CropStore:
        """The crops of the given rows, where `cache` says."""
        side, device = self.protocol.image_size, self.place.device
        store = CropStore.open(rows, self.manifests, side, cache=self.cache, device=device, progress=self.progress)
        self.warnings += [store.note] if store.note else []
        return store

    def _trainer(
        self, model: DFADModel, selection: Selection, store: CropStore, limits: Limits, logs: Logs | None
    ) -> Trainer:
        config = self.config
        self.warnings += left_out_blocks(model) if self.checkpointing else []
        train = self.dataset(selection.train, store, "train")
        if require_unlabelled(model.stages, self.protocol, len(selection.unlabelled), config.model):
            train.unlabelled = self.dataset(selection.unlabelled, store, "unlabelled")
        return Trainer(
            model,
            train,
            self.dataset(selection.validation, store, "validation"),
            config.recipe,
            seed=config.seed,
            place=self.place,
            folder=self.out,
            config_sha256=(config.sha256, *(each.config_sha256 for each in config.extended)),
            heads=config.heads,
            cap_epochs=config.epochs,
            kept=kept_lengths(config),
            limits=limits,
            progress=self.progress,
            team=self.team,
            logs=logs,
            compiled=config.compiled and compiling.works(self.place, self.warnings),
            checkpointed=self.checkpointing and bool(blocks_of(model)),
        )

    def build(self, weights: WeightFiles | None = None) -> DFADModel:
        """The model, freshly initialised from the seed."""
        return build_model(self.config, self.protocol, weights)

    def dataset(
        self, rows: pd.DataFrame, store: CropStore, part: str = "test", *, labelled: bool = True
    ) -> FaceDataset:
        """Rows of a part with the views and prompts the model asks for; faces without a view become a warning.

        `labelled` False: faces of training or validation, predicted as test faces are; they were counted before.

        Raises:
            ConfigError: faces lack a view, and the model does not say what it does then.
        """
        training = labelled and part in ("train", "validation")
        made = FaceDataset(
            rows,
            store,
            self.protocol,
            views=self.sources(self.needs.views, rows),
            training_views=self.sources(self.needs.training_views, rows) if training else {},
            prompts=class_prompts(self.protocol, self.config.templates) if training and self.needs.prompts else (),
            images=self.needs.images,
        )
        if not labelled:
            return made
        for name, count in made.without_view.items():
            self.warnings.append(without_view(self.needs, name, count, f"{len(made)} {part} faces"))
        seen = self.needs.all_views if training else self.needs.views
        for name in (name for name in seen if self.views is not None and self.views.view(name).may_lack()):
            self.lacking.setdefault(name, {})[part] = made.without_view.get(name, 0)
        return made

    def sources(self, names: Sequence[str], rows: pd.DataFrame) -> dict[str, ViewSource]:
        """The given views of the given faces; stored ones are made where they are not there."""
        ids, side = rows["sample_id"].tolist(), self.protocol.image_size
        return {name: self.views.source(name, ids, side) for name in names} if self.views is not None else {}

    def predicted(self, model: DFADModel, rows: pd.DataFrame, store: CropStore) -> Predicted:
        """The predictions and outputs of these test rows; see `engine.predict.predict_outputs`.

        Raises:
            DFADError: the model's answers depend on the other faces of a batch.
        """
        dataset = self.dataset(rows, store)
        self.require_independent(model, dataset)
        made = self._predict_rows(model, rows, dataset)
        require_repeatable(model, dataset, mixed_order(dataset.sample_ids, self.config.seed), made.frame, self.place)
        return made

    def _predict_rows(self, model: DFADModel, rows: pd.DataFrame, dataset: FaceDataset) -> Predicted:
        keys, videos, seed = rows["source_key"], rows["video"], self.config.seed
        return predict_outputs(model, dataset, keys, videos=videos, place=self.place, seed=seed, progress=self.progress)

    def _kept_outputs(self, model: DFADModel, selection: Selection, store: CropStore, tested: Predicted) -> list[Path]:
        """Files of outputs, of predictions of validation faces, and of the last layer; none where not asked for."""
        if not self.keeps_outputs:
            remove_outputs(self.files)
            return []

        def predict_rows(rows: pd.DataFrame, part: str) -> Predicted:
            return self._predict_rows(model, rows, self.dataset(rows, store, part, labelled=False))

        seed, precision = self.protocol.seed, self.place.precision
        return keep_outputs(self.files, model, selection, tested, predict_rows, seed=seed, precision=precision)

    def require_independent(self, model: DFADModel, dataset: FaceDataset) -> None:
        """Refuse a model whose answers depend on the other faces of a batch; looked at once (`engine.independence`)."""
        if self._independent:
            return
        self.place.move(model)
        require_independent(model, dataset, mixed_order(dataset.sample_ids, self.config.seed), self.place)
        self._independent = True

    def predict(
        self,
        model: DFADModel,
        selection: Selection,
        store: CropStore,
        run: Mapping[str, Any],
        status: str,
        checkpoint_sha256: str,
    ) -> str:
        """Predict the test rows, then write the facts, which finishes the run. Returns the run's status."""
        config, rows = self.config, selection.tested
        made = self.predicted(model, rows, store)
        frame, digest = made.frame, write_predictions(self.files.predictions, made.frame)
        references = self.references(selection)
        hashes = facts.file_hashes(self.files, references, self._kept_outputs(model, selection, store, made))
        lacking = selection.missing or (selection.short_groups and self.protocol.on_short == "error")
        values = {
            "status": "partial" if lacking else status,
            "created_utc": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "toolkit": asdict(toolkit_facts()),
            "model": asdict(facts.model_facts(config.model, model, asdict(config), checkpoint_sha256)),
            "protocol": asdict(protocol_facts(self.protocol, selection.deviations)),
            "manifest": asdict(manifest_facts(self.manifests, selection, self.leakage)),
            "run": {**run, "references": references, "files": hashes},
            "environment": asdict(facts.environment_facts(self.place, deterministic=True, why=self.precision_why)),
            "samples": asdict(self._samples(selection, frame)),
            "predictions": asdict(
                PredictionFacts(self.files.predictions.name, digest, len(frame), tuple(frame.columns))
            ),
            "warnings": list(dict.fromkeys(self.warnings)),
        }
        write_json(self.files.facts, plain(values))
        return str(values["status"])

    def _samples(self, selection: Selection, frame: pd.DataFrame) -> Samples:
        asked, sources = len(selection.tested), int(frame["source_key"].nunique())
        does = {name: text for name, text in self.needs.missing_views.items() if name in self.lacking}
        return Samples(asked, len(frame), asked - len(frame), selection.refused, sources, self.lacking, does)

    def references(self, selection: Selection) -> dict[str, Any]:
        """The trivial predictors of these faces, stored beside the predictions; a line for each that is lacking."""
        sees = read_identity(self.config.views).get("gaze", {}).get("estimator")
        classes = self.protocol.num_generators
        made, lines = write_references(self.files, selection, self.manifests, classes, gaze=sees, trained=self.trained)
        self.warnings += lines
        return {name: asdict(reference) for name, reference in made.items()}

    def _run_facts(self, fitted: FitResult, stages: Sequence[StageBatches]) -> dict[str, Any]:
        config, position = self.config, fitted.position
        return {
            "run_id": config.sha256[:16],
            "seed": config.seed,
            "config_sha256": config.sha256,
            "precision": config.precision,
            "world_size": self.team.size,
            "steps": position.step,
            "resumed": position.resumed,
            "config": config.plain_values,
            "global_batch": stages[-1].batch_rows,
            "stages": [plain(stage.facts) for stage in stages],
            "epochs": position.epochs_done,
            "wall_s": round(position.wall_s, 3),
            "sessions": [session.plain_values for session in position.sessions],
            "model_selection": fitted.selection,
            "stopped": fitted.stopped,
            **({"extended": [plain(asdict(each)) for each in config.extended]} if config.extended else {}),
        }
