"""Which real face a forged one was made from, as a side table of a manifest (`ingest.pairs` makes it).

    <manifest>/tables/pairs.parquet    a row a forged face whose target is in the manifests; see `data.side_table`

A manifest is never rewritten; code that needs pairs prefers the table to the column `target_id` (`with_pairs`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.files import read_json, sha256_file
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.side_table import SideTable

VERSION = 1
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),  # the forged face
        ("target_id", pa.string()),  # the real one it was made from
        ("source_id", pa.string()),  # the real face of the other candidate, at the same frame
        ("pair_confidence", pa.float32()),
        ("method", pa.string()),
        ("margin", pa.float32()),  # likeness of the target less that of the other; null unless compared
    ]
)


def write_pairs(manifest: Manifest, pairs: pd.DataFrame, reals: Sequence[Manifest]) -> None:
    """Store pairs beside a manifest."""
    facts = {
        "reals": {other.name: other.sha256 for other in reals},
        "methods": {str(k): int(v) for k, v in pairs["method"].value_counts().items()},
    }
    _table(manifest).write(pairs, facts)


def read_pairs(manifest: Manifest) -> pd.DataFrame | None:
    """The stored pairs, or None.

    Raises:
        IntegrityError: damaged, or made for another state of the manifest.
    """
    table = _table(manifest)
    path = table.path
    if not path.is_file():
        return None
    if table.record() is None:
        stored = read_json(table.record_path)
        known = stored.get("identity", stored) if isinstance(stored, dict) else {}
        if known.get("version") != VERSION:
            raise IntegrityError(f"{path}: of another version; run `dfad infer-pairs` again")
        raise IntegrityError(f"{path}: made for another state of the manifest; run `dfad infer-pairs` again")
    return table.read()


def pairs_hash(manifest: Manifest) -> str | None:
    """Hash of the file of stored pairs; None where there is none."""
    path = _table(manifest).path
    return sha256_file(path) if path.is_file() else None


def with_pairs(manifest: Manifest, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `manifest` with `target_id` (and `pair_confidence`) from the stored pairs where they say more.

    Raises:
        IntegrityError: see `read_pairs`.
    """
    pairs = read_pairs(manifest)
    if pairs is None:
        return rows
    known = pairs.set_index("sample_id")
    rows = rows.copy()
    for column in {"target_id", "pair_confidence"} & set(rows.columns):
        inferred = rows["sample_id"].map(known[column])
        rows[column] = inferred.where(inferred.notna(), rows[column])
    return rows


def _table(manifest: Manifest) -> SideTable:
    identity = {"version": VERSION, "manifest_sha256": manifest.sha256}
    path = manifest.folder / "tables" / "pairs.parquet"
    return SideTable(path, identity, remake_text="run `dfad infer-pairs` again", schema=SCHEMA)
