"""Which real face a forged one was made from: by file name where the rule is known, else by comparing candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dfad_bench.core.errors import ManifestError
from dfad_bench.core.labels import FAKE, REAL, ForgeryType
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.manifest_schema import sample_id
from dfad_bench.data.pair_table import SCHEMA
from dfad_bench.data.processed import processed_rows
from dfad_bench.ingest.shot_similarity import Shot, likeness
from dfad_bench.ingest.sources.folders import places_of
from dfad_bench.ingest.sources.spec import DatasetSpec, load_dataset_spec
from dfad_bench.ingest.sources.spec_parts import Entry
from dfad_bench.ingest.sources.template import Template

NAME = "name"  # the target the manifest names is among the real faces
KEY = "key"  # the target the manifest names has another path in the real manifest: found by its source key
COMPARED = "compared"  # several candidates: the one whose surroundings fit best
_COLUMNS = [
    "sample_id",
    "dataset",
    "generator",
    "detection_label",
    "origin",
    "frame",
    "source_key",
    "target_id",
    "pair_confidence",
]
_SHOTS = 4  # frames of a video that are compared
_SLOPE = 0.1  # margin at which a choice is right with odds of e to 1
_DIGITS = 4


@dataclass
class _Video:
    """Forged frames of one video, and the real frames (sample_id by frame) of each candidate."""

    frames: dict[int | None, str]  # frame -> forged sample_id
    candidates: dict[str, list[dict[int | None, str]]]  # name -> copies of the real video (compressions)


def infer_pairs(
    manifest: Manifest,
    reals: Sequence[Manifest],
    *,
    spec: DatasetSpec | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  has no state
) -> pd.DataFrame:
    """The real target of every forged face of `manifest` whose target is among the real faces.

    A target given by the file name is looked up by its id, then by its source key. Where the dataset file names
    `candidates`, the real frames of the same number are compared with the forged one and the one that fits better is
    the target; a video is decided as a whole. In reenactment that is the face that was animated, not the driver.

    Args:
        manifest: with the forged faces.
        reals: where the real faces are; may contain `manifest` itself.
        spec: the dataset file of `manifest`; None is the shipped one of its name.
        progress: is called after every crop.

    Returns:
        Columns of `SCHEMA`, sorted by `sample_id`. `pair_confidence` of a compared pair is 0.5 where both candidates
        fit alike and goes to 1 with the margin.

    Raises:
        ManifestError: no real faces.
    """
    forged = manifest.frame(_COLUMNS)
    forged = forged[(forged["detection_label"] == FAKE) & ~forged["generator"].map(has_no_target)]
    real = pd.concat([other.frame(_COLUMNS) for other in reals], ignore_index=True)
    real = real[(real["detection_label"] == REAL) & ~processed_rows(real)].drop_duplicates("sample_id")
    if real.empty:
        where = ", ".join(str(other.folder) for other in reals)
        raise ManifestError(f"no real faces in {where}; give the manifests that hold them (--real)")
    rows = {row["sample_id"]: row for row in [*_by_id(forged, real), *_by_key(forged, real)]}
    videos = _videos(forged, real, spec if spec is not None else shipped_spec(manifest.name))
    shots = _read_shots(_compared_faces(videos), [manifest, *reals], progress)
    for video in videos:
        for row in _compare_candidates(video, shots):
            if row["target_id"] is not None:
                rows[row["sample_id"]] = row
            else:  # target video known, this frame missing in it: a pair by name stays only if it names that video
                _drop_contradicted(rows, row["sample_id"], video.candidates[row["name"]])
    ordered = [rows[key] for key in sorted(rows)]
    return pa.Table.from_pylist(ordered, schema=SCHEMA).to_pandas()


def has_no_target(generator: str) -> bool:
    """Whether faces of a generator have no target because the whole face is synthesised."""
    return taxonomy()[generator].forgery == ForgeryType.EFS


def _by_id(forged: pd.DataFrame, real: pd.DataFrame) -> Iterable[dict[str, Any]]:
    known = {name: name for name in real["sample_id"]}
    if not forged["target_id"].dropna().isin(known).all():  # the real videos may lie there as frames in folders
        known = {**dict(_frames_in_folders(real)), **known}
    here = forged[forged["target_id"].isin(known)]
    for name, target, confidence in zip(here["sample_id"], here["target_id"], here["pair_confidence"], strict=True):
        yield _pair(name, known[target], 1.0 if pd.isna(confidence) else float(confidence), NAME)


def _frames_in_folders(real: pd.DataFrame) -> Iterable[tuple[str, str]]:
    """(the id a frame has where its video is one file or its folder's name, its own) of frames stored one by one."""
    stored = real[real["frame"].notna()]
    columns = (stored[column] for column in ("sample_id", "dataset", "origin", "frame"))
    for name, dataset, origin, frame in zip(*columns, strict=True):
        if (folder := _folder(origin)) != origin:
            for video in (folder, f"{folder}.mp4", f"{folder}.avi"):
                yield sample_id(str(dataset), video, int(frame)), name


def _by_key(forged: pd.DataFrame, real: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Targets that the real manifest has under another path: the only real face of that source key and frame."""
    unlinked = forged[forged["target_id"].notna() & ~forged["target_id"].isin(real["sample_id"])]
    unlinked = unlinked[unlinked["source_key"].notna()]
    keyed = real[real["source_key"].isin(unlinked["source_key"])].drop_duplicates(["source_key", "frame"], keep=False)
    faces = {
        (key, _frame(frame)): name
        for key, frame, name in zip(keyed["source_key"], keyed["frame"], keyed["sample_id"], strict=True)
    }
    columns = (unlinked[column] for column in ("sample_id", "source_key", "frame", "pair_confidence"))
    for name, key, frame, confidence in zip(*columns, strict=True):
        if target := faces.get((key, _frame(frame))):
            yield _pair(name, target, 1.0 if pd.isna(confidence) else float(confidence), KEY)


def _pair(forged: str, target: str | None, confidence: float, method: str) -> dict[str, Any]:
    return {"sample_id": forged, "target_id": target, "pair_confidence": confidence, "method": method}


def _videos(forged: pd.DataFrame, real: pd.DataFrame, spec: DatasetSpec | None) -> list[_Video]:
    """Forged videos with two or more candidates among the real faces."""
    entries = [(entry, Template(entry.path)) for entry in spec.entries] if spec else []
    if spec is None or not any(entry.candidates for entry, _ in entries):
        return []
    grouped: dict[tuple[str, tuple[str, ...]], dict[int | None, str]] = {}
    columns = (forged[column] for column in ("sample_id", "generator", "origin", "frame"))
    for name, generator, origin, frame in zip(*columns, strict=True):
        names = candidates_of(spec, entries, generator, origin)
        if len(names) > 1:
            video = origin if pd.isna(frame) else _folder(origin)
            grouped.setdefault((video, names), {})[_frame(frame)] = name
    known = faces_by_name(real, {name for _, names in grouped for name in names})
    videos = []
    for (_, names), frames in sorted(grouped.items()):
        here = {name: list(known[name].values()) for name in names if name in known}
        if len(here) > 1:
            videos.append(_Video(frames, here))
    return videos


def candidates_of(
    spec: DatasetSpec, entries: Sequence[tuple[Entry, Template]], generator: str, origin: str
) -> tuple[str, ...]:
    """Names (lower case) of the real videos or images one of which is the target of the forged one at `origin`."""
    for place in places_of(origin):
        for entry, template in entries:
            fields = template.match(place)
            if fields is not None and (entry.generator or spec.generator_of(fields["generator"])) == generator:
                names = [Template(text).fill(fields) for text in entry.candidates]
                return tuple(dict.fromkeys(name.casefold() for name in names if name))
    return ()


def faces_by_name(real: pd.DataFrame, names: set[str]) -> dict[str, dict[str, dict[int | None, str]]]:
    """Real faces by the name of their video or image, then by its path, then by frame."""
    known: dict[str, dict[str, dict[int | None, str]]] = {}
    columns = (real[column] for column in ("sample_id", "origin", "frame", "source_key"))
    for identity, origin, frame, key in zip(*columns, strict=True):
        where = origin if pd.isna(frame) else _folder(origin)
        stem = where.rpartition("/")[2]
        aliases = {stem.casefold(), stem.rpartition(".")[0].casefold()}
        if isinstance(key, str):
            aliases.add(key.rpartition(":")[2].casefold())
        for alias in aliases & names:
            known.setdefault(alias, {}).setdefault(where, {})[_frame(frame)] = identity
    return known


def _compared_faces(videos: Sequence[_Video]) -> set[str]:
    return {
        identity
        for video in videos
        for copies in video.candidates.values()
        for copy in copies
        for pair in _shared_frames(video.frames, copy)
        for identity in pair
    }


def _shared_frames(forged: Mapping[int | None, str], real: Mapping[int | None, str]) -> list[tuple[str, str]]:
    """Pairs of a few frames that both videos have, spread over the video; of nearest frames where they share none."""
    if None in forged or None in real:
        return [(forged[None], real[None])] if None in forged and None in real else []
    numbers = sorted(frame for frame in forged if frame is not None)
    both = [frame for frame in numbers if frame in real]
    if both:
        return [(forged[frame], real[frame]) for frame in _spread_over(both)]
    there = np.array(sorted(frame for frame in real if frame is not None))
    nearest = [(frame, int(there[np.abs(there - frame).argmin()])) for frame in _spread_over(numbers)]
    return [(forged[frame], real[other]) for frame, other in nearest]


def _spread_over(frames: Sequence[int]) -> list[int]:
    picks = np.linspace(0, len(frames) - 1, min(_SHOTS, len(frames))).round().astype(int)
    return [frames[pick] for pick in dict.fromkeys(picks.tolist())]


def _read_shots(wanted: set[str], manifests: Sequence[Manifest], progress: Progress) -> dict[str, Shot]:
    shots: dict[str, Shot] = {}
    progress.start("Comparing faces", len(wanted))
    try:
        for manifest in manifests:
            rows = manifest.frame(["sample_id", "crop_box", "box", "landmarks"])
            rows = rows[rows["sample_id"].isin(wanted - shots.keys())].set_index("sample_id")
            for crop in manifest.crops(set(rows.index)):
                row = rows.loc[crop.sample_id]
                shots[crop.sample_id] = Shot.of(crop.pixels(), row["crop_box"], row["box"], row["landmarks"])
                progress.advance()
    finally:
        progress.finish()
    return shots


def _drop_contradicted(
    rows: dict[str, dict[str, Any]], forged: str, copies: Sequence[Mapping[int | None, str]]
) -> None:
    by_name = rows.get(forged)
    if by_name is not None and not any(by_name["target_id"] in copy.values() for copy in copies):
        del rows[forged]


def _compare_candidates(video: _Video, shots: Mapping[str, Shot]) -> Iterable[dict[str, Any]]:
    """A row per forged frame, with the chosen candidate as `name`; `target_id` is None where it lacks that frame."""
    fits: dict[str, tuple[float, dict[int | None, str]]] = {}
    for name, copies in video.candidates.items():
        scored = []
        for copy in copies:
            values = [likeness(shots[forged], shots[real]) for forged, real in _shared_frames(video.frames, copy)]
            values = [value for value in values if np.isfinite(value)]
            if values:
                scored.append((float(np.mean(values)), copy))
        if scored:
            fits[name] = max(scored, key=lambda item: item[0])
    if len(fits) < 2:
        return
    best, second, *_ = sorted(fits, key=lambda name: (-fits[name][0], name))
    margin = round(fits[best][0] - fits[second][0], _DIGITS)
    confidence = round(float(1 / (1 + np.exp(-margin / _SLOPE))), _DIGITS)
    for frame, forged in video.frames.items():
        pair = _pair(forged, fits[best][1].get(frame), confidence, COMPARED)
        yield {**pair, "source_id": fits[second][1].get(frame), "margin": margin, "name": best}


def shipped_spec(name: str) -> DatasetSpec | None:
    """The shipped or included dataset file of a manifest of that name, or None."""
    from dfad_bench.core.resources import yaml_names

    return load_dataset_spec(name) if name in yaml_names("manifests", "datasets") else None


def _frame(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _folder(origin: str) -> str:
    """The video a frame belongs to: the folder of an extracted frame, or the video file."""
    folder, _, name = origin.rpartition("/")
    return folder if name.isdigit() or (name.rpartition(".")[0].isdigit() and _is_image(name)) else origin


def _is_image(name: str) -> bool:
    return Template("{name}.{ext}").match(name) is not None
