"""A source folder compared with its release: counts by generator and split, from file names only, nothing decoded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.labels import FAKE, ForgeryType
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.base import NOT_THERE, ON_PURPOSE, PACKED_VIDEO, Listing, walk_files
from dfad_bench.ingest.sources.explain import explain_misfits
from dfad_bench.ingest.sources.fitted import Fitted
from dfad_bench.ingest.sources.folders import NO_PATH, fit_file
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import ALL, DatasetSpec, dataset_names, declared_generators, load_dataset_spec
from dfad_bench.ingest.sources.template import Template
from dfad_bench.ingest.survey_notes import UNLABELLED, left_out_notes, release_notes, unlabelled_note

COMPLETE, MISSING, NOT_IN_RELEASE, UNPUBLISHED = "complete", "missing", "not in the release", "number not published"
_STEM = ".{ext}"
_KNOWN = (PACKED_VIDEO, *ON_PURPOSE)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_EXAMPLES = 3
_FEWEST_LETTERS = 4  # of a template
_FEW = 2000  # files that are tried with another root


@dataclass(frozen=True)
class SplitCount:
    """The number found of one split, and the number in the release (None: not published)."""

    found: int
    expected: int | None


@dataclass(frozen=True)
class Coverage:
    """One generator on disk compared with the release. `lacking` is the least number that is missing."""

    generator: str
    found: int
    expected: int | None
    splits: dict[str, SplitCount]  # "" where the source gives no split
    lacking: int
    verdict: str


@dataclass(frozen=True)
class TargetGap:
    """Forged samples whose real target, known from their name, is missing."""

    generator: str
    without: int
    total: int
    examples: tuple[str, ...]  # expected paths of the targets


@dataclass(frozen=True)
class Survey:
    """What a source folder holds. `unit` is what is counted: images, videos or sequences."""

    dataset: str
    title: str
    root: Path
    unit: str
    coverage: tuple[Coverage, ...]
    unknown: dict[str, int]  # folder -> files in it that fit no entry
    ignored: dict[str, int]
    absent: dict[str, int]  # list of the release -> files it names that are missing
    absent_examples: dict[str, list[str]]
    missing_files: dict[str, str]  # path -> what is missing without it
    targets: tuple[TargetGap, ...]
    targets_elsewhere: dict[str, int]  # dataset -> forged samples whose target is a face of it
    outside: int  # links that lead out of the folder
    layout: str
    obtain: str
    notes: tuple[str, ...]  # remarks of the adapter: official lists that are missing, ...

    @property
    def complete(self) -> bool:
        """Whether everything known of the release is present; an empty folder is never complete."""
        lacking = any(row.lacking for row in self.coverage) or not any(row.found for row in self.coverage)
        return not (lacking or self.absent or self.missing_files or self.targets)


def survey(
    dataset: str,
    root: Path,
    *,
    only: Mapping[str, str] = {},
    from_deepfakebench: Path | None = None,
    prefixes: Mapping[str, str] = {},
    labels: Mapping[str, str] = {},
    follow_links: bool = False,
) -> Survey:
    """List a source folder and compare it with what its dataset file says of the release.

    Args:
        dataset: name of a shipped dataset file, or the path of one's own.
        root: the folder with the dataset as released.
        only: field of the dataset's paths -> values to count, as in `build_manifest`.
        from_deepfakebench: a JSON of DeepfakeBench that lists the frames, as in `build_manifest`.
        prefixes: beginnings of listed paths -> what replaces them, as in `build_manifest`.
        labels: values of labels -> generators, as in `build_manifest`.
        follow_links: follow links out of the folder, as in `build_manifest`.

    Raises:
        ConfigError: no such folder or field, or a damaged list of the release or of DeepfakeBench.
        UnknownNameError: no such dataset.
    """
    with declared_generators(dataset):
        spec = load_dataset_spec(dataset)
        spec = spec.with_index(Path(from_deepfakebench)) if from_deepfakebench else spec
        spec = spec.with_only(only) if only else spec
        spec = spec.with_prefixes(prefixes) if prefixes else spec
        spec = spec.with_labels(labels) if labels else spec
        return _survey(spec.with_links() if follow_links else spec, Path(root))


def _survey(spec: DatasetSpec, root: Path) -> Survey:
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder")
    listing = list_source(spec, root)
    gaps, elsewhere = _target_gaps(spec, listing.samples)
    absent, examples = _count_absent(spec, listing)
    return Survey(
        dataset=spec.name,
        title=spec.title,
        root=root,
        unit=spec.expected_of,
        coverage=tuple(coverage(spec, listing)),
        unknown=_unknown_folders(listing),
        ignored=dict(sorted(listing.ignored.items())),
        absent=absent,
        absent_examples=examples,
        missing_files=_missing_files(spec, root),
        targets=gaps,
        targets_elsewhere=elsewhere,
        outside=sum(sample.refusal == "outside_root" for sample in listing.samples),
        layout=spec.layout_lines(),
        obtain=spec.obtain or spec.homepage or spec.title,
        notes=(
            *listing.notes,
            *release_notes(spec, listing),
            *unlabelled_note(spec, listing),
            *left_out_notes(listing),
            *(list(hints(spec, root, listing)) or explain_misfits(spec, listing.examples.get(NO_PATH, ()))),
        ),
    )


def hints(spec: DatasetSpec, root: Path, listing: Listing) -> Iterator[str]:
    """Suggestions for another root, where nothing in the folder fits."""
    if listing.samples or spec.index is not None:
        return
    for place in sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink()):
        below = list_source(spec, place)
        if below.samples:
            yield f"{len(below.samples):,} files of this dataset lie below {place}: use that as --root"
            return
    whole = root.resolve()
    entries = [(entry, Template(entry.path)) for entry in spec.entries]
    for file in islice(walk_files(root, Listing(), spec.follow_links), _FEW):
        if isinstance(fit_file(spec, replace(file, places=(f"{whole.name}/{file.origin}",)), entries), Fitted):
            yield f"with {whole.name}/ before them these files would fit: use {whole.parent} as --root"
            return
    yield from _nearest_dataset(spec, root)


def _nearest_dataset(spec: DatasetSpec, root: Path) -> Iterator[str]:
    """The dataset file that most of the first files fit, in this folder or in the one it holds."""
    files = list(islice(walk_files(root, Listing(), spec.follow_links), _FEW))
    best, most, below = "", 0, ""
    for name in dataset_names():
        other = load_dataset_spec(name)
        if other.generator_option or other.layout == "image_folder" or name == spec.name:
            continue  # the first two fit everything
        entries = [(entry, Template(entry.path)) for entry in other.entries if _names_something(entry.path)]
        for depth in (0, 1):
            places = [(file, "/".join(file.origin.split("/")[depth:])) for file in files]
            fits = [
                f for f, place in places if isinstance(fit_file(other, replace(f, places=(place,)), entries), Fitted)
            ]
            if len(fits) > most:
                best, most, below = name, len(fits), fits[0].origin.split("/")[0] if depth else ""
    if 2 * most > len(files):  # fewer fit by chance: a template as {generator}/{image} takes any folder
        where = f" with {root / below} as --root" if below else ""
        yield f"{most:,} of the first {len(files):,} files fit --dataset {best}{where}"


def _names_something(template: str) -> bool:
    """Whether a template has a generator or some text of its own: others fit the files of any dataset.

    >>> _names_something("{split}/{folder:path}/{clip}.{ext}"), _names_something("original/{video}.{ext}")
    (False, True)
    """
    return "{generator}" in template or len(re.sub(r"\{[^}]*\}|[^a-zA-Z]", "", template)) >= _FEWEST_LETTERS


def coverage(spec: DatasetSpec, listing: Listing) -> Iterator[Coverage]:
    """One row per generator of the dataset file or the folder, then one per name that is no known generator."""
    found: dict[str, Counter[str]] = {}
    for generator, split in _units(listing.samples, spec.expected_of):
        found.setdefault(generator, Counter())[split or ""] += 1
    named = [e.generator for e in spec.entries if e.generator]
    named = [name for name in named if name != UNLABELLED]  # a list of the release gives their generators
    whole = [*named, *spec.generators.values(), *spec.expected] if spec.index is None else []  # a list may name a few
    for generator in dict.fromkeys([*whole, *sorted(found)]):
        yield _coverage_of(spec, generator, found.get(generator, Counter()))
    for why, number in sorted(listing.ignored.items()):
        if why.startswith("unknown generator "):
            name = why.removeprefix("unknown generator ").strip("'")
            yield Coverage(name, number, None, {}, 0, NOT_IN_RELEASE)


def _units(samples: Iterable[RawSample], unit: str) -> Iterator[tuple[str, str | None]]:
    """Generator and split of each image, or of each video or sequence, whose frames may be separate files."""
    if unit == "images":
        yield from ((sample.generator, sample.split) for sample in samples)
        return
    seen = set()
    for sample in samples:
        # extracted frames have a folder per video; a video is one file
        name = sample.origin if sample.frame is None else sample.origin.rpartition("/")[0]
        if (sample.generator, name) not in seen:
            seen.add((sample.generator, name))
            yield sample.generator, sample.split


def _coverage_of(spec: DatasetSpec, generator: str, found: Counter[str]) -> Coverage:
    published = spec.expected.get(generator)
    numbers = published if isinstance(published, dict) else {} if published is None else {ALL: published}
    total, by_split = numbers.get(ALL), {name: number for name, number in numbers.items() if name != ALL}
    here = sum(found.values())
    has_splits = any(name for name in found)  # without splits on disk there is nothing to compare them with
    names = sorted({*found, *by_split}) if has_splits else sorted(found)
    splits = {name: SplitCount(found[name], by_split.get(name)) for name in names}
    missing_counts = {name: row.expected - row.found for name, row in splits.items() if row.expected is not None}
    if not here:
        lacking = max(1, total or sum(by_split.values()))
        return Coverage(generator, 0, total, splits, lacking, MISSING)
    lacking = max(0, (total or 0) - here, sum(max(0, n) for n in missing_counts.values()))
    return Coverage(
        generator, here, total, splits, lacking, _verdict(here, total, missing_counts, by_split, lacking, has_splits)
    )


def _verdict(
    here: int,
    total: int | None,
    missing_counts: dict[str, int],
    by_split: dict[str, int],
    lacking: int,
    has_splits: bool,
) -> str:
    if total is None and not by_split:
        return UNPUBLISHED
    parts = [f"{name}: {_difference_text(number)}" for name, number in sorted(missing_counts.items()) if number]
    if total is not None and here != total:
        parts.insert(0, _difference_text(total - here))
    if not parts:
        known = total is not None or has_splits
        unsplit = " (the folder does not give the splits)" if by_split and not has_splits else ""
        return (COMPLETE if known else UNPUBLISHED) + unsplit
    return "; ".join(parts)


def _difference_text(lacking: int) -> str:
    return f"short by {lacking:,}" if lacking > 0 else f"{-lacking:,} more than the release"


def _unknown_folders(listing: Listing) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for why, folders in listing.folders.items():
        if not why.endswith((*_KNOWN, NOT_THERE)):
            for folder, number in folders.items():
                counts[folder or "."] += number
    return dict(sorted(counts.items()))


def _count_absent(spec: DatasetSpec, listing: Listing) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Files that lists of the release name and that are missing on disk, by list, with the first few."""
    counts, examples = {}, {}
    for why, number in sorted(listing.ignored.items()):
        if why.endswith(NOT_THERE):
            name = why.removesuffix(NOT_THERE).removeprefix("named ").removeprefix("in ")
            counts[name], examples[name] = number, listing.examples[why][:_EXAMPLES]
    index = spec.table.file if spec.table is not None else Path(spec.index).name if spec.index is not None else None
    if index is not None:  # what it lists is a sample, whether the file exists or not
        vanished = sorted(s.origin for s in listing.samples if not s.size and not s.refusal and not s.path.exists())
        if vanished:
            counts[index], examples[index] = len(vanished), vanished[:_EXAMPLES]
    return counts, examples


