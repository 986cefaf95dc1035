"""Gaze of a manifest's faces, and what forgeries do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.api.gaze_tables import Estimators, weights_of
from dfad_bench.api.manifests import open_manifest, open_manifests
from dfad_bench.core.files import write_json, write_text
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import hashes_by_dataset
from dfad_bench.gaze.compare import rank_agreement
from dfad_bench.gaze.study import GazeStudy, study_gaze
from dfad_bench.gaze.table import extract
from dfad_bench.report.gaze.estimators import claim_table, group_table, side_by_side_table
from dfad_bench.report.gaze.published import published_gaze, published_table
from dfad_bench.report.gaze.tables import fid_table, flat_table, pair_table
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
    def failed(self) -> dict[str, str]:
        """Estimators that could not be used, and why."""
        return self.study.failed

    def to_frame(self) -> pd.DataFrame:
        """A row an estimator, dataset and generator: FID with its interval and floor, paired cosine."""
        return flat_table(self.facts["rows"], "Gaze").to_frame()


def gaze_study(
    manifests: Sequence[Path | str | Manifest],
    estimators: Estimators = "geometric",
    *,
    samples: int = 10_000,
    equal_n: bool = True,
    fid_backend: str = "closed-form",
    device: str = "auto",
    seed: int = 0,
    out: Path | str | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> GazeReport:
    """Compare the gaze of real and forged faces: FID and paired cosine a generator.

    Gaze is estimated first where it is not there yet; of several estimators those that cannot be used are left out.

    Args:
        manifests: folders, or open manifests: one a dataset.
        estimators: one name, several, or names with their weight files.
        samples: at most so many real and so many forged faces a generator, and so many pairs.
        equal_n: the same number of faces for all generators, or all that each one has.
        fid_backend: "closed-form" of two dimensions, or "pytorch-fid".
        device: auto, cpu, cuda or cuda:N.
        seed: of the choice of faces and of the bootstrap.
        out: folder for gaze.json, gaze.csv, gaze.md and the figures; None writes nothing.
        progress: shows faces done.

    Returns:
        Numbers, tables and figures; distances are of (pitch, yaw) in radians.

    Raises:
        UnknownNameError: no such estimator.
        DFADError: no estimator can be used; says why.
    """
    opened = open_manifests(manifests)
    settings = {"samples": samples, "seed": seed, "resamples": RESAMPLES, "equal_n": equal_n}
    study = study_gaze(
        opened, weights_of(estimators), device=device, progress=progress, backend=fid_backend, **settings
    )
    about = {"fid_backend": fid_backend, "manifests": hashes_by_dataset(opened)}
    facts = {**settings, **about, **_facts(study)}
    report = GazeReport(facts, _tables(facts), study)
    if out is not None:
        report.written.extend(_write(Path(out), report, opened, seed))
    return report


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
        "claims": each(lambda report: report.claims),
        "agreement": [vars(agreement) for agreement in rank_agreement(study.reports)],
    }


def _tables(facts: dict[str, Any]) -> list[Table]:
    def of(key: str, name: str) -> list[dict[str, Any]]:
        return [entry for entry in facts[key] if entry["estimator"] == name]

    tables = []
    for name, about in facts["estimators"].items():
        notes = [*about["notes"], *about["remarks"]]
        tables += [fid_table(of("rows", name), name, notes), pair_table(of("rows", name), name)]
        tables += [group_table(of("groups", name), name), claim_table(of("claims", name), name)]
    rows = {name: of("rows", name) for name in facts["estimators"]}
    if len(rows) > 1:
        tables.append(side_by_side_table(rows, facts["agreement"]))
    published = published_table(rows)
    return [*tables, published] if published else tables


def _write(out: Path, report: GazeReport, manifests: list[Manifest], seed: int) -> list[Path]:
    from dfad_bench.report.figures.gaze import save_gaze_figures

    files = [out / name for name in ("gaze.json", "gaze.csv", "gaze.md")]
    write_json(files[0], report.facts)
    write_text(files[1], flat_table(report.facts["rows"], "Gaze").render("csv"))
    write_text(files[2], "\n".join(table.render("markdown") for table in report.tables))
    study = report.study
    return files + save_gaze_figures(study.reports, study.frames, manifests, out, seed=seed)
