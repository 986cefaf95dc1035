from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

from dfad_bench.data.audit import audit
from dfad_bench.data.build import build_manifest
from dfad_bench.data.manifest import Manifest


def test_planted_duplicates_and_nothing_else(corpus: Path, tmp_path: Path):
    """Files with the same bytes, found by hashing the folder, are what the audit calls exact duplicates."""
    build_manifest("corpus-broken", corpus, tmp_path / "m", crop="raw-256", workers=0)
    manifest = Manifest.open(tmp_path / "m")
    same: dict[str, set[str]] = defaultdict(set)
    for origin in manifest.frame(["origin"], status=None)["origin"]:
        if (corpus / origin).is_file():
            same[hashlib.sha256((corpus / origin).read_bytes()).hexdigest()].add(origin)
    planted = sorted(sorted(origins) for origins in same.values() if len(origins) > 1)
    assert planted
    found = audit([manifest], checks=["same_files"])[0]
    called = [sorted(face.origin for face in example) for remark in found.remarks for example in remark.examples]
    assert sorted(called) == planted
    assert sum(row["sets"] for row in found.rows) == len(planted)
    assert sum(row["files"] for row in found.rows) == sum(map(len, planted))
