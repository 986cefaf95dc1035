"""What the figures of a report need beyond the files of runs: heat-maps, words, crops; made when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.api.run_report_settings import RunReportSettings
from dfad_bench.api.shown_faces import shows_faces
from dfad_bench.api.views import provide_views, views_of_run
from dfad_bench.core.errors import DFADError
from dfad_bench.core.progress import Progress
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.manifest import Manifest
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.robustness.scores import read_robustness
from dfad_bench.report.robustness.tables import Evaluation
from dfad_bench.report.run_figures.base import GazeClouds, HeatCell, RunHeat, WordWeight

if TYPE_CHECKING:
    from dfad_bench.engine.load import LoadedRun
    from dfad_bench.explain.heat_maps import HeatMaps

_BATCH = 16
_SMALL = 64  # side of stored mean maps
NO_MANIFESTS = "no --manifest was given"
NO_LICENCE = "their dataset does not let its faces be shown (show_faces)"


def robustness_of(labels: Mapping[str, Path]) -> dict[str, list[Evaluation]]:
    """Finished evaluations on corrupted faces of each run, named as the run; several by their number."""
    found: dict[str, list[Evaluation]] = {}
    for label, folder in labels.items():
        records = RunFolder(folder).robustness_records()
        for number, path in enumerate(records, start=1):
            name = label if len(records) == 1 else f"{label} ({number})"
            found.setdefault(label, []).append((name, *read_robustness(path.parent)))
    return found


class ModelFacts:
    """Models of runs, opened when first asked for, and their heat-maps and words.

    Args:
        runs: arrays and folders by label.
        folders: of the same runs.
        manifests: where test faces may be.
        settings: of the report.
        progress: shows decoding and heat-maps.
    """

    def __init__(
        self,
        runs: Mapping[str, RunArrays],
        folders: Mapping[str, Path],
        manifests: Sequence[Manifest],
        settings: RunReportSettings,
        progress: Progress,
    ) -> None:
        self.runs, self.folders, self.manifests = runs, folders, manifests
        self.settings, self.progress = settings, progress
        self.opened_run = cache(self._open)

    def words(self, label: str) -> list[WordWeight] | str:
        """Weights of words of a run's selectors, or why there are none."""
        from dfad_bench.data.prompts import class_prompts
        from dfad_bench.explain.word_weights import word_weights

        try:
            run = self.opened_run(label)
            prompts = class_prompts(run.protocol, run.config.templates)
            found = word_weights(run.model, prompts)
        except DFADError as error:
            return str(error)
        seen = sorted(run.protocol.seen, key=lambda group: group.label)
        names = [group.taxon.display for group in seen]
        return [WordWeight(names[one.row], one.level, one.place, one.word, one.weight) for one in found]

    def heat(self, label: str) -> RunHeat:
        """Heat-maps of a run by group, or why there are none."""
        if not self.manifests:
            return RunHeat(reason=NO_MANIFESTS)
        try:
            return self._heat(label)
        except DFADError as error:
            return RunHeat(reason=str(error))

    def gaze(self) -> list[GazeClouds] | str:
        """Gaze of the faces of the manifests by each estimator that a run reads, or why there is none."""
        from dfad_bench.api.gaze import gaze_study
        from dfad_bench.engine.config import read_config
        from dfad_bench.views.identity import read_identity

        if not self.manifests:
            return NO_MANIFESTS
        readers: dict[tuple[str, str | None], list[str]] = {}
        for label, run in self.runs.items():
            config = run.own_run[0].config
            for identity in read_identity(read_config(config.parent).views).values() if config.is_file() else ():
                if estimator := identity.get("estimator"):
                    readers.setdefault((str(estimator), identity.get("weights")), []).append(label)
        if not readers:
            return "no run reads gaze"
        found = []
        try:
            for (estimator, weights), labels in readers.items():
                study = gaze_study(
                    self.manifests, {estimator: weights}, device=self.settings.device,
                    seed=self.settings.seed, progress=self.progress,
                ).study  # fmt: skip
                report = study.reports[estimator]
                rows = report.flat()
                names = {(row["dataset"], row["generator"]): _display(row["generator"]) for row in rows}
                found.append(GazeClouds(estimator, tuple(labels), rows, report.points, names))
        except DFADError as error:
            return str(error)
        return found

    def _heat(self, label: str) -> RunHeat:
        from dfad_bench.engine.run_faces import run_faces
        from dfad_bench.explain.heat_maps import heat_maps

        run, arrays = self.opened_run(label), self.runs[label]
        chosen = chosen_faces(arrays, self.settings.heat_faces)
        views = views_of_run(run.config.views, self.settings.views)
        provider = provide_views(self.manifests, views, self.settings.device, self.progress)
        found = run_faces(run, list(chosen), self.manifests, provider, progress=self.progress)
        if found is None:
            return RunHeat(reason="the manifests have none of its test faces")
        task = "detection" if arrays.record.model.heads == "detection" else "attribution"
        made: list[HeatMaps] = []
        starts = range(0, len(found.sample_ids), _BATCH)
        self.progress.start(f"Heat-maps of {label}", len(starts))
        try:
            for start in starts:
                layer = made[0].layer if made and made[0].method == "grad_cam" else None
                method = made[0].method if made else "auto"
                inputs = found.inputs(start, start + _BATCH).to(next(run.model.parameters()).device)
                made.append(heat_maps(run.model, inputs, task=task, method=method, layer=layer))  # type: ignore[arg-type]  # a literal
                self.progress.advance()
        finally:
            self.progress.finish()
        maps = np.concatenate([one.maps.numpy() for one in made])
        title = f"{made[0].title}, {task}"
        return RunHeat(title, self._cells(chosen, found.sample_ids, maps))

    def _cells(self, chosen: Mapping[str, str], ids: Sequence[str], maps: np.ndarray) -> dict[str, HeatCell]:
        by_group: dict[str, list[int]] = {}
        for place, name in enumerate(ids):
            by_group.setdefault(chosen[name], []).append(place)
        first = {group: min(places, key=lambda place: face_rank(ids[place])) for group, places in by_group.items()}
        pixels = shown_pixels(self.manifests)([ids[place] for place in first.values()])
        return {
            group: HeatCell(
                _smaller_map(maps[places].mean(axis=0)), len(places), ids[first[group]], pixels.get(ids[first[group]]),
                maps[first[group]],
            )
            for group, places in by_group.items()
        }  # fmt: skip

    def _open(self, label: str) -> LoadedRun:
        from dfad_bench.engine.load import load_run

        return load_run(self.runs[label].own_run[0].path, device=self.settings.device)


