"""Generators that a dataset file declares itself, and files that no generator or template takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.listing import own, touch
from helpers.trees import save

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.resources import include
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.survey import survey

OWN = """
name: NAME
version: 1
title: Mine
licence: mine
layout: folders
entries: [{path: "{generator}/{image}.{ext}"}]
generators: {Newgen: newgen, photos: real}
taxonomy:
  newgen: {display: Newgen, forgery: EFS, family: FAMILY}
"""
PROTOCOL = """
name: mine
version: 1
title: Mine
changes: ["1: first"]
seen: [{label: 0, generator: real, dataset: mine}, {label: 1, generator: newgen, dataset: mine}]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index, folder in enumerate(("Newgen", "photos")):
        save(tmp_path / f"data/{folder}/a.png", index)
    return tmp_path / "data"


def write(folder: Path, name: str = "mine", family: str = "diffusion") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(OWN.replace("NAME", name).replace("FAMILY", family))
    return folder / f"{name}.yaml"


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.heavy)])
def test_a_dataset_file_declares_its_generators(root: Path, tmp_path: Path, workers: int):
    file = write(tmp_path / "x")
    report = build_manifest(str(file), root, tmp_path / "m", crop="raw-256", workers=workers)
    assert report.counts == {"real": {"ok": 1}, "newgen": {"ok": 1}}
    row = Manifest.open(tmp_path / "m").frame().set_index("generator").loc["newgen"]
    assert (row["forgery"], row["family"], row["detection_label"], row["attribution_label"]) == (
        "EFS",
        "diffusion",
        1,
        -1,
    )
    assert survey(str(file), root).coverage[0].found == 1
    assert "newgen" not in taxonomy()


@pytest.mark.parametrize("alone", [True, False])
def test_protocols_know_them_where_the_file_is_included(tmp_path: Path, alone: bool):
    file = write(tmp_path / "own/datasets")
    (tmp_path / "mine.yaml").write_text(PROTOCOL)
    with pytest.raises(ConfigError, match=r"'newgen' is not in the taxonomy; rows of your own come with --include"):
        load_protocol(str(tmp_path / "mine.yaml"))
    with include(file if alone else file.parents[1]):
        assert load_protocol(str(tmp_path / "mine.yaml")).seen[1].taxon.display == "Newgen"
        assert load_dataset_spec("mine").sha256 == load_dataset_spec(str(file)).sha256
        assert taxonomy().file_of("newgen") == file
        listed = CliRunner().invoke(dfad, ["list", "generators"]).stdout.split()
        assert "newgen" in listed
        assert "mine" in CliRunner().invoke(dfad, ["list", "datasets"]).stdout.split()


def test_the_hash_of_a_dataset_covers_what_it_declares(tmp_path: Path):
    one, other = (load_dataset_spec(str(write(tmp_path / family, family=family))) for family in ("gan", "diffusion"))
    with include(tmp_path / "gan/mine.yaml"):
        first = one.sha256
    with include(tmp_path / "diffusion/mine.yaml"):
        assert other.sha256 != first


def test_two_files_may_declare_one_generator_in_the_same_words_only(tmp_path: Path):
    one, same, other = write(tmp_path), write(tmp_path, "same"), write(tmp_path, "other", "gan")
    with include(one, same):
        assert taxonomy()["Newgen"].family.value == "diffusion"
    with pytest.raises(ConfigError, match=r"other.yaml: newgen: the name .* is taken by 'newgen' of .*mine.yaml"):
        including(one, other)


def including(*files: Path) -> None:
    with include(*files):
        taxonomy()


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("forgery: EFS", "forgery: XX", r"mine.yaml: taxonomy: newgen: forgery must be one of"),
        ("display: Newgen", "display: FLUX", r"mine.yaml: newgen: the name 'FLUX' is taken by 'flux' of"),
        ("Newgen: newgen", "Newgen: newwgen", r"'newwgen' is not a key.*; did you mean newgen.*under `taxonomy`"),
        ("  newgen: {", "  7: {", r"mine.yaml: taxonomy: 7: key"),
    ],
)
def test_bad_declarations_are_one_line(tmp_path: Path, old: str, new: str, error: str):
    file = write(tmp_path)
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=error) as caught:
        load_dataset_spec(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "near"),
    [("stable-diffusion", ["sd20", "sd21"]), ("fluxx", ["flux", "flux2"]), ("syntetic-gan-a", ["synthetic-gan-a"])],
)
def test_near_names_are_of_the_same_world(name: str, near: list[str]):
    with pytest.raises(UnknownNameError, match=f"no generator named '{name}'. Did you mean {' or '.join(near)}\\?"):
        taxonomy()[name]


def test_left_out_pictures_end_with_3_like_refused_ones(root: Path, tmp_path: Path):
    for index in range(3):
        save(root / f"dalle/{index}.png", index)
    touch(root, "notes.txt", ".hidden.png")
    options = ["build-manifest", "--dataset", str(write(tmp_path)), "--root", str(root), "--out", str(tmp_path / "m")]
    options += ["--crop", "raw-256", "--workers", "0"]
    result = CliRunner().invoke(dfad, options)
    assert result.exit_code == 3, result.output
    assert "3 of 5 files were left out (60.0%, limit 5.0%); most: unknown generator 'dalle'" in result.stderr
    assert "map the name under `generators` of the dataset file" in " ".join(result.stdout.split())
    assert (tmp_path / "m/manifest.json").is_file()
    assert CliRunner().invoke(dfad, [*options, "--max-refused", "0.7"]).exit_code == 0
    own(tmp_path, OWN.replace("NAME", "skips").replace("FAMILY", "gan") + 'skip: ["dalle/{x}"]\n')
    options[2], options[6] = str(tmp_path / "skips.yaml"), str(tmp_path / "n")
    assert CliRunner().invoke(dfad, options).exit_code == 0
