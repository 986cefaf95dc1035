from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_trees import pack
from helpers.listing import listed, own, source_folder, touch
from helpers.trees import picture, save
from helpers.video_trees import clip
from PIL import Image

from dfad_bench.core.errors import ConfigError
from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.media import archive, read
from dfad_bench.ingest.media.base import Sampling, medium_of
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.spec import DatasetSpec, load_dataset_spec


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return source_folder(tmp_path)


@pytest.fixture
def spec(tmp_path: Path) -> DatasetSpec:
    return own(tmp_path)


def test_paths_say_what_an_image_is(spec: DatasetSpec, root: Path):
    touch(root, "Training/PRISTINE/ann_01.JPG", "training/Flux-Dev/bob_2.webp", "test/swapped/ann_01_by_bob.png")
    samples = {s.origin: s for s in listed(spec, root).samples}
    real = samples["Training/PRISTINE/ann_01.JPG"]
    assert (real.generator, real.split, real.source_key, real.target_id) == ("real", "train", "mine:ann", None)
    assert samples["training/Flux-Dev/bob_2.webp"].generator == "flux"
    assert samples["test/swapped/ann_01_by_bob.png"].generator == "simswap"


def test_pairs_point_at_the_real_face_whatever_its_case_and_extension(spec: DatasetSpec, root: Path):
    touch(root, "test/pristine/Ann_01.JPEG", "test/swapped/ann_01_by_bob.png", "test/swapped/eve_09_by_bob.png")
    samples = {s.origin: s for s in listed(spec, root).samples}
    pair = samples["test/swapped/ann_01_by_bob.png"]
    assert pair.target_id == samples["test/pristine/Ann_01.JPEG"].sample_id
    assert pair.pair_confidence == 0.5
    alone = samples["test/swapped/eve_09_by_bob.png"]
    assert (alone.target_id, alone.pair_confidence) == (None, None)


def test_nothing_is_dropped_silently(spec: DatasetSpec, root: Path):
    touch(root, "test/flux-dev/a_1.png", "test/flux-dev/.DS_Store", "test/.cache/b_1.png", "test/dalle/c_1.png")
    touch(root, "readme.txt", "notes/x/y.md", "test/flux-dev/clip.mp4", "test/flux-dev/Thumbs.db")
    listing = listed(spec, root)
    assert len(listing.samples) == 1
    assert listing.ignored == {
        "hidden": 2,
        "hidden folder": 1,
        "unknown generator 'dalle'": 1,
        "fits no path of the layout": 1,
        "not part of this dataset": 1,
        "video": 1,
    }
    assert listing.examples["fits no path of the layout"] == ["readme.txt"]


def test_pictures_of_formats_that_are_not_read_count_as_left_out(spec: DatasetSpec, root: Path):
    touch(root, "test/flux-dev/a_1.png", *(f"test/flux-dev/b_1.{ending}" for ending in ("avif", "HEIC", "jxl", "wmv")))
    touch(root, "test/flux-dev/notes.txt", "@eaDir/a_1.png/x.jpg")
    assert listed(spec, root).overlooked == 4


def test_hostile_names_are_names(spec: DatasetSpec, root: Path):
    names = [" ann_1.png", 'it\'s "q" & $x_2.png', "лицо☃_3.png", "new\nline_4.png", "a{b}_5.png", "%s_6.png"]
    touch(root, *(f"test/flux-dev/{name}" for name in names))
    (root / "test/flux-dev").joinpath(b"bytes\xff_7.png".decode("utf-8", "surrogateescape")).write_bytes(b"x")
    samples = listed(spec, root).samples
    assert {s.origin.rpartition("/")[2] for s in samples} == {*names, "bytes\\xff_7.png"}
    assert len({s.sample_id for s in samples}) == 7
    assert all(s.path.read_bytes() == b"x" and s.origin.encode() for s in samples)


def test_links_out_of_the_root_are_refused(spec: DatasetSpec, root: Path, tmp_path: Path):
    secret = save(tmp_path / "elsewhere" / "a_1.png")
    touch(root, "test/flux-dev/a_1.png")
    (root / "test/flux-dev/b_2.png").symlink_to(secret)
    (root / "test/flux-dev/c_3.png").symlink_to(root / "test/flux-dev/a_1.png")
    (root / "test/flux-dev/d_4.png").symlink_to("d_4.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "circle").symlink_to(root)
    listing = listed(spec, root)
    refusals = {s.origin.rpartition("/")[2]: s.refusal for s in listing.samples}
    assert refusals == {"a_1.png": None, "b_2.png": "outside_root", "c_3.png": None, "d_4.png": None}
    assert listing.ignored == {"linked folder": 2}


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.gif", "a.tar", "a.zip"])
def test_a_file_replaced_by_a_link_after_listing_is_not_followed(root: Path, tmp_path: Path, name: str):
    kind = "archive" if name.endswith((".tar", ".zip")) else medium_of(name) if name != "a.png" else "image"
    secret = tmp_path / name
    if kind == "archive":
        save(tmp_path / "flux/x.png")
        pack(tmp_path / "flux", secret)
    elif name == "a.mp4":
        secret.write_bytes(clip(3))
    else:
        save(secret)
    (root / name).symlink_to(secret)
    position = next(archive.members(secret)).position if kind == "archive" else None
    sample = RawSample("extra", "flux", None, name, root / name, medium=kind, member="x.png", position=position)
    with pytest.raises(ImageRefused, match="link|not a regular file"):
        next(read(sample, Sampling()))
    next(read(replace(sample, path=secret), Sampling()))


def test_copies_and_previews_of_network_drives_are_no_pictures(root: Path):
    touch(
        root, "a.png", "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", "x/#recycle/b.png", ".thumbnails/c.png", "x/@__thumb/d.jpg"
    )
    assert [s.origin for s in listed(load_dataset_spec("images").with_generator("flux"), root).samples] == ["a.png"]


def test_jfif_and_netpbm_are_read(root: Path):
    face = Image.fromarray(picture(1))
    names = {"a.jfif": "JPEG", "b.JPE": "JPEG", "c.ppm": "PPM", "d.pgm": "PPM"}
    for name, kind in names.items():
        (face.convert("L") if name == "d.pgm" else face).save(root / name, kind)
    samples = {s.origin: s for s in listed(load_dataset_spec("images").with_generator("flux"), root).samples}
    assert samples.keys() == names.keys()
    for sample in samples.values():
        [frame] = read(sample, Sampling())
        assert np.abs(np.asarray(frame.image).astype(int) - np.asarray(face)).mean() < (
            60 if "pgm" in sample.origin else 8
        )
    (root / "bomb.ppm").write_bytes(b"P6 100000 100000 255\n" + bytes(64))
    (root / "cut.ppm").write_bytes((root / "c.ppm").read_bytes()[:900])
    for name, status in (("bomb.ppm", "too_large"), ("cut.ppm", "unreadable")):
        with pytest.raises(ImageRefused, match=status):
            next(read(RawSample("images", "flux", None, name, root / name), Sampling()))


def test_a_missing_folder_is_said(spec: DatasetSpec, tmp_path: Path):
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        listed(spec, tmp_path / "nowhere")
