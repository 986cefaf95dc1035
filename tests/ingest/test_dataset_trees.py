from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.dataset_trees import MAPPING, TREES, dataset_tree, deepfakebench_json, draw, pack

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import BuildReport, build_manifest
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.survey import survey


def listed(dataset: str, root: Path) -> Listing:
    spec = load_dataset_spec(dataset)
    return list_source(spec, root)


def build(dataset: str, root: Path, out: Path, **options: object) -> BuildReport:
    return build_manifest(dataset, root, out, crop="raw-256", workers=0, **options)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("dataset", sorted(TREES))
def test_every_layout_is_read_as_released(dataset: str, root: Path, tmp_path: Path):
    faces = dataset_tree(root, dataset)
    report = build(dataset, root, tmp_path / "m")
    rows = Manifest.open(tmp_path / "m").frame().set_index("origin")
    assert set(rows.index) == {face.path for face in faces}
    for face in faces:
        row = rows.loc[face.path]
        said = [None if value != value else value for value in row[
            ["generator", "split", "source_key", "target_id", "pair_confidence"]]]  # fmt: skip
        assert tuple(said) == face.facts(dataset), face.path
    assert {g: c["ok"] for g, c in report.counts.items()} == Counter(face.generator for face in faces)
    assert not set(report.ignored) - {"not part of this dataset"}


@pytest.mark.parametrize("dataset", sorted(TREES))
def test_case_of_folders_does_not_matter_missing_and_extra_files_do(dataset: str, root: Path):
    faces = dataset_tree(root, dataset)
    before = listed(dataset, root)
    top = sorted(path for path in root.iterdir() if path.is_dir())[0]
    top.rename(root / top.name.swapcase())
    after = listed(dataset, root)
    renamed = {s.origin.replace(top.name.swapcase() + "/", top.name + "/", 1): s for s in after.samples}
    assert {o: (s.generator, s.split) for o, s in renamed.items()} == {
        s.origin: (s.generator, s.split) for s in before.samples
    }
    (root / "left over.dat").write_bytes(b"x")
    assert listed(dataset, root).examples.get("fits no path of the layout", listed(dataset, root).examples.get(
        "no image")) == ["left over.dat"]  # fmt: skip
    gone = after.samples[0]
    gone.path.unlink()
    assert len(listed(dataset, root).samples) == len(faces) - 1


def test_missing_images_are_said_against_the_release(root: Path, tmp_path: Path):
    dataset_tree(root, "ffhq")
    notes = " ".join(build("ffhq", root, tmp_path / "m").notes)
    assert re.search(r"real: .*69,996.*4 images found", notes)


def test_unknown_folders_are_named(root: Path):
    dataset_tree(root, "df40")
    draw(root / "DF40/newmethod/ff/frames/001_002/0.png")
    draw(root / "DF40_train/SimSwap/landmarks/001_002/0.npy.png")
    (root / "DF40/simswap/ff/landmarks").mkdir()
    (root / "DF40/simswap/ff/landmarks/000.npy").touch()
    ignored = listed("df40", root).ignored
    assert ignored["unknown generator 'newmethod'"] == 1
    assert ignored["not part of this dataset"] == 1


def test_celeba_hq_without_its_mapping_has_no_split(root: Path, tmp_path: Path):
    dataset_tree(root, "celeba_hq")
    (root / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    report = build("celeba_hq", root, tmp_path / "m")
    assert any("no CelebA-HQ-to-CelebA-mapping.txt: images have no split" in note for note in report.notes)
    assert Manifest.open(tmp_path / "m").frame()["split"].isna().all()


def test_a_damaged_mapping_is_said(root: Path):
    dataset_tree(root, "celeba_hq")
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text(MAPPING + "two x\n")
    listing = listed("celeba_hq", root)
    assert listing.notes == ["CelebA-HQ-to-CelebA-mapping.txt: images have no split: line 5 is no row of numbers"]
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(MAPPING.splitlines()[:-1]))
    listing = listed("celeba_hq", root)
    assert Counter(s.split for s in listing.samples) == {"train": 1, "val": 1, None: 1}
    assert "1 images have no split" in listing.notes[0]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("celeba_hq_256/00012.jpg", "12"),
        ("imgHQ00012.png", "12"),
        ("data1024x1024/imgHQ00012.png", "12"),
        ("7.png", "7"),
    ],
)
def test_both_releases_of_celeba_hq_give_the_same_key(root: Path, name: str, key: str):
    draw(root / name)
    assert [(s.generator, s.source_key) for s in listed("celeba_hq", root).samples] == [("real", f"celeba_hq:{key}")]


