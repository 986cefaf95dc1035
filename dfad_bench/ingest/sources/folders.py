"""Images in folders and archives, described by their paths and the entries of a dataset file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dfad_bench.core.errors import quoted
from dfad_bench.core.labels import ForgeryType
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.images import ANIMATION_EXTENSIONS, VIDEO_EXTENSIONS
from dfad_bench.ingest.media.archive import is_archive
from dfad_bench.ingest.media.base import medium_of
from dfad_bench.ingest.sample import OUTSIDE, FoundFile, RawSample
from dfad_bench.ingest.sources.archives import list_all_files, places
from dfad_bench.ingest.sources.base import PACKED_VIDEO, Listing
from dfad_bench.ingest.sources.fitted import Fitted
from dfad_bench.ingest.sources.mask_files import with_masks
from dfad_bench.ingest.sources.numbers import Numbers
from dfad_bench.ingest.sources.spec import DatasetSpec
from dfad_bench.ingest.sources.spec_parts import Entry
from dfad_bench.ingest.sources.template import Template

NO_PATH = "fits no path of the layout"
_ARCHIVES = (".7z", ".rar", ".gz")
_STEM = ".{ext}"


def list_images(spec: DatasetSpec, root: Path) -> Listing:
    """The images below `root`, also in archives, whose path fits an entry; the first that fits counts.

    Raises:
        ConfigError: no such folder.
    """
    listing = Listing()
    fitted = _keep_wanted(spec, fit_files(spec, root, listing), listing)
    if spec.once:
        fitted = _drop_copies(fitted, listing)
    listing.samples = _with_targets(with_masks(spec, root, fitted, listing))
    return listing


def fit_files(spec: DatasetSpec, root: Path, listing: Listing) -> list[Fitted]:
    """The files that fit an entry, with splits but without targets; the others are counted in `listing`.

    A member of an archive that is also present unpacked is left out.

    Raises:
        ConfigError: no such folder.
    """
    entries = [(entry, Template(entry.path)) for entry in spec.entries]
    skip = [Template(text) for text in spec.skip]
    numbers = Numbers(spec.split_by) if spec.split_by else None
    fitted: list[Fitted] = []
    plain: set[str] | None = None

    def skipped(place: str) -> bool:
        return any(template.match(place) is not None for template in skip)

    for file in list_all_files(root, listing, skipped, spec.follow_links):
        if file.member is not None:
            if plain is None:
                plain = {item.place.casefold() for item in fitted}
            if not plain.isdisjoint(place.casefold() for place in file.places):
                listing.ignore("also unpacked", file.origin)
                continue
        if numbers and numbers.take(file):
            listing.ignore("not part of this dataset", file.origin)
        elif found := fit_file(spec, file, entries):
            if isinstance(found, Fitted) and file.member is not None and _is_video(spec, file, found.entry):
                listing.ignore(PACKED_VIDEO, file.origin)
            elif isinstance(found, Fitted):
                fitted.append(found)
            else:
                known = any(skipped(place) for place in file.places)
                listing.ignore(
                    "not part of this dataset" if known else f"unknown generator {quoted(found)}", file.origin
                )
        else:
            known = any(skipped(place) for place in file.places)
            listing.ignore("not part of this dataset" if known else _reason_left_out(spec, file), file.origin)
    return numbers.split(fitted, listing) if numbers else fitted


def fit_file(spec: DatasetSpec, file: FoundFile, entries: list[tuple[Entry, Template]]) -> Fitted | str | None:
    """The first template that a file fits and that names a known generator.

    Returns the name of the unknown generator where a template fits but none is known, None where no template fits.
    """
    unknown: str | None = None
    for place in file.places:
        named = False
        for order, (entry, template) in enumerate(entries):
            fields = template.match(place)
            if fields is None:
                continue
            generator = entry.generator or spec.generator_of(fields["generator"])
            if generator is not None:
                return Fitted(sample_of(spec, file, entry, fields, generator), entry, order, fields, place)
            if not named:  # keep that of the last place, which is the closest to an unpacked folder
                named, unknown = True, fields["generator"]
    return unknown


def sample_of(spec: DatasetSpec, file: FoundFile, entry: Entry, fields: dict[str, str], generator: str) -> RawSample:
    """A file as a sample, by the fields of its path."""
    frame = fields.get("frame", "")
    return RawSample(
        dataset=spec.name,
        generator=generator,
        split=spec.split_of(entry.split or fields.get("split")),
        origin=file.origin,
        path=file.path,
        source_key=Template(entry.source_key).fill(fields) if entry.source_key else None,
        source=Template(entry.source).fill(fields) if entry.source else None,
        frame=int(frame) if frame.isascii() and frame.isdigit() and len(frame) < 10 else None,
        size=file.size,
        changed=file.changed,
        medium=_medium(spec, file, entry),
        member=file.member,
        position=file.position,
        refusal="outside_root" if file.outside else "unreadable" if file.damaged else None,
        refusal_reason=file.damaged or OUTSIDE,
    )


def _medium(spec: DatasetSpec, file: FoundFile, entry: Entry) -> str:
    if file.member is not None:
        return "archive"
    return medium_of(file.origin) if _is_video(spec, file, entry) else "image"


def _is_video(spec: DatasetSpec, file: FoundFile, entry: Entry) -> bool:
    """Whether a file is a video: by its entry, else by its extension.

    GIF and WebP, which may be either, are animations where the layout is `videos` and the path has no `{ext}`.
    """
    if entry.videos or entry.medium == "image":
        return entry.videos
    either = ANIMATION_EXTENSIONS if spec.layout == "videos" and "{ext" not in entry.path else ()
    return file.origin.lower().rpartition(".")[2] in (*VIDEO_EXTENSIONS, *either)


def _keep_wanted(spec: DatasetSpec, fitted: list[Fitted], listing: Listing) -> list[Fitted]:
    """Those whose fields hold the values asked for (`DatasetSpec.only`), whatever their case."""
    wanted = {name: {value.casefold() for value in values} for name, values in spec.only.items()}
    skip = [Template(text) for text in spec.skip]
    kept = []
    for item in fitted:
        other = [name for name, values in wanted.items() if item.fields.get(name, min(values)).casefold() not in values]
        if other:
            known = any(template.match(item.place) is not None for template in skip)
            why = "not part of this dataset" if known else f"{other[0]} {quoted(item.fields[other[0]])}, not asked for"
            listing.ignore(why, item.sample.origin)
        else:
            kept.append(item)
    return kept


def places_of(origin: str) -> tuple[str, ...]:
    """The paths that templates are tried on, derived from the origin only.

    >>> places_of("DF40/simswap.zip/simswap/frames/1_2/3.png")[2]
    'DF40/simswap/frames/1_2/3.png'
    """
    parts = origin.split("/")
    for end in range(1, len(parts)):
        if is_archive(parts[end - 1]):
            return places("/".join(parts[:end]), "/".join(parts[end:]))
    return (origin,)


def _drop_copies(fitted: list[Fitted], listing: Listing) -> list[Fitted]:
    """Of several images with the same source key, keep that of the first entry (and first name)."""
    best: dict[str, Fitted] = {}
    for item in fitted:
        key = item.sample.source_key
        if key and (item.order, item.sample.origin) < ((b := best.setdefault(key, item)).order, b.sample.origin):
            best[key] = item
    kept = []
    for item in fitted:
        if item.sample.source_key is None or best[item.sample.source_key] is item:
            kept.append(item)
        else:
            listing.ignore("copy of another image", item.sample.origin)
    return kept


def _with_targets(fitted: list[Fitted]) -> list[RawSample]:
    if not any(item.entry.target for item in fitted):
        return [item.sample for item in fitted]
    known: dict[str, str] = {}
    for item in fitted:
        place, origin = item.place.casefold(), item.sample.origin
        known.setdefault(place, origin)
        known.setdefault(place.rpartition(".")[0] + ".*", origin)
    return [_with_target(item.sample, item.entry, item.fields, known) for item in fitted]


def _with_target(sample: RawSample, entry: Entry, fields: dict[str, str], known: dict[str, str]) -> RawSample:
    if taxonomy()[sample.generator].forgery == ForgeryType.EFS:  # made from no face, whatever its name looks like
        return replace(sample, source_key=None) if entry.target_dataset else sample
    for text in entry.target:
        path = Template(text.removesuffix(_STEM)).fill(fields)
        if path is None:
            continue
        name = f"{path}.*" if text.endswith(_STEM) else path
        origin = path if entry.target_dataset else known.get(name.casefold())
        if origin is not None and (entry.target_dataset or origin != sample.origin):
            dataset, confidence = entry.target_dataset, entry.pair_confidence
            return replace(sample, target_origin=origin, target_dataset=dataset, pair_confidence=confidence)
    return sample


def _reason_left_out(spec: DatasetSpec, file: FoundFile) -> str:
    name = file.origin.lower()
    if name.rpartition(".")[2] in VIDEO_EXTENSIONS:
        if file.member is not None:
            return PACKED_VIDEO
        return NO_PATH if spec.layout == "videos" else "video"
    return "archive" if name.endswith(_ARCHIVES) or is_archive(name) else NO_PATH
