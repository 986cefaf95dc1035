"""Finishing a manifest whose parts several processes made, and joining manifests built in different folders."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from dfad_bench.core.errors import ConfigError, IntegrityError, ManifestError, listed
from dfad_bench.core.files import atomic_path, check_hash, content_hash, read_json, write_json
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import FILE, Manifest, check_files, finish
from dfad_bench.data.manifest_parts import part_name
from dfad_bench.ingest.plan import PLAN, Plan, lock_folder

MARKER = "merge.json"  # which manifests are being joined; deleted at the end
_MAY_DIFFER = ("shard_size",)  # settings that may differ between manifests to be joined
_EXAMPLES = 5


@dataclass(frozen=True)
class MergeReport:
    """The result of a merge."""

    out: Path
    dataset: str
    parts: int
    counts: dict[str, dict[str, int]]
    manifest_sha256: str


def seal_shards(out: Path) -> MergeReport:
    """Finish the manifest of `build-manifest --shard I/N` runs once all parts are present.

    Raises:
        ManifestError: parts are missing, or no build was begun in this folder.
        ConfigError: a build is still running in this folder.
    """
    out = Path(out)
    if not out.is_dir():
        raise ManifestError(f"{out}: no such folder")
    with lock_folder(out):
        if (out / FILE).is_file() and not (out / PLAN).is_file():
            check_files(out)
            return _report(Manifest.open(out))
        plan = Plan.read(out)
        if missing := plan.missing_parts(out):
            raise ManifestError(
                f"{out}: {len(missing)} of {len(plan.parts)} parts are missing or damaged ({listed(missing, 3)}); run "
                "the build-manifest --shard that makes them, or once without --shard"
            )
        return _report(plan.seal(out))


def merge_manifests(folders: Sequence[Path], out: Path, *, progress: Progress = NoProgress()) -> MergeReport:  # noqa: B008
    """Join finished manifests of one dataset, built with the same settings from different sources.

    Without any, finishes the folder `out` that `build-manifest --shard I/N` wrote to (`seal_shards`).

    Parts are verified, then hard-linked where the file system allows it, else copied. The result does not depend
    on the order of `folders`. Side tables are not copied. A merge that was interrupted continues when run again.

    Raises:
        ConfigError: one folder, or other datasets, crops or settings.
        IntegrityError: a damaged file, or `out` holds something else.
        ManifestError: a face is in two manifests.
    """
    out = Path(out)
    if not folders:
        return seal_shards(out)
    if len({Path(folder).resolve() for folder in folders}) < 2:
        raise ConfigError("give two or more different manifests to join")
    for folder in folders:
        if Path(folder).resolve() == out.resolve():
            raise ConfigError(f"{out}: is one of the manifests to join; use another --out")
        check_files(folder)
    manifests = sorted((Manifest.open(folder) for folder in folders), key=lambda manifest: manifest.sha256)
    _check_alike(manifests)
    _check_disjoint(manifests)
    sources = [manifest.sha256 for manifest in manifests]
    with lock_folder(out):
        if (out / FILE).is_file():
            check_files(out)
            if (done := Manifest.open(out)).info.get("merged_from") == sources:
                return _report(done)
        _begin(out, [content_hash(manifest.info["parts"]) for manifest in manifests])
        names = _place_parts(manifests, out, progress)
        finished = finish(out, names, _info(manifests, sources))
        (out / MARKER).unlink(missing_ok=True)
    return _report(finished)


def _check_alike(manifests: Sequence[Manifest]) -> None:
    first = manifests[0]
    for other in manifests[1:]:
        set_here, set_there = _settings(first), _settings(other)
        for key, mine, yours in (
            ("dataset", _identity(first.info["dataset"]), _identity(other.info["dataset"])),
            ("crop", _identity(first.info.get("crop")), _identity(other.info.get("crop"))),
            *((key, set_here.get(key), set_there.get(key)) for key in set_here | set_there),
        ):
            if mine != yours:
                raise ConfigError(
                    f"{other.folder}: {key} differs from {first.folder} ({_describe_value(yours, mine)} and "
                    f"{_describe_value(mine, yours)}); manifests are joined only where both were built alike"
                )


def _identity(value: object) -> object:
    return (value.get("name"), value.get("sha256")) if isinstance(value, Mapping) else value


def _describe_value(value: object, other: object) -> str:
    """A value for an error message: the name, or the name and a hash where only the contents differ."""
    if not isinstance(value, tuple):
        return f"{value!s:.40}"
    alike = isinstance(other, tuple) and value[0] == other[0]
    return f"{value[0]} {str(value[1])[:12]}" if alike else str(value[0])


def _settings(manifest: Manifest) -> dict[str, Any]:
    settings = dict(manifest.info.get("settings") or {})
    return {key: value for key, value in settings.items() if key not in _MAY_DIFFER}


def _check_disjoint(manifests: Sequence[Manifest]) -> None:
    """Raise if a face is in two manifests; compares the first 8 bytes of each `sample_id`, to bound memory."""
    ids = [np.fromiter(_identities(manifest), dtype=np.uint64) for manifest in manifests]
    everything = np.sort(np.concatenate(ids))
    twice = everything[1:][everything[1:] == everything[:-1]]
    if len(twice):
        where = [str(m.folder) for m, own in zip(manifests, ids, strict=True) if np.isin(twice[0], own)]
        raise ManifestError(
            f"{len(np.unique(twice))} faces are in more than one of the manifests "
            f"({int(twice[0]):016x} in {' and '.join(where)}); leave one of them out"
        )


def _identities(manifest: Manifest) -> Any:
    for path in manifest.parts:
        for identity in pq.read_table(path, columns=["sample_id"]).column("sample_id").to_pylist():
            yield int(identity, 16)


def _begin(out: Path, parts: list[str]) -> None:
    marker = out / MARKER
    if marker.is_file():
        if read_json(marker) != parts:
            raise IntegrityError(f"{out}: other manifests were being joined here; use another --out")
    elif any(out.glob("part-*")) or (out / FILE).exists():
        raise IntegrityError(f"{out}: holds another manifest; use another --out")
    else:
        write_json(marker, parts)


def _place_parts(manifests: Sequence[Manifest], out: Path, progress: Progress) -> list[str]:
    names: list[str] = []
    progress.start("Joining parts", sum(len(manifest.parts) for manifest in manifests))
    try:
        for manifest in manifests:
            for part in manifest.info["parts"]:
                names.append(part_name(len(names)))
                _place(manifest.folder / part["file"], out / names[-1], part["sha256"])
                record = (manifest.folder / part["file"]).with_suffix(".json")
                _place(record, (out / names[-1]).with_suffix(".json"), part["record_sha256"])
                progress.advance()
    finally:
        progress.finish()
    return names


def _place(source: Path, target: Path, sha256: str) -> None:
    with atomic_path(target) as temporary:
        try:
            temporary.hardlink_to(source)  # safe: files of a manifest are replaced, never changed in place
            with temporary.open("rb+"):
                pass  # must be writable: atomic_path flushes it
        except OSError:  # another file system, or no permission
            temporary.unlink(missing_ok=True)
            shutil.copyfile(source, temporary)
        check_hash(temporary, sha256)


def _info(manifests: Sequence[Manifest], sources: list[str]) -> dict[str, Any]:
    ignored: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for manifest in manifests:
        ignored.update(manifest.info.get("ignored", {}))
        for why, names in manifest.info.get("ignored_examples", {}).items():
            examples[why] = sorted([*examples.get(why, []), *names])[:_EXAMPLES]
    first = manifests[0].info
    return {
        **{key: first[key] for key in ("dataset", "crop") if key in first},
        "settings": _settings(manifests[0]),
        "ignored": dict(sorted(ignored.items())),
        "ignored_examples": dict(sorted(examples.items())),
        "merged_from": sources,
    }


def _report(manifest: Manifest) -> MergeReport:
    info = manifest.info
    return MergeReport(manifest.folder, manifest.name, len(manifest.parts), info["counts"], manifest.sha256)
