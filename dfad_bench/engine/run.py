"""One run: select rows, train, predict, and leave a folder that says everything about it (see `core.run_folder`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from dfad_bench.core.contract import DFADModel, WeightFiles
from dfad_bench.core.errors import ConfigError, DFADError, UnknownNameError
from dfad_bench.core.files import sha256_file
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.recipe import Recipe
from dfad_bench.core.registry import model_class
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.stage_plan import recipe_for
from dfad_bench.core.strict import read_yaml
from dfad_bench.core.weights import find_weights
from dfad_bench.data.crop_profiles import refuse_mixed
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.prompts import PromptTemplates, class_prompts, load_prompts
from dfad_bench.data.select import hashes_by_dataset, manifests_used, select
from dfad_bench.engine.augment import Augmenter
from dfad_bench.engine.config import RunConfig, config_from, finished, locked, write_config
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.distributed import Team, joined
from dfad_bench.engine.extend import going_on
from dfad_bench.engine.finetune import Parent, open_parent
from dfad_bench.engine.interrupts import one_line
from dfad_bench.engine.job import Job, RunResult
from dfad_bench.engine.limits import Limits
from dfad_bench.engine.loggers import Logs
from dfad_bench.engine.needs import Needs, needs_of, views_needed, with_view_weights
from dfad_bench.engine.precision import PrecisionChoice, choose_precision
from dfad_bench.engine.settings import ModelSettings, TrainSettings
from dfad_bench.views.provider import ViewProvider

_WANDB_PROJECT = "dfad"


@dataclass(frozen=True)
class Plan:
    """The settings of a run with names resolved and files found; nothing is written yet."""

    protocol: Protocol
    recipe: Recipe
    weights: WeightFiles | Parent | None
    needs: Needs
    place: Place
    implied: Mapping[str, Any]
    prompts: PromptTemplates

    @classmethod
    def of(cls, settings: TrainSettings) -> Plan:
        """Resolve the names in the settings.

        Raises:
            DFADError: a name, an option, a weight file or a device that is not there.
        """
        protocol, recipe = settings.protocol, recipe_for(settings.recipe, settings.model)
        protocol = load_protocol(protocol) if isinstance(protocol, str) else protocol
        if settings.heads == "detection" and settings.options.get("centre_loss", "none") != "none":
            raise ConfigError("centre_loss is made of attribution labels, which heads=detection leaves out: drop one")
        files = weight_files(settings) if settings.finetune_from is None else _parent(settings)
        implied, prompts = implied_options(settings, files), load_prompts(settings.prompts)
        needs = needs_of(
            settings.model,
            protocol.num_generators,
            settings.size,
            {**implied, **settings.options},
            class_prompts(protocol, prompts),
        )
        if recipe.augment:  # refused before views are made
            Augmenter(recipe.augment, views=needs.all_views, where=f"recipe {recipe.name}: augment")
        parent = files.config.views if isinstance(files, Parent) else None
        return cls(
            protocol=protocol,
            recipe=recipe if settings.epochs is None else replace(recipe, epochs=settings.epochs),
            place=settings_place(settings),
            needs=with_view_weights(needs, None if isinstance(files, Parent) else files, parent),
            weights=files,
            implied=implied,
            prompts=prompts,
        )

    @property
    def init(self) -> dict[str, Any]:
        """What the model starts from; see `RunConfig.init`."""
        return _init(self.weights, self.protocol, self.needs)

    def reads_prompts(self, settings: TrainSettings) -> bool:
        """Whether the model is given prompts: in training, or (it may be) where it is built."""
        kind = model_class(settings.model)
        return self.needs.prompts or kind.assemble.__func__ is not DFADModel.assemble.__func__  # type: ignore[attr-defined]

    def config(
        self, settings: TrainSettings, manifests: Sequence[Manifest], views: ViewProvider | None = None
    ) -> RunConfig:
        """The settings as they are stored; the files of weights and faces by their hashes.

        Raises:
            ConfigError: the model needs views that `views` does not make.
        """
        needed = self.needs.all_views
        given = {field.name: getattr(settings, field.name) for field in fields(ModelSettings)}
        return RunConfig(
            **{**given, "options": dict(settings.options)},
            protocol=self.protocol.name,
            protocol_sha256=self.protocol.sha256,
            manifests=hashes_by_dataset(manifests),
            recipe=self.recipe,
            device=self.place.device.type,
            init=self.init,
            views=views_needed(self.needs, views).identity(needed) if needed else {},
            implied=dict(self.implied),
            prompts=self.prompts.plain_values
            if self.reads_prompts(settings) and self.prompts != load_prompts()
            else {},
        )


def run_training(
    settings: TrainSettings,
    manifests: Sequence[Manifest],
    out: Path,
    *,
    views: ViewProvider | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> RunResult:
    """Train a model under a protocol and predict its test faces: one run, of `settings.seed`.

    Under torchrun all processes call this with the same arguments and train together (see `distributed`); the first
    one writes, predicts, and prints an error, if there is one. `settings.processes` and `settings.seeds` are for the
    caller (`api.training.train`).

    Args:
        settings: what to train, and how.
        manifests: one a dataset of the protocol.
        out: the run folder. A finished run of the same settings is left as it is; an unfinished one goes on.
        views: makes the views the model needs; how it does is kept with the settings.
        progress: shows decoding, training and predicting.

    Raises:
        IntegrityError: `out` holds a run of other settings.
        DFADError: what is wrong with names, rows, weights or losses.
    """
    out, device = Path(out), place(settings.device).device
    with joined(device) as team, _one_error_line(team), locked(out) if team.lead else nullcontext():
        chosen = team.from_lead(lambda: run_precision(out, settings, device))
        plan = Plan.of(settings := replace(settings, precision=chosen.precision))
        mine = manifests_used(plan.protocol, manifests)
        asked = plan.config(settings, mine, views)
        config = team.from_lead(lambda: going_on(out, asked, plan.needs.stages, extend=settings.extend))
        known = team.from_lead(lambda: finished(out, config))
        if known and settings.resume:
            stopped, warnings = str(known["run"].get("stopped")), tuple(known.get("warnings", ()))
            return RunResult(out, known["status"], stopped, False, warnings, team.lead)
        refuse_mixed(plan.protocol, mine)
        selection = select(plan.protocol, manifests, allow_partial=settings.allow_partial)
        shown = progress if team.lead else NoProgress()
        with one_line("before training", "use a smaller protocol, or a machine with more memory"):
            job = Job(config, plan.protocol, mine, plan.place, out, plan.needs, views, shown, team, settings.cache)
            job.leak_check, job.checkpointing = settings.leak_check, settings.checkpointing
            job.keeps_outputs = settings.outputs
            job.take_precision(chosen)
            team.lead_first(lambda: job.sources(plan.needs.all_views, selection.rows))  # stored views are made here
        if team.lead:
            write_config(out, config)
        return job.train(selection, plan.weights, _limits(settings), settings.resume, _logs(settings, config, out))


def settings_place(settings: TrainSettings) -> Place:
    """Where a run computes; while nothing has chosen what `auto` comes to, in fp32."""
    return place(
        settings.device, "fp32" if settings.precision == "auto" else settings.precision, settings.channels_last
    )


def run_precision(out: Path, settings: TrainSettings, device: torch.device) -> PrecisionChoice:
    """The number format of a run; under `auto` one that goes on keeps what it was begun with, on any machine.

    Raises:
        ConfigError: the format is far slower than fp32 here; or the settings in `out` cannot be read.
    """
    config = RunFolder(out).config
    if settings.precision != "auto" or not settings.resume or not config.is_file():
        return choose_precision(settings.precision, device, forced=settings.force_precision)
    kept = config_from(read_yaml(config), str(config)).precision
    why = "auto: chosen where the run was begun"
    return replace(choose_precision(kept, device, forced=settings.force_precision), why=why)


@contextlib.contextmanager
def _one_error_line(team: Team) -> Iterator[None]:
    """Have the first process that fails print the error; the others end with its exit code and print nothing."""
    try:
        yield
    except (DFADError, RuntimeError) as error:
        mendable = error if isinstance(error, DFADError) else team.lost(error)
        if not isinstance(mendable, DFADError):
            raise
        if team.reports(mendable):
            raise mendable from error
        raise SystemExit(mendable.exit_code) from error


def weight_files(settings: TrainSettings) -> WeightFiles | None:
    """The files of `settings.weights`: one, or one for each name the model knows.

    Raises:
        ConfigError: several files for a model that takes one, or none for one of its names.
        UnknownNameError: a name the model does not know.
        WeightsError: a file is not there.
    """
    asked = settings.weights
    if asked is None or isinstance(asked, str):
        return find_weights(asked) if asked else None
    known = model_class(settings.model).weight_names
    if not known:
        raise ConfigError(f"weights: {settings.model} takes one file, not several by name ({', '.join(asked)})")
    for name in asked:
        if name not in known:
            raise UnknownNameError(f"weights of {settings.model}", name, known)
    return {name: find_weights(file) for name, file in asked.items()}


def implied_options(settings: TrainSettings, weights: WeightFiles | Parent | None) -> dict[str, Any]:
    """Options that hold although the settings do not name them; see `RunConfig.implied`.

    Raises:
        WeightsError: a weight file cannot be read.
    """
    kind, found = model_class(settings.model), {}
    if before := kind.options_before(settings.size):
        config = kind.configure(settings.size, None)
        found = {name: getattr(config, name) for name in before}
    if isinstance(weights, Parent):
        found |= {**before, **weights.config.implied}
    elif weights is not None:
        with collect_notices():  # said again where the file is loaded
            found |= kind.options_of(weights)
    return {name: value for name, value in found.items() if name not in settings.options}


def _parent(settings: TrainSettings) -> Parent:
    """The run whose weights are started from."""
    assert settings.finetune_from is not None
    return open_parent(settings.finetune_from, settings.model, settings.size, settings.seed)


def _init(weights: WeightFiles | Parent | None, protocol: Protocol, needs: Needs) -> dict[str, Any]:
    """What a model starts from; names of files, not their places, so that records are the same everywhere."""
    if isinstance(weights, Parent):
        return weights.init(protocol)
    if weights is None:
        return {"kind": "random"}
    if not isinstance(weights, Mapping) and len(needs.named_weights) > 1:
        weights = {next(iter(needs.named_weights)): weights}
    if isinstance(weights, Mapping):
        random = [name for name in needs.named_weights if name not in weights]
        files = {name: _file(path) for name, path in sorted(weights.items())}
        return {"kind": "local_files", "files": files, **({"random": random} if random else {})}
    return {"kind": "local_file", **_file(weights)}


def _file(path: Path) -> dict[str, str]:
    name = path.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")  # names may be any bytes
    return {"id": name, "sha256": sha256_file(path)}


def _limits(settings: TrainSettings) -> Limits:
    return Limits(**{field.name: getattr(settings, field.name) for field in fields(Limits)})


def log_names(settings: TrainSettings) -> tuple[str, ...]:
    """The logs a run writes beside its trace, of `loggers.LOGGERS`."""
    return tuple(dict.fromkeys((*settings.logs, *(["wandb"] if settings.wandb else []))))


def _logs(settings: TrainSettings, config: RunConfig, out: Path) -> Logs:
    about = {**config.plain_values, "run_id": config.sha256[:16], "project": settings.wandb or _WANDB_PROJECT}
    return Logs(log_names(settings), out, about)
