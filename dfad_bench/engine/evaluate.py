"""A trained model on other faces, or under another protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ProtocolError
from dfad_bench.core.files import content_hash, sha256_file
from dfad_bench.core.labels import generator_counts
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_parquet import write_selection
from dfad_bench.data.crop_profiles import refuse_mixed, refuse_others
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pools import sources_of
from dfad_bench.data.prompts import class_prompts
from dfad_bench.data.select import (
    Selection,
    ShortGroup,
    hashes_by_dataset,
    lacks_every_group,
    manifests_hash,
    manifests_used,
    select,
)
from dfad_bench.engine.checkpoint import read_finished
from dfad_bench.engine.config import RunConfig, locked, read_config
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.finetune import unseen_warnings
from dfad_bench.engine.job import Job, RunResult
from dfad_bench.engine.load import load_trained, trained_faces, trained_protocol
from dfad_bench.engine.needs import Needs, needs_of, with_view_weights
from dfad_bench.engine.precision import PrecisionChoice, choose_precision
from dfad_bench.engine.references import Trained
from dfad_bench.engine.settings import EvaluateSettings
from dfad_bench.views.identity import check_same, read_identity
from dfad_bench.views.provider import ViewProvider


def run_evaluation(
    run: Path,
    manifests: Sequence[Manifest],
    settings: EvaluateSettings = EvaluateSettings(),  # noqa: B008  frozen
    *,
    views: ViewProvider | None = None,
    predict_again: bool = True,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> RunResult:
    """Predict with the model of a finished run.

    Test faces the run was trained on, or that share a source or their pixels with such a face, are left out, counted
    in a warning and stated among the record's deviations. Predictions, facts and the selected faces go to
    `evaluations/<protocol>-<hash>` in the run folder.

    Args:
        run: the folder of a finished run.
        manifests: one a dataset of the protocol.
        settings: another protocol of the same seen generators, the device, whether groups may be missing.
        views: makes the views the model needs.
        predict_again: predict also where this model's predictions of these faces are stored and undamaged.
        progress: shows decoding and predicting.

    Raises:
        ConfigError: not a finished run.
        ProtocolError: other seen generators, or too few test faces are left.
        IntegrityError: the model's file is not what was written.
    """
    plan = plan_evaluation(run, manifests, settings)
    plan.refuse_crops()
    with locked(plan.out.path):
        opened = OpenEvaluation(plan, views, settings.allow_partial, progress)
        if not predict_again and (known := opened.stored_facts()) is not None:
            warnings = tuple(dict.fromkeys([*opened.job.warnings, *known.get("warnings", ())]))
            return RunResult(plan.out.path, known["status"], str(known["run"].get("stopped")), False, warnings)
        return opened.predict(opened.store(plan.protocol.image_size))


@dataclass(frozen=True)
class EvaluationPlan:
    """A finished run, the protocol and manifests it is evaluated on, and the folder of the results."""

    run: RunFolder
    config: RunConfig
    facts: dict[str, Any]  # of the run
    protocol: Protocol
    manifests: list[Manifest]
    place: Place
    out: RunFolder
    precision: PrecisionChoice

    def refuse_crops(self) -> None:
        """Refuse faces that were cropped in ways the protocol does not name, or otherwise than those of the training.

        Raises:
            ProtocolError: names manifests and profiles.
        """
        refuse_mixed(self.protocol, self.manifests)
        trained = self.facts["manifest"].get("made") or {}
        refuse_others(self.protocol, self.manifests, trained, str(self.run.path))


def plan_evaluation(run: Path, manifests: Sequence[Manifest], settings: EvaluateSettings) -> EvaluationPlan:
    """Check that a run can be evaluated under these settings; arguments and errors as of `run_evaluation`."""
    config, files = read_config(Path(run)), RunFolder(Path(run))
    trained, protocol = trained_protocol(files), settings.protocol
    wanted = load_protocol(protocol) if isinstance(protocol, str) else protocol or trained
    if _classes(wanted) != _classes(trained):
        raise ProtocolError(
            f"{run}: learnt the generators {', '.join(_classes(trained))} of protocol {trained.name};"
            f" {wanted.name} has {', '.join(_classes(wanted))} as seen"
        )
    mine, device = manifests_used(wanted, manifests), place(settings.device).device
    chosen = choose_precision(settings.precision or config.precision, device, forced=settings.force_precision)
    if settings.precision is None:
        chosen = replace(chosen, why="that of the run")
    where = place(settings.device, chosen.precision, config.channels_last)
    if not mine:
        raise ProtocolError(lacks_every_group(wanted, manifests))
    out = files.evaluation(wanted.name, content_hash([wanted.sha256, manifests_hash(mine)]))
    return EvaluationPlan(files, config, read_facts(files.facts), wanted, mine, where, out, chosen)


class OpenEvaluation:
    """The test faces and the model of an evaluation; its folder must be locked.

    Args:
        plan: the run, and what it is evaluated on.
        views: makes the views the model needs.
        allow_partial: go on where groups are missing or short.
        progress: shows decoding and predicting.
    """

    def __init__(
        self, plan: EvaluationPlan, views: ViewProvider | None, allow_partial: bool, progress: Progress
    ) -> None:
        self.plan, self.progress = plan, progress
        config, protocol = plan.config, plan.protocol
        options, prompts = config.model_options, class_prompts(protocol, config.templates)
        needs = needs_of(config.model, protocol.num_generators, config.size, options, prompts)
        needs = with_view_weights(needs, None, config.views)
        followed = {name: values for name, values in needs.view_settings.items() if name in needs.views}
        self.needs = replace(needs, training_views=(), view_settings=followed)
        if views is not None:
            views.follow(followed)
        lines = [] if views is None else _same_views(plan, self.needs, views)
        self.job = Job(config, protocol, plan.manifests, plan.place, plan.out.path, self.needs, views, progress)
        self.job.take_precision(plan.precision)
        self.job.warnings += [*lines, *unseen_warnings(config.init, protocol)]
        chosen = select(plan.protocol, plan.manifests, allow_partial=allow_partial, training=False)
        self.selection, dropped = without_trained(chosen, plan.run.path)
        refuse_short(plan.protocol, self.selection, allow_partial)
        if dropped:
            self.job.warnings.append(f"{dropped} test faces share a source or pixels with training faces: left out")
        self.model = self.job.build()
        load_trained(self.model, plan.run)
        self.finished = read_finished(plan.run.checkpoint.path)

    def store(self, side: int) -> CropStore:
        """The crops of the test faces, resized to `side` where they are of another."""
        return CropStore.open(self.selection.tested, self.plan.manifests, side, progress=self.progress)

    def stored_facts(self) -> dict[str, Any] | None:
        """The facts of an earlier call, where its predictions are of this model and these faces, and undamaged."""
        out = self.plan.out
        if not (out.facts.is_file() and out.predictions.is_file()):
            return None
        known = read_facts(out.facts)
        same_model = known["model"].get("checkpoint_sha256") in (self.finished["sha256"], None)
        same_faces = known["samples"]["evaluated"] == len(self.selection.tested)
        stated = known["environment"].get("precision") or self.plan.config.precision
        undamaged = known["predictions"]["sha256"] == sha256_file(out.predictions)
        same = same_model and same_faces and stated == self.plan.place.precision
        return known if same and undamaged else None

    def predict(self, store: CropStore) -> RunResult:
        """Predict the clean test faces; write predictions and facts."""
        self.job.trained = Trained.of(self.plan.run, self.plan.facts["run"])
        about, finished = {**self.plan.facts["run"], **_trained_on(self.plan.facts)}, self.finished
        write_selection(self.plan.out.selection, self.selection.rows)  # others can check which faces were left out
        status = self.job.predict(self.model, self.selection, store, about, finished["status"], finished["sha256"])
        return RunResult(self.plan.out.path, status, about["stopped"], True, tuple(self.job.warnings))


def _trained_on(facts: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """How many faces of each seen generator the run was trained on, for its evaluation's facts."""
    train = facts["manifest"]["splits"].get("train")
    return {} if train is None else {"trained_on": generator_counts(train["generators"])}


