"""Copies that were mirrored, shifted or zoomed: the pixels of faces of different sources compared window by window.

A face kept out of the training part by its hash may be in it mirrored: `near_duplicates` would not see that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.errors import DFADError
from dfad_bench.data.audit.copy_search import LIKENESS, MOST_FACES, Copies, find_copies
from dfad_bench.data.audit.findings import Finding, Findings, Kind, faces_at
from dfad_bench.data.audit.subject import Subject
from dfad_bench.data.audit.windows import SIDE, grey_faces
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.stored_crop import StoredCrop

_COLUMNS: dict[str, Kind] = {
    "group": "text", "other group": "text", "sides": "text", "how": "text", "pairs": "count", "closest": "number",
}  # fmt: skip
_TITLE = f"Altered copies: mirrored, shifted or zoomed, windows that correlate {LIKENESS:g} or more, by source"
_EXAMPLES = 12
_ROWS = 40
_AT_ONCE = 64


def check(subject: Subject) -> Findings:
    """Pairs of training and test faces of different sources; where no face has a side, pairs of all faces."""
    kept = subject.kept_faces
    sides = set(kept["side"]) >= {"train", "test"}
    kept = kept[kept["side"] != ""] if sides else kept
    if len(kept) > MOST_FACES:
        text = f"{len(kept):,} faces, more than {MOST_FACES:,}: not looked for; --protocol chooses fewer"
        return Findings("altered_copies", _TITLE, _COLUMNS, [], (Finding("warning", text),))
    rows, grey = _decoded(subject, kept)
    undecoded = len(kept) - len(rows)
    side = kept.loc[rows, "side"].to_numpy()
    every = np.arange(len(rows))
    one, other = (every[side == "train"], every[side == "test"]) if sides else (every, every)
    owners = pd.factorize(kept.loc[rows, "source_key"])[0]
    found = find_copies(lambda places: grey[places], one, other, owners)
    pairs = _described(subject, rows, found)
    remarks = [_remark(subject, pairs, sides)] if len(pairs) else []
    if undecoded:
        remarks.append(Finding("info", f"{undecoded:,} crops do not decode and were not compared; --deep names one"))
    if found.left_out:
        remarks.append(Finding("warning", f"{found.left_out:,} more candidates were not compared"))
    return Findings("altered_copies", _TITLE, _COLUMNS, _table(pairs), tuple(remarks))


def _decoded(subject: Subject, kept: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The faces whose crops decode: their index in the subject's faces (n,), and grey values (n, 64, 64)."""
    rows: list[int] = []
    grey: list[np.ndarray] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for number, manifest in enumerate(subject.manifests):
            mine = kept[kept["manifest"] == number]
            place = dict(zip(mine["sample_id"], mine.index, strict=True))
            for some in _batches(manifest, set(place)):
                for crop, face in zip(some, pool.map(_grey, some), strict=True):
                    if face is not None:
                        rows.append(place[crop.sample_id])
                        grey.append(face)
    order = np.argsort(rows)
    faces = np.stack(grey)[order] if grey else np.zeros((0, SIDE, SIDE), np.uint8)
    return np.array(rows, dtype=np.int64)[order], faces


def _batches(manifest: Manifest, names: set[str]) -> Iterator[list[StoredCrop]]:
    stored = manifest.crops(names) if names else iter(())
    while some := list(islice(stored, _AT_ONCE)):
        yield some


def _grey(crop: StoredCrop) -> np.ndarray | None:
    try:
        grey: np.ndarray = grey_faces([crop.pixels()])[0]
    except DFADError:
        return None
    return grey


def _described(subject: Subject, rows: np.ndarray, found: Copies) -> pd.DataFrame:
    """Pairs with groups, sides and how they are alike; copies with equal pixels or equal hashes are of other checks."""
    one, other = rows[found.one], rows[found.other]
    pairs = pd.DataFrame({"one": one, "other": other, "likeness": found.likeness})
    words = np.where(found.mirrored, "mirrored", "")
    moved = np.where(found.moved, "shifted or zoomed", "")
    pairs["how"] = [", ".join(filter(None, both)) or "as it is" for both in zip(words, moved, strict=True)]
    groups = subject.faces["group"].to_numpy(dtype=str)
    first, second = groups[one], groups[other]
    pairs["group"] = np.where(first <= second, first, second)
    pairs["other group"] = np.where(first <= second, second, first)
    sides = subject.faces["side"].to_numpy(dtype=str)
    pairs["sides"] = np.where(sides[one] != sides[other], "train + test", sides[one])
    return pairs[pairs["how"] != "as it is"].reset_index(drop=True)  # those are near duplicates


def _remark(subject: Subject, pairs: pd.DataFrame, sides: bool) -> Finding:
    where = "on both sides of the split, " if sides else ""
    text = f"{len(pairs):,} pairs of altered copies {where}from different sources"
    some = zip(pairs["one"].head(_EXAMPLES), pairs["other"].head(_EXAMPLES), strict=True)
    examples = tuple(faces_at(subject.faces, [int(a), int(b)]) for a, b in some)
    return Finding("warning", text, examples)


def _table(pairs: pd.DataFrame) -> list[dict[str, Any]]:
    keys = ["group", "other group", "sides", "how"]
    counts = Counter(pairs[keys].itertuples(index=False, name=None))
    closest = pairs.groupby(keys)["likeness"].max().to_dict() if len(pairs) else {}
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows: list[dict[str, Any]] = [
        {**dict(zip(keys, key, strict=True)), "pairs": number, "closest": float(closest[key])}
        for key, number in ordered[:_ROWS]
    ]
    if other_groups := ordered[_ROWS:]:
        rows.append({"group": f"{len(other_groups)} more", "pairs": sum(number for _, number in other_groups)})
    return rows
