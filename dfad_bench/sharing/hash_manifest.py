"""A manifest without pictures: which faces of a release, under which labels, and the hashes of files and crops.

Whoever has the release builds the manifest again and compares it face by face. What is kept of a face: its name, place
in the release, labels, and hashes; no pixels, landmarks or boxes. `hashes.json` holds dataset, crop profile and
settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dfad_bench.core import bounds
from dfad_bench.core.errors import ConfigError, IntegrityError, listed
from dfad_bench.core.escape import markdown, markdown_code
from dfad_bench.core.files import atomic_path, check_hash, content_hash, read_json, sha256_file, write_json, write_text
from dfad_bench.core.run_parquet import Kind, read_table
from dfad_bench.core.strict import from_mapping
from dfad_bench.core.version import __version__
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.manifest_schema import SOURCE
from dfad_bench.sharing.private_text import private_parts, table_texts

if TYPE_CHECKING:
    import pandas as pd

FACES, ABOUT, CARD = "faces.parquet", "hashes.json", "README.md"
FORM = 1
_MOST_BYTES = 4 << 30
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_ALL_BITS = 2**64 - 1
_ALIKE_BITS = 6  # of 64 in which perceptual hashes of the same face may differ, as in audits of manifests
_TEXTS = (
    "sample_id", "dataset", "generator", "forgery", "family", "split", "origin", "source_key", "target_id",
    "source_sha256", "source_format", "crop_sha256", "phash", "status", "flags",
)  # fmt: skip
_WHOLE = (
    "attribution_label", "detection_label", "frame", "source_width", "source_height", "source_bytes", "width", "height",
)  # fmt: skip
_TEXT: Kind = "text"
_WHOLE_KIND: Kind = "whole"
COLUMNS = (*_TEXTS, *_WHOLE)
LABELS = ("dataset", "generator", "forgery", "family", "attribution_label", "detection_label", "split", "source_key")
Verdict = Literal["same", "alike", "other crop", "other file", "other labels", "other status", "missing", "further"]
GOOD = ("same", "alike")
_ORDER: tuple[Verdict, ...] = (
    "same", "alike", "other crop", "other file", "other labels", "other status", "missing", "further",
)  # fmt: skip
MEANING = {
    "same": "same file, same pixels, same labels",
    "alike": "same file; the crop differs in single pixels, as with another version of a library or processor",
    "other crop": "same file, another crop",
    "other file": "the file of the release has another content",
    "other labels": "same name, other labels",
    "other status": "kept here and refused there, or the other way round",
    "missing": "of the list, not in the manifest",
    "further": "in the manifest, not of the list",
}


@dataclass(frozen=True)
class HashList:
    """What `hashes.json` says: dataset, crop profile and settings as `manifest.json` has them, and the table's hash."""

    form: int
    tool: str
    dataset: dict[str, Any]
    crop: dict[str, Any]
    settings: dict[str, Any]
    content_sha256: str  # of the manifest it was made from
    rows: int
    faces_sha256: str
    packages: dict[str, str]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(str(self.dataset.get("name"))):
            raise ValueError("dataset.name must be of letters, digits, '_' and '-'")
        for values in (self.dataset, self.crop):
            if not re.fullmatch("[0-9a-f]{64}", str(values.get("sha256"))):
                raise ValueError("dataset and crop need a sha256 of 64 hexadecimal digits")