def _missing_files(spec: DatasetSpec, root: Path) -> dict[str, str]:
    """Expected paths that are neither in the folder nor one level below it, whatever their case."""
    places = [root, *(entry for entry in root.iterdir() if entry.is_dir())]
    missing = {}
    for pattern, why in spec.expected_files.items():
        for path in _expand_pattern(pattern):
            if not any(_exists(place, path.split("/")) for place in places):
                missing[path] = why
    return missing


def _expand_pattern(pattern: str) -> Iterator[str]:
    """The paths a pattern stands for.

    >>> list(_expand_pattern("part_{8..10}/x.json"))
    ['part_8/x.json', 'part_9/x.json', 'part_10/x.json']
    """
    span = _RANGE.search(pattern)
    if not span:
        yield pattern
        return
    for number in range(int(span[1]), int(span[2]) + 1):
        yield from _expand_pattern(pattern[: span.start()] + str(number) + pattern[span.end() :])


def _exists(folder: Path, parts: Sequence[str]) -> bool:
    direct = folder.joinpath(*parts)
    if direct.exists():
        return True
    if not folder.is_dir():
        return False
    same = [entry for entry in folder.iterdir() if entry.name.casefold() == parts[0].casefold()]
    return any(len(parts) == 1 or _exists(entry, parts[1:]) for entry in same)


