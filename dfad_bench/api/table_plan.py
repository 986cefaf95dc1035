"""What making a table takes: a command a run, with faces, steps, memory and time, and what data is lacking."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.table_runs import TableRun, coinciding, table_protocol, table_runs
from dfad_bench.api.table_settings import TableSettings
from dfad_bench.api.training import train_arguments
from dfad_bench.core.errors import DFADError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.recipe import Recipe, load_recipe
from dfad_bench.core.run_folder import RunFolder, SeedsFolder
from dfad_bench.core.stage_plan import plan_stages
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.prompts import class_prompts, load_prompts
from dfad_bench.data.select import select
from dfad_bench.engine.stage_batches import StageBatches
from dfad_bench.engine.step_cost import StepCost, StepRequest, measure_step
from dfad_bench.report.paper_items import full_name, measurable_table, not_measurable
from dfad_bench.report.reported import ReportedTable

if TYPE_CHECKING:
    from dfad_bench.ingest.check import GroupNeed

_SHOWN: dict[str, Any] = {"logs": ("tensorboard",)}  # commands have no option for others
_EVERY = 1000  # faces assumed of a group where the protocol takes every face and no manifest is given


@dataclass(frozen=True)
class PlannedRun:
    """One run of every seed. `faces` and `steps` are of one seed, steps the most that early stopping leaves.

    `memory_bytes` and `seconds` (of all seeds that are left, training alone) were measured here, None where they were
    not; `done` counts finished seeds.
    """

    run: TableRun
    command: str
    faces: int
    steps: int
    done: int
    memory_bytes: int | None = None
    seconds: float | None = None
    note: str = ""

    def row(self) -> dict[str, Any]:
        """As plain values."""
        keys = ("command", "faces", "steps", "done", "memory_bytes", "seconds", "note")
        row = {"row": self.run.name, "model": self.run.row.model, "folder": str(self.run.folder)}
        return {**row, **{key: getattr(self, key) for key in keys}}


@dataclass(frozen=True)
class TablePlan:
    """What a table consists of; `lacking` are groups of the protocol that lack faces, `absent` rows without runs."""

    table: ReportedTable
    protocol: Protocol
    runs: tuple[PlannedRun, ...]
    absent: tuple[TableRun, ...]
    lacking: tuple[GroupNeed, ...]
    notes: tuple[str, ...]
    device: str | None = None

    def plain(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "table": self.table.name,
            "protocol": self.protocol.name,
            "device": self.device,
            "runs": [one.row() for one in self.runs],
            "absent": [{"row": run.name, "heads": run.heads, "lacks": run.lacks} for run in self.absent],
            "lacking": [vars(need) for need in self.lacking],
            "notes": list(self.notes),
        }


def plan_table(
    name: str,
    manifests: Sequence[Path | str | Manifest] = (),
    settings: TableSettings = TableSettings(),  # noqa: B008  frozen
    *,
    out: Path | str = "tables",
    measure: bool = True,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> TablePlan:
    """The runs a table of a paper consists of, what each costs on this device, and what is lacking. Trains nothing.

    Args:
        name: of `dfad list tables`, or as the paper counts it ("IV", "bmrl-4").
        manifests: one a dataset of the protocol; without, faces are counted as the protocol asks for them.
        settings: protocol, size, recipe, seeds, device, ...
        out: folder of the runs, for the commands and to see which are done.
        measure: run a few steps of each different model to estimate memory and time.
        progress: shows the models that are measured.

    Raises:
        UnknownNameError: no such table, protocol or model.
        ConfigError: the table has no measured numbers.
    """
    table = measurable_table(full_name(name))
    if table is None:
        raise not_measurable(full_name(name))
    opened, out = open_manifests(manifests), Path(out)
    protocol = table_protocol(table, settings)
    runs = table_runs(table, settings, out)
    faces = _Faces.of(protocol, opened)
    lacking = tuple(need for need in _needs(protocol, opened) if need.missing)
    costs = _Costs(protocol, settings, measure, progress)
    folders: dict[Path, PlannedRun] = {}
    known = {run.folder: run for run in runs if run.settings is not None}  # rows that are one run: once
    progress.start(f"Measuring steps of {table.name}" if measure else f"Planning {table.name}", len(known))
    try:
        for folder, run in known.items():
            folders[folder] = _planned(run, faces, opened, protocol, costs)
            progress.advance()
    finally:
        progress.finish()
    notes = [*coinciding(runs), *_about(table, protocol, folders.values(), faces, costs)]
    absent = tuple(run for run in runs if run.settings is None)
    return TablePlan(table, protocol, tuple(folders.values()), absent, lacking, tuple(notes), costs.device)


@dataclass(frozen=True)
class _Faces:
    """Labels of the training faces, as far as batches are made of them."""

    attribution: np.ndarray
    detection: np.ndarray
    unlabelled: None = None
    assumed: str = ""  # why they may be others

    def __len__(self) -> int:
        return len(self.attribution)

    @classmethod
    def of(cls, protocol: Protocol, manifests: Sequence[Manifest]) -> _Faces:
        """Those of the manifests; where these lack groups or there are none, as many as the protocol asks for."""
        if manifests:
            try:
                chosen = select(protocol, manifests, allow_partial=True).train
            except DFADError:  # no faces of some kind: what is lacking is listed
                chosen = None
            if chosen is not None and len(chosen):
                return cls(chosen["attribution_label"].to_numpy(), chosen["detection_label"].to_numpy())
        seen = sorted(protocol.seen, key=lambda group: group.label)
        counts = [int((g.train or protocol.train_per_group or _EVERY) * (1 - protocol.validation_share)) for g in seen]
        labels = np.repeat([group.label for group in seen], counts)
        forged = np.repeat([group.taxon.detection_label for group in seen], counts)
        every = protocol.train_per_group is None
        assumed = f"{_EVERY:,} a group are assumed" if every else "as many as the protocol asks for"
        return cls(labels, forged, assumed=assumed)


class _Costs:
    """Steps measured so far, each different model once."""

    def __init__(self, protocol: Protocol, settings: TableSettings, measure: bool, progress: Progress) -> None:
        self._protocol, self._settings, self._measure = protocol, settings, measure
        self._steps: dict[tuple[str, int], StepCost | str] = {}
        self.device: str | None = None
        self._prompts = class_prompts(protocol, load_prompts())

    def of(self, run: TableRun, rows: int) -> StepCost | str:
        """The cost of a step, or why it is not known."""
        if not self._measure:
            return ""
        key = (f"{run.row.model} {run.heads} {sorted(run.row.options.items())}", rows)
        if key not in self._steps:
            self._steps[key] = self._measured(run, rows)
        return self._steps[key]

    def _measured(self, run: TableRun, rows: int) -> StepCost | str:
        asked = StepRequest(
            model=run.row.model,
            size=self._settings.size,
            options=dict(run.row.options),
            class_prompts=self._prompts,
            rows=rows,
            side=self._protocol.image_size,
            device=self._settings.device,
            precision=self._settings.precision,
            force_precision=self._settings.force_precision,
        )
        try:
            cost = measure_step(asked)
        except (DFADError, RuntimeError) as error:
            return f"not measured: {' '.join(str(error).split())[:120]}"
        self.device = cost.device
        return cost


def _planned(
    run: TableRun, faces: _Faces, manifests: Sequence[Manifest], protocol: Protocol, costs: _Costs
) -> PlannedRun:
    assert run.settings is not None
    assert run.needs is not None
    settings = run.settings
    recipe = settings.recipe if isinstance(settings.recipe, Recipe) else load_recipe(settings.recipe)
    recipe = recipe if settings.epochs is None else replace(recipe, epochs=settings.epochs)
    plans = plan_stages(run.needs.stages, recipe, cap_epochs=settings.epochs)
    stages = [StageBatches(plan, faces, settings.seed) for plan in plans]  # type: ignore[arg-type]  # asks for labels only
    steps, rows = sum(stage.steps for stage in stages), stages[-1].largest
    steps = min(steps, settings.max_steps or steps)
    done = sum(RunFolder(SeedsFolder(run.folder).run(seed)).record.is_file() for seed in settings.seeds)
    cost = costs.of(run, rows)
    note = [f"lacks: {run.lacks}"] if run.lacks else []
    note += [cost] if isinstance(cost, str) and cost else []
    return PlannedRun(
        run=run,
        command=_command(run, manifests, protocol),
        faces=len(faces),
        steps=steps,
        done=done,
        memory_bytes=cost.bytes if isinstance(cost, StepCost) else None,
        seconds=cost.seconds * steps * (len(settings.seeds) - done) if isinstance(cost, StepCost) else None,
        note="; ".join(note),
    )


def _command(run: TableRun, manifests: Sequence[Manifest], protocol: Protocol) -> str:
    """`dfad train` of a run, as a shell takes it."""
    assert run.settings is not None
    recipe = run.settings.recipe
    named = replace(run.settings, protocol=_name(run.settings.protocol), recipe=_name(recipe), **_SHOWN)
    words = [*train_arguments(named, run.folder)]
    datasets = dict.fromkeys(group.dataset for group in protocol.all_groups)
    folders = [str(one.folder) for one in manifests] or [f"manifests/{name}" for name in datasets]
    for folder in folders:
        words += ["--manifest", folder]
    return shlex.join(["dfad", "train", *words, "--out", str(run.folder)])


def _name(value: Any) -> str:
    return value if isinstance(value, str) else str(value.name)


def _needs(protocol: Protocol, manifests: Sequence[Manifest]) -> list[GroupNeed]:
    from dfad_bench.ingest.check import check_manifest, protocol_needs

    return protocol_needs(protocol, [check_manifest(manifest.folder) for manifest in manifests])


def _about(table: ReportedTable, protocol: Protocol, runs: Any, faces: _Faces, costs: _Costs) -> list[str]:
    notes = [f"Faces: {faces.assumed}."] if faces.assumed else []
    if protocol.name != table.protocol:
        notes.append(f"Protocol {protocol.name} in place of the table's {table.protocol}.")
    if any(one.run.settings.epochs is None for one in runs):
        notes.append("Steps are those of all epochs; training stops before, where validation no longer improves.")
    if costs.device is not None:
        how = "two and four faces, extended to the batch" if costs.device == "cpu" else "whole batches"
        notes.append(f"Memory and time were measured on {costs.device} with {how}; time is of training alone.")
    return notes
