"""Building a manifest: list the source, deal it into shards, crop, commit part by part, seal.

A build can be killed at any moment and run again: parts whose files, inputs and settings are unchanged stay, the
rest is done, and the result is the same bit for bit, whatever the number of workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, IntegrityError, RefusedInputsError, need
from dfad_bench.core.files import content_hash, read_json, sha256_file, sweep_temporaries, write_json
from dfad_bench.core.progress import Progress, Silent
from dfad_bench.core.registry import resolve
from dfad_bench.data.check import refusals
from dfad_bench.data.distribute import processes, serial
from dfad_bench.data.faces import CropProfile, load_crop_profile
from dfad_bench.data.images import FORMATS, MAX_BYTES, MAX_PIXELS
from dfad_bench.data.manifest import FILE, OK, VERSION, Manifest, finish, part_name, sample_id
from dfad_bench.data.media import Sampling
from dfad_bench.data.release import COMPLETE, coverage
from dfad_bench.data.shard import ShardTask, run_shard
from dfad_bench.data.sources import SOURCES
from dfad_bench.data.sources.base import Listing, RawSample
from dfad_bench.data.sources.spec import DatasetSpec, load_dataset_spec

SETTINGS = "build.json"
_LOCK = ".build.lock"
_PIPELINE = 1  # raised when the same settings would give other pixels
_EXAMPLES = 10
_MOST_SHARDS = 4  # an archive becomes one part of at most so many times the usual rows


@dataclass(frozen=True)
class BuildReport:
    """What a build came to. `counts` are images by generator and status; `ignored` are files that are no input."""

    out: Path
    dataset: str
    counts: dict[str, dict[str, int]]
    rows: int
    refused: int
    reasons: list[dict[str, str]]  # the first refusals: origin, status, reason
    ignored: dict[str, int]
    ignored_examples: dict[str, list[str]]
    notes: tuple[str, ...] = ()
    parts_built: int = 0
    parts_kept: int = 0
    manifest_sha256: str = ""

    def check_refused(self, most: float) -> None:
        """Say so where more than the share `most` of the inputs was refused.

        Raises:
            RefusedInputsError: with the share and the first reason.
        """
        if self.rows and self.refused / self.rows > most:
            first = f"; first: {self.reasons[0]['origin']!r}: {self.reasons[0]['status']}" if self.reasons else ""
            raise RefusedInputsError(
                f"{self.out}: complete, but {self.refused} of {self.rows} images were refused "
                f"({self.refused / self.rows:.1%}, limit {most:.1%}){first}"
            )


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
    image_limits: dict[str, Any] = field(
        default_factory=lambda: {"formats": list(FORMATS), "max_bytes": MAX_BYTES, "max_pixels": MAX_PIXELS}
    )
    pipeline: int = _PIPELINE
    schema_version: int = VERSION


def build_manifest(
    dataset: str,
    root: Path,
    out: Path,
    *,
    crop: str | None = None,
    workers: int = 1,
    limit: int | None = None,
    generator: str | None = None,
    shard_size: int = 256,
    sampling: Sampling = Sampling(),  # noqa: B008  frozen
    item_seconds: float = 60,
    progress: Progress = Silent(),  # noqa: B008  has no state
) -> BuildReport:
    """Crop the faces of a dataset into a manifest; goes on where an earlier run stopped.

    Args:
        dataset: name of a shipped dataset file, or the path of one's own.
        root: the folder with the dataset as released.
        out: the manifest folder.
        crop: crop profile; None is the dataset's own.
        workers: processes; 0 works in this process, where a crash of an image library ends the build.
        limit: at most this many images of each generator and split, chosen by hash of their names.
        generator: who made the images, for datasets that do not tell (`images`).
        shard_size: images a part; a video counts as the frames it gives, an archive is not torn apart.
        sampling: which frames of videos are taken.
        item_seconds: an image that takes longer is refused.
        progress: told of every part.

    Raises:
        ConfigError: no such folder, nothing in it fits the layout, or a bad setting.
        IntegrityError: `out` holds a build with other settings.
        RefusedInputsError: never here; see `BuildReport.check_refused`.
    """
    if workers < 0 or shard_size < 1 or item_seconds <= 0 or (limit is not None and limit < 1):
        raise ConfigError("needs workers >= 0, shard_size >= 1, item_seconds > 0, limit >= 1")
    spec = load_dataset_spec(dataset)
    spec = spec.with_generator(generator) if generator else spec
    profile = load_crop_profile(crop or spec.crop)
    settings = _Settings(
        spec.name,
        spec.sha256,
        profile.name,
        profile.sha256,
        generator,
        limit,
        shard_size,
        sampling.frames,
        sampling.stride,
    )
    listing = _list(spec, Path(root))
    chosen = _choose(listing.samples, limit)
    out = Path(out)
    with _locked(out):
        _check_settings(out, settings)
        tasks = _tasks(chosen, out, profile, settings, item_seconds, sampling)
        todo = [task for task in tasks if not _committed(task)]
        if todo:
            with suppress(FileNotFoundError):
                (out / FILE).unlink()  # while parts change, there is no finished manifest here
        _run(todo, workers, progress, total=len(chosen), done=len(chosen) - sum(len(t.samples) for t in todo))
        _drop_stale(out, tasks)
        manifest = finish(out, [task.name for task in tasks], _info(spec, profile, settings, listing, tasks))
    return _report(manifest, spec, listing, built=len(todo), kept=len(tasks) - len(todo), limit=limit)


def _list(spec: DatasetSpec, root: Path) -> Listing:
    listing: Listing = resolve("layout", spec.layout, SOURCES)(spec, root)
    if not listing.samples:
        left = "; ".join(f"{n} {why} ({listing.examples[why][0]!r} ...)" for why, n in sorted(listing.ignored.items()))
        found = f"found {left}" if left else "the folder is empty"
        raise ConfigError(f"{root}: no image of {spec.name!r}; expected {spec.layout_lines()}; {found}")
    listing.samples.sort(key=lambda sample: sample.sample_id)
    for before, after in zip(listing.samples, listing.samples[1:], strict=False):
        if before.sample_id == after.sample_id:
            raise ConfigError(f"{root}: {before.origin!r} and {after.origin!r} have the same name; rename one")
    return listing


def _choose(samples: Sequence[RawSample], limit: int | None) -> list[RawSample]:
    if limit is None:
        return list(samples)
    taken: Counter[tuple[str, str | None]] = Counter()
    chosen = []
    for sample in samples:  # in the order of a hash
        taken[sample.generator, sample.split] += 1
        if taken[sample.generator, sample.split] <= limit:
            chosen.append(sample)
    return chosen


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    filelock = need("filelock", "filelock", "building a manifest")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(out / _LOCK, timeout=0)
        with lock:
            sweep_temporaries(out)
            yield
    except filelock.Timeout as error:
        raise ConfigError(f"{out}: another build is writing here; wait for it or use another --out") from error
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error


def _check_settings(out: Path, settings: _Settings) -> None:
    now = asdict(settings)
    path = out / SETTINGS
    if not path.exists():
        if any(out.glob("part-*")) or (out / FILE).exists():
            raise IntegrityError(f"{out}: holds parts of another manifest; use another --out")
        write_json(path, now)
        return
    before = read_json(path)
    if not isinstance(before, dict):
        raise IntegrityError(f"{path}: damaged; use another --out")
    if changed := [key for key in now if before.get(key) != now[key]]:
        shown = ", ".join(f"{key} was {_short(before.get(key))}, is {_short(now[key])}" for key in changed)
        raise IntegrityError(f"{out}: begun with other settings ({shown}); use the same ones, or another --out")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"


def _tasks(
    samples: Sequence[RawSample],
    out: Path,
    profile: CropProfile,
    settings: _Settings,
    item_seconds: float,
    sampling: Sampling,
) -> list[ShardTask]:
    config = content_hash(asdict(settings))
    return [
        ShardTask(out / part_name(index), part, profile, config, item_seconds, sampling)
        for index, part in enumerate(deal(samples, settings.shard_size))
    ]


def deal(samples: Sequence[RawSample], shard_size: int) -> Iterator[tuple[RawSample, ...]]:
    """Samples in parts of about `shard_size` rows, in the order of a hash; an archive stays in one part if it can.

    One that gives more than four parts' worth of rows is divided into runs of its members, to bound a worker's memory.

    The order is that of the hash of what is opened (`container`), so that it depends on names alone and the
    members of an archive follow each other.
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