def test_one_image_of_several_sizes(root: Path):
    for name in (
        "images1024x1024/00000/00003.png",
        "thumbnails128x128/00000/00003.png",
        "thumbnails128x128/00000/00004.png",
    ):
        draw(root / name)
    listing = listed("ffhq", root)
    assert sorted(s.origin for s in listing.samples) == [
        "images1024x1024/00000/00003.png", "thumbnails128x128/00000/00004.png"]  # fmt: skip
    assert listing.examples["copy of another image"] == ["thumbnails128x128/00000/00003.png"]


def test_wilddeepfake_as_released(root: Path, tmp_path: Path):
    """A tar.gz a shard, names with `./`; the older mirror has a space in its folders."""
    faces = dataset_tree(root, "wilddeepfake")
    plain = build("wilddeepfake", root, tmp_path / "plain")
    top = root / "deepfake_in_the_wild"
    for part in sorted(top.iterdir()):
        for shard in sorted(path for path in part.iterdir() if path.is_dir()):
            pack(shard, part / f"{shard.name}.tar.gz", f"{shard.name}/", dot=True)
        part.rename(top / part.name.replace("_", " "))
    report = build("wilddeepfake", root, tmp_path / "packed")
    assert report.counts == plain.counts
    assert report.refused == 0
    columns = ["generator", "split", "source_key", "frame", "crop_sha256", "source_sha256"]
    frames = [Manifest.open(tmp_path / n).frame(columns) for n in ("plain", "packed")]
    one, other = (f.sort_values(columns).reset_index(drop=True) for f in frames)
    assert one.equals(other)
    assert len(one) == len(faces)


def test_celebamask_hq_zip_stays_packed(root: Path):
    dataset_tree(root, "celeba_hq")
    draw(root / "CelebAMask-HQ-mask-anno/0/00000_hair.png")
    shutil.copytree(root, root / "all")
    for name in ("CelebA-HQ-img", "CelebAMask-HQ-mask-anno"):
        shutil.rmtree(root / name)
    (root / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    pack(root / "all", root / "CelebAMask-HQ.zip", "CelebAMask-HQ/")
    listing = listed("celeba_hq", root)
    facts = {s.member: (s.split, s.source_key) for s in listing.samples}
    assert facts == {f"CelebAMask-HQ/{face.path}": (face.split, face.source_key) for face in TREES["celeba_hq"]}
    assert listing.ignored == {"not part of this dataset": 2}


def test_metadata_says_more_than_folders(root: Path):
    for name in ("train/a.png", "train/b.png", "train/flux/c.png", "train/d.png", "train/real.png"):
        draw(root / name)
    (root / "train/metadata.jsonl").write_text(
        '{"file_name": "a.png", "generator": "FLUX.1", "source_key": "k", "target": "real.png"}\n'
        '{"file_name": "./b.png", "label": "vae", "split": "validation"}\n\n'
        '{"file_name": "gone.png", "label": "vae"}\n{"file_name": "real.png", "label": "FFHQ"}\n'
    )
    listing = listed("image_folder", root)
    facts = {s.origin: (s.generator, s.split, s.source_key) for s in listing.samples}
    assert facts == {
        "train/a.png": ("flux", "train", "k"),
        "train/b.png": ("vae", "val", None),
        "train/flux/c.png": ("flux", "train", None),
        "train/real.png": ("real", "train", None),
    }
    samples = {s.origin: s for s in listing.samples}
    assert samples["train/a.png"].target_id == samples["train/real.png"].sample_id
    assert listing.examples["named in the metadata, but not there"] == ["train/gone.png"]
    assert sum(listing.ignored.values()) == 2
    (root / "train/metadata.jsonl").unlink()
    (root / "metadata.csv").write_text("file_name,label\ntrain/a.png,hart\n")
    assert {s.origin: s.generator for s in listed("image_folder", root).samples}["train/a.png"] == "hart"


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("metadata.jsonl", '{"file_name": "a"\n', "line 1: not JSON"),
        ("metadata.jsonl", "[1]\n", "line 1: must be an object"),
        ("metadata.csv", "name,label\na,flux\n", "line 2: no file_name"),
        ("metadata.csv", "a_file_name,label\na,flux\n", "a_file_name name several pictures of a row"),
        ("metadata.csv", 'file_name\n"a"b,c\n', "not a CSV table"),
    ],
)
def test_bad_metadata_is_said(root: Path, name: str, text: str, error: str):
    (root / name).write_text(text)
    with pytest.raises(ConfigError, match=error):
        listed("image_folder", root)


