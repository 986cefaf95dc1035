"""Settings of a view that follow from a model's own: set once, on the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.toy import RECIPE, Toy, ToyConfig, toy_manifests, toy_protocol
from helpers.training import run_evaluation, run_training
from helpers.views import toy_views_registered
from torch import Tensor

import baselines
from dfad_bench.api.views import views_of_run
from dfad_bench.core import registry
from dfad_bench.core.batch import Inputs
from dfad_bench.core.contract import DFADModel
from dfad_bench.core.errors import ConfigError
from dfad_bench.engine.config import read_config
from dfad_bench.engine.contract_checks.building import check_views
from dfad_bench.engine.contract_checks.subject import Subject
from dfad_bench.engine.needs import Needs, needs_of, views_needed
from dfad_bench.views.provider import ViewProvider


@dataclass(frozen=True)
class FollowedConfig(ToyConfig):
    """`bright`: from which level on the map that the model sees calls a pixel bright."""

    bright: int = 90


class Follower(Toy):
    """The toy that sees a map made as its own setting says."""

    Config = FollowedConfig
    needs = ("toy_map",)
    missing_views = {"toy_map": "nothing is added"}

    def __init__(self, num_generators: int, config: Any) -> None:
        super().__init__(num_generators, config)
        self.view_settings = {"toy_map": {"bright": config.bright}}

    def embed(self, inputs: Inputs) -> Tensor:
        seen = inputs.views["toy_map"].float().mean(dim=(2, 3))
        return super().embed(inputs) + seen * inputs.has("toy_map")[:, None]


class Unneeded(Follower):
    """It sets a view that it does not need."""

    def __init__(self, num_generators: int, config: Any) -> None:
        super().__init__(num_generators, config)
        self.view_settings = {"toy_text": {"bright": 3}}


class Misspelt(Follower):
    """It sets what the view does not take."""

    def __init__(self, num_generators: int, config: Any) -> None:
        super().__init__(num_generators, config)
        self.view_settings = {"toy_map": {"birght": 3}}


class Mistyped(Follower):
    """It sets what does not fit."""

    def __init__(self, num_generators: int, config: Any) -> None:
        super().__init__(num_generators, config)
        self.view_settings = {"toy_map": {"bright": "very"}}


MODELS = {"follower": Follower, "unneeded": Unneeded, "misspelt": Misspelt, "mistyped": Mistyped}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torch.set_num_threads(1)
    for name, kind in MODELS.items():
        monkeypatch.setitem(baselines.DFAD_MODELS, name, f"{__name__}:{kind.__name__}")
    registry.model_table.cache_clear()
    with toy_views_registered():
        yield
    registry.model_table.cache_clear()


def test_needs_say_which_settings_follow_from_the_models() -> None:
    assert needs_of("follower", 3).view_settings == {"toy_map": {"bright": 90}}
    assert needs_of("follower", 3, options={"bright": 40}).view_settings == {"toy_map": {"bright": 40}}
    assert DFADModel.view_settings == {}
    assert needs_of("xception", 3, "tiny").view_settings == {}


def test_a_provider_takes_them_unless_another_value_was_asked_for() -> None:
    needs = needs_of("follower", 3)
    for asked in ({}, {"toy_map": {"bright": 90, "delay_s": 0.25}}, {"toy_map": {"delay_s": 0.25}}):
        provider = ViewProvider([], asked)
        assert provider.view("toy_map").settings.bright == asked.get("toy_map", {}).get("bright", 120)  # built before
        followed = views_needed(needs, provider).view("toy_map").settings
        assert (followed.bright, followed.delay_s) == (90, asked.get("toy_map", {}).get("delay_s", 0.0))
    with pytest.raises(ConfigError, match=r"view 'toy_map': bright 91 was asked for, but the model's settings say 90"):
        views_needed(needs, ViewProvider([], {"toy_map": {"bright": 91}}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("unneeded", "view_settings of 'toy_text', a view that it does not need"),
        ("misspelt", "view_settings of 'toy_map' hold 'birght'; the view takes delay_s, bright"),
        ("mistyped", "view_settings do not fit: view 'toy_map'"),
    ],
)
def test_the_contract_check_names_settings_that_no_view_takes(name: str, text: str) -> None:
    assert check_views(Subject("follower")) == ""
    assert text in check_views(Subject(name))


def test_settings_that_cannot_be_are_refused_before_anything_is_made() -> None:
    with pytest.raises(ConfigError, match="view_settings of 'toy_text', a view that it does not need"):
        needs_of("unneeded", 3)
    with pytest.raises(ConfigError, match="birght"):
        views_needed(needs_of("misspelt", 3), ViewProvider([]))
    with pytest.raises(ConfigError, match="no views were given"):
        views_needed(Needs(("toy_map",)), None)


@pytest.mark.heavy
def test_a_run_is_trained_and_evaluated_with_the_views_of_its_model(tmp_path: Path) -> None:
    manifests = toy_manifests(tmp_path / "manifests")
    one = {"recipe": RECIPE, "epochs": 1, "device": "cpu"}
    out = tmp_path / "run"
    run_training(
        "follower", toy_protocol(), manifests, out, views=ViewProvider(manifests), options={"bright": 70}, **one
    )
    kept = read_config(out)
    assert kept.views["toy_map"]["bright"] == 70
    again = ViewProvider(manifests, views_of_run(kept.views, {}))
    assert run_evaluation(out, manifests, device="cpu", views=again).status == "complete"
    assert run_evaluation(out, manifests, device="cpu", views=ViewProvider(manifests)).status == "complete"
    with pytest.raises(ConfigError, match="bright 71 was asked for"):
        run_evaluation(out, manifests, device="cpu", views=ViewProvider(manifests, {"toy_map": {"bright": 71}}))
