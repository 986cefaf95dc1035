"""Pictures that are crops already: their landmarks are found, their gaze is extracted, none of them is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.trees import save
from PIL import Image

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ProtocolError
from dfad_bench.core.protocol import load_protocol
from dfad_bench.data.crop_profiles import refuse_mixed
from dfad_bench.data.manifest import Manifest
from dfad_bench.gaze.table import extract
from dfad_bench.ingest.build import build_manifest
from dfad_bench.synthetic.faces import draw_face

pytestmark = pytest.mark.usefixtures("one_thread")
FACES = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of drawn faces, and one picture without a face."""
    folder = tmp_path_factory.mktemp("crops")
    for number in range(FACES):
        face = Image.fromarray(draw_face(0, f"train/real-studio/id{number:04d}_00.png")[0])
        face.resize((224, 224)).save(folder / f"{number}.png")
    save(folder / "none.png", 1, width=224, height=224)
    return folder


def build(root: Path, out: Path, crop: str) -> Manifest:
    build_manifest("images", root, out, generator="flux", crop=crop, workers=0)
    return Manifest.open(out)


@pytest.mark.heavy  # loads the detector
def test_faces_have_a_gaze_and_a_crop_without_landmarks_stays_ok(root: Path, tmp_path: Path) -> None:
    found, raw = (build(root, tmp_path / name, name) for name in ("crops-256-landmarks", "raw-256"))
    columns = ["origin", "status", "crop_sha256", "landmarks"]
    rows, plain = found.frame(columns).set_index("origin"), raw.frame(columns).set_index("origin")
    assert rows["status"].tolist() == ["ok"] * (FACES + 1)
    assert rows["crop_sha256"].equals(plain["crop_sha256"])  # the same pixels
    assert rows.index[rows["landmarks"].isna()].tolist() == ["none.png"]
    assert plain["landmarks"].isna().all()
    gaze = extract(found, "geometric")
    assert len(gaze) == FACES + 1
    assert int(np.isfinite(gaze["yaw_rad"]).sum()) == FACES
    result = CliRunner().invoke(dfad, ["gaze-extract", "--manifest", str(found.folder), "--quiet"])
    assert result.exit_code == 0, result.output


@pytest.mark.heavy
def test_a_manifest_on_whose_crops_no_landmarks_were_found_says_so(tmp_path: Path) -> None:
    save(tmp_path / "root" / "none.png", 1, width=224, height=224)
    manifest = build(tmp_path / "root", tmp_path / "m", "crops-256-landmarks")
    result = CliRunner().invoke(dfad, ["gaze-extract", "--manifest", str(manifest.folder), "--quiet"])
    assert result.exit_code == 3
    assert "crop profile crops-256-landmarks found no landmarks on any of them" in result.stderr


def test_gazeclip_wild_takes_wilddeepfake_with_landmarks(root: Path, tmp_path: Path) -> None:
    protocol, manifest = load_protocol("gazeclip-wild"), build(root, tmp_path / "m", "raw-256")
    manifest.info["dataset"] = {"name": "wilddeepfake"}
    with pytest.raises(ProtocolError, match="wilddeepfake cropped by crops-256-landmarks"):
        refuse_mixed(protocol, [manifest])
