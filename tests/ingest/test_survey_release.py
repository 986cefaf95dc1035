from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from helpers.trees import save

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.resources import shipped_names
from dfad_bench.ingest import survey as release
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.survey import Coverage, SplitCount, Survey, TargetGap, survey


def own_dataset(folder: Path, **changes: object) -> str:
    """A dataset file: reals, two generators, splits as folders, targets by name."""
    raw = {
        "name": "own", "version": 1, "title": "Own", "licence": "none", "layout": "folders", "obtain": "ask nobody",
        "entries": [
            {"path": "{split}/real/{image}.{ext}", "generator": "real"},
            {"path": "{split}/{generator}/{image}.{ext}", "target": ["{split}/real/{image}.{ext}"]},
        ],
        "generators": {"SimSwap": "simswap", "FLUX": "flux"},
        "skip": ["notes.txt"],
    }  # fmt: skip
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({**raw, **changes}), encoding="utf-8")
    return str(path)


def tree(root: Path, counts: dict[str, int]) -> Path:
    for folder, number in counts.items():
        for index in range(number):
            save(root / folder / f"{index}.png", index, width=8, height=8)
    return root


def rows(found: Survey) -> dict[str, Coverage]:
    return {row.generator: row for row in found.coverage}


WHOLE = {"train/real": 3, "test/real": 2, "train/SimSwap": 3, "test/SimSwap": 2, "train/FLUX": 1, "test/FLUX": 1}
EXPECTED = {"real": 5, "simswap": {"all": 5, "train": 3, "test": 2}, "flux": {"test": 1}}


def test_a_whole_copy_is_complete(tmp_path: Path) -> None:
    found = survey(own_dataset(tmp_path, expected=EXPECTED), tree(tmp_path / "data", WHOLE))
    assert found.complete
    assert {name: row.verdict for name, row in rows(found).items()} == dict.fromkeys(
        ("real", "simswap", "flux"), "complete"
    )
    assert rows(found)["simswap"].splits == {"train": SplitCount(3, 3), "test": SplitCount(2, 2)}
    assert rows(found)["flux"].expected is None


@pytest.mark.parametrize(
    ("counts", "generator", "verdict", "lacking"),
    [
        ({"train/real": 2}, "real", "short by 1", 1),
        ({"train/SimSwap": 1}, "simswap", "short by 2; train: short by 2", 2),
        ({"train/SimSwap": 2, "test/SimSwap": 3}, "simswap", "test: 1 more than the release; train: short by 1", 1),
        ({"train/SimSwap": 0, "test/SimSwap": 0}, "simswap", "missing", 5),
        ({"train/FLUX": 0, "test/FLUX": 0}, "flux", "missing", 1),
        ({"train/real": 5}, "real", "2 more than the release", 0),
        ({"train/FLUX": 9}, "flux", "complete", 0),
    ],
)
def test_verdicts(tmp_path: Path, counts: dict[str, int], generator: str, verdict: str, lacking: int) -> None:
    root = tree(tmp_path / "data", {**WHOLE, **counts})
    for folder, number in counts.items():
        if not number:
            assert not (root / folder).exists()
    found = survey(own_dataset(tmp_path, expected=EXPECTED), root)
    assert (rows(found)[generator].verdict, rows(found)[generator].lacking) == (verdict, lacking)
    assert lacking == 0 or not found.complete


def test_numbers_nobody_published_are_said(tmp_path: Path) -> None:
    found = survey(own_dataset(tmp_path), tree(tmp_path / "data", {"train/real": 1, "train/FLUX": 1}))
    assert {name: row.verdict for name, row in rows(found).items()} == {
        "real": "number not published",
        "simswap": "missing",
        "flux": "number not published",
    }
    assert not found.complete


