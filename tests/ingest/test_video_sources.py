"""Video datasets in the layout of their releases: labels, splits, source keys, pairs; what is off is reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.video_trees import (
    FFPP_METHODS,
    TREES,
    VideoTree,
    celeb_df_tree,
    dfd_tree,
    dfdc_test_tree,
    dfdc_train_tree,
    faceforensics_tree,
)

from dfad_bench.core.errors import ConfigError
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import load_dataset_spec


def listed(dataset: str, root: Path, **only: str) -> Listing:
    spec = load_dataset_spec(dataset)
    spec = spec.with_only(only) if only else spec
    return list_source(spec, root)


def facts(listing: Listing) -> dict[str, tuple[str, str | None, str | None, str | None]]:
    return {s.origin: (s.generator, s.split, s.source_key, s.target_origin) for s in listing.samples}


@pytest.mark.parametrize("dataset", TREES)
def test_a_release_is_listed_as_it_is(dataset: str, tmp_path: Path):
    tree = TREES[dataset](tmp_path)
    listing = listed(dataset, tmp_path)
    assert facts(listing) == tree.samples
    assert set(listing.ignored) <= {"not part of this dataset"}
    assert listing.notes == []
    assert {s.medium for s in listing.samples} == {"video"}
    files = {s.origin: s.path for s in listing.samples}
    for sample in listing.samples:
        assert sample.target_path == (files[sample.target_origin] if sample.target_origin else None)
        assert sample.target_size == (sample.target_path.stat().st_size if sample.target_path else 0)


def test_the_test_set_of_dfdc_has_labels_and_no_targets(tmp_path: Path):
    tree = dfdc_test_tree(tmp_path)
    assert facts(listed("dfdc", tmp_path)) == tree.samples
    shutil.move(tmp_path / "test/labels.csv", tmp_path / "labels.csv")  # some copies have it above the videos
    assert facts(listed("dfdc", tmp_path)) == tree.samples
    (tmp_path / "labels.csv").unlink()
    metadata = {"aaa.mp4": {"is_fake": 0}, "bbb.mp4": {"is_fake": 1, "original": "gone.mp4"}}
    (tmp_path / "test/metadata.json").write_text(json.dumps(metadata))
    assert {o: f[:2] for o, f in facts(listed("dfdc", tmp_path)).items()} == {o: f[:2] for o, f in tree.samples.items()}


@pytest.mark.parametrize("dataset", ["faceforensics", "celeb_df", "celeb_df_pp", "dfd", "dfdc"])
@pytest.mark.parametrize("change", [str.upper, str.lower, str.title], ids=["upper", "lower", "title"])
def test_the_case_of_folders_does_not_matter(dataset: str, change: Callable[[str], str], tmp_path: Path):
    tree = TREES[dataset](tmp_path / "as released")
    root = tmp_path / "changed"
    shutil.copytree(tmp_path / "as released", root)
    _rename(root, change, keep={"metadata.json"})
    found = facts(listed(dataset, root))
    expected = {o.casefold(): f for o, f in tree.samples.items()}
    assert {o.casefold() for o in found} == set(expected)
    for origin, (generator, split, _, target) in found.items():
        wanted = expected[origin.casefold()]
        assert (generator, split) == wanted[:2]
        assert (target or "").casefold() == (wanted[3] or "").casefold()


def _rename(folder: Path, change: Callable[[str], str], keep: set[str]) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            _rename(path, change, keep)
            path.rename(path.with_name(change(path.name)))


def test_an_extra_file_is_counted(tmp_path: Path):
    tree = faceforensics_tree(tmp_path)
    (tmp_path / "notes.docx").write_bytes(b"x")
    (tmp_path / "manipulated_sequences/NewMethod/c23/videos").mkdir(parents=True)
    (tmp_path / "manipulated_sequences/NewMethod/c23/videos/634_660.mp4").write_bytes(b"x")
    (tmp_path / "original_sequences/youtube/c23/videos/readme.txt").write_bytes(b"x")
    listing = listed("faceforensics", tmp_path)
    assert facts(listing) == tree.samples
    assert listing.ignored["unknown generator 'NewMethod'"] == 1
    assert listing.ignored["fits no path of the layout"] == 2
    assert listing.examples["fits no path of the layout"] == [
        "notes.docx",
        "original_sequences/youtube/c23/videos/readme.txt",
    ]


def test_missing_videos_are_said_and_their_pairs_go(tmp_path: Path):
    faceforensics_tree(tmp_path)
    (tmp_path / "original_sequences/youtube/c23/videos/634.mp4").unlink()
    listing = listed("faceforensics", tmp_path)
    assert listing.ignored["in dataset/splits, but not there"] == 1
    assert listing.examples["in dataset/splits, but not there"] == ["634"]
    alone = [s for s in listing.samples if s.source_key == "ffpp:634"]
    assert len(alone) == len(FFPP_METHODS)
    assert {(s.split, s.target_origin, s.target_path, s.pair_confidence) for s in alone} == {("test", None, None, None)}


def test_missing_split_files_are_said(tmp_path: Path):
    faceforensics_tree(tmp_path)
    (tmp_path / "dataset/splits/val.json").unlink()
    listing = listed("faceforensics", tmp_path)
    assert "no dataset/splits/val.json" in listing.notes[0]
    assert "files in none of the splits" in listing.notes[1]
    assert {s.split for s in listing.samples} == {"train", None, "test"}
    shutil.rmtree(tmp_path / "dataset")
    assert {s.split for s in listed("faceforensics", tmp_path).samples} == {None}


def test_one_compression_level_is_read_at_a_time(tmp_path: Path):
    c23 = faceforensics_tree(tmp_path)
    c40 = faceforensics_tree(tmp_path, "c40")
    listing = listed("faceforensics", tmp_path)
    assert facts(listing) == c23.samples
    assert listing.ignored["compression 'c40', not asked for"] == len(c40.samples)
    assert facts(listed("faceforensics", tmp_path, compression="C40")) == c40.samples
    assert facts(listed("faceforensics", tmp_path, compression="c23,c40")) == {**c23.samples, **c40.samples}
    with pytest.raises(ConfigError, match="no path has a field 'quality'; there are compression"):
        listed("faceforensics", tmp_path, quality="c40")


def test_dfd_and_faceforensics_share_a_tree(tmp_path: Path):
    ffpp, dfd = faceforensics_tree(tmp_path), dfd_tree(tmp_path)
    assert facts(listed("faceforensics", tmp_path)) == ffpp.samples
    assert facts(listed("dfd", tmp_path)) == dfd.samples


def test_celeb_df_without_its_list_has_no_splits(tmp_path: Path):
    celeb_df_tree(tmp_path)
    (tmp_path / "List_of_testing_videos.txt").unlink()
    listing = listed("celeb_df", tmp_path)
    assert {s.split for s in listing.samples} == {None}
    assert listing.notes == ["no List_of_testing_videos.txt: the splits are unknown"]


def test_the_list_of_celeb_df_is_held_against_the_folders(tmp_path: Path):
    tree = celeb_df_tree(tmp_path)
    lines = "0 YouTube-real/00170.mp4\n1 YouTube-real/99999.mp4\n\n0 celeb-synthesis/ID1_id0_0002.mp4\r\n"
    (tmp_path / "List_of_testing_videos.txt").write_text(lines)
    listing = listed("celeb_df", tmp_path)
    assert facts(listing) == tree.samples
    assert listing.examples["in List_of_testing_videos.txt, but not there"] == ["YouTube-real/99999.mp4"]
    assert listing.notes == ["List_of_testing_videos.txt: 1 labels contradict the folder the video lies in"]
    (tmp_path / "List_of_testing_videos.txt").write_text("1 a.mp4\nYouTube-real/00170.mp4 1\n")
    with pytest.raises(ConfigError, match="line 2: expected '1 folder/video.mp4'"):
        listed("celeb_df", tmp_path)


def test_videos_of_dfdc_without_a_label_are_left_out_and_said(tmp_path: Path):
    tree = dfdc_train_tree(tmp_path)
    (tmp_path / "dfdc_train_part_0/unlisted.mp4").write_bytes(b"x")
    (tmp_path / "dfdc_train_part_49/swap49.mp4").unlink()
    del tree.samples["dfdc_train_part_49/swap49.mp4"]
    listing = listed("dfdc", tmp_path)
    assert facts(listing) == tree.samples
    why = "in metadata.json or labels.csv"
    assert listing.examples[f"not {why}"] == ["dfdc_train_part_0/unlisted.mp4"]
    assert listing.examples[f"{why}, but not there"] == ["dfdc_train_part_49/swap49.mp4"]


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("dfdc_train_part_0/metadata.json", "{", "not valid JSON"),
        ("dfdc_train_part_0/metadata.json", "[1]", "expected an object of videos"),
        ("dfdc_train_part_0/metadata.json", '{"real0.mp4": {"label": "MAYBE"}}', "'MAYBE' is neither REAL nor FAKE"),
        ("dfdc_train_part_0/labels.csv", "file,label\na,0\n", "expected the columns filename and label"),
        ("dfdc_train_part_0/labels.csv", "filename,label\nreal0.mp4,2\n", "line 2: .*'2' is neither REAL nor FAKE"),
        ("dfdc_train_part_0/labels.csv", "filename,label\na.mp4,0.5\n", "'0.5' is neither REAL nor FAKE"),
        ("dfdc_train_part_0/labels.csv", "filename,label\na.mp4,1\nA.mp4,0\n", "line 3: 'A.mp4' has the other label"),
    ],
)
def test_damaged_lists_of_dfdc_are_said(tmp_path: Path, name: str, text: str, error: str):
    dfdc_train_tree(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=error):
        listed("dfdc", tmp_path)


def test_labels_of_dfdc_may_be_floats(tmp_path: Path):
    for name in ("aaaa.mp4", "bbbb.mp4"):
        (tmp_path / "test" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "test" / name).write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("filename,label\naaaa.mp4,1.0\nbbbb.mp4,0.0\n")
    samples = {s.origin: s.generator for s in listed("dfdc", tmp_path).samples}
    assert samples == {"test/aaaa.mp4": "dfdc", "test/bbbb.mp4": "real"}


def test_lists_that_contradict_themselves_are_refused(tmp_path: Path):
    celeb_df_tree(tmp_path / "c")
    (tmp_path / "c/List_of_testing_videos.txt").write_text("1 Celeb-real/id0_0000.mp4\n0 celeb-real/id0_0000.mp4\n")
    with pytest.raises(ConfigError, match="line 2: 'celeb-real/id0_0000.mp4' has the other label"):
        listed("celeb_df", tmp_path / "c")
    faceforensics_tree(tmp_path / "f")
    for split in ("train", "test"):
        (tmp_path / f"f/dataset/splits/{split}.json").write_text('[["071", "054"]]')
    with pytest.raises(ConfigError, match=r"test.json: '071' is also in the split train"):
        listed("faceforensics", tmp_path / "f")


@pytest.mark.parametrize("text", ["{}", '[["071"]]', "[[1, 2]]"])
def test_damaged_splits_of_faceforensics_are_said(tmp_path: Path, text: str):
    faceforensics_tree(tmp_path)
    (tmp_path / "dataset/splits/train.json").write_text(text)
    with pytest.raises(ConfigError, match=r"expected a list of \[target, source\] pairs"):
        listed("faceforensics", tmp_path)


def test_extracted_frames_get_split_and_pair_like_their_videos(tmp_path: Path):
    pairs = {
        "faceforensics": (
            "original_sequences/youtube/c23/frames/634",
            "manipulated_sequences/FaceSwap/c23/frames/634_660",
        )
    }
    pairs["celeb_df"] = ("Celeb-real/id1_0002", "Celeb-synthesis/id1_id0_0002")
    trees: dict[str, VideoTree] = {name: TREES[name](tmp_path / name) for name in pairs}
    for dataset, folders in pairs.items():
        root = trees[dataset].root
        for folder in folders:
            (root / folder).mkdir(parents=True)
            (root / folder / "0012.png").write_bytes(b"x")
        real, fake = (f"{folder}/0012.png" for folder in folders)
        samples = {s.origin: s for s in listed(dataset, root).samples}
        assert (samples[fake].medium, samples[fake].split, samples[fake].frame) == ("image", "test", 12)
        assert (samples[fake].target_origin, samples[fake].target_path) == (real, None)


def test_links_out_of_the_root_are_no_targets(tmp_path: Path):
    root = tmp_path / "root"
    celeb_df_tree(root)
    real = root / "Celeb-real/id0_0000.mp4"
    shutil.move(real, tmp_path / "elsewhere.mp4")
    real.symlink_to(tmp_path / "elsewhere.mp4")
    samples = {s.origin: s for s in listed("celeb_df", root).samples}
    assert samples["Celeb-real/id0_0000.mp4"].refusal == "outside_root"
    assert samples["Celeb-synthesis/id0_id1_0000.mp4"].target_path is None
