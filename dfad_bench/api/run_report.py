"""Figures of finished runs, and a page that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.run_report_facts import ModelFacts, robustness_of, shown_pixels, why_no_pixels
from dfad_bench.api.run_report_settings import RunReportSettings
from dfad_bench.api.runs import Run, list_of_runs, runs_of
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.files import write_text
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.report.labels import run_labels
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.run_figures.base import STYLES, AbsentFigure, ReportFacts
from dfad_bench.report.run_figures.page import report_page
from dfad_bench.report.run_figures.registry import figure_entries
from dfad_bench.report.run_figures.write import WrittenFigure, write_figure

PAGE = "report.html"


@dataclass(frozen=True)
class RunReport:
    """A report: its page, the figures with their files, and what is not shown, with the reason."""

    page: Path
    figures: tuple[WrittenFigure, ...] = field(repr=False)
    absent: tuple[AbsentFigure, ...] = field(repr=False)

    def plain(self) -> dict[str, Any]:
        """The same as plain values, for scripts."""
        return {
            "page": str(self.page),
            "figures": [
                {
                    "name": one.figure.name, "title": one.figure.title, "note": one.figure.note,
                    "files": {suffix: str(path) for suffix, path in one.files.items()},
                }
                for one in self.figures
            ],
            "absent": [{"name": one.name, "of": one.of, "reason": one.reason} for one in self.absent],
        }  # fmt: skip


def run_report(
    runs: Sequence[Run] | Run,
    out: Path | str,
    manifests: Sequence[Path | str | Manifest] = (),
    settings: RunReportSettings = RunReportSettings(),  # noqa: B008  frozen
    *,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
    **changes: Any,
) -> RunReport:
    """Draw the figures of finished runs into a folder, with the numbers behind each, and a page that holds them.

    Every figure is a PNG, SVG and PDF file and a CSV; `report.html` holds all of them, without scripts or requests.
    What a run has not the data for is said there. The same runs give the same bytes.

    Args:
        runs: folders, folders of runs of several seeds, or loaded runs.
        out: folder for the files.
        manifests: folders, or open manifests, of the test faces: for heat-maps, and for faces where their dataset lets
            them be shown.
        settings: which figures, in which style.
        progress: shows heat-maps and figures.
        changes: fields of `RunReportSettings` that take the place of those in `settings`.

    Raises:
        ConfigError: no finished run, or `out` is a file.
        UnknownNameError: no such figure.
        IntegrityError: a file of a run is not what was written.
    """
    settings, place = replace(settings, **changes), Path(out)
    entries, style = figure_entries(settings.figures), STYLES[settings.style]
    if place.exists() and not place.is_dir():
        raise ConfigError(f"{place}: is a file; name a folder for the report")
    facts = _facts(list_of_runs(runs), open_manifests(manifests), settings, progress)
    written: list[WrittenFigure] = []
    absent: list[AbsentFigure] = []
    for name, entry in entries.items():
        progress.start(f"Figure {name}", 1)
        try:
            for made in _figures(name, entry, facts):
                if isinstance(made, AbsentFigure):
                    absent.append(made)
                else:
                    written.append(write_figure(made, place, style))
            progress.advance()
        finally:
            progress.finish()
    title = f"Report of {', '.join(facts.runs)}" if len(facts.runs) <= 3 else f"Report of {len(facts.runs)} runs"
    write_text(place / PAGE, report_page(title, _rows(facts), written, absent))
    return RunReport(place / PAGE, tuple(written), tuple(absent))


def _figures(name: str, entry: Any, facts: ReportFacts) -> Sequence[Any]:
    """The figures of an entry; what the files of a run do not allow ends that figure, not the report."""
    try:
        found: Sequence[Any] = entry.make(facts)
    except DFADError as error:
        return [AbsentFigure(name, str(error))]
    return found


def _facts(
    runs: Sequence[Run], manifests: Sequence[Manifest], settings: RunReportSettings, progress: Progress
) -> ReportFacts:
    folders = [folder for run in runs for folder in runs_of(run)]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a run is given twice")
    arrays = [RunArrays(folder) for folder in folders]
    labels = run_labels([one.record for one in arrays], folders)
    named, places = dict(zip(labels, arrays, strict=True)), dict(zip(labels, folders, strict=True))
    models = ModelFacts(named, places, manifests, settings, progress)
    return ReportFacts(
        runs=named, folders=places, seed=settings.seed, faces_per_group=settings.faces_per_group,
        robustness=robustness_of(places), heat=models.heat, words=models.words, pixels=shown_pixels(manifests),
        no_pixels=why_no_pixels(manifests), gaze=models.gaze,
    )  # fmt: skip


def _rows(facts: ReportFacts) -> list[dict[str, Any]]:
    rows = []
    for label, run in facts.runs.items():
        record = run.record
        notes = [f"{record.source.kind}, {record.source.trust.replace('_', ' ')}"]
        notes += [f"{record.model.heads} expert alone"] if record.model.heads != "both" else []
        notes += list(record.warnings[:2])
        rows.append(
            {
                "label": label, "model": record.model.display or record.model.name, "seed": record.run.seed_text,
                "protocol": record.protocol.name, "faces": f"{record.samples.evaluated:,}",
                "record": record.record_id[:12], "note": "; ".join(notes),
            }
        )  # fmt: skip
    return rows
