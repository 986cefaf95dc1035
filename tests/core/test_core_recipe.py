"""Recipes read back what was written; shipped data is found in a checkout and in a wheel."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.api.names import list_names
from dfad_bench.core import resources
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.recipe import Optimiser, Recipe, Schedule, load_recipe, recipe_names
from dfad_bench.core.registry import model_class, model_names, model_table
from dfad_bench.core.resources import include
from dfad_bench.core.stage_plan import recipe_for

positive = st.floats(1e-8, 10.0)
recipes = st.builds(
    Recipe,
    name=st.text("abc_", min_size=1, max_size=8),
    optimiser=st.builds(Optimiser, name=st.sampled_from(["adam", "adamw", "sgd"]), lr=positive, weight_decay=positive),
    schedule=st.builds(Schedule, name=st.sampled_from(["step", "cosine", "constant"]), every=st.integers(1, 9)),
    batch_size=st.integers(1, 512),
    patience=st.none() | st.integers(1, 9),
    clip_norm=st.none() | positive,
    loss_weights=st.dictionaries(st.sampled_from(["cmc", "kl"]), positive),
)


@given(recipes)
def test_any_recipe_survives_its_file(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    path = tmp_path_factory.mktemp("recipe") / "own.yaml"
    raw = asdict(recipe) | {"notes": list(recipe.notes)}
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    again = load_recipe(str(path))
    assert again == recipe
    assert again.sha256 == recipe.sha256


def test_hash_leaves_out_words_only() -> None:
    default = load_recipe("default")
    assert replace(default, notes=("x",), paper=None).sha256 == default.sha256
    assert replace(default, epochs=1).sha256 != default.sha256


def test_default_is_the_papers() -> None:
    recipe = load_recipe("default")
    assert recipe.optimiser == Optimiser("adam", lr=1e-4, weight_decay=1e-3)
    assert recipe.schedule == Schedule("step", every=15, gamma=0.1, unit="epoch")
    assert (recipe.batch_size, recipe.loss_weights, recipe.clip_norm) == (32, {}, None)


def test_scientific_notation_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\noptimiser: {lr: 3e-4}\n", encoding="utf-8")
    assert load_recipe(str(path)).optimiser.lr == 3e-4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("batch_size: 0", "batch_size must be 1 or more, got 0"),
        ("epochs: 0", "epochs must be 1 or more, got 0"),
        ("patience: 0", "patience must be 1 or more or null, got 0"),  # would stop before the first step
        ("clip_norm: 0.0", "clip_norm must be above 0"),
        ("loss_weights: {dfa: -1}", "loss_weights: dfa must be 0 or more, got -1"),
        ("optimiser: {lr: 0}", "optimiser: lr must be above 0"),
        ("optimiser: {weight_decay: -1}", "optimiser: weight_decay must be 0 or more"),
        ("optimiser: {name: sgd, momentum: 1}", r"optimiser: momentum must lie in \[0, 1\), got 1"),
        ("schedule: {every: 0}", "schedule: every must be 1 or more, got 0"),
        ("schedule: {gamma: 0}", "schedule: gamma must be above 0"),
        ("schedule: {warmup_steps: -1}", "schedule: warmup_steps must be 0 or more, got -1"),
    ],
)
def test_values_no_training_could_use_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"name: own\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"own.yaml: {message}"):
        load_recipe(str(path))


def test_author_stands_for_the_recipe_of_the_models_card(tmp_path: Path) -> None:
    assert recipe_for("author", "cael") == load_recipe("cael")
    assert recipe_for("author", "mfclip") == recipe_for("default", "resnet") == load_recipe("default")
    given = load_recipe("quick")
    assert recipe_for(given, "cael") is given
    with pytest.raises(
        ConfigError, match="no recipe of resnet's authors: its paper trains on ImageNet.*--recipe default"
    ):
        recipe_for("author", "resnet")
    with pytest.raises(UnknownNameError):
        recipe_for("author", "no-such-model")
    file = tmp_path / "mine.yaml"
    file.write_text("name: author\n")
    with pytest.raises(ConfigError, match="stands for the recipe of each model's authors"):
        load_recipe(str(file))


@pytest.mark.parametrize("name", model_names())
def test_every_model_has_a_recipe_of_its_authors_or_says_why_not(name: str) -> None:
    card = model_class(name).card
    if card.recipe is not None:
        recipe = recipe_for("author", name)
        assert recipe == load_recipe(card.recipe)
        assert recipe.paper
        assert not card.no_recipe
        return
    with pytest.raises(ConfigError) as raised:
        recipe_for("author", name)
    line = f"no recipe of {name}'s authors: {card.no_recipe}; --recipe default is the one that models of"
    assert str(raised.value).startswith(line)
    assert card.no_recipe
    assert "\n" not in str(raised.value)


def test_paper_is_another_name_for_the_recipe_of_the_tables(tmp_path: Path) -> None:
    assert load_recipe("paper") == recipe_for("paper", "resnet") == load_recipe("default")
    assert load_recipe("paper").name == "default"
    assert load_recipe("paper").sha256 == load_recipe("default").sha256
    assert "paper" not in recipe_names()
    rows = {row["name"]: row for row in list_names("recipes", described=True).rows}
    assert rows["default"]["aliases"] == "paper"
    assert rows["quick"]["aliases"] is None
    folder = tmp_path / "mine"
    (folder / "recipes").mkdir(parents=True)
    (file := folder / "recipes" / "paper.yaml").write_text("name: paper\n")
    for name in ("paper", str(file)):
        with (
            include(folder),
            pytest.raises(ConfigError, match="paper.yaml: name 'paper' is another name for .*'default'"),
        ):
            load_recipe(name)


def test_a_recipe_named_as_a_model_is_the_one_its_card_names() -> None:
    shared = set(model_table()) & set(recipe_names())
    assert "cael" in shared
    assert {name: model_class(name).card.recipe for name in shared} == {name: name for name in shared}


def test_unknown_recipe() -> None:
    assert {"default", "quick"} <= set(recipe_names())
    with pytest.raises(UnknownNameError, match="no recipe named 'defalt'. Did you mean default"):
        load_recipe("defalt")


def test_packed_data_wins_over_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "dfad_bench"
    (package / "core").mkdir(parents=True)
    monkeypatch.setattr(resources, "__file__", str(package / "core" / "resources.py"))
    with pytest.raises(ConfigError, match="no shipped 'manifests': looked in .* reinstall"):
        resources.shipped("manifests")
    (tmp_path / "site" / "manifests").mkdir()
    assert resources.shipped("manifests") == tmp_path / "site" / "manifests"
    (package / "_data" / "manifests" / "recipes").mkdir(parents=True)
    assert resources.shipped("manifests") == package / "_data" / "manifests"
    (package / "_data" / "manifests" / "recipes" / "only.yaml").touch()
    assert resources.shipped_names("manifests", "recipes") == ["only"]
