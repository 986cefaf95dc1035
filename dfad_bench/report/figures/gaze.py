"""The figures of the gaze study: FID by generator (Fig. 1), pairs (Fig. 7), and the clouds behind the distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.escape import one_line
from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.gaze.examples import (
    PAIR_RULE,
    RULE,
    Face,
    Pair,
    choose_face,
    choose_pairs,
    gaze_of,
    gaze_patch,
    load_faces,
    sees_patch,
    with_arrow,
)
from dfad_bench.gaze.settings import GazeSettings
from dfad_bench.metrics import METRICS
from dfad_bench.report.figures import style
from dfad_bench.report.figures.gaze_fid import DrawnFace, draw_fid_figure
from dfad_bench.report.figures.gaze_pairs import PairPanel, draw_pairs_figure
from dfad_bench.report.figures.gaze_scatter import draw_scatter_figure

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.manifest import Manifest
    from dfad_bench.gaze.analysis import GazeReport

Key = tuple[str, str]
_AXES = ("pitch_rad", "yaw_rad")
_REAL_KEY = ("", "real")
NO_PAIRS = (
    "gaze-pairs is not drawn: no generator has pairs of a forged face and its target; `dfad infer-pairs` looks for them"
)


def save_gaze_figures(
    reports: Mapping[str, GazeReport],
    frames: Mapping[str, pd.DataFrame],
    manifests: Sequence[Manifest],
    out: Path,
    settings: GazeSettings = GazeSettings(),  # noqa: B008  frozen
) -> list[Path]:
    """Write all gaze figures into `out`, each as PNG, SVG and PDF; the same input gives the same bytes.

    `gaze-fid-<estimator>` (GazeCLIP Fig. 1) and `gaze-scatter-<estimator>` for each estimator, and `gaze-pairs`
    (Fig. 7) with all of them. Where no generator has pairs, an older `gaze-pairs` is removed and none is returned;
    `figure_notes` says why. An estimator that gave no generator a distance has no figure of its own.

    Args:
        reports: by estimator.
        frames: by estimator, all rows with their gaze: the columns of `gaze.analysis.COLUMNS`, and flags.
        manifests: where the crops are.
        out: folder.
        settings: the seed of the choice of faces, which generators are shown, and how many faces a bar needs.

    Returns:
        The files written.
    """
    every = {estimator: report.flat() for estimator, report in reports.items()}
    rows = {estimator: [row for row in of if _is_wanted(row, settings)] for estimator, of in every.items()}
    names, seed = _names(rows), settings.seed
    data = _choice_note(every, names) + style.data_note(sorted({dataset for dataset, _ in names}))
    chosen = {estimator: _choose(frame, rows[estimator], seed) for estimator, frame in frames.items()}
    pairs = choose_pairs(list(frames.values()), seed) if frames else {}
    pairs = {key: pair for key, pair in pairs.items() if key in names}
    wanted = {face for of_estimator in chosen.values() for face, _ in of_estimator.values()}
    faces = load_faces(manifests, wanted | {name for pair in pairs.values() for name in (pair.forged, pair.target)})
    paths = []
    with style.drawing():
        for estimator, report in reports.items():
            if not any(row.get("fid_rad2") is not None for row in rows[estimator]):
                continue
            shown = _draw_faces(chosen[estimator], faces, frames[estimator], sees_patch(estimator))
            title = f"FID of the gaze of real and forged faces, estimator {estimator}{data}"
            few = settings.min_faces
            figure = draw_fid_figure(rows[estimator], shown, title=title, rule=RULE, names=names, least=few)
            paths += style.save(figure, out, f"gaze-fid-{estimator}", title)
            title = f"Gaze of real and forged faces, estimator {estimator}{data}"
            figure = draw_scatter_figure(rows[estimator], report.points, title=title, names=names, least=few)
            paths += style.save(figure, out, f"gaze-scatter-{estimator}", title)
        return paths + _save_pairs(pairs, rows, frames, faces, names, data, out)


def _is_wanted(row: Mapping[str, Any], settings: GazeSettings) -> bool:
    return row["forgery"] == "control" or not settings.generators or row["generator"] in settings.generators


def _choice_note(every: Mapping[str, Sequence[Mapping[str, Any]]], shown: Mapping[Key, str]) -> str:
    """The end of a title where generators were chosen."""
    count = len(_names(every))
    return f", {len(shown)} of {count} generators" if len(shown) < count else ""


def figure_notes(reports: Mapping[str, GazeReport]) -> list[str]:
    """What a caller should say of figures that are not there, one line each."""
    paired = [
        {(row.dataset, row.generator) for row in report.rows if row.pairs.cosine_2d is not None}
        for report in reports.values()
    ]
    lost = [f"no FID figure of {name}: no generator has a distance" for name, r in reports.items() if not _measured(r)]
    return lost + ([] if paired and set.intersection(*paired) else [NO_PAIRS])


def _measured(report: GazeReport) -> bool:
    return any(row.fid.fid_rad2 is not None for row in report.rows)


def _draw_faces(
    chosen: Mapping[Key, tuple[str, bool]], faces: Mapping[str, Face], frame: pd.DataFrame, normalised: bool
) -> dict[Key, DrawnFace]:
    """The chosen faces as they are drawn: with an arrow where their gaze is confident."""
    gaze = gaze_of(frame, (name for name, _ in chosen.values()))
    return {
        key: DrawnFace(
            with_arrow(faces[name], gaze[name], normalised=normalised) if confident else faces[name].crop,
            gaze_patch(faces[name], gaze[name], arrow=confident),
            confident,
        )
        for key, (name, confident) in chosen.items()
        if name in faces
    }


def _save_pairs(
    pairs: Mapping[Key, Pair],
    rows: Mapping[str, list[dict[str, Any]]],
    frames: Mapping[str, pd.DataFrame],
    faces: Mapping[str, Face],
    names: Mapping[Key, str],
    data: str,
    out: Path,
) -> list[Path]:
    forgeries = {(row["dataset"], row["generator"]): row for of_one in rows.values() for row in of_one}
    panels = [
        _panel(key, names[key], str(forgeries[key]["forgery"]), pair, faces, frames)
        for key, pair in pairs.items()
        if pair.forged in faces and pair.target in faces
    ]
    if not panels:
        for suffix in style.SUFFIXES:
            (out / f"gaze-pairs.{suffix}").unlink(missing_ok=True)  # of an earlier run, no longer true
        return []
    drawn = {panel.key for panel in panels}
    left_out = [
        f"{names[key]} ({row.get('pair_verdict') or 'no pairs'})"
        for key, row in forgeries.items()
        if key in names.keys() - drawn
    ]
    which = "estimator" if len(rows) == 1 else "estimators"
    title = f"Gaze of forged faces and their targets, {which} {', '.join(rows)}{data}"
    figure = draw_pairs_figure(panels, rows, title=title, rule=PAIR_RULE, left_out=left_out)
    return style.save(figure, out, "gaze-pairs", title)


def _panel(
    key: Key, name: str, forgery: str, pair: Pair, faces: Mapping[str, Face], frames: Mapping[str, pd.DataFrame]
) -> PairPanel:
    crops, cosines = {}, {}
    for estimator, frame in frames.items():
        gaze, normalised = gaze_of(frame, (pair.target, pair.forged)), sees_patch(estimator)
        target, forged = (
            with_arrow(faces[name], gaze[name], normalised=normalised) if pair.confident else faces[name].crop
            for name in (pair.target, pair.forged)
        )
        crops[estimator] = (target, forged)
        angles = np.array([[gaze[name][axis] for axis in _AXES] for name in (pair.target, pair.forged)])
        cosines[estimator] = METRICS["paired_cosine"].compute(a=angles[:1], b=angles[1:])
    return PairPanel(key, name, forgery, crops, cosines, pair.confident)


def _choose(frame: pd.DataFrame, rows: Sequence[Mapping[str, Any]], seed: int) -> dict[Key, tuple[str, bool]]:
    """A typical face of every generator that has a row, and of the real faces: its id, and whether it is confident."""
    chosen = {}
    known = {(row["dataset"], row["generator"]) for row in rows}
    fakes = frame[frame["detection_label"] == FAKE]
    groups = {
        (str(key[0]), str(key[1])): of_group  # type: ignore[index]
        for key, of_group in fakes.groupby(["dataset", "generator"], observed=True)
    }
    groups = {key: of_group for key, of_group in groups.items() if key in known}
    for key, of_group in {_REAL_KEY: frame[frame["detection_label"] == REAL], **groups}.items():
        if (face := choose_face(of_group, seed)) is not None:
            chosen[key] = face
    return chosen


def _names(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[Key, str]:
    """Printed names, with the dataset where there are several."""
    keys = {
        (str(row["dataset"]), str(row["generator"])): None
        for of_estimator in rows.values()
        for row in of_estimator
        if row["forgery"] != "control"
    }
    several = len({dataset for dataset, _ in keys}) > 1
    return {(dataset, name): one_line(_display(name) + (f" ({dataset})" if several else "")) for dataset, name in keys}


def _display(generator: str) -> str:
    known = taxonomy()
    return known[generator].display if generator in known else generator
