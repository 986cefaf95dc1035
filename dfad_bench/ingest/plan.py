"""From written parts to a finished manifest: locks on the folder, which parts are valid, when it is complete.

A folder is built by one process that makes every part, or by several that each make their own (`--shard I/N`), on
any number of hosts. The process that finds all parts present finishes the manifest; the bytes are the same each way.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError, ManifestError, need, quoted
from dfad_bench.core.files import content_hash, json_text, read_json, sha256_file, sweep_temporaries, write_json
from dfad_bench.data.manifest import FILE, OK, Manifest, finish
from dfad_bench.data.manifest_forms import is_counts
from dfad_bench.ingest.seen import is_unchanged, seen_file

SETTINGS = "build.json"
PLAN = "plan.json"
_LOCK = ".build.lock"
_SHARD_LOCK = ".build-{}-of-{}.lock"
_LOCK_SECONDS = 10.0  # another shard holds the lock for a moment while it checks that no build of all parts runs
_BUSY = "another build is writing here; wait for it or use another --out"


@dataclass(frozen=True)
class Plan:
    """The parts and facts of the manifest to be; equal for every process that sees the same source.

    `parts` are (file, hash of its inputs) in order; `info` goes into `manifest.json`.
    """

    config_sha256: str
    parts: tuple[tuple[str, str], ...]
    info: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """The plan of a build in several shards.

        Raises:
            ManifestError: there is none.
            IntegrityError: damaged.
        """
        path = folder / PLAN
        if not path.is_file():
            raise ManifestError(f"{folder}: no {PLAN}; begin with `dfad build-manifest --shard I/N --out {folder}`")
        try:
            value = read_json(path)
            parts = tuple((str(f), str(h)) for f, h in value["parts"])
            if any(not re.fullmatch(r"part-[0-9]{1,9}\.parquet", name) for name, _ in parts):
                raise ValueError("a part with another name")
            return cls(value["config_sha256"], parts, dict(value["info"]))
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{path}: damaged; delete it and run the shards again") from error

    def keep(self, folder: Path) -> None:
        """Write the plan, or compare with the one another shard wrote.

        Raises:
            IntegrityError: the other shard saw other files.
        """
        if not (folder / PLAN).is_file():
            write_json(folder / PLAN, asdict(self))
        elif content_hash(asdict(Plan.read(folder))) != content_hash(asdict(self)):
            raise IntegrityError(
                f"{folder / PLAN}: another shard lists other files in the source; all hosts must see the same. "
                "Where the source has changed since, build once without --shard"
            )

    def missing_parts(self, folder: Path) -> list[str]:
        """The parts that are not committed yet, in order."""
        if absent := [name for name, _ in self.parts if not (folder / name).with_suffix(".json").is_file()]:
            return absent  # hashing the others would be in vain
        return [name for name, inputs in self.parts if not is_committed(folder / name, inputs, self.config_sha256)]

    def seal(self, folder: Path) -> Manifest:
        """Finish the manifest from its parts, and delete parts of earlier plans."""
        names = [name for name, _ in self.parts]
        current = {Path(name).stem for name in names}
        for path in folder.glob("part-*"):
            if path.suffix in (".parquet", ".json") and path.stem not in current:
                path.unlink(missing_ok=True)
                seen_file(path).unlink(missing_ok=True)
        info = json.loads(json_text(self.info))  # the same whether the plan was made here or read
        manifest = finish(folder, names, info)
        (folder / PLAN).unlink(missing_ok=True)
        return manifest


def is_committed(part: Path, inputs_sha256: str, config_sha256: str, seen_sha256: str | None = None) -> bool:
    """Whether a part exists, was made from these inputs and settings, and is undamaged.

    With `seen_sha256` also whether its input files have not been changed since, see `ingest.seen`.
    """
    sidecar = part.with_suffix(".json")
    if not sidecar.is_file() or not part.is_file():
        return False
    try:
        record = read_json(sidecar)
    except ConfigError:
        return False
    return (
        isinstance(record, dict)
        and record.get("inputs_sha256") == inputs_sha256
        and record.get("config_sha256") == config_sha256
        and record.get("sha256") == sha256_file(part)
        and is_counts(record.get("counts"))
        and isinstance(record.get("rows"), int)
        and (seen_sha256 is None or is_unchanged(part, record["sha256"], seen_sha256))
    )


@contextmanager
def lock_folder(out: Path, shard: tuple[int, int] | None = None) -> Iterator[None]:
    """Lock the folder: exclusively for a build of all parts, shared between shards for `--shard`.

    Raises:
        ConfigError: another build uses the folder, or it cannot be written.
    """
    need("filelock", "filelock", "building a manifest")
    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            _hold_whole(out, held) if shard is None else _hold_shard(out, shard, held)
            sweep_temporaries(out)
        except OSError as error:  # also raised (as TimeoutError) by a lock that is held
            why = _BUSY if isinstance(error, TimeoutError) else f"cannot be written ({error.strerror})"
            raise ConfigError(f"{out}: {why}") from error
        yield
        sweep_temporaries(out)  # of killed workers that had not yet ended at the first sweep


def _hold_whole(out: Path, held: ExitStack) -> None:
    from filelock import FileLock

    held.enter_context(FileLock(out / _LOCK, timeout=0))
    for other in sorted(out.glob(_SHARD_LOCK.format("*", "*"))):
        with FileLock(other, timeout=0):
            pass  # not held by another process


def _hold_shard(out: Path, shard: tuple[int, int], held: ExitStack) -> None:
    from filelock import FileLock

    held.enter_context(FileLock(out / _SHARD_LOCK.format(*shard), timeout=0))
    with FileLock(out / _LOCK, timeout=_LOCK_SECONDS, poll_interval=0.02):
        pass  # no build of all parts is running; shards hold this lock for a moment only


def check_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to continue a build with other settings than it was begun with; store them if it is new.

    Raises:
        IntegrityError: says what differs.
    """
    path = out / SETTINGS
    if not path.exists():
        strange = any(out.glob("part-*")) or (out / FILE).exists()
        if strange and not path.exists():  # another shard may have begun meanwhile
            raise IntegrityError(f"{out}: holds parts of another manifest; use another --out")
        if not strange:
            write_json(path, settings)
            return
    try:
        before = read_json(path)
    except ConfigError:
        before = None
    if not isinstance(before, dict):
        raise IntegrityError(f"{path}: damaged; use another --out")
    if changed := [key for key in {**settings, **before} if before.get(key) != settings.get(key)]:
        shown = ", ".join(
            f"{key} was {_shortened(before.get(key))}, is {_shortened(settings.get(key))}" for key in changed
        )
        raise IntegrityError(f"{out}: begun with other settings ({shown}); use the same ones, or another --out")


