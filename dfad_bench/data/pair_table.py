"""Which real face a forged one was made from, as a side table of a manifest (`ingest.pairs` makes it).

    <manifest>/tables/pairs.parquet    a row a forged face with a target at hand, and beside it
    <manifest>/tables/pairs.json       what it was made from, and its hash

A manifest is never rewritten; whoever needs pairs takes the table before the column `target_id` (`with_pairs`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.files import atomic_path, check_hash, read_json, sha256_file, write_json
from dfad_bench.data.manifest import Manifest

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
    path = manifest.folder / "tables" / "pairs.parquet"
    with atomic_path(path) as temporary:
        table = pa.Table.from_pandas(pairs, schema=SCHEMA, preserve_index=False)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    record = {
        "version": VERSION,
        "manifest_sha256": manifest.sha256,
        "reals": {other.name: other.sha256 for other in reals},
        "rows": len(pairs),
        "methods": {str(k): int(v) for k, v in pairs["method"].value_counts().items()},
        "sha256": sha256_file(path),
    }
    write_json(path.with_suffix(".json"), record)


def read_pairs(manifest: Manifest) -> pd.DataFrame | None:
    """The stored pairs, or None.

    Raises:
        IntegrityError: damaged, or made for another state of the manifest.
    """
    path = manifest.folder / "tables" / "pairs.parquet"
    if not path.is_file():
        return None
    record = read_json(path.with_suffix(".json"))
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise IntegrityError(f"{path}: of another version; run `dfad infer-pairs` again")
    if record.get("manifest_sha256") != manifest.sha256:
        raise IntegrityError(f"{path}: made for another state of the manifest; run `dfad infer-pairs` again")
    check_hash(path, str(record.get("sha256")))
    return pq.read_table(path).to_pandas()


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
        told = rows["sample_id"].map(known[column])
        rows[column] = told.where(told.notna(), rows[column])
    return rows