def _target_gaps(spec: DatasetSpec, samples: Sequence[RawSample]) -> tuple[tuple[TargetGap, ...], dict[str, int]]:
    origins = {sample.origin for sample in samples}
    entries = [(entry, Template(entry.path)) for entry in spec.entries]
    promised = any(entry.target for entry in spec.entries)
    total: Counter[str] = Counter()
    gaps: dict[str, list[str]] = {}
    elsewhere: Counter[str] = Counter()
    for sample in samples:
        taxon = taxonomy()[sample.generator]
        if taxon.detection_label != FAKE or taxon.forgery is ForgeryType.EFS:  # made from no face
            continue
        if sample.target_dataset not in (None, spec.name):
            elsewhere[str(sample.target_dataset)] += 1
            continue
        if sample.target_origin is None:
            wanted = _expected_target(entries, sample) if promised else None
        else:
            wanted = None if sample.target_origin in origins else sample.target_origin
        total[sample.generator] += sample.target_origin is not None or wanted is not None
        if wanted is not None:
            gaps.setdefault(sample.generator, []).append(wanted)
    rows = (
        TargetGap(generator, len(wanted), total[generator], tuple(dict.fromkeys(wanted))[:_EXAMPLES])
        for generator, wanted in sorted(gaps.items())
    )
    return tuple(rows), dict(sorted(elsewhere.items()))


def _expected_target(entries: Sequence[tuple[object, Template]], sample: RawSample) -> str | None:
    """The expected path of a sample's target, by the template its path fits; None where the template gives none."""
    for entry, template in entries:
        fields = template.match(sample.origin)
        if fields is None:
            continue
        targets: tuple[str, ...] = getattr(entry, "target", ())
        if not targets or getattr(entry, "target_dataset", None):
            return None
        return Template(targets[0].removesuffix(_STEM)).fill(fields)
    return None
