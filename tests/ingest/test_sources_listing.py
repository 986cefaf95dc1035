from __future__ import annotations

import json
import re
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_trees import pack
from helpers.trees import picture, save
from helpers.video_trees import clip
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.files import plain_path
from dfad_bench.core.registry import resolve
from dfad_bench.core.resources import shipped_names
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.media import archive, read
from dfad_bench.ingest.media.base import Sampling, medium_of
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources import SOURCES
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.spec import DatasetSpec, load_dataset_spec
from dfad_bench.ingest.sources.template import Template
from dfad_bench.ingest.survey import survey

SPEC = """
name: mine
version: 1
title: My faces
licence: mine
layout: folders
entries:
  - path: "{split}/{generator}/{who:word}_{shot:int}_by_{other}.{ext}"
    source_key: "mine:{who}"
    target: ["{split}/Pristine/{who}_{shot}.{ext}"]
    pair_confidence: 0.5
  - path: "{split}/{generator}/{who:word}_{shot:int}.{ext}"
    source_key: "mine:{who}"
generators: {Pristine: real, flux-dev: flux, swapped: simswap}
splits: {training: train}
skip: ["notes/{rest:path}"]
"""


def listed(spec: DatasetSpec, root: Path) -> Listing:
    return resolve("layout", spec.layout, SOURCES)(spec, root)


@pytest.fixture
def spec(tmp_path: Path) -> DatasetSpec:
    file = tmp_path / "mine.yaml"
    file.write_text(SPEC)
    return load_dataset_spec(str(file))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


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
        "unknown generator 'dalle'": 1,
        "fits no path of the layout": 1,
        "not part of this dataset": 1,
        "video": 1,
    }
    assert listing.examples["fits no path of the layout"] == ["readme.txt"]


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


def test_a_metadata_file_without_a_row_is_counted(root: Path):
    (root / "metadata.csv").write_text("file_name,label\n")
    assert listed(load_dataset_spec("image_folder"), root).ignored == {"metadata file without a row": 1}


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


def test_a_template_takes_no_time_on_hostile_names():
    with pytest.raises(ValueError, match=r"put text between \{a\} and \{b\}"):
        Template("{a}{b}{c}{d}{e}{f}.png")
    began = time.monotonic()
    assert Template("{a}_{b}_{c}_{d}_{e}_{f}.png").match("_" * 100_000) is None
    assert Template("{a}_{b}.png").match("x/" * 5000 + "a_b.png") is None
    assert time.monotonic() - began < 1


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


@pytest.mark.parametrize("begin", ["/data/rgb", r"D:\\sets\\rgb", "rgb"])
def test_lists_of_another_computer(table: DatasetSpec, root: Path, tmp_path: Path, begin: str):
    touch(root, "cdf/a/0.png", "cdf/b/0.png")
    frames = json.dumps([f"{begin}/cdf/a/0.png", f"{begin}/cdf/b/0.png".replace("/", "\\" if "D:" in begin else "/")])
    listed_frames = f'{{"d": {{"FF-DF": {{"train": {{"v": {{"label": "FF-DF", "frames": {frames}}}}}}}}}}}'
    (root / "list.json").write_text(listed_frames)
    spec = load_dataset_spec("deepfakebench").with_index(root / "list.json")
    listing = listed(spec, root)
    old = plain_path(begin)
    assert f"but 'cdf/a/0.png' is: add --map-prefix {old}=" in listing.notes[0]
    mapped = listed(spec.with_prefixes({old: ""}), root)
    assert {s.origin: bool(s.size) for s in mapped.samples} == {"cdf/a/0.png": True, "cdf/b/0.png": True}
    assert mapped.notes == []
    assert spec.with_prefixes({old: ""}).sha256 != spec.sha256
    (root / "list.csv").write_text(f"where,who,key,use\n{begin}/cdf/a/0.png,flux,x,yes\n")
    other = listed(table.with_prefixes({begin: "cdf/.."}), root).samples[0]
    assert other.refusal == "outside_root"  # a mapping leads nowhere else
    assert listed(table.with_prefixes({begin: ""}), root).samples[0].size
    with pytest.raises(ConfigError, match="reads no list of files"):
        load_dataset_spec("images").with_prefixes({"a": "b"})


def test_a_missing_folder_is_said(spec: DatasetSpec, tmp_path: Path):
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        listed(spec, tmp_path / "nowhere")


TABLE = """
name: listed
version: 1
title: Listed
licence: mine
layout: table
table: {file: list.csv, path: "{where}", generator: "{who}", source_key: "k:{key}", where: {use: ["yes"]}}
"""