def _same_views(plan: EvaluationPlan, needs: Needs, views: ViewProvider) -> list[str]:
    """See `check_same`; the views a model sees at test time count, and files may differ where the faces do."""
    trained = read_identity(plan.config.views)
    names = [name for name in trained if name in needs.views]
    others = any(plan.config.manifests.get(name) != sha for name, sha in hashes_by_dataset(plan.manifests).items())
    files = [name for name in names if others and not views.view(name).asks]
    return check_same(plan.run.path, plan.config.views, views.identity(names) if names else {}, other_files=files)


def without_trained(selection: Selection, run: Path) -> tuple[Selection, int]:
    """The selection without test faces that a run was trained on, and their number.

    Raises:
        ProtocolError: none are left.
    """
    keys, pixels = trained_faces(RunFolder(run))
    kept = {}
    for name, frame in selection.test.items():
        clean = ~sources_of(frame).isin(keys) & ~frame["crop_sha256"].isin(pixels)
        kept[name] = frame[clean].reset_index(drop=True)
    dropped = sum(map(len, selection.test.values())) - sum(map(len, kept.values()))
    emptied = [name for name, frame in kept.items() if frame.empty]
    if len(emptied) == len(kept):
        raise ProtocolError(f"{run}: every test face shares a source or its pixels with a training face")
    test = {name: frame for name, frame in kept.items() if len(frame)}
    wanted = {name: len(frame) for name, frame in selection.test.items() if len(frame) > len(kept[name])}
    wanted |= {each.group: each.wanted for each in selection.short_groups}
    short_groups = [ShortGroup(name, "test", count, len(kept[name])) for name, count in wanted.items() if name in test]
    return replace(selection, test=test, short_groups=short_groups, missing=[*selection.missing, *emptied]), dropped


def refuse_short(protocol: Protocol, selection: Selection, allow_partial: bool) -> None:
    """Refuse groups that lack faces once those the run was trained on are left out, as `select` does before.

    Raises:
        ProtocolError: a group lacks faces under `on_short: error`, or all of them.
    """
    lacking = selection.deviations if protocol.on_short == "error" else [f"missing {key}" for key in selection.missing]
    if lacking and not allow_partial:
        raise ProtocolError(
            f"protocol {protocol.name}, without faces the run was trained on: {'; '.join(lacking)}."
            " --allow-partial goes on and says so"
        )


def _classes(protocol: Protocol) -> list[str]:
    return [group.generator for group in sorted(protocol.seen, key=lambda group: group.label)]
