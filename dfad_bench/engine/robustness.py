"""A trained model on corrupted faces: one cell a corruption and severity, beside the clean faces (severity 0).

The files are those of `core.run_folder.RobustnessFolder`, in the folder of the evaluation on clean faces;
`report.robustness.scores` makes the record. A run that was killed goes on with the cells that are not finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.errors import ConfigError, listed
from dfad_bench.core.files import content_hash, read_json, sha256_file, sweep_temporaries, write_json
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import PredictionFacts
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RobustnessFolder
from dfad_bench.core.run_parquet import read_predictions, write_predictions
from dfad_bench.data.corruptions.spatial import NEEDS_SIDE
from dfad_bench.data.corruptions.spec import ALL, Corruption, choose, corruptions
from dfad_bench.data.corruptions.stream import CorruptedFaces, Workers
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.view_source import ViewValues
from dfad_bench.engine.config import locked, plain
from dfad_bench.engine.evaluate import EvaluationPlan, OpenEvaluation, plan_evaluation
from dfad_bench.engine.needs import without_view
from dfad_bench.engine.predict import predict
from dfad_bench.engine.settings import RobustnessSettings, ViewsFrom
from dfad_bench.views.provider import ViewProvider

CLEAN = "none"  # the name of severity 0


@dataclass(frozen=True)
class CellSettings:
    """What decides the numbers of every cell, beside the evaluation it belongs to; its hash names the folder.

    `views_from`: views are computed from the corrupted crop, which is all a model is given at test time (its other
    inputs see that image, too), or taken over from the crop as it was.
    """

    corrupt_at: int  # side of the crops that are corrupted
    image_size: int  # side they are resized to afterwards
    seed: int
    views_from: ViewsFrom
    checkpoint_sha256: str
    resize: Literal["lanczos"] = "lanczos"


@dataclass(frozen=True)
class RobustnessResult:
    """Folders of the evaluation and of its cells, the number of cells made now and in all, and warnings."""

    evaluation: Path
    out: Path
    made: int
    cells: int
    warnings: tuple[str, ...] = ()


def run_robustness(
    run: Path,
    manifests: Sequence[Manifest],
    settings: RobustnessSettings = RobustnessSettings(),  # noqa: B008  frozen
    *,
    views: ViewProvider | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> RobustnessResult:
    """Predict the test faces of a finished run under corruptions, and as they are.

    Args:
        run: the folder of a finished run.
        manifests: one a dataset of the protocol.
        settings: corruptions and how they are applied. Under a protocol with a plan, `all`, the severities and the
            side that were not given are the plan's. 0 workers corrupt and predict in turn.
        views: makes the views the model needs, from the clean faces and from corrupted crops.
        progress: shows decoding and predicting.

    Raises:
        ConfigError: not a finished run, no such severity, or crops of several sizes and no `corrupt_at`.
        UnknownNameError: no such corruption.
        ProtocolError: other seen generators, or no test faces are left.
    """
    found = plan_evaluation(run, manifests, settings)
    if found.place.precision != found.config.precision:
        raise ConfigError(
            "corrupted faces are predicted in the number format of the run, as clean ones; leave --precision out"
        )
    found.refuse_crops()
    known = corruptions(settings.corruptions_file)
    chosen = planned(found.protocol, settings.corruptions, settings.severities, known)
    workers = usable_cores() - 1 if settings.workers is None else settings.workers
    with locked(found.out.path):
        opened = OpenEvaluation(found, views, settings.allow_partial, progress)
        side = _crop_side(settings.corrupt_at, found, opened)
        checkpoint = str(opened.finished["sha256"])
        # a model that needs no views has one folder, whatever was asked
        views_from: ViewsFrom = settings.views_from if opened.needs.views else "corrupted"
        decided = CellSettings(side, found.protocol.image_size, settings.seed, views_from, checkpoint)
        clean = _clean_facts(opened)
        grid = _Cells(opened, decided, found.out.robustness(content_hash(asdict(decided))))
        cells = [(row, severity) for row, levels in chosen for severity in levels]
        made = grid.run(cells, workers, settings.keep_images)
        grid.warnings += _block_warnings(cells, side)
        grid.finish(clean, known)
    warnings = tuple(dict.fromkeys([*opened.job.warnings, *grid.warnings]))
    return RobustnessResult(found.out.path, grid.out.path, made, len(cells), warnings)


def planned(
    protocol: Protocol, names: Sequence[str], severities: Sequence[int] | None, known: dict[str, Corruption]
) -> list[tuple[Corruption, list[int]]]:
    """Corruptions with their severities.

    Raises:
        UnknownNameError, ConfigError: no such corruption or severity.
    """
    plan = protocol.corruptions
    if plan is not None:
        names = [own for name in names for own in (plan.names if name == ALL else (name,))]
    rows = choose(names, known)
    chosen = []
    for row in rows:
        levels = severities or (plan.severities if plan else range(1, len(row.values) + 1))
        chosen.append((row, sorted({level for level in levels if level > 0})))
        for level in levels:
            if level != 0:  # 0 is always there: the clean faces
                row.value(level)
    return chosen


class _Cells:
    """The cells of one evaluation under one `CellSettings`."""

    def __init__(self, opened: OpenEvaluation, settings: CellSettings, out: RobustnessFolder) -> None:
        self.opened, self.settings, self.out = opened, settings, out
        self.job, self.warnings = opened.job, list[str]()
        corrupted = settings.views_from == "corrupted"
        self.live_views = opened.needs.views if corrupted else ()  # views made from the corrupted crops
        self.clean_views = () if corrupted else opened.needs.views
        if self.job.views is not None:
            self.job.views.check_live(self.live_views)
            self.job.views.check_clean(self.clean_views)

    def run(self, cells: Sequence[tuple[Corruption, int]], workers: int, keep: Path | None) -> int:
        """Make the cells that are not finished; returns how many those were."""
        for folder in (self.out.path, self.out.cells):
            sweep_temporaries(folder)
        left = [(row, severity) for row, severity in cells if self.read(row, severity) is None]
        if keep is not None:
            left = list(cells)  # the images were not stored: make them again
        if not left:
            return 0
        store = self.opened.store(self.settings.corrupt_at)
        with Workers(workers) as pool:
            for number, (row, severity) in enumerate(left, 1):
                self._make(row, severity, store, pool, keep, f"{number} of {len(left)}: {row.name} {severity}")
        return len(left)

    def _make(
        self, row: Corruption, severity: int, store: CropStore, pool: Workers, keep: Path | None, label: str
    ) -> None:
        tested, found = self.opened.selection.tested, self.opened.plan
        folder = None if keep is None else keep / f"{row.name}-{severity}"
        dataset = CorruptedFaces(
            tested,
            store,
            found.protocol,
            row,
            severity,
            workers=pool,
            seed=self.settings.seed,
            needs=self.live_views,
            live_views=self._live_view,
            views=self.job.sources(self.clean_views, tested),
            keep=folder,
        )
        progress = _LabelledProgress(self.job.progress, label)
        model, seed = self.opened.model, self.job.config.seed
        self.job.require_independent(model, dataset)  # the clean faces may have been predicted by an earlier version
        keys, videos = tested["source_key"], tested["video"]
        frame = predict(model, dataset, keys, videos=videos, place=found.place, seed=seed, progress=progress)
        for name, count in dataset.without_view.items():
            lacking = without_view(self.job.needs, name, count, f"{len(frame)} faces")
            self.warnings.append(f"{row.name} {severity}: {lacking}")
        path = self.out.cell(row.name, severity)
        digest = write_predictions(path, frame)
        facts = {"definition": row.definition(severity), "sha256": digest, "rows": len(frame)}
        write_json(path.with_suffix(".json"), facts)

    def read(self, row: Corruption, severity: int) -> pd.DataFrame | None:
        """A finished cell; None where there is none of this definition, or it is damaged."""
        path = self.out.cell(row.name, severity)
        if not path.is_file() or not path.with_suffix(".json").is_file():
            return None
        try:
            facts = read_json(path.with_suffix(".json"))
        except ConfigError:
            return None
        if not isinstance(facts, dict) or facts.get("definition") != row.definition(severity):
            return None
        return read_predictions(path) if facts.get("sha256") == sha256_file(path) else None

    def finish(self, clean: dict[str, Any], known: Mapping[str, Corruption]) -> None:
        """Join severity 0 and every finished cell, those of earlier calls too, to one file; write the facts."""
        frames = [read_predictions(self.opened.plan.out.predictions).assign(corruption=CLEAN, severity=0)]
        about: list[dict[str, Any]] = []  # a list: JSON objects are written sorted, and tables follow this order
        for row in known.values():
            levels = range(1, len(row.values) + 1)
            cells = {level: frame for level in levels if (frame := self.read(row, level)) is not None}
            frames += [frame.assign(corruption=row.name, severity=level) for level, frame in cells.items()]
            if cells:
                about.append({**_description(row), "values": {str(level): row.value(level) for level in cells}})
        whole = pd.concat(frames, ignore_index=True)
        whole["severity"] = whole["severity"].astype("int8")
        digest = write_predictions(self.out.predictions, whole)
        plan = self.opened.plan.protocol.corruptions
        asked = {(name, str(level)) for name in plan.names for level in plan.severities} if plan else set()
        lacking = asked - {(facts["name"], level) for facts in about for level in facts["values"]}
        facts = PredictionFacts(self.out.predictions.name, digest, len(whole), tuple(whole.columns))
        write_json(self.out.settings, {**asdict(self.settings), "corruptions": about})
        settings = self.out.settings
        values = {
            **clean,
            "run": {**clean["run"], "references": {}, "files": {settings.name: sha256_file(settings)}},
            "status": "partial" if lacking else clean["status"],
            "predictions": asdict(facts),
            "warnings": list(dict.fromkeys([*clean.get("warnings", []), *self.warnings])),
        }
        write_json(self.out.facts, plain(values))

    def _live_view(self, name: str, samples: Sequence[str], crops: np.ndarray) -> ViewValues:
        assert self.job.views is not None
        return self.job.views.live_view(name, samples, crops, self.settings.image_size)


def _clean_facts(opened: OpenEvaluation) -> dict[str, Any]:
    """The facts of the clean faces; they are predicted now unless this model's predictions are stored and undamaged."""
    if (known := opened.stored_facts()) is not None:
        opened.job.warnings += known.get("warnings", [])
        return known
    opened.predict(opened.store(opened.plan.protocol.image_size))
    return read_facts(opened.plan.out.facts)


