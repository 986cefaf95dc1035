"""The lists that video datasets are released with: test videos of Celeb-DF, splits of FaceForensics++, labels of DFDC.

Names are compared without extension and case, so that extracted frames (a folder per video) are found as videos are.
The listing counts listed videos that are missing on disk, and videos that no list names where all should be listed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.files import read_json
from dfad_bench.core.taxonomy import REAL_KEY
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.spec import DatasetSpec

_MAX_BYTES = 256 << 20
_TEST_LIST = "List_of_testing_videos.txt"
_SPLITS = ("train", "val", "test")
_SPLIT_FOLDERS = ("dataset/splits", "splits", "")


def celeb_df(listing: Listing, root: Path, spec: DatasetSpec) -> None:
    """Celeb-DF and Celeb-DF++: listed videos are the test split, all others train. Lines: `1 path` (real) or `0 path`.

    Copies have the videos one level lower, in `videos/` or as folders of frames in `frames/`; names fit all the same.

    Raises:
        ConfigError: a line has another form.
    """
    file = find_file(root, _TEST_LIST, spec.follow_links)
    if file is None:
        if any(sample.split is None for sample in listing.samples):
            listing.notes.append(f"no {_TEST_LIST}: the splits are unknown")
        return
    labels: dict[str, tuple[bool, str]] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        label, _, path = line.strip().partition(" ")
        if label not in ("0", "1") or not path.strip():
            raise ConfigError(f"{file}: line {number}: expected '1 folder/video.mp4' or '0 ...', got {line[:60]!r}")
        name = _without_level(_key(path.strip()))
        if labels.setdefault(name, (label == "1", path.strip()))[0] != (label == "1"):
            raise ConfigError(f"{file}: line {number}: {path.strip()[:60]!r} has the other label on a line before")
    seen, contradicted = set(), 0
    for index, sample in enumerate(listing.samples):
        name = _without_level(_video(sample))
        if name in labels:
            seen.add(name)
            contradicted += labels[name][0] != (sample.generator == REAL_KEY)
        listing.samples[index] = replace(sample, split="test" if name in labels else "train")
    _count_absent(listing, _TEST_LIST, (path for name, (_, path) in labels.items() if name not in seen))
    if contradicted:
        listing.notes.append(f"{_TEST_LIST}: {contradicted} labels contradict the folder the video lies in")


def faceforensics(listing: Listing, root: Path, spec: DatasetSpec) -> None:
    """FaceForensics++: `dataset/splits/{train,val,test}.json`, lists of [target, source].

    A real video has the split of its pair, a forged one that of its two videos; without the files no split is known.
    Listed real videos that are missing on disk are counted if any real video is present.

    Raises:
        ConfigError: a damaged file.
    """
    splits: dict[str, str] = {}
    for split in _SPLITS:
        places = (find_file(root, _join(folder, f"{split}.json"), spec.follow_links) for folder in _SPLIT_FOLDERS)
        file = next((place for place in places if place), None)
        if file is None:
            listing.notes.append(f"no dataset/splits/{split}.json: that official split is unknown")
            continue
        for name in (name for pair in _pairs(file) for name in pair):
            if splits.setdefault(name, split) != split:
                raise ConfigError(f"{file}: {name[:60]!r} is also in the split {splits[name]}")
    unknown: list[str] = []
    reals = set()
    for index, sample in enumerate(listing.samples):
        ids = _video(sample).rpartition("/")[2].split("_")
        if sample.generator == REAL_KEY:
            reals.update(ids)
        found = {splits.get(name) for name in ids}
        known = found.pop() if len(found) == 1 else None
        if known is None and splits:
            unknown.append(sample.origin)
        listing.samples[index] = replace(sample, split=known)
    if unknown:
        listing.notes.append(f"{len(unknown)} files in none of the splits there are, {quoted(unknown[0])} first")
    _count_absent(listing, "dataset/splits", sorted(set(splits) - reals) if reals else ())


def dfdc(listing: Listing, root: Path, spec: DatasetSpec) -> None:
    """DFDC: `metadata.json` in each part, or `labels.csv` beside or above the test videos, says which are forged.

    The target of a forged video is its `original`, in the same part; both share a source key. Videos without a label
    are left out and counted, and so are listed videos that are missing on disk. Files sorted into real/ and fake/
    need no list.

    Raises:
        ConfigError: a damaged list.
    """
    origins = {s.origin.casefold(): s.origin for s in listing.samples}
    lists: dict[str, dict[str, dict[str, Any]]] = {}
    kept, named = [], set()
    for sample in listing.samples:
        if sample.generator != "unlabelled":
            kept.append(sample)
            continue
        folder, _, name = sample.origin.rpartition("/")
        if folder not in lists:
            lists[folder] = _labels(root, folder, spec.follow_links)
        facts = lists[folder].get(name.casefold())
        if facts is None:
            listing.ignore("not in metadata.json or labels.csv", sample.origin)
            continue
        named.add(sample.origin.casefold())
        kept.append(_labelled(sample, folder, facts, origins))
    listing.samples = kept
    for folder, videos in lists.items():
        missing = (_join(folder, name) for name in videos if _join(folder, name).casefold() not in named)
        _count_absent(listing, "metadata.json or labels.csv", missing)


def _labelled(sample: RawSample, folder: str, facts: dict[str, Any], origins: dict[str, str]) -> RawSample:
    original = facts.get("original")
    stem = (original or sample.origin.rpartition("/")[2]).rpartition(".")[0]
    target = origins.get(_join(folder, original).casefold()) if original else None
    return replace(
        sample,
        generator="dfdc" if facts["fake"] else REAL_KEY,
        split=sample.split or facts.get("split"),
        source_key=f"dfdc:{stem}",
        target_origin=target,
        pair_confidence=1.0 if target else None,
    )


def _labels(root: Path, folder: str, follow: bool) -> dict[str, dict[str, Any]]:
    """File name in lower case -> `fake`, `split`, `original`, from the lists in a folder (or a CSV above it)."""
    videos: dict[str, dict[str, Any]] = {}
    for place in dict.fromkeys((folder, folder.rpartition("/")[0])):
        file = find_file(root, _join(place, "labels.csv"), follow)
        if file is not None:
            videos.update(_from_csv(file))
            break
    file = find_file(root, _join(folder, "metadata.json"), follow)
    if file is not None:
        videos.update(_from_json(file))
    return videos


def _from_json(file: Path) -> dict[str, dict[str, Any]]:
    value = read_json(file, constants=True)  # pandas writes NaN for `original` of real videos
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: expected an object of videos")
    found = {}
    for name, facts in value.items():
        label = facts.get("label", facts.get("is_fake")) if isinstance(facts, dict) else None
        original = facts.get("original") if isinstance(facts, dict) else None
        found[str(name).casefold()] = {
            "fake": _fake(label, str(file), name),
            "split": str(facts["split"]) if facts.get("split") in _SPLITS else None,
            "original": str(original) if original and str(original).upper() != "NAN" else None,
        }
    return found


def _from_csv(file: Path) -> dict[str, dict[str, Any]]:
    rows = csv.DictReader(io.StringIO(read_text(file)), strict=True)
    try:
        if not {"filename", "label"} <= set(rows.fieldnames or ()):
            raise ConfigError(f"{file}: expected the columns filename and label")
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            where = f"{file}: line {rows.line_num}"
            name, facts = str(row["filename"]).casefold(), {"fake": _fake(row["label"], where, row["filename"])}
            if found.setdefault(name, facts) != facts:
                raise ConfigError(f"{where}: {quoted(row['filename'])} has the other label on a line before")
        return found
    except csv.Error as error:
        raise ConfigError(f"{file}: not a CSV table ({error})") from error


def _fake(label: object, where: str, name: object) -> bool:
    known = {"FAKE": True, "1": True, "1.0": True, "REAL": False, "0": False, "0.0": False}  # pandas writes 1.0
    fake = known.get(str(label).strip().upper())
    if fake is None:
        raise ConfigError(f"{where}: {str(name)[:60]!r}: label {str(label)[:60]!r} is neither REAL nor FAKE (0 or 1)")
    return fake


def _pairs(file: Path) -> list[list[str]]:
    value = read_json(file)
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair) for pair in value
    ):
        raise ConfigError(f"{file}: expected a list of [target, source] pairs of names")
    return value


def _count_absent(listing: Listing, file: str, paths: Iterable[str]) -> None:
    for path in paths:
        listing.ignore(f"in {file}, but not there", path)


def _video(sample: RawSample) -> str:
    """The key of a sample's video; for an extracted frame, the key of its folder."""
    if sample.medium in ("video", "animation"):
        return _key(sample.origin)
    return sample.origin.rpartition("/")[0].casefold()


