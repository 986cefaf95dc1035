"""Every dataset file on a miniature tree of its release: what each file is, and what the doctor says of the whole."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from helpers import dataset_trees, video_trees
from helpers.listing import touch
from helpers.release_trees import ITEMS, LEFT_OUT, release_tree
from test_sources_datasets import EXAMPLES

from dfad_bench.core.resources import shipped_names
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.survey import Survey, survey

NAMES = shipped_names("manifests", "datasets")
GENERIC = ("images", "videos", "image_folder", "hf_parquet", "extra", "processed_reals", "deepfakebench")
OURS = ("synthetic", "corpus")
RELEASES = [name for name in NAMES if name not in GENERIC and not name.startswith(OURS)]


def make_tree(root: Path, name: str) -> Counter[str]:
    """A miniature of any dataset; files by generator."""
    if name in ITEMS:
        return Counter(item.generator for item in release_tree(root, name))
    if name in dataset_trees.TREES:
        return Counter(face.generator for face in dataset_trees.dataset_tree(root, name))
    if name in video_trees.TREES:
        return Counter(facts[0] for facts in video_trees.TREES[name](root).samples.values())
    if name == "corpus":
        touch(root, "a.jpg", "b.jpg")
        table = "path,media,kind,generator,group\na.jpg,image,real,FFHQ,1\nb.jpg,image,fake,HRFAE,2\n"
        (root / "SOURCES.csv").write_text(table)
        return Counter(["real", "hrfae"])
    touch(root, *(path for path, _, _ in EXAMPLES[name]))
    return Counter(generator for _, generator, _ in EXAMPLES[name])


def test_there_are_at_least_36_releases() -> None:
    assert len(RELEASES) >= 36
    assert len(NAMES) >= 36 + len(GENERIC)


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_says_its_licence_and_where_it_is(name: str) -> None:
    spec = load_dataset_spec(name)
    assert spec.licence
    assert spec.obtain
    assert spec.homepage
    assert spec.expected or spec.unknown or spec.notes  # counts as published, or that there are none


@pytest.mark.parametrize("name", sorted(ITEMS))
def test_every_file_of_a_release_is_read_as_what_it_is(tmp_path: Path, name: str) -> None:
    items = release_tree(tmp_path, name)
    listing = list_source(load_dataset_spec(name), tmp_path)
    samples = {sample.origin: sample for sample in listing.samples}
    assert set(samples) == {item.path for item in items}
    for item in items:
        sample = samples[item.path]
        said = (sample.generator, sample.split, sample.source_key, sample.target_origin, sample.target_dataset)
        assert said == (item.generator, item.split, item.key, item.target, item.of), item.path
        assert (sample.spans, sample.outside) == (item.spans, item.outside), item.path
    ignored = {name: why for why, names in listing.examples.items() for name in names}
    assert ignored.items() >= LEFT_OUT.get(name, {}).items()
    assert listing.overlooked == len([why for why in LEFT_OUT.get(name, {}).values() if why.startswith("in none")])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "deepfakebench"])
def test_the_doctor_on_the_tree_of_every_dataset(tmp_path: Path, name: str) -> None:
    """Counts are those of the tree; what is not known of the release, and who has its reals, is said."""
    expected = make_tree(tmp_path, name)
    result = survey(name, tmp_path)
    if result.unit != "sequences":
        assert {row.generator: row.found for row in result.coverage if row.found} == expected
    assert not any(row.verdict == "not in the release" for row in result.coverage)
    spec = load_dataset_spec(name)
    told = "\n".join(result.notes)
    assert all(f"not known: {what}" in told for what in spec.unknown)
    assert all(f"(dataset {other};" in told for other in spec.reals_in)
    wanted = {item.of for item in ITEMS.get(name, []) if item.of}
    assert wanted <= set(result.targets_elsewhere)


def test_targets_and_reals_elsewhere_are_shipped_datasets() -> None:
    for name in NAMES:
        spec = load_dataset_spec(name)
        others = {entry.target_dataset for entry in spec.entries if entry.target_dataset}
        assert others | set(spec.reals_in) <= set(NAMES), name


def test_the_page_of_the_data_sets_has_a_row_of_each() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"
    if not page.is_file():
        pytest.skip("not a checkout: docs are not shipped in the wheel")
    text = page.read_text(encoding="utf-8")
    assert f"{len(RELEASES)} releases" in (page.parents[1] / "README.md").read_text(encoding="utf-8")
    for name in RELEASES:
        spec = load_dataset_spec(name)
        row = next((line for line in text.splitlines() if line.startswith(f"| [`{name}`]")), "")
        assert spec.title in row, name
        assert all(f"`{other}`" in row for other in spec.reals_in), name
        assert row.endswith(f"| {len(spec.unknown) or '–'} |"), name


def notes_of(result: Survey, pattern: str) -> list[str]:
    return [note for note in result.notes if re.search(pattern, note)]


def test_disagreements_of_lists_with_folders_are_counted(tmp_path: Path) -> None:
    release_tree(tmp_path / "a", "ai_face")
    assert notes_of(survey("ai_face", tmp_path / "a"), r"test.csv: 1 labels contradict .*dfdc as real.* folder counts")
    release_tree(tmp_path / "b", "forgerynet")
    told = survey("forgerynet", tmp_path / "b")
    assert notes_of(told, "the class of 1 files disagrees with their folder; the folder counts")
    assert notes_of(told, "the binary label of 1 files disagrees")
    assert notes_of(told, "1 forged videos have no segments in video_list.txt: all of their frames are unlabelled")
    assert notes_of(told, "1 videos are forged in part")


def test_missing_lists_are_said(tmp_path: Path) -> None:
    release_tree(tmp_path, "fakeavceleb")
    (tmp_path / "meta_data.csv").unlink()
    told = survey("fakeavceleb", tmp_path)
    assert notes_of(told, "no meta_data.csv, which says who made the files")
    assert told.missing_files == {"meta_data.csv": "which method made each forged video; without it they are `fake`"}
    assert {row.generator: row.found for row in told.coverage if row.found} == {"real": 2, "fake": 2}


def test_a_variant_is_asked_for(tmp_path: Path) -> None:
    release_tree(tmp_path, "dfdm")
    told = survey("dfdm", tmp_path, only={"quality": "crf0"})
    assert {row.generator: row.found for row in told.coverage if row.found} == {"faceswap_iae": 1}


def test_releases_without_reals_say_who_has_them(tmp_path: Path) -> None:
    for name in ("talkingheadbench", "dfdm", "df_timit", "deeperforensics"):
        release_tree(tmp_path / name, name)
        result = survey(name, tmp_path / name)
        assert not any(row.found for row in result.coverage if row.generator == "real")
        assert notes_of(result, "the real faces are not in this release")
        assert result.targets_elsewhere


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("deeperforensics", "ow_dfa", "ffpp:071"),
        ("dfdm", "celeb_df", "celebdf:id1"),
        ("av_deepfake1m", "av_deepfake1m_pp", "voxceleb2:id00012"),
        ("ai_face", "dffd", "ffhq:12"),
        ("df_timit", "vidtimit", "vidtimit:fadg0"),
        ("deeperforensics", "faceforensics", "ffpp:071"),
        ("df40", "dfdm", "celebdf:id0"),
    ],
)
def test_releases_of_the_same_originals_share_source_keys(tmp_path: Path, first: str, second: str, shared: str) -> None:
    keys = []
    for name in (first, second):
        make_tree(tmp_path / name, name)
        keys.append({s.source_key for s in list_source(load_dataset_spec(name), tmp_path / name).samples})
    assert shared in keys[0] & keys[1]