def _crop_side(asked: int | None, found: EvaluationPlan, opened: OpenEvaluation) -> int:
    """The side at which crops are corrupted."""
    plan = found.protocol.corruptions
    asked = asked or (plan.corrupt_at if plan else None)
    if asked is not None:
        return asked
    samples, sizes = set(opened.selection.tested["sample_id"]), set()
    for manifest in found.manifests:
        rows = manifest.frame(["sample_id", "width", "height"])
        rows = rows[rows["sample_id"].isin(samples)]
        sizes |= set(zip(rows["width"].astype(int), rows["height"].astype(int), strict=True))
    if len(sizes) != 1 or len(set(next(iter(sizes)))) != 1:
        some = listed([f"{width}x{height}" for width, height in sorted(sizes)], 4)
        raise ConfigError(f"the crops have several sizes ({some}); say at which they are corrupted: --corrupt-at 256")
    return next(iter(sizes))[0]


def _block_warnings(cells: Sequence[tuple[Corruption, int]], side: int) -> list[str]:
    names = {row.name for row, _ in cells if (row.operator or row.name) == "block_wise"}
    why = f"changes nothing at {side} pixels: it has no blocks below {NEEDS_SIDE} (--corrupt-at {NEEDS_SIDE})"
    return [f"{name} {why}" for name in sorted(names)] if side < NEEDS_SIDE else []


def _description(row: Corruption) -> dict[str, Any]:
    facts = {
        "name": row.name,
        "title": row.title,
        "meaning": row.meaning,
        "paper_exact": row.paper_exact,
        "source": row.source,
        "compared": row.compared,
    }
    return {**facts, "operator": row.operator or row.name}


class _LabelledProgress:
    """Progress with another label."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label
        self.advance, self.finish = progress.advance, progress.finish

    def start(self, label: str, total: int | None) -> None:
        self._progress.start(self._label, total)