@pytest.fixture
def table(tmp_path: Path) -> DatasetSpec:
    file = tmp_path / "listed.yaml"
    file.write_text(TABLE)
    return load_dataset_spec(str(file))


def test_a_table_says_what_its_files_are(table: DatasetSpec, root: Path):
    touch(root, "a.png", "b/b.png", "unlisted.png")
    text = "where,who,key,use\na.png,FFHQ,k1,yes\nb/b.png,FLUX.1,,yes\ngone.png,flux,x,yes\nno.png,flux,x,no\n"
    (root / "list.csv").write_text(text + "../up.png,flux,x,yes\nq.png,nobody,x,yes\n")
    listing = listed(table, root)
    facts = {s.origin: (s.generator, s.source_key, s.refusal) for s in listing.samples}
    assert facts == {
        "a.png": ("real", "k:k1", None),
        "b/b.png": ("flux", None, None),
        "gone.png": ("flux", "k:x", None),
        "../up.png": ("flux", "k:x", "outside_root"),
    }
    assert listing.ignored == {"unknown generator 'nobody'": 1, "not in the table": 1, "not part of this dataset": 1}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("where,who,key\n", r"no columns \['use'\]"),
        ("where,who,key,use\n", r"list.csv: no row below the header"),
        ("where,who,key,use\na.png,flux,x,yes\na.png,flux,x,yes\n", "line 3: 'a.png' is also on line 2"),
        ("where,who,key,use\n,flux,x,yes\n", "line 2: no path"),
        ('where,who,key,use\n"a.png"x,flux,x,yes\n', "not a CSV table"),
    ],
)
def test_a_bad_table_is_said(table: DatasetSpec, root: Path, text: str, error: str):
    (root / "list.csv").write_text(text)
    with pytest.raises(ConfigError, match=error):
        listed(table, root)


@pytest.mark.parametrize("other", ["a//0.png", "a/./0.png", "./a/0.png"])
def test_one_file_under_two_spellings_is_a_double(table: DatasetSpec, root: Path, other: str):
    touch(root, "a/0.png")
    (root / "list.csv").write_text(f"where,who,key,use\n{other},flux,x,yes\n")
    assert [s.origin for s in listed(table, root).samples] == ["a/0.png"]
    (root / "list.csv").write_text(f"where,who,key,use\na/0.png,flux,x,yes\n{other},flux,x,yes\n")
    with pytest.raises(ConfigError, match=r"line 3: 'a/0.png' is also on line 2"):
        listed(table, root)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        (
            {"metadata.jsonl": '{"file_name": "a.png", "label": "flux"}\n\n{"file_name": "./a.png", "label": "vae"}'},
            r"metadata.jsonl: line 3: 'a.png' is also in .*metadata.jsonl: line 1",
        ),
        (
            {"metadata.csv": "file_name,label\nb/c.png,flux\n", "b/metadata.csv": "file_name,label\nc.png,vae\n"},
            r"metadata.csv: line 2: 'b/c.png' is also in .*metadata.csv: line 2",
        ),
        (
            {"metadata.jsonl": '{"file_name": "a.png", "label": "flux", "label": "real"}'},
            "line 1.*'label' occurs twice",
        ),
        ({"metadata.csv": "file_name,label,label\na.png,flux,real\n"}, "two columns 'label'"),
    ],
)
def test_metadata_that_names_an_image_twice_is_refused(root: Path, files: dict[str, str], error: str):
    touch(root, "a.png", "b/c.png")
    for name, text in files.items():
        (root / name).write_text(text)
    with pytest.raises(ConfigError, match=error):
        listed(load_dataset_spec("image_folder"), root)


@pytest.mark.parametrize("other", ["x/0.png", "x//0.png", ".\\\\x\\\\.\\\\0.png"])
def test_a_deepfakebench_list_counts_a_frame_once_however_it_is_spelt(root: Path, other: str):
    touch(root, "x/0.png")
    video = f'{{"v": {{"label": "FF-DF", "frames": ["x/0.png", "{other}"]}}}}'
    (root / "list.json").write_text(f'{{"d": {{"FF-DF": {{"train": {video}}}}}}}')
    listing = listed(load_dataset_spec("deepfakebench").with_index(root / "list.json"), root)
    assert ([s.origin for s in listing.samples], listing.ignored) == (["x/0.png"], {"listed twice": 1})
    (root / "list.json").write_text(f'{{"d": {{"FF-DF": {{"train": {video}, "train": {{}}}}}}}}')
    with pytest.raises(ConfigError, match=r"list.json: not valid JSON \(the key 'train' occurs twice"):
        listed(load_dataset_spec("deepfakebench").with_index(root / "list.json"), root)