def face_rank(name: str) -> str:
    """The order in which faces are chosen: by a hash of their name."""
    return hashlib.sha256(name.encode()).hexdigest()


def chosen_faces(run: RunArrays, most: int) -> dict[str, str]:
    """At most so many test faces of each group, by name: their group."""
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    frame = run.test_frame
    pairs = zip(frame["sample_id"].astype(str), frame["group"].astype(str), strict=True)
    for name, group in sorted(pairs, key=lambda pair: face_rank(pair[0])):
        counts[group] = counts.get(group, 0) + 1
        if counts[group] <= most:
            found[name] = group
    return found


def shown_pixels(manifests: Sequence[Manifest]) -> Callable[[Sequence[str]], dict[str, np.ndarray]]:
    """From names to the crops (H, W, 3) uint8 of those faces that may be shown."""
    allowed = [manifest for manifest in manifests if shows_faces(manifest)]

    def pixels(names: Sequence[str]) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for manifest in allowed:
            here = (set(names) - found.keys()) & set(manifest.frame(["sample_id"])["sample_id"])
            found |= {crop.sample_id: crop.pixels() for crop in manifest.crops(here)}
        return found

    return pixels


def why_no_pixels(manifests: Sequence[Manifest]) -> str:
    """Why faces are not shown; empty where all may be."""
    if not manifests:
        return NO_MANIFESTS
    hidden = [manifest.name for manifest in manifests if not shows_faces(manifest)]
    return f"{NO_LICENCE}: {', '.join(hidden)}" if hidden else "they are in none of the manifests"


def _display(generator: str) -> str:
    """As printed; a comparison that is no generator, such as random pairs, by its name."""
    return taxonomy()[generator].display if generator in taxonomy() else generator


def _smaller_map(values: np.ndarray) -> np.ndarray:
    """A map of at most 64 cells a side, means of what falls into each."""
    rows = [part.mean(axis=0) for part in np.array_split(values, min(_SMALL, len(values)), axis=0)]
    columns = np.array_split(np.stack(rows), min(_SMALL, values.shape[1]), axis=1)
    return np.stack([part.mean(axis=1) for part in columns], axis=1)