@dataclass(frozen=True)
class AskedBuild:
    """Settings of a build that decide which faces it holds, as a list of strangers states them."""

    crop: str
    generator: str | None = None
    limit: int | None = None
    frames: int | None = None
    stride: int | None = None
    shard_size: int = 256
    follow_links: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.crop.replace(".", "-")):
            raise ValueError("crop must be the name of a crop profile")
        if self.generator is not None and not _NAME.fullmatch(self.generator):
            raise ValueError("generator must be a name")
        for name in ("limit", "frames", "stride", "shard_size"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= bounds.FACES:
                raise ValueError(f"{name} must be 1 to {bounds.FACES:,}")


@dataclass(frozen=True)
class RowFinding:
    """What became of one face: `where` is its place in the release, `why` what differs."""

    sample_id: str
    generator: str
    where: str
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class HashComparison:
    """A manifest beside a list: every face's finding, in the order of names, and what differs of the settings."""

    findings: tuple[RowFinding, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many faces have which verdict, those that occur."""
        found = dict.fromkeys(_ORDER, 0)
        for finding in self.findings:
            found[finding.verdict] += 1
        return {verdict: number for verdict, number in found.items() if number}

    @property
    def differs(self) -> bool:
        """Whether any face is not the one of the list."""
        return any(finding.verdict not in GOOD for finding in self.findings)


def write_hashes(manifest: Manifest, out: Path, packages: Mapping[str, str]) -> HashList:
    """Write the list of a manifest's faces into a new or empty folder, or over such a list.

    Raises:
        ConfigError: the folder holds something else, or a row tells of this machine.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / ABOUT).is_file())):
        raise ConfigError(f"{out}: holds something else; use another --out")
    columns = [*COLUMNS, *([SOURCE] if manifest.tells_sources else [])]
    rows = _rows_of(manifest, columns)
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata({"dfad_hashes": str(FORM)})
    with atomic_path(out / FACES) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        if found := private_parts(table_texts(temporary)):
            names = listed(dict.fromkeys(text.rpartition(": ")[2] for text in found), 4)
            raise ConfigError(
                f"{manifest.folder}: a path or a name of this machine stands in {names}; nothing is shared"
            )
    info = manifest.info
    about = HashList(
        FORM, f"dfad_bench {__version__}", dict(info["dataset"]), dict(info.get("crop") or {}),
        dict(info.get("settings") or {}), manifest.sha256, len(rows), sha256_file(out / FACES), dict(packages),
    )  # fmt: skip
    write_text(out / CARD, _card(about, rows))
    write_json(out / ABOUT, asdict(about))
    return about


def read_hashes(folder: Path) -> tuple[HashList, pd.DataFrame]:
    """A list of faces, whoever wrote it.

    Raises:
        ConfigError: no such folder, or damaged.
        IntegrityError: the table is not the one of `hashes.json`, or not of its form.
    """
    path = folder / FACES
    if not (folder / ABOUT).is_file() or not path.is_file():
        raise ConfigError(f"{folder}: no {ABOUT} and {FACES}; `dfad share-manifest` writes such a folder")
    about = from_mapping(HashList, read_json(folder / ABOUT), str(folder / ABOUT))
    if about.form != FORM:
        raise ConfigError(f"{folder / ABOUT}: form {about.form}, this toolkit reads {FORM}")
    if path.stat().st_size > _MOST_BYTES:
        raise ConfigError(f"{path}: larger than {_MOST_BYTES >> 30} GiB")
    check_hash(path, about.faces_sha256)
    kinds: dict[str, Kind] = {**dict.fromkeys(_TEXTS, _TEXT), **dict.fromkeys(_WHOLE, _WHOLE_KIND)}
    nullable = [name for name in COLUMNS if name not in ("sample_id", "dataset", "generator", "origin", "status")]
    rows = read_table(path, kinds, nullable=nullable)
    if len(rows) != about.rows or rows["sample_id"].duplicated().any():
        raise IntegrityError(f"{path}: {len(rows):,} rows, {ABOUT} says {about.rows:,}; or a face stands there twice")
    return about, rows


def asked_build(about: HashList, where: str) -> AskedBuild:
    """The settings to build by.

    Raises:
        ConfigError: settings no build could have.
    """
    known = AskedBuild.__dataclass_fields__
    return from_mapping(AskedBuild, {key: value for key, value in about.settings.items() if key in known}, where)


def compare_hashes(about: HashList, rows: pd.DataFrame, manifest: Manifest) -> HashComparison:
    """Every face of a list beside the one of that name in a manifest."""
    mine, theirs = _rows_by_name(_rows_of(manifest, COLUMNS)), _rows_by_name(rows)
    findings = []
    for name in sorted({*mine, *theirs}):
        verdict, why = _verdict(theirs.get(name), mine.get(name))
        row = theirs.get(name) or mine[name]
        findings.append(RowFinding(name, str(row["generator"]), str(row["origin"]), verdict, why))
    return HashComparison(tuple(findings), tuple(_setting_notes(about, manifest)))


