"""Included folders: seen by every look-up, and one folder at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.included import FILES, ROW, one_line, whole_folder, write

from dfad_bench.core import includes, resources
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.protocol import load_protocol, protocol_names
from dfad_bench.core.recipe import load_recipe, recipe_names
from dfad_bench.core.resources import INCLUDE, SHIPPED, include, included, origin, shipped_names, yaml_files
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.core.weights import find_weights, weight_files
from dfad_bench.data.corruptions.spec import choose, corruptions
from dfad_bench.data.prompts import load_prompts, prompts_for
from dfad_bench.ingest.crop.cropper import load_crop_profile
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.report.reported import reported_scores, reported_tables


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return whole_folder(tmp_path / "mine")


def test_every_look_up_sees_an_included_folder(mine: Path) -> None:
    before = protocol_names()
    with include(mine):
        assert included() == (mine,)
        assert taxonomy()["genx 2"].key == "gen_x"
        assert load_dataset_spec("mine").generator_of("X") == "gen_x"
        assert load_protocol("mine").groups[1].taxon.display == "Gen X"
        assert protocol_names() == sorted([*before, "mine"])
        assert load_recipe("mine").epochs == 3
        assert "mine" in recipe_names()
        assert load_crop_profile("mine").size == 256
        assert load_prompts("mine").name == "mine"
        assert prompts_for(taxonomy()["gen_x"])[3].endswith("Gen X")
        assert [row.name for row in choose(["haze"], corruptions())] == ["haze"]
        assert weight_files()["mine"].file == "mine.pth"
        assert [score.printed for score in reported_scores("mine")] == ["Xception"]
        assert origin(yaml_files("manifests", "recipes")["mine"]) == str(mine)
        assert origin(yaml_files("manifests", "recipes")["quick"]) == SHIPPED
        assert [file.problem for file in includes.check_included()] == [""] * 9
    assert INCLUDE not in os.environ
    assert "gen_x" not in taxonomy()
    assert protocol_names() == before == shipped_names("manifests", "protocols")
    assert len(reported_tables()) == len(shipped_names("leaderboards", "reported")) - 1  # efficiency is the profiler's


def test_near_names_include_them(mine: Path) -> None:
    with include(mine):
        for look_up, kind in ((load_protocol, "protocol"), (load_recipe, "recipe"), (load_dataset_spec, "dataset")):
            with pytest.raises(UnknownNameError, match=f"no {kind} named 'mime'. Did you mean mine"):
                look_up("mime")
        with pytest.raises(UnknownNameError, match=r"Did you mean gen_x( or \w+)?\?.* come with `dfad --include DIR`"):
            taxonomy()["gen_xx"]
        with pytest.raises(UnknownNameError, match="Did you mean haze"):
            choose(["hazy"], corruptions())
        with pytest.raises(UnknownNameError, match="Did you mean mine"):
            find_weights("mime")


def test_relative_folders_are_resolved_once(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    with include("mine"):
        monkeypatch.chdir("/")
        assert os.environ[INCLUDE] == str(mine)
        assert "gen_x" in taxonomy()
    monkeypatch.chdir(mine.parent)
    monkeypatch.setenv(INCLUDE, "mine")
    assert included() == (mine,)
    monkeypatch.chdir("/")
    assert included() == (mine,)


def test_a_folder_given_twice_counts_once(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INCLUDE, str(mine))
    with include(mine, mine.parent / "." / "mine"):
        assert included() == (mine,)


def test_processes_that_are_started_see_them(mine: Path) -> None:
    code = "from dfad_bench.core.taxonomy import taxonomy; print(taxonomy()['gen_x'].display)"
    with include(mine):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Gen X"


def test_files_are_read_anew_by_every_include(mine: Path) -> None:
    with include(mine):
        assert taxonomy()["gen_x"].family.value == "diffusion"
    write(mine, {"taxonomy.yaml": {"gen_x": {**ROW, "family": "gan"}}})
    with include(mine):
        assert taxonomy()["gen_x"].family.value == "gan"


def test_names_that_differ_by_case_are_one_name(mine: Path) -> None:
    write(mine, {"recipes/Quick.yaml": "name: Quick"})
    text = one_line(mine, recipe_names)
    assert "recipes/Quick.yaml: the name 'Quick' is taken by " in text
    assert text.endswith("quick.yaml; rename one")


def test_two_folders_may_not_share_a_name(mine: Path) -> None:
    for place in ("protocols/mine.yaml", "recipes/mine.yaml"):
        other = write(mine.parent / "other", {place: FILES[place]})
        with pytest.raises(ConfigError) as caught, include(mine, other):
            protocol_names()
        assert str(mine / place) in str(caught.value)
        assert str(other / place) in str(caught.value)
        shutil.rmtree(other)
    rows = {"gen_y": {**ROW, "display": "Y", "aliases": ["gen-x"]}}
    other = write(mine.parent / "other", {"taxonomy.yaml": rows})
    with pytest.raises(ConfigError, match=f"{other}/taxonomy.yaml: gen_y: .* 'gen_x' of {mine}"), include(mine, other):
        taxonomy()


def test_cached_results_belong_to_the_folders_they_were_made_with(mine: Path) -> None:
    calls = []

    @resources.per_include
    def look(name: str) -> tuple[Path, ...]:
        calls.append(name)
        return included()

    assert look("a") == look("a") == ()
    with include(mine):
        assert look("a") == look("a") == (mine,)
    assert look("a") == ()
    assert calls == ["a", "a"]
