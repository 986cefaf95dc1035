"""Pictures delivered again, faces drawn into their picture, folders that pictures go to, timelines."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.synthetic import synthetic_tree
from PIL import Image

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import atomic_path
from dfad_bench.inference.annotated_picture import COLOURS, LONGEST, SHORTEST, FaceDrawing, draw_faces
from dfad_bench.inference.picture_folder import MARKER, open_folder
from dfad_bench.inference.redeliveries import KEPT, REDELIVERIES, SCREEN, redeliver
from dfad_bench.ingest.crop.boxes import overlap
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.report.figures.timeline import Timeline, draw_timeline


@pytest.fixture(scope="module")
def cropper(one_thread: None) -> FaceCropper:
    return FaceCropper(load_crop_profile("face-256-1.3"))


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Image.Image:
    """A drawn face, off the middle of a larger picture."""
    tree = synthetic_tree(tmp_path_factory.mktemp("faces"), per_group=6)
    path = next(iter(sorted(tree.glob("test/real-studio/*.png"))))
    whole = Image.new("RGB", (500, 420), (90, 120, 90))
    whole.paste(Image.open(path).convert("RGB"), (140, 60))
    return whole


def test_each_redelivery_is_what_it_says_and_finds_the_face_again(face: Image.Image, cropper: FaceCropper) -> None:
    pixels, crop = np.asarray(face), cropper.crop(face)
    made = {name: way(pixels) for name, way in REDELIVERIES.items()}
    assert len(made) == 8
    assert np.array_equal(made["no_metadata"].pixels, pixels)
    changed = [name for name, one in made.items() if one.pixels.shape != pixels.shape]
    assert changed == ["crop_90", "screenshot"]
    assert made["crop_90"].pixels.shape == (round(420 * KEPT), round(500 * KEPT), 3)
    assert made["screenshot"].pixels.shape == (round(420 * SCREEN), round(500 * SCREEN), 3)
    for name in ("jpeg_85", "jpeg_60", "webp", "half_size_and_back", "blur"):
        difference = np.abs(made[name].pixels.astype(float) - pixels).mean()
        assert 0 < difference < 8, name
    assert made["jpeg_60"].pixels.std() > 0
    ((again),) = redeliver(face, [crop], cropper)
    assert again[list(REDELIVERIES).index("no_metadata")] is crop
    for (name, one), other in zip(made.items(), again, strict=True):
        assert other is not None, name
        assert overlap(np.array([one.moved(crop.box or ())]), other.box or ())[0] > 0.8, name


@pytest.mark.heavy
def test_a_face_that_is_not_found_again_is_none(face: Image.Image, cropper: FaceCropper) -> None:
    crop = cropper.crop(face)
    noise = np.random.default_rng(0).integers(0, 256, (face.height, face.width, 3), dtype=np.uint8)
    empty = Image.fromarray(noise)
    found = redeliver(empty, [crop], cropper)[0]
    assert found == (None,) * 7 + (crop,)  # the same pixels are not looked at again


def test_faces_are_drawn_in_bounded_pictures(face: Image.Image, cropper: FaceCropper) -> None:
    crop = cropper.crop(face)
    heat = np.zeros((32, 32), np.float32)
    heat[:16] = 1
    drawing = FaceDrawing(crop, "fake", ("1: fake\x1b[2J", "score 0.9" * 40), (0.1, 0.2), True, heat)
    drawn = draw_faces(face, [drawing], ["a line " * 50])
    scale = SHORTEST / max(face.size)
    assert drawn.width == SHORTEST
    assert drawn.height > face.height * scale
    x0, y0, x1, y1 = (round(value * scale) for value in crop.box or ())
    pixels = np.asarray(drawn).astype(int)
    assert np.abs(pixels[(y0 + y1) // 2, x0] - COLOURS["fake"]).max() < 3  # its left edge
    plain = np.asarray(face.resize((SHORTEST, round(face.height * scale)), Image.Resampling.LANCZOS)).astype(int)
    (left, top, _, bottom), middle = (round(value * scale) for value in crop.crop_box or ()), (x0 + x1) // 2
    rows = slice(top + 6, (top + bottom) // 2 - 6)  # the upper half of the crop is heated
    assert pixels[rows, middle, 1].mean() < 0.8 * plain[rows, middle, 1].mean()
    assert np.array_equal(pixels[bottom - 6, left + 9 : x0 - 9], plain[bottom - 6, left + 9 : x0 - 9])
    large = draw_faces(Image.new("RGB", (4000, 100)), [], [])
    assert large.size == (LONGEST, 40)


def test_folders_of_other_files_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.png").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="holds other files"):
        open_folder(tmp_path / "mine", "annotated")
    folder = open_folder(tmp_path / "new" / "deep", "annotated")
    path = folder.write(Image.new("RGB", (9, 9)), 3, "../../\x1b[2J é/..\\evil name.jpeg", 7)
    assert path.parent == tmp_path / "new" / "deep"
    assert path.name == "0000003-evil_name-frame000007.jpg"
    with atomic_path(folder.path / "0000004-late.jpg") as temporary:
        temporary.touch()
        ended = temporary.name.replace(f"-{os.getpid()}.", f"-{2**22 + 1}.")  # no process has such a number
    (folder.path / "0000004-late.jpg").unlink()
    (folder.path / ended).touch()
    assert open_folder(tmp_path / "new" / "deep", "annotated") == folder  # goes on
    with pytest.raises(ConfigError, match="holds other files"):
        open_folder(tmp_path / "new" / "deep", "timeline")
    assert {entry.name for entry in folder.path.iterdir()} == {MARKER, path.name}
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / f".{Path(MARKER).stem}.0-1.0.tmp.json").touch()  # another call begins there now
    assert open_folder(tmp_path / "both", "annotated").path.name == "both"
    with pytest.raises(ConfigError, match="cannot be written to"):
        open_folder(tmp_path / "mine" / "a.png", "annotated")


@pytest.mark.heavy
def test_a_timeline_is_drawn(tmp_path: Path) -> None:
    runs = {"_a": Timeline([0, 5, 9], [0.1, 0.7, 0.9], (0.4, 0.6)), "b": Timeline([0, 9], [0.2, 0.3], None)}
    draw_timeline(tmp_path / "a.svg", runs, [3], "clip $x$", "a note " * 30)
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    draw_timeline(tmp_path / "a.png", runs, [], "clip", "")
    assert (tmp_path / "a.png").stat().st_size > 5000
