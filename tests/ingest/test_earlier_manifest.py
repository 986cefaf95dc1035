"""A manifest of an earlier version (see tests/fixtures) opens, is found whole, and is what a build makes today."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dfad_bench.cli.main import dfad
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest

STORED = Path(__file__).resolve().parents[1] / "fixtures" / "earlier_manifest"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "earlier"))


def draw(folder: Path) -> Path:
    """The folder it was made of."""
    folder.mkdir()
    y, x = np.mgrid[:256, :256]
    for name, planes in {"a": (x, y, x * 0 + 60), "b": (y // 2, x // 4, x * 0 + 9)}.items():
        Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8)).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    return folder


def test_every_file_and_every_pixel_is_as_it_was(manifest: Path) -> None:
    found = CliRunner().invoke(dfad, ["check-manifest", "--deep", "--manifest", str(manifest)])
    assert found.exit_code == 0, found.output
    assert "every crop has the pixels of its row" in found.output
    rows = Manifest.open(manifest).frame(status=None).set_index("origin")
    assert rows["status"].to_dict() == {"a.png": "ok", "b.png": "ok", "broken.png": "unsupported_format"}


def test_the_same_pictures_give_the_same_rows_today(manifest: Path, tmp_path: Path) -> None:
    source = draw(tmp_path / "source")
    settings = {"generator": "flux", "crop": "raw-256", "workers": 0}
    build_manifest("images", source, tmp_path / "now", **settings)
    assert Manifest.open(tmp_path / "now").sha256 == Manifest.open(manifest).sha256
    report = build_manifest("images", source, manifest, **settings)  # goes on with what is there
    assert (report.parts_kept + report.parts_built, report.manifest_sha256) == (1, Manifest.open(STORED).sha256)
