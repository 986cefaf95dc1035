"""Checking manifests: are the files undamaged, how many faces of each generator, which faces does a protocol lack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from dfad_bench.core.errors import DFADError, IntegrityError, quoted
from dfad_bench.core.labels import UNSEEN
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.dataset_age import version_notes
from dfad_bench.data.manifest import FILE, OK, Manifest, check_files
from dfad_bench.data.manifest_parts import rows_hash
from dfad_bench.data.manifest_schema import SCHEMA, SCHEMA_WITH_SOURCE, SOURCE
from dfad_bench.ingest.deep_check import check_deep
from dfad_bench.ingest.plan import first_refusals
from dfad_bench.ingest.sources.spec import load_dataset_spec

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLES = 10
_LABELS = ("forgery", "family", "attribution_label")
_SILENT = NoProgress()


@dataclass(frozen=True)
class ManifestFacts:
    """Counts of one manifest. `splits`: faces with status ok by generator and split ("" without one)."""

    folder: Path
    dataset: str
    sha256: str
    rows: int
    counts: dict[str, dict[str, int]]
    splits: dict[str, dict[str, int]]
    refusals: list[dict[str, Any]]  # the first: origin, status, reason, rows (frames)
    deep: bool = False  # whether the pixels were compared, too
    sources: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)  # of each source: as `splits`
    relabelled: tuple[str, ...] = ()  # generators whose row of the taxonomy is another now, and in what
    outdated: tuple[str, ...] = ()  # that the dataset file has another version now, in a line


@dataclass(frozen=True)
class GroupNeed:
    """One group of a protocol against what the manifests hold. `need` None is "every face there is"."""

    group: str
    role: str  # seen, unseen or unlabelled
    need_train: int | None
    need_test: int | None
    train: int
    test: int
    unsplit: int
    missing: int  # faces; at least 1 where no face of the group is present
    obtain: str  # how to get the dataset; empty where nothing is missing


def check_manifest(folder: Path, *, deep: bool = False, progress: Progress = _SILENT) -> ManifestFacts:
    """Verify every file of a manifest against its hash, and count.

    Args:
        folder: of the manifest.
        deep: decode every crop and compare its pixels with its row, and hash every file kept beside the manifest (see
            `ingest.deep_check`); without it, nothing is known of the pixels but that the part that holds them is as it
            was signed.
        progress: shows how many rows are decoded.

    Raises:
        ManifestError: not a finished manifest.
        IntegrityError: names the damaged file, with `deep` also the part, row and sample.
    """
    check_files(folder)
    manifest = Manifest.open(folder)
    for path, part in zip(manifest.parts, manifest.info["parts"], strict=True):
        _check_schema(path, part["rows"])
    rows = manifest.frame(["sample_id", "generator", "split", "status", SOURCE], status=None)
    if len(twice := rows[rows["sample_id"].duplicated()]):
        names = f"{len(twice)} samples twice, {str(twice['sample_id'].iloc[0])[:40]!r} among them"
        raise IntegrityError(f"{folder}: {names}; build it again")
    counts = _nested_counts(rows, "status")
    if counts != manifest.info["counts"] or len(rows) != manifest.info["rows"]:
        raise IntegrityError(f"{folder / FILE}: its counts are not those of the parts; run the same build again")
    if rows_hash(manifest.parts) != manifest.sha256:
        raise IntegrityError(f"{folder / FILE}: its content hash is not that of the parts; run the same build again")
    if deep:
        check_deep(manifest, progress)
    kept = rows[rows["status"] == OK].fillna({"split": ""})
    return ManifestFacts(
        folder=Path(folder),
        dataset=manifest.name,
        sha256=manifest.sha256,
        rows=len(rows),
        counts=counts,
        splits=_nested_counts(kept, "split"),
        refusals=first_refusals(manifest.parts, _EXAMPLES),
        deep=deep,
        sources={str(name): _nested_counts(some, "split") for name, some in kept.groupby(SOURCE)},
        relabelled=tuple(_relabelled(manifest)),
        outdated=tuple(version_notes([manifest])),
    )


def _relabelled(manifest: Manifest) -> Iterator[str]:
    """Generators whose faces have other labels than their row of the taxonomy, as where an included row was edited."""
    rows = manifest.frame(["generator", *_LABELS], status=None).drop_duplicates()
    for name, stored in zip(rows["generator"], rows[list(_LABELS)].to_dict("records"), strict=True):
        if name not in taxonomy():
            yield f"{name}: not in the taxonomy; it was when the manifest was built (--include)"
            continue
        row = taxonomy()[name]
        now = {"forgery": row.forgery.value, "family": row.grouping.value, "attribution_label": row.attribution_label}
        if odd := [f"{key} {stored[key]}, now {now[key]}" for key in _LABELS if stored[key] != now[key]]:
            yield f"{name}: its row of the taxonomy was changed since the build ({'; '.join(odd)}); build it again"


def protocol_needs(protocol: Protocol, manifests: Sequence[ManifestFacts]) -> list[GroupNeed]:
    """Each group of a protocol, with the number of faces the manifests hold of it; seen groups first.

    A seen group needs training and test faces, an unseen one test faces only, an unlabelled one training faces only; a
    group that is both unseen and unlabelled has two lines. Faces without a split (or with
    one that the protocol ignores) may become either.
    """
    found: dict[tuple[str, str, str | None], dict[str, int]] = {}
    for facts in manifests:
        for source, counts in [(None, facts.splits), *facts.sources.items()]:
            for generator, splits in counts.items():
                merged = found.setdefault((facts.dataset, generator, source), {})
                for split, number in splits.items():
                    merged[split] = merged.get(split, 0) + number
    roles = [(group, "seen" if group.label != UNSEEN else "unseen") for group in protocol.groups]
    roles += [(group, "unlabelled") for group in protocol.unlabelled]
    return [
        _group_need(protocol, group, role, found.get((group.dataset, group.generator, group.source), {}))
        for group, role in roles
    ]


def _group_need(protocol: Protocol, group: Group, role: str, splits: dict[str, int]) -> GroupNeed:
    common = protocol.unlabelled_per_group if role == "unlabelled" else protocol.train_per_group
    need_train = 0 if role == "unseen" else group.train or common
    need_test = 0 if role == "unlabelled" else group.test or protocol.test_per_group
    if group.split is not None:
        splits = {"": splits.get(group.split, 0)}
    elif protocol.split == "hash":
        splits = {"": sum(splits.values())}
    train, test, unsplit = (splits.get(name, 0) for name in ("train", "test", ""))
    lacking_train = max(0, (need_train or 0) - train)
    lacking_test = max(0, (need_test or 0) - test)
    missing = max(0, lacking_train + lacking_test - unsplit)
    usable = unsplit + (0 if role == "unlabelled" else test) + (0 if role == "unseen" else train)
    if not usable:
        missing = max(missing, 1)
    return GroupNeed(
        group=group.key,
        role=role,
        need_train=need_train,
        need_test=need_test,
        train=train,
        test=test,
        unsplit=unsplit,
        missing=missing,
        obtain=_how_to_obtain(group.dataset) if missing else "",
    )


def _how_to_obtain(dataset: str) -> str:
    try:
        spec = load_dataset_spec(dataset)
    except DFADError:
        return f"no dataset file named {quoted(dataset)}"
    return spec.obtain or spec.homepage or spec.title


def _check_schema(path: Path, rows: int) -> None:
    try:
        file = pq.ParquetFile(path)
    except Exception as error:  # Arrow raises its own errors, OSError and more on damaged footers
        raise IntegrityError(f"{path}: not readable as Parquet; run the same build again") from error
    if not any(file.schema_arrow.equals(known, check_metadata=False) for known in (SCHEMA, SCHEMA_WITH_SOURCE)):
        raise IntegrityError(f"{path}: its columns are not those of a manifest; build it again")
    if file.metadata.num_rows != rows:
        raise IntegrityError(f"{path}: {file.metadata.num_rows} rows, {FILE} says {rows}; run the same build again")


def _nested_counts(rows: pd.DataFrame, column: str) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    sizes = rows.groupby(["generator", column]).size().reset_index(name="number")
    for generator, value, number in zip(sizes["generator"], sizes[column], sizes["number"], strict=True):
        nested.setdefault(str(generator), {})[str(value)] = int(number)
    return nested
