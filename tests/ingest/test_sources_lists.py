from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.listing import TABLE, listed, own, source_folder, touch

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import plain_path
from dfad_bench.ingest.sources.spec import DatasetSpec, load_dataset_spec


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return source_folder(tmp_path)


@pytest.fixture
def table(tmp_path: Path) -> DatasetSpec:
    return own(tmp_path, TABLE)


def test_a_metadata_file_without_a_row_is_counted(root: Path):
    (root / "metadata.csv").write_text("file_name,label\n")
    assert listed(load_dataset_spec("image_folder"), root).ignored == {"metadata file without a row": 1}


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


@pytest.mark.parametrize("name", ["/etc/hostname", "a\0.png", "../a.png"])
def test_names_that_leave_the_root_are_not_called_links(table: DatasetSpec, root: Path, name: str):
    (root / "list.csv").write_text(f"where,who,key,use\n{name},flux,x,yes\n")
    listing = listed(table, root)
    assert [sample.refusal for sample in listing.samples] == ["outside_root"]
    assert not [note for note in listing.notes if "follow-links" in note]
