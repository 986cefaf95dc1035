"""Images in folders: the path says what an image is. Driven by the entries of a dataset file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dfad_bench.core.errors import ConfigError
from dfad_bench.data.sources.base import FoundFile, Listing, RawSample, walk
from dfad_bench.data.sources.spec import DatasetSpec, Entry
from dfad_bench.data.sources.template import Template

_VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip", ".7z", ".rar")
_STEM = ".{ext}"


def list_images(spec: DatasetSpec, root: Path) -> Listing:
    """The images below `root` whose path fits an entry; the first that fits counts.

    Raises:
        ConfigError: no such folder.
    """
    listing = Listing()
    entries = [(entry, Template(entry.path)) for entry in spec.entries]
    skip = [Template(text) for text in spec.skip]
    fitted: list[tuple[RawSample, Entry, dict[str, str]]] = []
    for file in walk(root, listing):
        entry, fields = _fit(file.origin, entries)
        sample = _sample(spec, file, entry, fields) if entry else None
        if entry and sample:
            fitted.append((sample, entry, fields))
        elif any(template.match(file.origin) is not None for template in skip):
            listing.ignore("not part of this dataset", file.origin)
        else:
            why = f"unknown generator {fields['generator']!r}" if entry else _kind(file.origin)
            listing.ignore(why, file.origin)
    listing.samples = _with_targets(fitted)
    return listing


def list_frames(spec: DatasetSpec, root: Path) -> Listing:
    """Frames extracted from videos, each in an image file.

    Raises:
        ConfigError: there are videos and no frames.
    """
    listing = list_images(spec, root)
    if not listing.samples and "video" in listing.ignored:
        count, where = listing.ignored["video"], spec.layout_lines()
        raise ConfigError(f"{root}: {count} videos; {spec.name} reads extracted frames only so far: extract to {where}")
    return listing


def list_unpacked(spec: DatasetSpec, root: Path) -> Listing:
    """Images unpacked from archives.

    Raises:
        ConfigError: there are archives and no images.
    """
    listing = list_images(spec, root)
    if not listing.samples and "archive" in listing.ignored:
        count, where = listing.ignored["archive"], spec.layout_lines()
        raise ConfigError(f"{root}: {count} archives; reading inside is not supported yet: unpack to {where}")
    return listing


def _fit(origin: str, entries: list[tuple[Entry, Template]]) -> tuple[Entry | None, dict[str, str]]:
    for entry, template in entries:
        fields = template.match(origin)
        if fields is not None:
            return entry, fields
    return None, {}


def _sample(spec: DatasetSpec, file: FoundFile, entry: Entry, fields: dict[str, str]) -> RawSample | None:
    generator = entry.generator or spec.generator_of(fields["generator"])
    if generator is None:
        return None
    frame = fields.get("frame", "")
    return RawSample(
        dataset=spec.name,
        generator=generator,
        split=spec.split_of(entry.split or fields.get("split")),
        origin=file.origin,
        path=file.path,
        source_key=Template(entry.source_key).fill(fields) if entry.source_key else None,
        frame=int(frame) if frame.isascii() and frame.isdigit() and len(frame) < 10 else None,
        size=file.size,
        refusal="outside_root" if file.outside else None,
    )


def _with_targets(fitted: list[tuple[RawSample, Entry, dict[str, str]]]) -> list[RawSample]:
    if not any(entry.target for _, entry, _ in fitted):
        return [sample for sample, _, _ in fitted]
    known: dict[str, str] = {}
    for sample, _, _ in fitted:
        known.setdefault(sample.origin.casefold(), sample.origin)
        known.setdefault(sample.origin.casefold().rpartition(".")[0] + ".*", sample.origin)
    return [_with_target(sample, entry, fields, known) for sample, entry, fields in fitted]


def _with_target(sample: RawSample, entry: Entry, fields: dict[str, str], known: dict[str, str]) -> RawSample:
    for text in entry.target:
        path = Template(text.removesuffix(_STEM)).fill(fields)
        if path is None:
            continue
        name = f"{path}.*" if text.endswith(_STEM) else path
        origin = path if entry.target_dataset else known.get(name.casefold())
        if origin is not None and (entry.target_dataset or origin != sample.origin):
            dataset, sure = entry.target_dataset, entry.pair_confidence
            return replace(sample, target_origin=origin, target_dataset=dataset, pair_confidence=sure)
    return sample


def _kind(origin: str) -> str:
    name = origin.lower()
    if name.endswith(_VIDEOS):
        return "video"
    return "archive" if name.endswith(_ARCHIVES) else "fits no path of the layout"
