from __future__ import annotations

import hashlib
import tarfile
from collections import defaultdict
from pathlib import Path

import pytest

from dfad_bench.data.audit import audit
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest


@pytest.mark.heavy
@pytest.mark.parametrize("limit", [10, pytest.param(None, marks=pytest.mark.slow)])
def test_planted_duplicates_and_nothing_else(corpus: Path, tmp_path: Path, limit: int | None):
    """Files with the same bytes, found by hashing the folder, are what the audit calls exact duplicates.

    All there is, images and clips, whole and broken, in one audit; frames of one clip are no duplicates.
    """
    with tarfile.open(corpus / "broken" / "hostile-names.tar") as archive:
        archive.extractall(tmp_path / "hostile" / "names", filter="data")
    whole = ("corpus", "corpus-broken", "corpus-videos", "corpus-broken-videos")
    roots = {**dict.fromkeys(whole, corpus), "images": tmp_path / "hostile"}
    manifests, same = [], defaultdict(set)
    for dataset, root in roots.items():
        most = limit if dataset == "corpus" else None
        out = tmp_path / dataset
        build_manifest(dataset, root, out, crop="raw-256", workers=0, frames=2, limit=most)
        manifests.append(Manifest.open(tmp_path / dataset))
        for origin in manifests[-1].frame(["origin"], status=None)["origin"]:
            if (root / origin).is_file():
                same[hashlib.sha256((root / origin).read_bytes()).hexdigest()].add(origin)
    planted = sorted(sorted(origins) for origins in same.values() if len(origins) > 1)
    assert sorted(map(len, planted)) == [2, 7]
    found = audit(manifests, checks=["same_files"])[0]
    called = [{face.origin for face in example} for remark in found.remarks for example in remark.examples]
    assert len(called) == len(planted)
    for origins in planted:  # an example shows the first few faces of its set
        assert any(example <= set(origins) and len(example) == min(6, len(origins)) for example in called)
    assert sum(row["sets"] for row in found.rows) == len(planted)
    assert sum(row["files"] for row in found.rows) == sum(map(len, planted))
