"""Gaze of a manifest's faces, and what forgeries do to it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.api.gaze_tables import Estimators, weights_of
from dfad_bench.api.manifests import open_manifest, open_manifests
from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.files import write_json, write_text
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import hashes_by_dataset
from dfad_bench.gaze.claims import ClaimTest
from dfad_bench.gaze.compare import rank_agreement
from dfad_bench.gaze.settings import GazeSettings
from dfad_bench.gaze.study import GazeStudy, study_gaze
from dfad_bench.gaze.table import extract
from dfad_bench.report.gaze.all_tables import gaze_tables, short_tables
from dfad_bench.report.gaze.published import published_gaze
from dfad_bench.report.gaze.tables import flat_table
from dfad_bench.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 1000


def extract_gaze(
    manifest: Path | str | Manifest,
    estimator: str = "geometric",
    *,
    weights: str | None = None,
    device: str = "auto",
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> pd.DataFrame:
    """Gaze of every usable face of a manifest: estimated once, then read from the table beside the manifest.

    Args:
        manifest: folder, or open manifest.
        estimator: name of a gaze estimator; `geometric` needs no weights.
        weights: the estimator's weight file, by name or path.
        device: auto, cpu, cuda or cuda:N.
        progress: shows faces done.

    Returns:
        A row a face, sorted by `sample_id`: `pitch_rad` and `yaw_rad` in radians (pitch up, yaw to the image's left
        positive; NaN where a face has no gaze, see `flags`), `confidence`, `flags`, `head_pitch_rad`, `head_yaw_rad`.

    Raises:
        UnknownNameError: no such estimator.
        WeightsError: its weights are missing or do not fit.
        IntegrityError: the stored table is damaged.
    """
    return extract(open_manifest(manifest), estimator, weights=weights, device=device, progress=progress)


@dataclass(frozen=True)
class GazeReport:
    """A gaze study: every number as plain values (`facts`), tables, the study itself, and the files written."""

    facts: dict[str, Any]
    tables: list[Table]
    study: GazeStudy
    written: list[Path] = field(default_factory=list)

    @property
    def short_tables(self) -> list[Table]:
        """The tables that fit a screen: one an estimator, and estimators side by side."""
        return short_tables(self.facts)

    @property
    def short(self) -> list[Table]:
        """The name of `short_tables` in earlier versions."""
        warnings.warn("GazeReport.short is now called short_tables", DeprecationWarning, stacklevel=2)
        return self.short_tables

    @property
    def failed(self) -> dict[str, str]:
        """Estimators that could not be used, and why."""
        return self.study.failed

    def to_frame(self) -> pd.DataFrame:
        """A row an estimator, dataset and generator: FID with its interval and floor, paired cosine."""
        return flat_table(self.facts["rows"], "Gaze").to_frame()


def gaze_study(
    manifests: Sequence[Path | str | Manifest],
    estimators: Estimators = "geometric",
    settings: GazeSettings = GazeSettings(),  # noqa: B008  frozen
    *,
    out: Path | str | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
    **changes: Any,
) -> GazeReport:
    """Compare the gaze of real and forged faces: FID and paired cosine a generator.

    Gaze is estimated first where it is not there yet; of several estimators those that cannot be used are left out.

    Args:
        manifests: folders, or open manifests: one a dataset.
        estimators: one name, several, or names with their weight files.
        settings: which faces are compared, how, and what figures show.
        out: folder for gaze.json, gaze.csv, gaze.md and the figures; None writes nothing.
        progress: shows faces done.
        changes: fields of `GazeSettings` that take the place of those in `settings`, as in `samples=50`.

    Returns:
        Numbers, tables and figures; distances are of (pitch, yaw) in radians.

    Raises:
        UnknownNameError: no such estimator, or no generator of that name in the manifests.
        DFADError: no estimator can be used; says why.
    """
    asked, opened = replace(settings, **changes), open_manifests(manifests)
    _check_generators(asked, opened)
    compared = {"samples": asked.samples, "seed": asked.seed, "resamples": RESAMPLES, "equal_n": asked.equal_n}
    study = study_gaze(
        opened,
        weights_of(estimators),
        device=asked.device,
        progress=progress,
        backend=asked.fid_backend,
        **compared,
    )
    about = {"fid_backend": asked.fid_backend, "manifests": hashes_by_dataset(opened)}
    facts = {**compared, **about, **_facts(study)}
    report = GazeReport(facts, gaze_tables(facts), study)
    if out is not None:
        report.written.extend(_write(Path(out), report, opened, asked))
    return report


def _check_generators(settings: GazeSettings, manifests: Sequence[Manifest]) -> None:
    """Refuse generators for the figures that no manifest has, before anything is estimated."""
    if settings.generators:
        known = {str(name) for manifest in manifests for name in manifest.frame(["generator"])["generator"].unique()}
        for name in settings.generators:
            if name not in known:
                raise UnknownNameError("generator in these manifests", name, known)


def _facts(study: GazeStudy) -> dict[str, Any]:
    """Everything of a study as plain values; lists over several estimators name theirs in each entry."""

    def each(values: Any) -> list[dict[str, Any]]:
        return [
            {"estimator": name, **vars(value)} for name, report in study.reports.items() for value in values(report)
        ]

    estimators = {
        name: {
            "fingerprint": built.fingerprint,
            "limits": built.card.limits,
            "remarks": list(study.remarks[name]),
            "notes": list(study.reports[name].notes),
            "published": published_gaze(name),
        }
        for name, built in study.estimators.items()
    }
    return {
        "estimators": estimators,
        "failed": study.failed,
        "rows": [{"estimator": name, **row} for name, report in study.reports.items() for row in report.flat()],
        "groups": each(lambda report: report.groups),
        "claims": [claim_facts(name, test) for name, report in study.reports.items() for test in report.claims],
        "agreement": [vars(agreement) for agreement in rank_agreement(study.reports)],
    }


def claim_facts(estimator: str, test: ClaimTest) -> dict[str, Any]:
    """A test of the paper's claim, its difference named by its unit."""
    units = {"difference": "difference_rad2"}
    return {"estimator": estimator, **{units.get(key, key): value for key, value in vars(test).items()}}


def _write(out: Path, report: GazeReport, manifests: list[Manifest], settings: GazeSettings) -> list[Path]:
    from dfad_bench.report.figures.gaze import save_gaze_figures

    files = [out / name for name in ("gaze.json", "gaze.csv", "gaze.md")]
    write_json(files[0], report.facts)
    write_text(files[1], flat_table(report.facts["rows"], "Gaze").render("csv"))
    write_text(files[2], "\n".join(table.render("markdown") for table in report.tables))
    study = report.study
    return files + save_gaze_figures(study.reports, study.frames, manifests, out, settings)
