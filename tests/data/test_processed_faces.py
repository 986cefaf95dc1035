"""Processed real faces in manifests: compared with nothing, no target of a forgery, and counted apart by the audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.toy import toy_row

from dfad_bench.core.notices import collect_notices
from dfad_bench.data.audit import audit
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.gaze.study import gaze_frame
from dfad_bench.ingest.pairs import infer_pairs
from dfad_bench.parsing.settings import ParsingStudySettings
from dfad_bench.parsing.study import chosen_faces

REAL_LABELS = {"forgery": "none", "family": "none", "detection_label": 0}


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Two real faces, two restored ones, and a swap made from a real and from a restored one."""
    real = [toy_row("synthetic", "real", "test", identity, 0) for identity in range(2)]
    restored = [toy_row("synthetic", "gfpgan", "test", identity, 0, **REAL_LABELS) for identity in range(2)]
    swap = {"forgery": "FS", "family": "gan"}
    swaps = [
        toy_row("synthetic", "simswap", "test", 7 + number, 0, target_id=target["sample_id"], **swap)
        for number, target in enumerate((real[0], restored[1]))
    ]
    return [*real, *restored, *swaps]


@pytest.fixture
def manifest(rows: list[dict[str, Any]], tmp_path: Path) -> Manifest:
    return write_manifest(tmp_path / "m", "synthetic", rows)


def test_studies_leave_them_out_and_say_so(manifest: Manifest) -> None:
    for frame_of in (
        lambda: chosen_faces([manifest], ParsingStudySettings()),
        lambda: gaze_frame([manifest], "geometric", None, device="cpu"),
    ):
        with collect_notices() as lines:
            assert set(frame_of()["generator"]) == {"real", "simswap"}
        assert [line for line in lines if "2 processed real faces are left out" in line]


def test_they_are_no_target_of_a_forgery(manifest: Manifest, rows: list[dict[str, Any]]) -> None:
    found = infer_pairs(manifest, [manifest])
    assert found["target_id"].tolist() == [rows[0]["sample_id"]]


def test_the_audit_counts_them_apart(manifest: Manifest) -> None:
    (found,) = audit([manifest], checks=["balance"])
    labels = {row["group"]: row["label"] for row in found.rows}
    assert labels == {"synthetic/real": "real", "synthetic/gfpgan": "processed", "synthetic/simswap": "fake"}
    assert "2 real and 2 forged faces" in " ".join(remark.text for remark in found.remarks)