@pytest.fixture
def index(root: Path, tmp_path: Path) -> Path:
    for number, name in enumerate((
        "FaceForensics++/original_sequences/youtube/c23/frames/000/000.png",
        "FaceForensics++/original_sequences/youtube/c23/frames/000/010.png",
        "FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/000_003/000.png",
        "Celeb-DF-v2/Celeb-real/frames/id0_0000/004.png",
        "Celeb-DF-v2/Celeb-synthesis/frames/id0_id1_0000/004.png",
        "DF40/simswap/001_002/0.png",
    )):  # fmt: skip
        draw(root / name, number)
    return deepfakebench_json(tmp_path / "list.json")


def test_a_deepfakebench_list(root: Path, index: Path, tmp_path: Path):
    report = build("deepfakebench", root, tmp_path / "m", from_deepfakebench=index)
    rows = Manifest.open(tmp_path / "m").frame(status=None).set_index("origin")
    fake = "FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/000_003/"
    real = "FaceForensics++/original_sequences/youtube/c23/frames/000/"
    said = {o: (r["generator"], r["split"], r["frame"], r["status"]) for o, r in rows.iterrows()}
    assert said == {
        real + "000.png": ("real", "train", 0, "ok"),
        real + "010.png": ("real", "train", 10, "ok"),
        fake + "000.png": ("deepfakes_ae", "train", 0, "ok"),
        fake + "010.png": ("deepfakes_ae", "train", 10, "unreadable"),  # listed, but not there
        "Celeb-DF-v2/Celeb-real/frames/id0_0000/004.png": ("real", "test", 4, "ok"),
        "Celeb-DF-v2/Celeb-synthesis/frames/id0_id1_0000/004.png": ("celeb_df", "test", 4, "ok"),
        "DF40/simswap/001_002/0.png": ("simswap", "test", 0, "ok"),
    }
    assert rows.loc[fake + "000.png", "target_id"] == rows.loc[real + "000.png", "sample_id"]
    celeb = "Celeb-DF-v2/Celeb-synthesis/frames/id0_id1_0000/004.png"
    assert rows.loc[celeb, "target_id"] == rows.loc["Celeb-DF-v2/Celeb-real/frames/id0_0000/004.png", "sample_id"]
    assert rows.loc[fake + "000.png", "source_key"] == rows.loc[real + "000.png", "source_key"] == "FaceForensics++:000"
    assert rows.loc[celeb, "source_key"] == "Celeb-DF-v2:id0_0000"
    assert rows["target_id"].notna().sum() == 3  # DF40 names do not tell
    twice = "listed for several splits, kept in the first of test, val, train"
    assert report.ignored == {twice: 1, "unknown generator 'nobody_Fake'": 1}