def parse_shard(text: str) -> tuple[int, int]:
    """The numbers of `I/N`, I counted from 0.

    Raises:
        ConfigError: not of that form, or I is not below N.

    >>> parse_shard("0/4")
    (0, 4)
    """
    found = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text)
    index, number = (int(found[1]), int(found[2])) if found else (0, 0)
    if index >= number:
        raise ConfigError(f"--shard {quoted(text)}: expected I/N with I from 0 to N-1, as 0/4 to 3/4")
    return index, number


def counts_of(parts: Sequence[Path]) -> dict[str, dict[str, int]]:
    """Rows by generator and status, from the parts' JSON."""
    counts: dict[str, dict[str, int]] = {}
    for part in parts:
        record = read_json(part.with_suffix(".json"))
        if not isinstance(record, dict) or not is_counts(record.get("counts")):
            raise IntegrityError(f"{part.with_suffix('.json')}: damaged; run the same build again")
        for generator, statuses in record["counts"].items():
            row = counts.setdefault(generator, {})
            for status, number in statuses.items():
                row[status] = row.get(status, 0) + number
    return {name: dict(sorted(row.items())) for name, row in sorted(counts.items())}


def first_refusals(parts: Sequence[Path], most: int) -> list[dict[str, Any]]:
    """The first refusals by origin, as origin, status, reason and how many `rows` (frames) share them.

    Raises:
        DFADError: a part cannot be read.
    """
    columns = ["origin", "status", "reason"]
    found: Counter[tuple[str, str, str]] = Counter()
    for part in parts:
        try:
            table = pq.read_table(part, columns=columns)
        except (OSError, ValueError) as error:
            raise DFADError(f"{part}: cannot be read; run the same build again") from error
        rows = table.filter(pc.not_equal(table["status"], OK)).to_pylist()
        found.update(tuple(str(row[column]) for column in columns) for row in rows)  # type: ignore[misc]
        found = Counter(dict(heapq.nsmallest(most, found.items())))  # bounds memory
    return [{**dict(zip(columns, key, strict=True)), "rows": count} for key, count in found.items()]


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"
