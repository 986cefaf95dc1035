"""`dfad doctor` on miniature copies of every release: what is there, short, gone or strange is told as it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from helpers import dataset_trees, video_trees
from helpers.dataset_trees import dataset_tree, deepfakebench_json, draw, pack

from dfad_bench.core.errors import ConfigError
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.survey import MISSING, NOT_IN_RELEASE, Survey, survey

IMAGES = sorted(dataset_trees.TREES)


def found(result: Survey) -> dict[str, int]:
    return {row.generator: row.found for row in result.coverage if row.found}


def verdicts(result: Survey) -> dict[str, str]:
    return {row.generator: row.verdict for row in result.coverage}


@pytest.mark.parametrize("name", IMAGES)
def test_image_releases_are_counted(tmp_path: Path, name: str) -> None:
    faces = dataset_tree(tmp_path, name)
    result = survey(name, tmp_path)
    if result.unit == "sequences":
        groups = {(face.generator, face.path.rpartition("/")[0]) for face in faces}
        expected = Counter(generator for generator, _ in groups)
    else:
        expected = Counter(face.generator for face in faces)
    assert found(result) == expected
    assert result.unknown == {}
    assert result.targets == ()
    assert sum(result.targets_elsewhere.values()) == sum(face.of is not None for face in faces)


@pytest.mark.parametrize("name", IMAGES)
def test_a_stranger_is_named(tmp_path: Path, name: str) -> None:
    dataset_tree(tmp_path, name)
    draw(tmp_path / "Strange-Method" / "a" / "b" / "c.gif").rename(tmp_path / "Strange-Method" / "a" / "b" / "c.xyz")
    assert survey(name, tmp_path).unknown == {"Strange-Method/a": 1}


def test_splits_of_celeba_hq_need_the_mapping(tmp_path: Path) -> None:
    dataset_tree(tmp_path, "celeba_hq")
    (row,) = survey("celeba_hq", tmp_path).coverage
    assert {name: count.found for name, count in row.splits.items()} == {"train": 1, "val": 1, "test": 1}
    assert row.verdict == "short by 29,997; test: short by 2,823; train: short by 24,182; val: short by 2,992"
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    (row,) = survey("celeba_hq", tmp_path).coverage
    assert (row.verdict, list(row.splits)) == ("short by 29,997", [""])


def test_methods_of_df40_that_are_not_there(tmp_path: Path) -> None:
    dataset_tree(tmp_path, "df40")
    told = verdicts(survey("df40", tmp_path))
    assert told["simswap"] == "number not published"
    assert told["lia"] == told["sadtalker"] == MISSING


@pytest.fixture(scope="module")
def celeb_df(tmp_path_factory: pytest.TempPathFactory) -> video_trees.VideoTree:
    return video_trees.celeb_df_tree(tmp_path_factory.mktemp("celeb_df"))


def test_celeb_df_against_its_numbers(celeb_df: video_trees.VideoTree) -> None:
    result = survey("celeb_df", celeb_df.root)
    assert found(result) == {"real": 4, "celeb_df": 2}
    assert verdicts(result) == {
        "real": "short by 886; test: short by 177",
        "celeb_df": "short by 5,637; test: short by 339",
    }
    assert (result.missing_files, result.targets, result.unknown) == ({}, (), {})


def test_celeb_df_without_its_list_and_a_target(tmp_path: Path) -> None:
    tree = video_trees.celeb_df_tree(tmp_path)
    (tmp_path / "List_of_testing_videos.txt").unlink()
    (tmp_path / "Celeb-real" / "id1_0002.mp4").unlink()
    result = survey("celeb_df", tree.root)
    assert result.missing_files == {"List_of_testing_videos.txt": "which 518 videos are the official test split"}
    (gap,) = result.targets
    assert (gap.generator, gap.without, gap.total, gap.examples) == ("celeb_df", 1, 2, ("Celeb-real/id1_0002",))
    assert any("List_of_testing_videos.txt" in note for note in result.notes)


def test_a_listed_video_that_is_gone(tmp_path: Path) -> None:
    tree = video_trees.celeb_df_tree(tmp_path)
    (tmp_path / "YouTube-real" / "00170.mp4").unlink()
    result = survey("celeb_df", tree.root)
    assert result.absent == {"List_of_testing_videos.txt": 1}
    assert result.absent_examples == {"List_of_testing_videos.txt": ["YouTube-real/00170.mp4"]}


@pytest.mark.parametrize("name", ["faceforensics", "celeb_df_pp"])
def test_video_releases_are_counted(tmp_path: Path, name: str) -> None:
    tree = video_trees.TREES[name](tmp_path)
    result = survey(name, tmp_path)
    assert found(result) == Counter(facts[0] for facts in tree.samples.values())
    assert (result.unknown, result.targets, result.missing_files, result.absent) == ({}, (), {}, {})


def test_parts_of_dfdc_that_are_not_there(tmp_path: Path) -> None:
    video_trees.dfdc_train_tree(tmp_path)
    result = survey("dfdc", tmp_path)
    assert set(verdicts(result)) == {"real", "dfdc"}
    assert found(result) == {"real": 2, "dfdc": 4}
    assert set(result.missing_files) == {f"dfdc_train_part_{part}" for part in range(50) if part not in (0, 49)}


def test_videos_in_archives_are_to_be_unpacked(tmp_path: Path) -> None:
    video_trees.celeb_df_tree(tmp_path / "x")
    pack(tmp_path / "x", tmp_path / "Celeb-DF-v2.zip", "Celeb-DF-v2/")
    result = survey("celeb_df", tmp_path)
    assert any(note.startswith("6 videos lie in archives: unpack them") for note in result.notes)
    assert sum(result.unknown.values()) == 1  # the test list
    assert not found(result)


def test_videos_in_an_archive_that_fits_are_no_images(tmp_path: Path) -> None:
    video_trees.faceforensics_tree(tmp_path)
    level = tmp_path / "manipulated_sequences" / "Deepfakes" / "c23"
    pack(level, level.with_suffix(".tar"), "c23/")
    result = survey("faceforensics", tmp_path)
    assert "deepfakes_ae" not in found(result)
    assert any(note.startswith("6 videos lie in archives") for note in result.notes)


def test_a_root_that_is_one_too_high(tmp_path: Path) -> None:
    video_trees.celeb_df_tree(tmp_path / "Celeb-DF-v2")
    (hint,) = (note for note in survey("celeb_df", tmp_path).notes if "--root" in note)
    assert hint == f"6 files of this dataset lie below {tmp_path / 'Celeb-DF-v2'}: use that as --root"


def test_a_list_of_deepfakebench_is_held_against_the_disk(tmp_path: Path) -> None:
    index = deepfakebench_json(tmp_path / "list.json")
    draw(tmp_path / "FaceForensics++/original_sequences/youtube/c23/frames/000/000.png")
    result = survey("deepfakebench", tmp_path, from_deepfakebench=index)
    assert found(result) == {"celeb_df": 1, "deepfakes_ae": 2, "real": 3, "simswap": 1, "nobody_Fake": 1}
    assert verdicts(result)["nobody_Fake"] == NOT_IN_RELEASE
    assert result.absent == {"list.json": 6}
    assert result.unknown == {"DF40/nobody": 1}
    assert not result.complete


@pytest.mark.parametrize("name", ["images", "image_folder", "extra", "videos"])
def test_an_empty_folder_is_not_whole(tmp_path: Path, name: str) -> None:
    assert not survey(name, tmp_path).complete


def test_a_root_that_is_one_too_deep(tmp_path: Path) -> None:
    dataset_tree(tmp_path, "df40")
    (note,) = survey("df40", tmp_path / "DF40").notes
    assert note == f"with DF40/ before them these files would fit: use {tmp_path} as --root"
    with pytest.raises(ConfigError, match=f"use {tmp_path} as --root"):
        build_manifest("df40", tmp_path / "DF40", tmp_path / "m", workers=0)


def test_another_compression_level_is_said(tmp_path: Path) -> None:
    video_trees.faceforensics_tree(tmp_path)
    result = survey("faceforensics", tmp_path, only={"compression": "c40"})
    assert not found(result)
    assert "36 files: compression 'c23', not asked for (--only)" in result.notes
