"""Building a manifest: list the source, divide it into shards, crop, write part by part, finish the manifest.

A build can be killed at any moment and run again: parts whose files, inputs and settings are unchanged are kept,
the others are made, and the result is the same bit for bit, whatever the number of workers. Of an input file its name,
size and time of the last change are compared, not its bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, DFADError, quoted
from dfad_bench.core.files import content_hash
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.images import FORMATS, MAX_BYTES, MAX_PIXELS
from dfad_bench.data.manifest import FILE, OK
from dfad_bench.data.manifest_parts import part_name
from dfad_bench.data.manifest_schema import VERSION, sample_id
from dfad_bench.ingest.build_report import BuildReport, make_report
from dfad_bench.ingest.crop.cropper import CropProfile, load_crop_profile
from dfad_bench.ingest.media.base import Sampling
from dfad_bench.ingest.plan import SETTINGS, Plan, check_settings, is_committed, lock_folder
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.settings import FRAMES, BuildSettings, Engine
from dfad_bench.ingest.shard import ShardTask, run_shard
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.explain import explain_misfits
from dfad_bench.ingest.sources.folders import NO_PATH
from dfad_bench.ingest.sources.label_checks import FORGED_REAL, forged_reals
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import DatasetSpec, declared_generators, load_dataset_spec
from dfad_bench.ingest.survey import hints
from dfad_bench.ingest.survey_notes import unlabelled_note
from dfad_bench.ingest.workers.spread import spread

_PIPELINE = 2  # raised when the same settings would give other pixels
_MOST_SHARDS = 4  # an archive becomes one part of at most this many times the usual number of rows


@dataclass(frozen=True)
class _Settings:
    """What must not change between a build and its continuation; `build.json`."""

    dataset: str
    dataset_sha256: str
    crop: str
    crop_sha256: str
    generator: str | None
    limit: int | None
    shard_size: int
    frames: int | None
    stride: int | None
    device: str  # cpu or cuda: they differ in the last digits, which changes single pixels
    image_limits: dict[str, Any] = field(
        default_factory=lambda: {"formats": list(FORMATS), "max_bytes": MAX_BYTES, "max_pixels": MAX_PIXELS}
    )
    pipeline: int = _PIPELINE
    schema_version: int = VERSION
    follow_links: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """What is stored and hashed; settings that are off are left out, so that earlier hashes stay the same."""
        values = asdict(self)
        if not self.follow_links:
            del values["follow_links"]
        return values


def build_manifest(
    dataset: str,
    root: Path,
    out: Path,
    settings: BuildSettings = BuildSettings(),  # noqa: B008  frozen
    *,
    progress: Progress = NoProgress(),  # noqa: B008  has no state
    **changes: Any,
) -> BuildReport:
    """Crop the faces of a dataset into a manifest; continues an earlier run that stopped, whatever its engine.

    Args:
        dataset: name of a shipped dataset file, or the path of one's own.
        root: the folder with the dataset as released.
        out: the manifest folder.
        settings: how faces are cropped and the work is spread.
        progress: is called after every item.
        changes: fields of `BuildSettings` that take the place of those in `settings`, as in `workers=2`.

    Raises:
        ConfigError: no such folder, nothing in it fits the layout, or a bad setting.
        IntegrityError: `out` holds a build with other settings, or one shard sees other files than another.
        RefusedInputsError: never here; see `BuildReport.check_refused`.
    """
    with declared_generators(dataset):
        return _build(dataset, Path(root), Path(out), replace(settings, **changes), progress)


def _build(dataset: str, root: Path, out: Path, asked: BuildSettings, progress: Progress) -> BuildReport:
    engine, shard, limit, workers = asked.engine, asked.shard, asked.limit, asked.processes
    _check_device(asked.device, engine)
    spec = _spec(dataset, asked)
    profile, sampling = load_crop_profile(asked.crop or spec.crop), sampling_of(asked)
    kept = _kept_settings(spec, profile, sampling, asked)
    listing = _list_source(spec, root)
    if sampling != Sampling() and not any(s.medium in ("video", "animation") for s in listing.samples):
        listing.notes.append("no video or animation is among these files: --frames and --stride change nothing here")
    listing.notes += unlabelled_note(spec, listing)
    chosen = [replace(s, weight=sampling.weight(s.medium)) for s in _limit_samples(listing.samples, limit)]
    with lock_folder(out, shard):
        check_settings(out, kept.values)
        tasks = _tasks(chosen, out, profile, kept, asked.item_seconds, sampling, asked.device)
        plan = _plan(spec, profile, kept, listing, tasks)
        mine = tasks
        if shard is not None:
            plan.keep(out)
            mine = tasks[shard[0] :: shard[1]]
        todo = [t for t in mine if not is_committed(t.part, t.inputs_sha256, t.config_sha256, t.seen_sha256)]
        if todo:
            (out / FILE).unlink(missing_ok=True)  # while parts change, there is no finished manifest here
        total = sum(len(task.samples) for task in mine)
        engine = "serial" if engine == "processes" and workers == 0 else engine
        with _in_place(out):
            _run(engine, todo, workers, progress, total=total, done=total - sum(len(t.samples) for t in todo))
            missing = plan.missing_parts(out) if shard is not None else []
            manifest = None if missing else plan.seal(out)
    return make_report(
        out, spec, listing, manifest, plan, missing=missing, built=len(todo), kept=len(mine) - len(todo), limit=limit
    )


def sampling_of(settings: BuildSettings) -> Sampling:
    """Which frames of videos are taken."""
    frames = settings.frames or (FRAMES if settings.stride is None else None)
    return Sampling(frames=frames, stride=settings.stride)


def _kept_settings(spec: DatasetSpec, profile: CropProfile, sampling: Sampling, asked: BuildSettings) -> _Settings:
    return _Settings(
        spec.name,
        spec.sha256,
        profile.name,
        profile.sha256,
        asked.generator,
        asked.limit,
        asked.shard_size,
        sampling.frames,
        sampling.stride,
        asked.device.partition(":")[0],
        follow_links=asked.follow_links,
    )


def _spec(dataset: str, settings: BuildSettings) -> DatasetSpec:
    """The dataset's description, narrowed or completed as the settings say."""
    spec = load_dataset_spec(dataset)
    spec = spec.with_generator(settings.generator) if settings.generator else spec
    spec = spec.with_index(Path(settings.from_deepfakebench)) if settings.from_deepfakebench else spec
    spec = spec.with_only(settings.only) if settings.only else spec
    spec = spec.with_links() if settings.follow_links else spec
    spec = spec.with_labels(settings.labels) if settings.labels else spec
    return spec.with_prefixes(settings.prefixes) if settings.prefixes else spec