def test_a_deepfakebench_list_at_one_compression(root: Path, index: Path, tmp_path: Path):
    value = json.loads(index.read_text())
    for label in value["FaceForensics++"].values():
        for levels in label.values():
            text = json.dumps(levels["c23"]).replace("c23", "c40")
            levels["c40"] = json.loads(text)
    index.write_text(json.dumps(value))
    options = {"from_deepfakebench": index}
    both = survey("deepfakebench", root, **options)
    assert {row.generator: row.found for row in both.coverage}["deepfakes_ae"] == 4
    one = survey("deepfakebench", root, only={"compression": "C40"}, **options)
    assert {row.generator: row.found for row in one.coverage} == {
        "celeb_df": 1, "deepfakes_ae": 2, "real": 3, "simswap": 1, "nobody_Fake": 1}  # fmt: skip
    assert one.ignored["compression 'c23', not asked for"] == 4
    assert one.unknown == {"DF40/nobody": 1}
    own = survey("faceforensics", root, **options)  # whose file asks for c23
    assert own.ignored["compression 'c40', not asked for"] == 4
    with pytest.raises(ConfigError, match="no path has a field 'split'; there are compression, dataset, label"):
        survey("deepfakebench", root, only={"split": "train"}, **options)


def test_a_deepfakebench_list_under_a_dataset_of_its_own_name(root: Path, index: Path, tmp_path: Path):
    build("celeb_df", root, tmp_path / "m", from_deepfakebench=index)
    assert Manifest.open(tmp_path / "m").name == "celeb_df"


def test_the_option_stands_in_for_the_dataset(root: Path, index: Path, tmp_path: Path):
    arguments = ["build-manifest", "--root", str(root), "--out", str(tmp_path / "m"), "--workers", "0", "--quiet"]
    missing = CliRunner().invoke(dfad, arguments)
    assert missing.exit_code == 2
    assert "Missing option '--dataset'" in missing.stderr
    result = CliRunner().invoke(
        dfad, [*arguments, "--from-deepfakebench", str(index), "--json", "--max-refused", "0.5"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["counts"]["deepfakes_ae"] == {"ok": 1, "unreadable": 1}


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "..\\..\\secret.png", "a/../../secret.png", "C:\\x.png"]
)
def test_paths_of_a_list_stay_below_the_root(root: Path, tmp_path: Path, path: str):
    draw(tmp_path / "secret.png")
    index = tmp_path / "list.json"
    frames = {"v": {"label": "FF-real", "frames": [path]}}
    index.write_text(json.dumps({"D": {"FF-real": {"test": frames}}}))
    report = build("deepfakebench", root, tmp_path / "m", from_deepfakebench=index)
    status = next(iter(report.counts["real"]))
    assert (status, report.refused) == ("unreadable" if path.startswith("C:") else "outside_root", 1)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", "must be a JSON object"),
        ('{"D": {"FF-real": {"test": {"v": {"frames": "x"}}}}}', "`frames` must be a list of paths"),
        ('{"D": {"FF-real": {"test": {"c23": {"v": {}}}}}}', "a video needs `frames`|no image of"),
        ('{"D": {"FF-real": {"test": {"c23": {"v": {"label": {}}}}}}}', "a video needs `frames`"),
        ("{", "not valid JSON"),
    ],
)
def test_a_bad_list_is_said(root: Path, tmp_path: Path, text: str, error: str):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ConfigError, match=error):
        build("deepfakebench", root, tmp_path / "m", from_deepfakebench=tmp_path / "list.json")


def test_the_list_is_an_option_not_a_key(root: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="needs --from-deepfakebench FILE"):
        build("deepfakebench", root, tmp_path / "m")
    with pytest.raises(ConfigError, match=r"gone\.json: no such file"):
        build("deepfakebench", root, tmp_path / "m", from_deepfakebench=tmp_path / "gone.json")
    own = tmp_path / "own.yaml"
    own.write_text('name: own\nversion: 1\ntitle: t\nlicence: l\nlayout: deepfakebench\nindex: "/etc/passwd"\n')
    with pytest.raises(ConfigError, match="not for dataset files"):
        load_dataset_spec(str(own))
