"""Skeletons pass their checks untouched, take good names only, and overwrite nothing."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.trees import save

from dfad_bench.cli.main import dfad
from dfad_bench.core import registry
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.includes import check_included
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.resources import include
from dfad_bench.core.skeleton import new_dataset, new_model, new_protocol
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.model_contract import check_model
from dfad_bench.ingest.build import build_manifest


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[str]:
    """The skeleton of a model, on the path with the entry point its pyproject.toml states."""
    name = "skeleton_net"
    new_model(name, tmp_path / "net")
    facts = tmp_path / "net" / "dfad_skeleton_net-0.1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: dfad-skeleton-net\nVersion: 0.1.0\n")
    project = (tmp_path / "net" / "pyproject.toml").read_text(encoding="utf-8")
    (place,) = [line for line in project.splitlines() if line.startswith(f"{name} = ")]
    (facts / "entry_points.txt").write_text(f"[dfad_bench.models]\n{place.replace(chr(34), '')}\n")
    sys.path.insert(0, str(tmp_path / "net"))
    importlib.invalidate_caches()
    registry.model_table.cache_clear()
    yield name
    sys.path.remove(str(tmp_path / "net"))
    for module in [module for module in sys.modules if module.startswith("dfad_skeleton_net")]:
        del sys.modules[module]
    registry.model_table.cache_clear()


def test_a_new_model_keeps_the_contract(installed: str) -> None:
    assert {result.check: result.detail for result in check_model(installed) if not result.ok} == {}


def test_a_new_model_takes_settings_and_refuses_weights(installed: str, tmp_path: Path) -> None:
    kind = registry.model_class(installed)
    model = kind.build(3, size="tiny", options={"widths": (4, 8, 16)})
    assert model.experts.attribution.in_features == 16
    with pytest.raises(ConfigError, match="unknown key 'wdths'; did you mean 'widths'"):
        kind.build(3, size="tiny", options={"wdths": (4, 8)})
    with pytest.raises(ConfigError, match="leave --weights out"):
        kind.build(3, size="tiny", weights=tmp_path / "w.pth")


def test_a_name_cannot_be_given_twice(installed: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is taken by dfad_skeleton_net.model:SkeletonNet"):
        new_model(installed, tmp_path / "again")


def example_tree(root: Path) -> Path:
    """The tree that the skeleton's comments describe."""
    for index, split in enumerate(("train", "train", "test")):
        for generator in ("real", "mine_example"):
            save(root / split / generator / f"{index:04d}.png", 2 * index + (generator == "real"), width=64, height=64)
    return root


def test_a_new_dataset_reads_the_tree_of_its_comments(tmp_path: Path) -> None:
    written = new_dataset("mine", tmp_path / "mine")
    text = (tmp_path / "mine" / "datasets" / "mine.yaml").read_text(encoding="utf-8")
    paths = [line.split()[-1] for line in text.splitlines() if line.startswith("#     t")]
    root = example_tree(tmp_path / "root")
    for path in paths:
        save(root / path, len(path), width=64, height=64)
    assert len(paths) == 4
    with include(tmp_path / "mine"):
        assert [file.problem for file in check_included()] == ["", ""]
        line = ["doctor", "--dataset", "mine", "--root", str(root), "--strict"]
        result = CliRunner().invoke(dfad, line)
        assert result.exit_code == 0, result.output
        assert "mine_example" in result.output
        build_manifest("mine", root, tmp_path / "manifest", workers=0, crop="raw-256")
        rows = Manifest.open(tmp_path / "manifest").frame()
    assert len(rows) == len(list(root.rglob("*.png")))
    assert set(rows["generator"]) == {"real", "mine_example"}
    assert set(rows["split"]) == {"train", "test"}
    assert sorted(written) == sorted(path for path in (tmp_path / "mine").rglob("*") if path.is_file())


def test_a_new_protocol_joins_a_folder(tmp_path: Path) -> None:
    new_dataset("mine", tmp_path / "mine")
    new_protocol("my_table", tmp_path / "mine")
    with include(tmp_path / "mine"):
        assert len(load_protocol("my_table").groups) == 3
        assert [file.problem for file in check_included()] == [""] * 3
        with pytest.raises(ConfigError, match="the name is taken by .*my_table.yaml"):
            new_protocol("my_table", tmp_path / "other")


@pytest.mark.parametrize("write", [new_model, new_dataset, new_protocol])
@pytest.mark.parametrize("name", ["My", "my-net", "1net", "", "a b", "../a", "a" * 61, "_a", "a_", "é"])
def test_bad_names_are_refused_and_nothing_is_written(tmp_path: Path, write, name: str) -> None:
    with pytest.raises(ConfigError, match="lower-case letters and digits"):
        write(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("write", [new_model, new_dataset, new_protocol])
@pytest.mark.parametrize("name", ["class", "none", "yes", "null"])
def test_words_that_are_not_text_in_yaml_or_python_are_refused(tmp_path: Path, write, name: str) -> None:
    with pytest.raises(ConfigError, match="a word of Python or YAML"):
        write(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_example_generator_with_a_known_name_is_refused(tmp_path: Path) -> None:
    row = "gx: {display: Mine Example, forgery: EFS, family: gan}\n"  # look-ups take it for mine_example
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "taxonomy.yaml").write_text(row)
    with include(tmp_path / "other"), pytest.raises(ConfigError, match="taken by .*other/taxonomy.yaml"):
        new_dataset("mine", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"pyproject.toml: cannot be written \(File exists\)"):
        new_model("mine", tmp_path / "dangling")


def test_taken_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model 'xception': the name is taken by baselines.xception:Xception"):
        new_model("xception", tmp_path)
    with pytest.raises(ConfigError, match=r"dataset 'ffhq': the name is taken by .*ffhq.yaml"):
        new_dataset("ffhq", tmp_path)
    with pytest.raises(ConfigError, match="protocol 'synthetic': the name is taken"):
        new_protocol("synthetic", tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    new_model("mine", tmp_path / "mine")
    (tmp_path / "mine" / "dfad_mine" / "model.py").write_text("mine\n")
    shutil.rmtree(tmp_path / "mine" / "tests")
    with pytest.raises(ConfigError, match="pyproject.toml: there already, and never overwritten"):
        new_model("mine", tmp_path / "mine")
    assert (tmp_path / "mine" / "dfad_mine" / "model.py").read_text() == "mine\n"
    assert not (tmp_path / "mine" / "tests").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="a file; give a folder"):
        new_model("mine", tmp_path / "file")


def test_the_command_lists_what_it_wrote(tmp_path: Path) -> None:
    result = CliRunner().invoke(dfad, ["new", "dataset", "mine", "--out", str(tmp_path / "x")])
    assert result.exit_code == 0
    assert all(Path(line).is_file() for line in result.stdout.splitlines())
    assert "Next: dfad --include" in result.stderr
    again = CliRunner().invoke(dfad, ["new", "dataset", "mine", "--out", str(tmp_path / "x")])
    assert again.exit_code == 1
    assert again.stderr.count("\n") == 1