@contextmanager
def _in_place(out: Path) -> Iterator[None]:
    """Say so where the folder was moved or deleted in the block, whatever error that led to.

    Raises:
        DFADError: the settings file written into it no longer exists.
    """
    message = f"{out}: was moved or deleted while it was built; move it back and run the same build again"
    try:
        yield
    except (DFADError, OSError) as error:
        if (out / SETTINGS).is_file():
            raise
        raise DFADError(message) from error
    if not (out / SETTINGS).is_file():
        raise DFADError(message)


def _check_device(device: str, engine: Engine) -> None:
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", device):
        raise ConfigError(f"device {quoted(device)}: expected cpu, cuda or cuda:N")
    if device != "cpu" and engine != "ray":  # workers of a Ray cluster may have a GPU where this host has none
        import torch

        if not torch.cuda.is_available():
            raise ConfigError(f"device {quoted(device)}: no CUDA device here; use cpu")


def _list_source(spec: DatasetSpec, root: Path) -> Listing:
    listing = list_source(spec, root)
    if forged := listing.ignored.get(FORGED_REAL):
        raise ConfigError(forged_reals(root, forged, listing.examples[FORGED_REAL][0]))
    if not listing.samples:
        left = "; ".join(
            f"{n} {why} ({quoted(listing.examples[why][0])} ...)" for why, n in sorted(listing.ignored.items())
        )
        more = [note for note in listing.notes if "--follow-links" in note or "--labels" in note]
        more += list(hints(spec, root, listing)) or explain_misfits(spec, listing.examples.get(NO_PATH, ())[:1])
        found = "; ".join([f"found {left}" if left else "the folder is empty", *more])
        raise ConfigError(f"{root}: no image of {quoted(spec.name)}; expected {spec.layout_lines()}; {found}")
    listing.samples.sort(key=lambda sample: sample.sample_id)
    for before, after in zip(listing.samples, listing.samples[1:], strict=False):
        if before.sample_id == after.sample_id:
            raise ConfigError(
                f"{root}: {quoted(before.origin)} and {quoted(after.origin)} have the same name; rename one"
            )
    if any(sample.source for sample in listing.samples):  # then every row has the column
        listing.samples = [replace(sample, source=sample.source or "") for sample in listing.samples]
    return listing


