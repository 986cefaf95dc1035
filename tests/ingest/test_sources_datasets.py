from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from helpers.listing import SPEC, listed, source_folder, touch

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.resources import shipped_names
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.sources.template import Template
from dfad_bench.ingest.survey import survey


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return source_folder(tmp_path)


EXAMPLES = {
    "synthetic": [
        ("train/real-studio/id0001_00.png", "real", "train"),
        ("test/synthetic-swap-gan/id0001_00_by_id0002.png", "synthetic-swap-gan", "test"),
    ],
    "synthetic-outdoor": [("test/real-outdoor/id0001_00.png", "real", "test")],
    "synthetic-unseen": [("test/synthetic-flow-b/id5000_00.png", "synthetic-flow-b", "test")],
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
    "celeb_df_flat": [
        ("Celeb-real/videos/id0_0001.mp4", "real", None),
        ("YouTube-real/frames/00170/012.png", "real", None),
        ("Celeb-synthesis/frames/id0_id1_0001/012.png", "celeb_df", None),
        ("real/train/00170_frames/frame_3.jpg", "real", "train"),
        ("fake/valid/id0_id1_0001_frames/frame_3.jpg", "celeb_df", "val"),
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


@pytest.mark.parametrize("level", ["videos/{}.mp4", "frames/{}/012.png"])
def test_a_copy_of_celeb_df_with_a_level_more_has_the_pairs_and_the_official_split(root: Path, level: str):
    names = (
        "Celeb-real/id0_0001",
        "YouTube-real/00170",
        "Celeb-synthesis/id0_id1_0001",
        "Celeb-synthesis/id0_id1_0002",
    )
    paths = ["/".join((name.split("/")[0], level.format(name.split("/")[1]))) for name in names]
    touch(root, *paths)
    (root / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0002.mp4\n", encoding="utf-8"
    )
    listing = listed(load_dataset_spec("celeb_df_flat"), root)
    samples = {sample.origin: sample for sample in listing.samples}
    assert [samples[path].split for path in paths] == ["train", "test", "train", "test"]
    assert samples[paths[2]].target_origin == paths[0]
    assert samples[paths[2]].source_key == samples[paths[0]].source_key
    assert "4 of the first 5 files fit --dataset celeb_df_flat" in survey("celeb_df", root).notes[-1]


def test_a_dataset_that_few_files_fit_is_not_named(root: Path):
    touch(root, "a/b/c/d/e/f.png", "hart/x.png", "k/l/m/n/o/p.png", "q/r/s/t/u/v.png")
    assert not any("fit --dataset" in note for note in survey("celeb_df", root).notes)


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


@pytest.mark.corpus
def test_the_corpus_is_listed_whole(corpus: Path):
    listing = listed(load_dataset_spec("corpus"), corpus)
    kinds = Counter("real" if s.generator == "real" else "fake" for s in listing.samples)
    text = (corpus / "SOURCES.csv").read_text()
    assert kinds["real"] == len(re.findall(r",image,.*,real,", text))
    assert all(s.source_key and s.generator in taxonomy() for s in listing.samples)
    assert "not in the table" not in listing.ignored