def _committed(task: ShardTask) -> bool:
    """Whether a part is there, made from the same inputs and settings, and undamaged."""
    sidecar = task.part.with_suffix(".json")
    if not sidecar.is_file() or not task.part.is_file():
        return False
    try:
        record = read_json(sidecar)
    except ConfigError:
        return False
    return (
        isinstance(record, dict)
        and record.get("inputs_sha256") == task.inputs_sha256
        and record.get("config_sha256") == task.config_sha256
        and record.get("sha256") == sha256_file(task.part)
    )


def _run(todo: Sequence[ShardTask], workers: int, progress: Progress, *, total: int, done: int) -> None:
    refused = 0
    progress.start("Cropping faces", total)
    progress.advance(done)
    try:
        results = processes(run_shard, todo, workers) if workers else serial(run_shard, todo)
        for record in results:
            refused += sum(n for counts in record["counts"].values() for status, n in counts.items() if status != OK)
            progress.advance(record["rows"], refused=refused)
    finally:
        progress.finish()


def _drop_stale(out: Path, tasks: Sequence[ShardTask]) -> None:
    """Remove parts of an earlier, longer list of inputs."""
    current = {task.part.stem for task in tasks}
    for path in out.glob("part-*"):
        if path.suffix in (".parquet", ".json") and path.stem not in current:
            path.unlink()


def _info(
    spec: DatasetSpec, profile: CropProfile, settings: _Settings, listing: Listing, tasks: Sequence[ShardTask]
) -> dict[str, Any]:
    return {
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
        "settings": asdict(settings),
        "inputs_sha256": content_hash([task.inputs_sha256 for task in tasks]),
        "ignored": dict(sorted(listing.ignored.items())),
        "ignored_examples": dict(sorted(listing.examples.items())),
    }


def _report(
    manifest: Manifest, spec: DatasetSpec, listing: Listing, *, built: int, kept: int, limit: int | None
) -> BuildReport:
    counts: dict[str, dict[str, int]] = manifest.info["counts"]
    rows = manifest.frame(["origin", "status", "reason"], status=None)
    notes = [
        f"{row.generator}: {row.verdict} ({row.found:,} {spec.expected_of} found)"
        for row in coverage(spec, listing)
        if row.generator in spec.expected and not row.verdict.startswith(COMPLETE)
    ]
    if limit is not None:
        notes.append(f"limited to {limit:,} images of each generator and split")
    return BuildReport(
        out=manifest.folder,
        dataset=spec.name,
        counts=counts,
        rows=len(rows),
        refused=int((rows["status"] != OK).sum()),
        reasons=refusals(rows, _EXAMPLES),
        ignored=dict(sorted(listing.ignored.items())),
        ignored_examples=listing.examples,
        notes=(*listing.notes, *notes),
        parts_built=built,
        parts_kept=kept,
        manifest_sha256=manifest.sha256,
    )