def _limit_samples(samples: Sequence[RawSample], limit: int | None) -> list[RawSample]:
    if limit is None:
        return list(samples)
    counts: Counter[tuple[str, str | None]] = Counter()
    chosen = []
    for sample in samples:  # sorted by sample_id, a hash
        counts[sample.generator, sample.split] += 1
        if counts[sample.generator, sample.split] <= limit:
            chosen.append(sample)
    return chosen


def _tasks(
    samples: Sequence[RawSample],
    out: Path,
    profile: CropProfile,
    settings: _Settings,
    item_seconds: float,
    sampling: Sampling,
    device: str,
) -> list[ShardTask]:
    config = content_hash(settings.values)
    return [
        ShardTask(out / part_name(index), part, profile, config, item_seconds, sampling, device=device)
        for index, part in enumerate(deal_into_parts(samples, settings.shard_size))
    ]


def deal_into_parts(samples: Sequence[RawSample], shard_size: int) -> Iterator[tuple[RawSample, ...]]:
    """Samples in parts of about `shard_size` rows; the members of an archive stay in one part where possible.

    An archive with more rows than four parts hold is divided into runs of its members, to bound a worker's memory.

    The order is that of a hash of the file that is opened (`container`): it depends on names only, and the members
    of an archive follow each other.
    """
    opened = {s.container: sample_id(s.dataset, s.container) for s in samples}
    ordered = sorted(samples, key=lambda s: (opened[s.container], s.position or 0, s.origin))
    part: list[RawSample] = []
    weight = 0
    for sample in ordered:
        begins = not part or sample.container != part[-1].container
        if part and weight + sample.weight > shard_size * (1 if begins else _MOST_SHARDS):
            yield tuple(part)
            part, weight = [], 0
        part.append(sample)
        weight += sample.weight
    if part:
        yield tuple(part)


def _run(engine: Engine, todo: Sequence[ShardTask], workers: int, progress: Progress, *, total: int, done: int) -> None:
    bar = _ItemBar(progress)
    progress.start("Cropping faces", total)
    progress.advance(done)
    try:
        with closing(spread(engine, run_shard, todo, workers, bar.update)) as records:  # ends workers here, not later
            for record in records:
                bar.record(record)
    finally:
        progress.finish()


class _ItemBar:
    """A progress bar that counts items as workers report them; it never goes back when a shard is tried again."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done_items: dict[str, int] = {}
        self._refused = 0

    def update(self, task: ShardTask, done: int) -> None:
        """Set how many items of a shard are done."""
        before = self._done_items.get(task.name, 0)
        if done > before:
            self._done_items[task.name] = done
            self._progress.advance(done - before, refused=self._refused)

    def record(self, record: dict[str, Any]) -> None:
        """Count the refusals of a shard that is done."""
        for counts in record["counts"].values():
            self._refused += sum(number for status, number in counts.items() if status != OK)


def _plan(
    spec: DatasetSpec, profile: CropProfile, settings: _Settings, listing: Listing, tasks: Sequence[ShardTask]
) -> Plan:
    parts = tuple((task.name, task.inputs_sha256) for task in tasks)
    info = {
        "dataset": {
            "name": spec.name,
            "version": spec.version,
            "title": spec.title,
            "licence": spec.licence,
            "homepage": spec.homepage,
            "citation": spec.citation,
            "sha256": spec.sha256,
        },
        "crop": {**asdict(profile), "sha256": profile.sha256},
        "settings": settings.values,
        "inputs_sha256": content_hash([inputs for _, inputs in parts]),
        "ignored": dict(sorted(listing.ignored.items())),
        "ignored_examples": dict(sorted(listing.examples.items())),
    }
    return Plan(content_hash(settings.values), parts, info)