def _key(path: str) -> str:
    path = path.replace("\\", "/").removeprefix("./").casefold()
    folder, _, name = path.rpartition("/")
    return _join(folder, name.rpartition(".")[0] or name)


def _without_level(key: str) -> str:
    """A key without the level of copies.

    >>> _without_level("celeb-real/frames/id0_0000")
    'celeb-real/id0_0000'
    """
    *folders, name = key.split("/")
    return "/".join([*(folder for folder in folders if folder not in ("videos", "frames")), name])


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def find_file(root: Path, path: str, follow: bool) -> Path | None:
    """A file below the root, whatever the case of its path; links out of the root only with `follow`."""
    place = root
    for name in path.split("/"):
        if not (place / name).exists():
            try:
                name = next(f.name for f in sorted(place.iterdir()) if f.name.casefold() == name.casefold())
            except (OSError, StopIteration):
                return None
        place /= name
    return place if place.is_file() and (follow or place.resolve().is_relative_to(root.resolve())) else None


def read_text(file: Path, most: int = _MAX_BYTES) -> str:
    """The text of a list.

    Raises:
        ConfigError: larger than `most` bytes, or no text.
    """
    try:
        if file.stat().st_size > most:
            raise ConfigError(f"{file}: larger than {most} bytes")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not a text file") from error
