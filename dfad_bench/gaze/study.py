"""A gaze study of manifests: the gaze of every face by each requested estimator, and a report for each estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dfad_bench.core.errors import ConfigError, DFADError, ManifestError, UnknownNameError
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import OK
from dfad_bench.gaze.analysis import COLUMNS, GazeReport, analyse
from dfad_bench.gaze.estimators.base import GazeEstimator
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.table import extract, stored_remarks
from dfad_bench.gaze.without import why_no_gaze

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.manifest import Manifest

_OF_MANIFEST = ("sample_id", "dataset", "generator", "forgery", "family", "detection_label", "target_id", "status",
    "source_key", "origin", "frame")  # fmt: skip
_SILENT = NoProgress()


@dataclass(frozen=True)
class GazeStudy:
    """Reports, frames (a row per face with a crop), estimators and the remarks of their tables, by estimator name.

    `failed` says why other estimators gave no report.
    """

    reports: dict[str, GazeReport]
    frames: dict[str, pd.DataFrame]
    estimators: dict[str, GazeEstimator]
    remarks: dict[str, tuple[str, ...]]
    failed: dict[str, str]


def study_gaze(
    manifests: Sequence[Manifest],
    weights: Mapping[str, str | None],
    *,
    device: str = "cpu",
    progress: Progress = _SILENT,
    **settings: Any,
) -> GazeStudy:
    """Report on every estimator that can be used; gaze that is not stored yet is estimated and stored.

    Args:
        manifests: manifests of different datasets.
        weights: the requested estimators, each with its weight file or None.
        device: torch device, or "auto".
        progress: is called after every batch.
        settings: settings of `analysis.analyse`.

    Raises:
        UnknownNameError: no estimator of that name.
        ConfigError: no manifest.
        DFADError: no estimator can be used (one line with all reasons).
    """
    if not manifests:
        raise ConfigError("no manifest to study; give one or more, as `dfad build-manifest` makes them")
    study = GazeStudy({}, {}, {}, {}, {})
    for name, file in weights.items():
        try:
            built = build_estimator(name, file)
            if built.name in study.estimators:
                if built.fingerprint == study.estimators[built.name].fingerprint:
                    continue  # requested twice, once by an alias
                raise ConfigError(f"{built.name} is requested twice, with other weights or settings; run one at a time")
            with collect_notices() as left_out:
                frame = gaze_frame(manifests, name, file, device=device, progress=progress)
            lost = _manifests_without_gaze(manifests, frame, built.name)
            report = _analysed(frame, lost, settings)
        except UnknownNameError:
            raise
        except DFADError as error:
            if len(weights) == 1:
                raise
            study.failed[name] = str(error)
            continue
        study.estimators[built.name], study.reports[built.name] = built, report
        remarks = (remark for manifest in manifests for remark in stored_remarks(manifest, built))
        study.remarks[built.name] = tuple(dict.fromkeys((*remarks, *lost, *left_out)))
        study.frames[built.name] = frame[frame["status"] == OK].drop(columns="status").reset_index(drop=True)
    if not study.reports:
        raise DFADError("; ".join(f"{name}: {why}" for name, why in study.failed.items()))
    return study


def _analysed(frame: pd.DataFrame, lost: Sequence[str], settings: Mapping[str, Any]) -> GazeReport:
    """The report, or why there is none: `lost` names manifests without any gaze."""
    try:
        return analyse(frame, **settings)
    except ManifestError as error:
        if not lost:
            raise
        raise ManifestError("; ".join(lost)) from error


def _manifests_without_gaze(manifests: Sequence[Manifest], frame: pd.DataFrame, estimator: str) -> list[str]:
    """A line for each manifest none of whose faces has a gaze."""
    seen = frame[frame["status"] == OK]
    lines = (why_no_gaze(m, seen[seen["dataset"] == m.name], estimator) for m in manifests)
    return [line for line in lines if line]


def gaze_frame(
    manifests: Sequence[Manifest], estimator: str, weights: str | None, *, device: str, progress: Progress = _SILENT
) -> pd.DataFrame:
    """A row per face of all manifests, refused ones too (`status`): `analysis.COLUMNS`, source_key and flags."""
    import pandas as pd

    from dfad_bench.data.pair_table import with_pairs
    from dfad_bench.data.processed import without_processed
    from dfad_bench.gaze.sources import with_videos

    frames = []
    for manifest in manifests:
        gaze = extract(manifest, estimator, weights=weights, device=device, progress=progress)
        rows = without_processed(manifest.frame(_OF_MANIFEST, status=None), str(manifest.folder))
        rows = with_videos(with_pairs(manifest, rows))
        frames.append(rows.merge(gaze, on="sample_id", how="left", validate="one_to_one"))
    joined = pd.concat(frames, ignore_index=True)
    return joined[[*COLUMNS, "source_key", "flags", "status"]]