def _rows_by_name(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {str(row["sample_id"]): {str(key): value for key, value in row.items()} for row in rows.to_dict("records")}


def _rows_of(manifest: Manifest, columns: Sequence[str]) -> pd.DataFrame:
    """Rows as the list holds them: whole numbers that may be missing, perceptual hashes as 16 hexadecimal digits."""
    rows = manifest.frame(list(columns), status=None)
    rows["phash"] = [None if _is_missing(value) else f"{int(value) & _ALL_BITS:016x}" for value in rows["phash"]]
    return rows.astype({name: "Int64" for name in _WHOLE if name in rows})


def _verdict(theirs: Mapping[str, Any] | None, mine: Mapping[str, Any] | None) -> tuple[Verdict, str]:
    if mine is None:
        return "missing", ""
    if theirs is None:
        return "further", ""
    if not _is_same(theirs["source_sha256"], mine["source_sha256"]):
        return "other file", f"sha256 {str(mine['source_sha256'])[:12]}…, listed {str(theirs['source_sha256'])[:12]}…"
    if theirs["status"] != mine["status"]:
        return "other status", f"{mine['status']}, listed {theirs['status']}"
    if odd := [name for name in LABELS if not _is_same(theirs[name], mine[name])]:
        return "other labels", "; ".join(f"{name} {mine[name]}, listed {theirs[name]}" for name in odd)
    if _is_same(theirs["crop_sha256"], mine["crop_sha256"]):
        return "same", ""
    bits = _bits_apart(theirs["phash"], mine["phash"])
    if bits is not None and bits <= _ALIKE_BITS and theirs["width"] == mine["width"]:
        return "alike", f"{bits} of 64 bits of the perceptual hash differ"
    return "other crop", "" if bits is None else f"{bits} of 64 bits of the perceptual hash differ"


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values of a table are equal; values that are missing are."""
    return (_is_missing(one) and _is_missing(other)) or bool(one == other)


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


def _bits_apart(one: Any, other: Any) -> int | None:
    if _is_missing(one) or _is_missing(other):
        return None
    try:
        return (int(one, 16) ^ int(other, 16)).bit_count()
    except ValueError:  # of a stranger's list
        return None


def _setting_notes(about: HashList, manifest: Manifest) -> list[str]:
    """A line for each setting in which the manifest differs from the list."""
    notes = []
    for what, theirs, mine in (
        ("dataset file", about.dataset, manifest.info["dataset"]),
        ("crop profile", about.crop, manifest.info.get("crop") or {}),
    ):
        if theirs.get("sha256") != mine.get("sha256"):
            notes.append(f"the {what} differs: {mine.get('name')} {mine.get('version')}, listed"
                         f" {theirs.get('name')} {theirs.get('version')}")  # fmt: skip
    settings = manifest.info.get("settings") or {}
    odd = sorted(key for key in {*about.settings, *settings} if about.settings.get(key) != settings.get(key))
    hashes = ("dataset_sha256", "crop_sha256")  # said above
    if odd := [key for key in odd if key not in hashes]:
        notes.append(f"settings differ: {listed(odd, 6)}")
    if content_hash(about.content_sha256) != content_hash(manifest.sha256):
        notes.append(f"content sha256 {manifest.sha256[:16]}…, listed {about.content_sha256[:16]}…")
    return notes


def _card(about: HashList, rows: pd.DataFrame) -> str:
    dataset = about.dataset
    kept = rows[rows["status"] == "ok"]
    lines = [
        f"# Faces of {markdown(str(dataset.get('title') or dataset['name']))}, without pictures", "",
        f"{len(rows):,} rows ({len(kept):,} faces) of the dataset {markdown_code(str(dataset['name']))}, cropped by"
        f" {markdown_code(str(about.crop.get('name')))}: names, places in the release, labels, and SHA-256 of files",
        f"and crops. No pixels, boxes or landmarks. Licence of the source: {markdown(str(dataset.get('licence')))}.",
        "",
        "Whoever has the release builds the same manifest, and is told face by face what differs:", "",
        "```console",
        "$ dfad rebuild-manifest --hashes THIS_FOLDER --root RELEASE --out manifests/" + str(dataset["name"]),
        "```", "", "| generator | faces |", "|---|---:|",
    ]  # fmt: skip
    counts = kept["generator"].astype(str).value_counts().sort_index()
    lines += [f"| {markdown(str(name))} | {number:,} |" for name, number in counts.items()]
    return "\n".join(lines) + "\n"