EXAMPLES = {
    "synthetic": [
        ("train/real-studio/id0001_00.png", "real", "train"),
        ("test/synthetic-swap-gan/id0001_00_by_id0002.png", "synthetic-swap-gan", "test"),
    ],
    "synthetic-outdoor": [("test/real-outdoor/id0001_00.png", "real", "test")],
    "genface": [
        ("train/FS/DiffFace/12_99.png", "diffface", "train"),
        ("Testing/AM/diffae/12.jpg", "diffae", "test"),
        ("test/EFS/StyleGAN3/seed0001.png", "stylegan3", "test"),
    ],
    "df40": [
        ("DF40_train/SimSwap/frames/001_002/000.png", "simswap", "train"),
        ("DF40/inswap/cdf/frames/id0_id1_0000/12.png", "inswapper", "test"),
        ("DF40/SiT/fake/00001.png", "sit", "test"),
        ("DF40/Midjourney/real/x/00001.png", "real", "test"),
    ],
    "celeba_hq": [("CelebA-HQ-img/29999.jpg", "real", None)],
    "ffhq": [("images1024x1024/69000/69999.png", "real", "test")],
    "celeb_df_pp": [
        ("Celeb-real/id0_0001/0003.png", "real", None),
        ("Celeb-synthesis/FaceReenact/FSRT/id0_id1_0001/0003.png", "fsrt", None),
        ("Celeb-synthesis/TalkingFace/EDTalk/id0_0001_test_id08701_aaa/0003.png", "edtalk", None),
    ],
    "celeb_df": [
        ("Celeb-synthesis/id0_id1_0001/0003.png", "celeb_df", None),
        ("YouTube-real/00170.mp4", "real", None),
    ],
    "celeb_df_v1": [("Celeb-synthesis/id0_id1_0001.mp4", "celeb_df", None)],
    "dfdc": [("train/fake/abcde/0001.jpg", "dfdc", "train")],
    "faceforensics": [
        ("original_sequences/youtube/c23/videos/634.mp4", "real", None),
        ("manipulated_sequences/FaceSwap/c23/videos/634_660.mp4", "faceswap_3d", None),
        ("manipulated_sequences/Deepfakes/C23/frames/634_660/012.png", "deepfakes_ae", None),
    ],
    "faceforensics_flat": [
        ("original/000.mp4", "real", None),
        ("NeuralTextures/000_003.mp4", "neuraltextures", None),
        ("DeepFakeDetection/01_02__exit_phone_room__YVGY8LOK.mp4", "deepfakedetection", None),
    ],
    "dfd": [
        ("original_sequences/actors/c23/videos/01__hugging_happy.mp4", "real", None),
        (
            "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__hugging_happy__YVGY8LOK.mp4",
            "deepfakedetection",
            None,
        ),
    ],
    "videos": [("any/where.MKV", "unlabelled", None), ("moving.gif", "unlabelled", None)],
    "corpus-videos": [
        ("videos/fake/FaceSwap-3D/634_660.mp4", "faceswap_3d", None),
        ("videos/real/GHOST-target/dance.mp4", "real", None),
        ("videos/fake/GHOST/mark.webp", "ghost", None),
    ],
    "corpus-broken-videos": [("broken/videos/mp4_no_extension", "unlabelled", None)],
    "wilddeepfake": [("deepfake_in_the_wild/fake_test/7/fake/12/33.png", "wilddeepfake", "test")],
    "extra": [("train/FLUX.1/a.png", "flux", "train"), ("hart/x/y.png", "hart", None)],
    "image_folder": [("validation/flux/a.png", "flux", "val")],
    "images": [("any/where.webp", "unlabelled", None)],
    "corpus-broken": [("broken/images/made/no_extension", "unlabelled", None)],
}


@pytest.mark.parametrize("dataset", [n for n in shipped_names("manifests", "datasets") if n in EXAMPLES])
def test_every_shipped_layout_reads_its_example(dataset: str, root: Path):
    touch(root, *(path for path, _, _ in EXAMPLES[dataset]))
    spec = load_dataset_spec(dataset)
    samples = {s.origin: (s.generator, s.split) for s in listed(spec, root).samples}
    assert samples == {path: (generator, split) for path, generator, split in EXAMPLES[dataset]}
    assert spec.obtain