def test_case_of_folders_does_not_matter_and_strangers_are_named(tmp_path: Path) -> None:
    counts = {"Train/REAL": 2, "TRAIN/flux": 2, "train/Unknown-GAN": 3, "masks/deep/er": 2}
    found = survey(own_dataset(tmp_path, expected={"real": 2}), tree(tmp_path / "data", counts))
    assert rows(found)["real"] == Coverage("real", 2, 2, {"train": SplitCount(2, None)}, 0, "complete")
    assert rows(found)["flux"].found == 2
    assert rows(found)["Unknown-GAN"].verdict == "not in the release"
    assert rows(found)["Unknown-GAN"].found == 3
    assert found.unknown == {"masks/deep": 2, "train/Unknown-GAN": 3}


def test_files_known_and_not_read_are_no_strangers(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", {"train/real": 1})
    (root / "notes.txt").write_text("x", encoding="utf-8")
    (root / ".hidden").write_text("x", encoding="utf-8")
    (root / "extra.bin").write_text("x", encoding="utf-8")
    assert survey(own_dataset(tmp_path), root).unknown == {".": 1}


def test_targets_that_are_not_there(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", {"train/real": 2, "train/SimSwap": 5, "test/real": 1, "test/SimSwap": 1})
    found = survey(own_dataset(tmp_path), root)
    assert found.targets == (TargetGap("simswap", 3, 6, ("train/real/2", "train/real/3", "train/real/4")),)
    assert not found.complete


def test_targets_in_another_dataset_are_counted(tmp_path: Path) -> None:
    entry = {
        "path": "fake/{generator}/{image}.{ext}", "target": ["CelebA-HQ-img/{image}.jpg"],
        "target_dataset": "celeba_hq",
    }  # fmt: skip
    found = survey(own_dataset(tmp_path, entries=[entry]), tree(tmp_path / "data", {"fake/SimSwap": 4}))
    assert found.targets_elsewhere == {"celeba_hq": 4}
    assert found.targets == ()


def test_frames_of_a_video_count_once(tmp_path: Path) -> None:
    entries = [{"path": "{split}/{generator}/{video}/{frame:int}.{ext}"}]
    name = own_dataset(tmp_path, entries=entries, expected={"flux": 2, "simswap": 3}, expected_of="videos")
    root = tree(tmp_path / "data", {"train/FLUX/a": 5, "train/FLUX/b": 2, "train/SimSwap/a": 4, "test/SimSwap/b": 1})
    found = survey(name, root)
    assert found.unit == "videos"
    assert (rows(found)["flux"].found, rows(found)["flux"].verdict) == (2, "complete")
    assert (rows(found)["simswap"].found, rows(found)["simswap"].verdict) == (2, "short by 1")


def test_without_splits_on_disk_only_the_whole_is_compared(tmp_path: Path) -> None:
    entries = [{"path": "{generator}/{image}.{ext}"}]
    expected = {"flux": {"all": 2, "test": 1}, "simswap": {"test": 1}}
    found = survey(
        own_dataset(tmp_path, entries=entries, expected=expected), tree(tmp_path / "data", {"FLUX": 2, "SimSwap": 1})
    )
    assert rows(found)["flux"].verdict == "complete (the folder does not give the splits)"
    assert rows(found)["simswap"].verdict == "number not published (the folder does not give the splits)"


def test_expected_files(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", {"train/real": 1})
    (root / "Lists").mkdir()
    for name in ("Test.TXT", "part_1.json", "part_3.json"):
        (root / "Lists" / name).write_text("x", encoding="utf-8")
    expected_files = {"lists/test.txt": "the split", "lists/part_{1..3}.json": "labels", "readme": "nothing"}
    found = survey(own_dataset(tmp_path, expected_files=expected_files), root)
    assert found.missing_files == {"lists/part_2.json": "labels", "readme": "nothing"}
    below = survey(own_dataset(tmp_path, expected_files={"test.txt": "x", "part_2.json": "x"}), root)
    assert below.missing_files == {"part_2.json": "x"}


def test_one_value_of_a_field(tmp_path: Path) -> None:
    entries = [{"path": "{split}/{quality}/{generator}/{image}.{ext}"}]
    name = own_dataset(tmp_path, entries=entries, expected={"flux": 2}, only={"quality": ["high"]})
    root = tree(tmp_path / "data", {"train/high/FLUX": 2, "train/low/FLUX": 1})
    assert rows(survey(name, root))["flux"].verdict == "complete"
    assert rows(survey(name, root, only={"quality": "low"}))["flux"].verdict == "short by 1"
    with pytest.raises(ConfigError, match="no path has a field 'level'"):
        survey(name, root, only={"level": "low"})


def test_videos_nobody_labelled_yet_are_no_generator(tmp_path: Path) -> None:
    entries = [
        {"path": "raw/{image}.{ext}", "generator": "unlabelled"},
        {"path": "fake/{image}.{ext}", "generator": "dfdc"},
    ]
    found = survey(own_dataset(tmp_path, entries=entries, generators={}), tree(tmp_path / "data", {"fake": 1}))
    assert list(rows(found)) == ["dfdc"]
    assert list(rows(survey("images", tree(tmp_path / "any", {"x": 2})))) == ["unlabelled"]


def test_rows_of_a_table_whose_files_are_gone(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", {"a": 3})
    lines = [f"a/{index}.png,real" for index in range(5)]
    (root / "list.csv").write_text("\n".join(["path,generator", *lines]), encoding="utf-8")
    name = own_dataset(tmp_path, layout="table", table={"file": "list.csv"}, entries=[], generators={})
    found = survey(name, root)
    assert (found.absent, found.absent_examples) == ({"list.csv": 2}, {"list.csv": ["a/3.png", "a/4.png"]})
    assert not found.complete


def test_what_an_official_list_names_and_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(spec: object, root: Path) -> Listing:
        found = Listing()
        for index in range(4):
            found.ignore("in the_list.txt, but not there", f"videos/{index}.mp4")
        return found

    monkeypatch.setattr(release, "list_source", listing)
    found = survey(own_dataset(tmp_path), tree(tmp_path / "data", {"train/real": 1}))
    assert found.absent == {"the_list.txt": 4}
    assert found.absent_examples == {"the_list.txt": [f"videos/{index}.mp4" for index in range(3)]}
    assert found.unknown == {}


def test_an_empty_folder_misses_everything_and_names_the_layout(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    found = survey(own_dataset(tmp_path, expected=EXPECTED), tmp_path / "data")
    assert {row.verdict for row in found.coverage} == {"missing"}
    assert found.layout.startswith("{split}/real/{image}.{ext}")
    assert found.obtain == "ask nobody"


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        survey(own_dataset(tmp_path), tmp_path / "nowhere")


@pytest.mark.parametrize("name", shipped_names("manifests", "datasets"))
def test_numbers_of_shipped_datasets_add_up(name: str) -> None:
    spec = load_dataset_spec(name)
    for generator, numbers in spec.expected.items():
        if isinstance(numbers, dict) and "all" in numbers:
            parts = [number for split, number in numbers.items() if split != "all"]
            assert sum(parts) <= numbers["all"], f"{generator}: the splits are more than the whole"
        assert all(n > 0 for n in (numbers.values() if isinstance(numbers, dict) else [numbers]))
    assert spec.expected_of == "images" or spec.expected


@pytest.mark.heavy
def test_ten_thousand_files_take_seconds(tmp_path: Path) -> None:
    root = tmp_path / "data"
    one = save(tmp_path / "one.png", 1, width=8, height=8)
    for folder in ("train/real", "train/SimSwap"):
        (root / folder).mkdir(parents=True)
        for index in range(5000):
            (root / folder / f"{index}.png").hardlink_to(one)
    began = time.perf_counter()
    found = survey(own_dataset(tmp_path), root)
    assert time.perf_counter() - began < 10
    assert rows(found)["simswap"].found == 5000
    assert found.targets == ()
