"""One run: select rows, train, predict, and leave a folder that says everything about it (see `config`)."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.contract import DFADModel, Size
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.files import atomic_path, read_json, sha256_file, write_json
from dfad_bench.core.progress import Progress, Silent
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.recipe import Recipe, load_recipe
from dfad_bench.core.record import PredictionFacts, Samples
from dfad_bench.core.registry import model_class
from dfad_bench.core.weights import find_weights
from dfad_bench.data.crop_store import Cache, CropStore
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.prompts import class_prompts
from dfad_bench.data.sampling import require_unlabelled
from dfad_bench.data.select import Selection, select, used
from dfad_bench.engine import checkpoint, compiling, facts
from dfad_bench.engine.config import FACTS, PREDICTIONS, ROWS, RunConfig, finished, locked, plain, write_config
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.distributed import Team, joined
from dfad_bench.engine.fit import FitResult, Heads, Limits, Trainer
from dfad_bench.engine.interrupts import one_line
from dfad_bench.engine.loggers import Logs
from dfad_bench.engine.predict import predict, write_predictions
from dfad_bench.engine.seeding import derived, make_deterministic, seed_all
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
    lead: bool = True  # False on the other processes of a team, which leave the results to the first


def run_training(
    model_name: str,
    protocol: Protocol | str,
    manifests: Sequence[Manifest],
    out: Path,
    *,
    size: Size = "paper",
    recipe: Recipe | str = "default",
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "fp32",
    heads: Heads = "both",
    weights: str | None = None,
    options: Mapping[str, Any] | None = None,
    views: ViewProvider | None = None,
    allow_partial: bool = False,
    limits: Limits = Limits(),  # noqa: B008  frozen
    resume: bool = True,
    progress: Progress = Silent(),  # noqa: B008  stateless
    compiled: bool = False,
    channels_last: bool | None = None,
    cache: Cache = "disk",
    logs: Sequence[str] = (),
    wandb_project: str = "dfad",
) -> RunResult:
    """Train a model under a protocol and predict its test faces.

    Under torchrun all processes call this with the same arguments and train together (see `distributed`); the first
    one writes, predicts, and prints an error, if there is one.

    Args:
        model_name: a registered name.
        protocol: a protocol, or its name.
        manifests: one a dataset of the protocol.
        out: the run folder. A finished run of the same settings is left as it is; an unfinished one goes on.
        size: "paper" or "tiny".
        recipe: a recipe, or its name.
        epochs: instead of the recipe's; no stage is longer.
        seed: of weights, order of faces and everything drawn while training.
        device: auto, cpu, cuda or cuda:N.
        precision: fp32, bf16 or fp16.
        heads: which experts learn.
        weights: pre-trained weights to start from, by name or path.
        options: the model's own settings.
        views: makes the views the model needs; how it does is kept in the configuration.
        allow_partial: go on with missing or short groups; the record says so.
        limits: early ends and checkpoints.
        resume: False forgets what is there of this run and starts again.
        progress: told about decoding, training and predicting.
        compiled: use torch.compile.
        channels_last: memory layout of images and convolutions; None: as suits the device.
        cache: where the crops lie while training, see `data.crop_store`; the numbers are the same.
        logs: of `loggers.LOGGERS`, beside trace.csv.
        wandb_project: project of a Weights & Biases log.

    Raises:
        IntegrityError: `out` holds a run of other settings.
        DFADError: what is wrong with names, rows, weights or losses.
    """
    protocol = load_protocol(protocol) if isinstance(protocol, str) else protocol
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    where, out = place(device, precision, channels_last), Path(out)
    with joined(where.device) as team, _one_voice(team), locked(out) if team.lead else nullcontext():
        kind, mine = model_class(model_name), used(protocol, manifests)
        path = find_weights(weights) if weights else None
        config = RunConfig(
            model=model_name,
            protocol=protocol.name,
            protocol_sha256=protocol.sha256,
            manifests={manifest.name: manifest.sha256 for manifest in mine},
            size=size,
            recipe=recipe if epochs is None else replace(recipe, epochs=epochs),
            epochs=epochs,
            seed=seed,
            device=where.device.type,
            precision=precision,
            heads=heads,
            init=_init(path),
            options=dict(options or {}),
            views=views_needed(kind, views).identity(needs(kind)) if needs(kind) else {},
            allow_partial=allow_partial,
            compiled=compiled,
            channels_last=channels_last,
        )
        known = team.from_lead(lambda: finished(out, config))
        if known and resume:
            return RunResult(out, known["status"], known["run"]["stopped"], False, tuple(known["warnings"]), team.lead)
        selection = select(protocol, mine, allow_partial=allow_partial)
        shown = progress if team.lead else Silent()
        with one_line("before training", "use a smaller protocol, or a machine with more memory"):
            job = Job(config, protocol, mine, where, out, views, shown, team, cache)
            team.lead_first(lambda: job.sources(needs(kind), selection.rows))  # stored views are made here
        if team.lead:
            write_config(out, config)
        settings = {**plain(asdict(config)), "run_id": config.sha256[:16], "project": wandb_project}
        return job.train(selection, path, limits, resume, Logs(logs, out, settings))


@contextlib.contextmanager
def _one_voice(team: Team) -> Iterator[None]:
    """Let the first process that fails say why, and the others end without a word."""
    try:
        yield
    except (DFADError, RuntimeError) as error:
        mendable = error if isinstance(error, DFADError) else team.lost(error)
        if not isinstance(mendable, DFADError):
            raise
        if team.speaks(mendable):
            raise mendable from error
        raise SystemExit(mendable.exit_code) from error


class Job:
    """The pieces of one run or evaluation.

    Args:
        config: settings of the run.
        protocol: what is evaluated; the run's own, or another with the same seen generators.
        manifests: those the protocol names.
        place: device and precision.
        out: where predictions and facts go.
        views: makes the views the model needs.
        progress: told about everything long.
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
        views: ViewProvider | None,
        progress: Progress,
        team: Team | None = None,
        cache: Cache = "disk",
    ) -> None:
        self.team, self.cache = team or Team(), cache
        self.config, self.protocol, self.manifests = config, protocol, list(manifests)
        self.place, self.out, self.progress = place, out, progress
        self.kind = model_class(config.model)
        self.warnings: list[str] = []
        self.views = views_needed(self.kind, views) if needs(self.kind) else None
        make_deterministic()

    def train(
        self, selection: Selection, weights: Path | None, limits: Limits, resume: bool, logs: Logs | None = None
    ) -> RunResult:
        """Train, predict and write the facts."""
        with one_line("before training", "use a smaller protocol, or a machine with more memory"):
            if self.team.lead:
                write_rows(self.out / ROWS, selection)
            store = self.team.lead_first(lambda: self.store(selection.rows))
            model = self.build(weights)
            trainer = self._trainer(model, selection, store, limits, logs)
        with one_line("while training", "lower batch_size in the recipe, or use a machine with more memory"):
            fitted = trainer.run(resume=resume)
            self.team.leave()
        if not self.team.lead:
            return RunResult(self.out, fitted.status, fitted.stopped, True, lead=False)
        self.warnings += [f"damaged checkpoint passed over: {text}" for text in fitted.skipped]
        self.warnings += logs.notes if logs is not None else []
        if names := selection.leaking:
            some = ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
            self.warnings.append(
                f"{len(names)} training faces share a source or pixels with test faces: left out ({some})"
            )
        self.warnings += self._misnamed(trainer.trace.losses)
        digest = str(read_json(self.out / "checkpoint" / "model.json")["sha256"])
        with one_line("while predicting", "use a machine with more memory; the trained model is kept"):
            status = self.predict(model, selection, store, self._run_facts(fitted, model), fitted.status, digest)
        if fitted.status == "complete":
            checkpoint.clear(self.out / "checkpoint", finished=False)
        return RunResult(self.out, status, fitted.stopped, True, tuple(dict.fromkeys(self.warnings)))

    def _misnamed(self, losses: Sequence[str]) -> list[str]:
        """A line for each weight of the recipe that looks like a misspelt loss; others may be of other models."""
        recipe = self.config.recipe
        near = {name: get_close_matches(name, losses, n=1) for name in recipe.loss_weights if name not in losses}
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
        train = self.dataset(selection.train, store, training=True)
        if require_unlabelled(model.stages, self.protocol, len(selection.unlabelled), config.model):
            train.unlabelled = self.dataset(selection.unlabelled, store)
        return Trainer(
            model,
            train,
            self.dataset(selection.validation, store, training=True),
            config.recipe,
            seed=config.seed,
            place=self.place,
            folder=self.out,
            config_sha256=config.sha256,
            heads=config.heads,
            cap_epochs=config.epochs,
            limits=limits,
            progress=self.progress,
            team=self.team,
            logs=logs,
            compiled=config.compiled and compiling.works(self.place, self.warnings),
        )

    def build(self, weights: Path | None = None) -> DFADModel:
        """The model, freshly initialised from the seed."""
        seed_all(derived(self.config.seed, "weights"))
        return self.kind.build(
            self.protocol.num_generators,
            size=self.config.size,
            weights=weights,
            class_prompts=class_prompts(self.protocol),
            options=self.config.options,
        )

    def dataset(self, rows: pd.DataFrame, store: CropStore, *, training: bool = False) -> FaceDataset:
        """Rows with the views and prompts the model asks for; faces without a view become a warning."""
        made = FaceDataset(
            rows,
            store,
            self.protocol,
            views=self.sources(self.kind.needs, rows),
            training_views=self.sources(self.kind.needs_training, rows) if training else {},
            prompts=class_prompts(self.protocol) if training and self.kind.needs_prompts else (),
        )
        for name, count in made.without_view.items():
            self.warnings.append(f"{count} of {len(made)} faces have no {name}: {self.filler(name)} used")
        return made

    def sources(self, names: Sequence[str], rows: pd.DataFrame) -> dict[str, ViewSource]:
        """The given views of the given faces; stored ones are made where they are not there."""
        ids, side = rows["sample_id"].tolist(), self.protocol.image_size
        return {name: self.views.source(name, ids, side) for name in names} if self.views is not None else {}

    def filler(self, name: str) -> str:
        """What a face without this view gets, in words."""
        return "zeros" if self.views is None else self.views.filler(name)

    def predict(
        self,
        model: DFADModel,
        selection: Selection,
        store: CropStore,
        run: Mapping[str, Any],
        status: str,
        checkpoint_sha256: str,
    ) -> str:
        """Predict the test rows, then write `run.json`, which finishes the run. Returns the run's status."""
        config, rows = self.config, selection.tested
        dataset = self.dataset(rows, store)
        keys, videos = rows["source_key"], rows["video"]
        frame = predict(model, dataset, keys, videos=videos, place=self.place, seed=config.seed, progress=self.progress)
        digest = write_predictions(self.out / PREDICTIONS, frame)
        lacking = selection.missing or (selection.short and self.protocol.on_short == "error")
        values = {
            "status": "partial" if lacking else status,
            "created_utc": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "toolkit": asdict(facts.toolkit_facts()),
            "model": asdict(facts.model_facts(config.model, model, asdict(config), checkpoint_sha256)),
            "protocol": asdict(facts.protocol_facts(self.protocol, selection.deviations)),
            "manifest": asdict(facts.manifest_facts(self.manifests, selection)),
            "run": run,
            "environment": asdict(facts.environment_facts(self.place, deterministic=True)),
            "samples": asdict(Samples(len(rows), len(frame), len(rows) - len(frame), selection.refused)),
            "predictions": asdict(PredictionFacts(PREDICTIONS, digest, len(frame), tuple(frame.columns))),
            "warnings": list(dict.fromkeys(self.warnings)),
        }
        write_json(self.out / FACTS, plain(values))
        return str(values["status"])

    def _run_facts(self, fitted: FitResult, model: DFADModel) -> dict[str, Any]:
        config, position = self.config, fitted.position
        return {
            "run_id": config.sha256[:16],
            "seed": config.seed,
            "config_sha256": config.sha256,
            "precision": config.precision,
            "world_size": self.team.size,
            "steps": position.step,
            "resumed": position.resumed,
            "config": plain(asdict(config)),
            "global_batch": model.stages[-1].batch_size or config.recipe.batch_size,
            "epochs": position.epochs_done,
            "wall_s": round(position.wall_s, 3),
            "model_selection": fitted.selection,
            "stopped": fitted.stopped,
        }


def write_rows(path: Path, selection: Selection) -> None:
    """Which face was in which part, so that a later evaluation can keep its test faces apart from training."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = selection.rows[["sample_id", "part", "group", "source_key", "crop_sha256"]]
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), temporary, write_page_checksum=True)


def needs(kind: type[DFADModel]) -> tuple[str, ...]:
    """The views a model asks for, at test time or in training."""
    return tuple(dict.fromkeys((*kind.needs, *kind.needs_training)))


def _init(path: Path | None) -> dict[str, Any]:
    """What a model starts from; the file's name, not its place, so that records are the same everywhere."""
    return {"kind": "random"} if path is None else {"kind": "local_file", "id": path.name, "sha256": sha256_file(path)}


def views_needed(kind: type[DFADModel], views: ViewProvider | None) -> ViewProvider:
    """The provider of a model that needs views.

    Raises:
        ConfigError: none was given, or it cannot meet the model's needs.
        UnknownNameError: the model needs a view that is not registered.
    """
    if views is None:
        raise ConfigError(f"the model needs the view {needs(kind)[0]!r}, and no views were given")
    views.check(kind.needs, kind.needs_training)
    return views
