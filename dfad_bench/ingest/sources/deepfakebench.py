"""Frames listed by a DeepfakeBench JSON: dataset, label, split, (compression,) video, frames.

    {"FaceForensics++": {"FF-DF": {"train": {"c23": {"000_003": {"label": "FF-DF", "frames": ["...", ...]}}}}}}

Labels are used as they are, paths are checked: they may have been written on Windows and must stay below the source
folder. A frame that is listed for several splits counts once, as a test frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.files import plain_path, read_json, safe_relative
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.base import Listing, printable_name
from dfad_bench.ingest.sources.prefixes import map_prefix, suggest_prefix
from dfad_bench.ingest.sources.spec import DatasetSpec, load_dataset_spec
from dfad_bench.ingest.sources.template import Template

_SPLITS = ("test", "val", "train")  # a frame belongs to the first of these that lists it
# labels whose video names say the target: FaceForensics++ `<target>_<source>`, Celeb-DF `<target>_<source>_<record>`
_PAIRED = {
    "FF-": (Template("{target:int}_{source:int}"), Template("{target}")),
    "CelebDF": (Template("{target:word}_{source:word}_{record:int}"), Template("{target}_{record}")),
}


class _ListedFrame(NamedTuple):
    dataset: str
    label: str
    split: str
    compression: str
    video: str
    frame: str


def list_frames(spec: DatasetSpec, root: Path) -> Listing:
    """The frames of the JSON as samples; a frame whose file is missing becomes a refused row.

    Raises:
        ConfigError: no such folder, no JSON given, or not a JSON of DeepfakeBench.
    """
    if spec.index is None:
        raise ConfigError(f"dataset {quoted(spec.name)} needs --from-deepfakebench FILE")
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder")
    listing = Listing()
    chosen: dict[str, tuple[RawSample, _ListedFrame]] = {}
    listed = sorted(_listed_frames(Path(spec.index)), key=lambda item: _rank(item.split))
    wanted = {name: {value.casefold() for value in values} for name, values in spec.only.items()}
    for item in listed:
        origin = map_prefix(_origin(item.frame), spec.prefixes)
        if other := _unwanted_field(item, wanted):
            listing.ignore(f"{other} {quoted(getattr(item, other))}, not asked for", origin)
            continue
        if origin in chosen:
            same = chosen[origin][1].split == item.split
            listing.ignore(
                "listed twice" if same else "listed for several splits, kept in the first of test, val, train", origin
            )
            continue
        generator = _generator(spec, item.label)
        if generator is None:
            listing.ignore(f"unknown generator {quoted(item.label)}", origin)
            continue
        chosen[origin] = _sample(spec, root, origin, generator, item), item
    listing.samples = _with_targets(chosen)
    missing = (s.origin for s in listing.samples if s.refusal or not s.size)
    listing.notes += [note] if (note := suggest_prefix(root, missing, spec.prefixes)) else []
    return listing


def _unwanted_field(item: _ListedFrame, wanted: Mapping[str, set[str]]) -> str | None:
    """The first field whose value is not among those asked for, or None; compression is optional."""
    values = item._asdict()
    return next((k for k, texts in wanted.items() if (v := values.get(k)) and v.casefold() not in texts), None)


def _rank(split: str) -> int:
    return _SPLITS.index(split) if split in _SPLITS else len(_SPLITS)


def _origin(frame: str) -> str:
    return plain_path(printable_name(frame))


def _sample(spec: DatasetSpec, root: Path, origin: str, generator: str, item: _ListedFrame) -> RawSample:
    refusal, path, size, changed = None, root, 0, 0
    try:
        path = safe_relative(root, origin, follow=spec.follow_links)
        size, changed = (facts := path.stat()).st_size, facts.st_mtime_ns
    except (ConfigError, ValueError):
        refusal = "outside_root"
    except OSError:  # missing: reading it gives the reason
        path = root / origin
    stem = origin.rpartition("/")[2].partition(".")[0]
    return RawSample(
        dataset=spec.name,
        generator=generator,
        split=spec.split_of(item.split),
        origin=origin,
        path=path,
        source_key=f"{item.dataset}:{_target(item) or item.video}",  # a forged video shares it with its target
        frame=int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 10 else None,
        size=size,
        changed=changed,
        refusal=refusal,
    )


def _generator(spec: DatasetSpec, label: str) -> str | None:
    folded = label.casefold()
    if folded.endswith("_real"):
        return "real"
    known = spec.generator_of(label) or _labels().get(folded)
    name = folded.removesuffix("_fake")
    return known or spec.generator_of(name) or (taxonomy()[name].key if name in taxonomy() else None)


@cache
def _labels() -> dict[str, str]:
    return {name.casefold(): key for name, key in load_dataset_spec("deepfakebench").generators.items()}


def _with_targets(chosen: dict[str, tuple[RawSample, _ListedFrame]]) -> list[RawSample]:
    reals: dict[tuple[str, str, str, int | None], str] = {}
    for sample, item in chosen.values():
        if sample.generator == "real":
            reals.setdefault((item.dataset, item.compression, item.video, sample.frame), sample.origin)
    samples = []
    for sample, item in chosen.values():
        target = _target(item)
        origin = reals.get((item.dataset, item.compression, target, sample.frame)) if target else None
        if origin is not None and sample.generator != "real":
            sample = replace(sample, target_origin=origin, pair_confidence=1.0)  # noqa: PLW2901
        samples.append(sample)
    return samples


def _target(item: _ListedFrame) -> str | None:
    for prefix, (template, name) in _PAIRED.items():
        if item.label.startswith(prefix) and (fields := template.match(item.video)):
            return name.fill(fields)
    return None


def _listed_frames(file: Path) -> Iterator[_ListedFrame]:
    for dataset, labels in _mapping(read_json(file), str(file)).items():
        for label, splits in _mapping(labels, f"{file}: {dataset}").items():
            for split, videos in _mapping(splits, f"{file}: {dataset}: {label}").items():
                yield from _videos(videos, f"{file}: {dataset}: {label}: {split}", (dataset, label, split.lower()))


def _videos(value: Any, where: str, above: tuple[str, str, str], compression: str = "") -> Iterator[_ListedFrame]:
    for name, video in _mapping(value, where).items():
        if not isinstance(video, Mapping) or "frames" not in video:
            if compression:
                raise ConfigError(f"{where}: {name}: a video needs `frames`")
            yield from _videos(video, f"{where}: {name}", above, name)
            continue
        frames = video["frames"]
        if not isinstance(frames, list) or not all(isinstance(frame, str) and frame for frame in frames):
            raise ConfigError(f"{where}: {name}: `frames` must be a list of paths")
        label = video.get("label", above[1])
        for frame in frames:
            yield _ListedFrame(
                above[0], label if isinstance(label, str) else above[1], above[2], compression, name, frame
            )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: must be a JSON object, as DeepfakeBench writes it")
    return value