def test_a_flat_copy_of_faceforensics_has_the_pairs_of_the_release(root: Path):
    copy = root / "FaceForensics++_C23"
    touch(copy, "original/000.mp4", "original/003.mp4", "Deepfakes/000_003.mp4", "csv/Deepfakes.csv")
    touch(copy, "DeepFakeDetection/01_02__exit_phone_room__YVGY8LOK.mp4")
    samples = {s.origin: s for s in listed(load_dataset_spec("faceforensics_flat"), copy).samples}
    fake = samples["Deepfakes/000_003.mp4"]
    assert (fake.target_origin, fake.source_key) == ("original/000.mp4", samples["original/000.mp4"].source_key)
    assert fake.target_path == copy / "original/000.mp4"
    for dataset, place, folder in (("faceforensics", copy, ""), ("faceforensics", root, f" with {copy} as --root")):
        notes = survey(dataset, place).notes
        assert f"of the first 5 files fit --dataset faceforensics_flat{folder}" in notes[-1]
    with pytest.raises(ConfigError, match="4 of the first 5 files fit --dataset faceforensics_flat"):
        build_manifest("celeb_df", copy, root / "m", crop="raw-256", workers=0)


def test_targets_in_another_dataset():
    spec = load_dataset_spec("genface")
    entry = next(entry for entry in spec.entries if entry.target)
    assert Template(entry.target[0]).fill({"target": "12"}) == EXAMPLES["celeba_hq"][0][0].replace("29999", "12")
    assert entry.target_dataset in shipped_names("manifests", "datasets")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("flux-dev: flux", "flux-dev: flx", "'flx' is not a key of the taxonomy"),
        ("flux-dev: flux", "flux-dev: FLUX", "'FLUX' is not a key of the taxonomy"),
        ("{shot:int}_by", "{shot:digits}_by", "must be {name} or one of"),
        ('"mine:{who}"\n    target', '"mine:{whom}"\n    target', r"uses \['whom'\]"),
        ("layout: folders", "layout: table", "needs `table` only"),
        ("layout: folders", "layout: tables", "layout must be one of"),
        ("title: My faces", "titel: My faces", "unknown key 'titel'; did you mean 'title'"),
        ("name: mine", "name: other", "must equal the file's name"),
        ("{generator}/{who:word}_{shot:int}.{ext}", "{who:word}_{shot:int}.{ext}", "needs {generator} in its path"),
    ],
)
def test_bad_dataset_files_are_said(tmp_path: Path, old: str, new: str, error: str):
    assert old in SPEC
    file = tmp_path / "mine.yaml"
    file.write_text(SPEC.replace(old, new))
    with pytest.raises(ConfigError, match=error):
        load_dataset_spec(str(file))


def test_generator_option_is_for_images_only():
    assert load_dataset_spec("images").with_generator("FLUX.1").entries[0].generator == "flux"
    with pytest.raises(UnknownNameError, match="no generator named 'fluxx'. Did you mean flux"):
        load_dataset_spec("images").with_generator("fluxx")
    with pytest.raises(ConfigError, match="gives its generators by its layout"):
        load_dataset_spec("ffhq").with_generator("flux")


word = st.text(st.characters(blacklist_characters="/_", blacklist_categories=("Cs", "Cc")), min_size=1, max_size=8)


@given(who=word, other=word, shot=st.integers(0, 9999))
def test_templates_take_apart_what_they_made(who: str, other: str, shot: int):
    template = Template("{split}/{who:word}_{shot:int}_by_{other:word}.{ext}")
    fields = {"split": "test", "who": who, "shot": f"{shot:02d}", "other": other, "ext": "png"}
    path = template.fill(fields)
    assert path is not None
    assert template.match(path) == fields


def test_a_field_used_twice_holds_one_text():
    template = Template("{a}/{a}_{b}.png")
    assert template.match("x/x_1.png") == {"a": "x", "b": "1"}
    assert template.match("x/y_1.png") is None
    assert template.fill({"a": "x", "b": None}) is None
    assert Template("README.md").match("readme.MD") == {}


@pytest.mark.corpus
def test_the_corpus_is_listed_whole(corpus: Path):
    listing = listed(load_dataset_spec("corpus"), corpus)
    kinds = Counter("real" if s.generator == "real" else "fake" for s in listing.samples)
    text = (corpus / "SOURCES.csv").read_text()
    assert kinds["real"] == len(re.findall(r",image,.*,real,", text))
    assert all(s.source_key and s.generator in taxonomy() for s in listing.samples)
    assert "not in the table" not in listing.ignored
