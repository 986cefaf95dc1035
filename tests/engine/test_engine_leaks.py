from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from helpers.toy import SEEN, SIDE, UNSEEN, toy_face, toy_protocol, toy_row, toy_rows
from helpers.training import run_training

from dfad_bench.core.record import ResultRecord
from dfad_bench.data.images import encode_png
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.report.run_record import build_record


@pytest.fixture
def leaking(tmp_path: Path) -> list[Manifest]:
    """A training face that is a test face mirrored, under the name of another person."""
    turned = np.ascontiguousarray(toy_face("synthetic-flow-a", 900, 0)[:, ::-1])
    about = {
        "image": {"bytes": encode_png(turned), "path": None}, "width": SIDE, "height": SIDE,
        "crop_sha256": hashlib.sha256(turned.tobytes()).hexdigest(),
    }  # fmt: skip
    copied = toy_row("synthetic", "synthetic-gan-a", "train", 901, 0, **about)
    rows = [*toy_rows("synthetic", (*SEEN, *UNSEEN)), toy_row("synthetic", "synthetic-flow-a", "test", 900, 0), copied]
    outdoor = toy_rows("synthetic-outdoor", ("real",))
    return [write_manifest(tmp_path / name, name, some) for name, some in zip(DATASETS, (rows, outdoor), strict=True)]


DATASETS = ("synthetic", "synthetic-outdoor")


def trained(manifests: list[Manifest], out: Path, **settings: object) -> tuple[ResultRecord, str]:
    result = run_training("majority", toy_protocol(), manifests, out, device="cpu", **settings)
    return build_record(out, resamples=0), "\n".join(result.warnings)


def test_copies_across_the_parts_are_warned_about_and_recorded_and_not_dropped(
    leaking: list[Manifest], tmp_path: Path
) -> None:
    record, warnings = trained(leaking, tmp_path / "run")
    assert "1 pair of training and test faces" in warnings
    assert record.manifest.leakage["near_duplicates_train_test"] == 1
    assert record.manifest.leakage["near_duplicates_test_faces"] == 1
    assert any("look like copies" in line for line in record.warnings)
    (stored,) = (leaking[0].folder / "tables").glob("leaks-*.json")
    before = stored.stat().st_mtime_ns
    again, _ = trained(leaking, tmp_path / "again", seed=1)
    assert again.manifest.leakage == record.manifest.leakage
    assert stored.stat().st_mtime_ns == before  # read, not made again
    off, silent = trained(leaking, tmp_path / "off", leak_check=False)
    assert "copies" not in silent
    assert off.manifest.leakage["near_duplicates_train_test"] is None
    assert {name: part.rows for name, part in off.manifest.splits.items()} == {
        name: part.rows for name, part in record.manifest.splits.items()
    }
