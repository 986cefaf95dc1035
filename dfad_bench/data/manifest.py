"""The manifest: a folder of Parquet parts, one row per face, kept or refused, and `manifest.json`.

The row holds the crop as PNG. Derived values are stored in side tables keyed by `sample_id`; a manifest is never
rewritten. Parts are written one by one (Parquet, then a JSON with its hash), `manifest.json` last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from dfad_bench.core.errors import ConfigError, IntegrityError, ManifestError, listed, quoted
from dfad_bench.core.files import (
    check_hash,
    content_hash,
    is_json_text,
    read_json,
    sha256_file,
    write_json,
    write_text,
)
from dfad_bench.core.version import __version__
from dfad_bench.data import card
from dfad_bench.data.manifest_forms import CHECK_FORMS, READ_FORMS, is_file_name, malformed_keys
from dfad_bench.data.manifest_parts import commit_part, part_name, read_part, rows_hash
from dfad_bench.data.manifest_schema import SCHEMA, SOURCE, VERSION, plain_schema
from dfad_bench.data.stored_crop import DAMAGE, OK, StoredCrop, damaged, stored_crops

if TYPE_CHECKING:
    import pandas as pd  # imported where it is needed only: worker processes start twice as fast without it

FILE = "manifest.json"
_BESIDE = (card.FILE, "build.json")  # further files whose hashes are in manifest.json


class Manifest:
    """A finished manifest, read part by part."""

    def __init__(self, folder: Path, info: dict[str, Any]) -> None:
        self.folder = folder
        self.info = info

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a finished manifest.

        Raises:
            ManifestError: missing, unfinished, of another version, or with a part missing.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ManifestError(f"{folder}: no such manifest; make it with `dfad build-manifest --out {folder}`")
        if not (folder / FILE).is_file():
            begun = any(folder.glob("part-*.parquet"))
            hint = "the build did not finish; run the same build-manifest again" if begun else "not a manifest folder"
            raise ManifestError(f"{folder}: no {FILE}; {hint}")
        try:
            info = read_json(folder / FILE)
        except ConfigError as error:
            raise ManifestError(f"{error}; build it again") from error
        found = info.get("schema_version") if isinstance(info, dict) else None
        if found != VERSION:
            raise ManifestError(
                f"{folder / FILE}: schema version {quoted(found)}, this toolkit reads {VERSION}; build it again"
            )
        if wrong := malformed_keys(info, READ_FORMS):
            raise ManifestError(f"{folder / FILE}: {', '.join(wrong)} missing or damaged; build it again")
        manifest = cls(folder, info)
        for path in manifest.parts:
            if not path.is_file():
                raise ManifestError(f"{folder}: {path.name} is missing; run the same build-manifest again")
        return manifest

    @property
    def name(self) -> str:
        """The dataset's name."""
        return str(self.info["dataset"]["name"])

    @property
    def sha256(self) -> str:
        """Hash of the rows and crops, independent of their order and of the size of the parts."""
        return str(self.info["content_sha256"])

    @cached_property
    def parts(self) -> tuple[Path, ...]:
        """The Parquet files."""
        names = [part["file"] for part in self.info["parts"]]
        if not all(map(is_file_name, names)):
            raise ManifestError(f"{self.folder / FILE}: parts must be plain file names")
        return tuple(self.folder / name for name in names)

    def frame(self, columns: Sequence[str] | None = None, *, status: str | None = OK) -> pd.DataFrame:
        """Rows of a `status` (None: all rows) without the image bytes, sorted by `sample_id`.

        Raises:
            ManifestError: an unknown column, or an unreadable part.
        """
        known = [name for name in SCHEMA.names if name != "image"]
        columns = known + [SOURCE] * self.tells_sources if columns is None else list(columns)
        if unknown := [name for name in columns if name not in (*known, SOURCE)]:
            raise ManifestError(f"{self.folder}: no columns {quoted(unknown)}; known: {', '.join(known)}")
        wanted = list(dict.fromkeys([*columns, "sample_id", "status"]))
        tables = [read_part(path, wanted) for path in self.parts]
        table = pa.concat_tables(tables) if tables else plain_schema().empty_table().select(wanted)
        rows = table.to_pandas()
        if "phash" in wanted:  # a column with nulls becomes float64, which cannot hold 64-bit integers
            import pandas as pd

            rows["phash"] = table.column("phash").to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        if status is not None:
            rows = rows[rows["status"] == status]
        return rows.sort_values("sample_id", kind="stable").reset_index(drop=True)[columns]

    @cached_property
    def tells_sources(self) -> bool:
        """Whether it has the column `source`; asked for in one without, the column is null."""
        for path in self.parts:
            try:
                if SOURCE in pq.read_schema(path).names:
                    return True
            except DAMAGE as error:
                raise damaged(path, error) from error
        return False

    def crops(self, sample_ids: Collection[str]) -> Iterator[StoredCrop]:
        """The given faces in one pass with bounded memory, in the order of the parts; `pixels()` decodes one.

        Raises:
            ManifestError: a face is not in the manifest or was refused; raised at the end of the pass.
        """
        missing = set(sample_ids)
        for path in self.parts:
            if not missing:
                break
            for crop in stored_crops(path, missing):
                if crop.sample_id in missing and (crop.png is not None or crop.status == OK):
                    missing.discard(crop.sample_id)
                    yield crop
        if missing:
            names = listed(sorted(missing), 3)
            raise ManifestError(f"{self.folder}: {len(missing)} faces asked for have no crop here ({names})")

    def images(self, sample_ids: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """(sample_id, PNG bytes) of the given faces, as they are stored: not decoded, and so not checked.

        Raises:
            ManifestError: see `crops`.
            IntegrityError: a row of status ok has no picture.
        """
        for crop in self.crops(sample_ids):
            yield crop.sample_id, crop.encoded()


def finish(folder: Path, names: Sequence[str], info: Mapping[str, Any]) -> Manifest:
    """Write the dataset card and, last, `manifest.json` from committed parts.

    Args:
        folder: folder of the manifest.
        names: the part files, in order.
        info: `dataset` (at least its name) and further facts to record.
    """
    parts: list[dict[str, Any]] = []
    counts: dict[str, Counter[str]] = {}
    for name in names:
        record = read_json((folder / name).with_suffix(".json"))
        hashes = {"sha256": record["sha256"], "record_sha256": sha256_file((folder / name).with_suffix(".json"))}
        parts.append({"file": name, "rows": record["rows"], **hashes})
        for generator, statuses in record["counts"].items():
            merged = counts.setdefault(generator, Counter())
            merged.update(statuses)
    value = {
        **info,
        "schema_version": VERSION,
        "tool": {"name": "dfad_bench", "version": __version__},
        "parts": parts,
        "rows": sum(part["rows"] for part in parts),
        "counts": {name: dict(sorted(c.items())) for name, c in sorted(counts.items())},
        "content_sha256": rows_hash([folder / name for name in names]),
    }
    write_text(folder / card.FILE, card.dataset_card(value))
    beside = [name for name in _BESIDE if (folder / name).is_file()]
    value["files"] = {name: sha256_file(folder / name) for name in beside}
    write_json(folder / FILE, signed(value))
    return Manifest.open(folder)


def signed(info: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of `manifest.json` with the hash of the rest of them under `summary_sha256`."""
    content = {key: value for key, value in info.items() if key != "summary_sha256"}
    return {**content, "summary_sha256": content_hash(content)}


def check_files(folder: Path) -> None:
    """Verify every file of a finished manifest byte by byte; files that are missing are left to `Manifest.open`.

    Raises:
        IntegrityError: names the damaged file.
    """
    folder = Path(folder)
    path = folder / FILE
    if not path.is_file():
        return
    try:
        info = read_json(path)
    except ConfigError as error:
        raise IntegrityError(f"{error}; run the same build again") from error
    if not isinstance(info, dict) or info != signed(info) or not is_json_text(path.read_text(encoding="utf-8"), info):
        if isinstance(info, dict) and info.get("schema_version") != VERSION and "summary_sha256" not in info:
            return  # another version is signed differently
        raise IntegrityError(f"{path}: damaged or changed; run the same build again")
    if wrong := malformed_keys(info, {**READ_FORMS, **CHECK_FORMS}):
        raise IntegrityError(f"{path}: {', '.join(wrong)} missing or damaged; run the same build again")
    expected = dict(info["files"])
    for part in info["parts"]:
        expected |= {part["file"]: part["sha256"], str(Path(part["file"]).with_suffix(".json")): part["record_sha256"]}
    for name, sha256 in expected.items():
        if (folder / name).is_file():
            check_hash(folder / name, sha256)
        elif name not in {part["file"] for part in info["parts"]}:
            raise IntegrityError(f"{folder / name}: missing; run the same build again")


def write_manifest(
    folder: Path, name: str, rows: Iterable[Mapping[str, Any]], *, shard_size: int = 256, info: Mapping[str, Any] = {}
) -> Manifest:
    """Write a complete manifest from rows in memory (for small ones). `info` is added to `manifest.json`."""
    ordered = sorted(rows, key=lambda row: str(row["sample_id"]))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for index, start in enumerate(range(0, len(ordered), shard_size)):
        names.append(part_name(index))
        commit_part(folder / names[-1], ordered[start : start + shard_size], {})
    return finish(folder, names, {"dataset": {"name": name}, **info})
