"""Do training faces look like test faces of other sources? The search of the audit, on the crops of a run.

What it finds is said and kept in the record, never dropped: a reenactment looks like its target by nature.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import content_hash, read_json, write_json
from dfad_bench.core.strict import from_mapping
from dfad_bench.data.audit.copy_search import BITS, LIKENESS, MOST_FACES, find_copies
from dfad_bench.data.audit.windows import grey_faces
from dfad_bench.data.crop_store import CropStore, default_folder
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import Selection

_VERSION = 1  # of what the stored results mean
_EXAMPLES = 3


@dataclass(frozen=True)
class Leaks:
    """Pairs of a training and a test face of different sources that look like copies, and how many faces those are.

    `changed`: pairs that are mirrored, shifted or zoomed; `examples`: sample ids; `skipped`: why nothing was looked
    for; `left_out`: candidates that were not compared; `seconds`: what the search took, where it was made.
    """

    pairs: int = 0
    train_faces: int = 0
    test_faces: int = 0
    changed: int = 0
    left_out: int = 0
    examples: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    skipped: str = ""

    @property
    def recorded(self) -> dict[str, int | None]:
        """What a record's `leakage` says of them."""
        if self.skipped:
            return {"near_duplicates_train_test": None}
        return {
            "near_duplicates_train_test": self.pairs,
            "near_duplicates_train_faces": self.train_faces,
            "near_duplicates_test_faces": self.test_faces,
        }

    @property
    def warnings(self) -> list[str]:
        """Warnings about what was found, for the user."""
        if self.skipped:
            return [self.skipped]
        if not self.pairs:
            return []
        some = ", ".join(f"{one} and {other}" for one, other in self.examples)
        more = f"; {self.left_out:,} more candidates were not compared" if self.left_out else ""
        return [
            f"{self.pairs:,} pair{'s' * (self.pairs > 1)} of training and test faces of different sources look like"
            f" copies ({self.changed:,} mirrored, shifted or zoomed; {self.train_faces:,} training and"
            f" {self.test_faces:,} test faces; {some}{more}): kept, since a reenactment looks like its target;"
            " `dfad check-manifest --audit` shows them"
        ]


def find_leaks(
    selection: Selection, store: CropStore, manifests: Sequence[Manifest], *, folder: Path | None = None
) -> Leaks:
    """Pairs of training faces (validation and unlabelled ones, too) and test faces that look like copies.

    The result is kept beside the decoded crops and read there by later runs on the same faces.

    Args:
        selection: the faces, with the hashes of their pixels.
        store: their crops.
        manifests: where they are from.
        folder: where the result is kept; default `crop_store.default_folder`.
    """
    rows, size = selection.rows, len(selection.rows)
    if size > MOST_FACES:
        return Leaks(skipped=f"copies were not looked for among {size:,} faces, more than {MOST_FACES:,}")
    rows = rows.assign(side=np.where(rows["part"] == "test", "test", "train"))
    named = rows[["sample_id", "crop_sha256", "source_key", "side"]].fillna("").astype(str).drop_duplicates()
    named = named.sort_values(["sample_id", "side"], kind="stable").reset_index(drop=True)
    key = content_hash([_VERSION, BITS, LIKENESS, list(map(list, named.to_numpy()))])
    path = (folder or default_folder(manifests)) / f"leaks-{key[:16]}.json"
    if (known := _stored_leaks(path, key)) is not None:
        return known
    begun = time.monotonic()
    places = store.places(named["sample_id"].tolist())

    def faces(positions: np.ndarray) -> np.ndarray:
        parts = [places[positions[start : start + 64]] for start in range(0, len(positions), 64)]
        return np.concatenate([grey_faces(store.gather(part).cpu().numpy()) for part in parts])

    train, test = (np.flatnonzero(named["side"] == side) for side in ("train", "test"))
    owners = named["source_key"].astype("category").cat.codes.to_numpy()
    found = find_copies(faces, train, test, owners)
    names = named["sample_id"].to_numpy()
    pairs = list(zip(names[found.one], names[found.other], strict=True))
    leaks = Leaks(
        len(pairs), len(set(found.one)), len(set(found.other)), int((found.mirrored | found.moved).sum()),
        found.left_out, tuple(pairs[:_EXAMPLES]), round(time.monotonic() - begun, 2),
    )  # fmt: skip
    _keep(path, key, leaks)
    return leaks


def _stored_leaks(path: Path, key: str) -> Leaks | None:
    """What an earlier run found on these faces; None where there is nothing that can be read."""
    try:
        found: Any = read_json(path) if path.is_file() else {}
        return from_mapping(Leaks, found["found"], str(path)) if found.get("key") == key else None
    except (ConfigError, LookupError, AttributeError, TypeError):
        return None  # damaged: found again


def _keep(path: Path, key: str, leaks: Leaks) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"key": key, "found": asdict(leaks)})
    except OSError:
        return  # the folder is not ours to write: the next run looks again
