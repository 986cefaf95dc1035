"""Weights of words: what the selectors of a model give each place of its prompts."""

from __future__ import annotations

import pytest
import torch

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.registry import model_class
from dfad_bench.explain.word_weights import word_weights
from dfad_bench.layers.aws import AWS

PROMPTS = [["a fake face", "swapped", "by a gan", "made by x"], ["a face"] * 4]


def test_words_have_the_mean_weight_of_their_place() -> None:
    model = model_class("gazeclip").build(2, size="tiny")
    found = word_weights(model, PROMPTS)
    mean = torch.stack([module.D.detach() for module in model.modules() if isinstance(module, AWS)]).mean(dim=0)
    first = [word for word in found if word.row == 0]
    assert [word.word for word in first if word.level == 1] == ["a", "fake", "face", "(end)"]
    assert {word.level for word in first} == {1, 2, 3, 4}
    for word in found:
        assert word.weight == pytest.approx(float(mean[77 * (word.level - 1) + 1 + word.place]))


def test_one_prompt_is_the_finest() -> None:
    model = model_class("clip").build(2, size="tiny", options={"aws_pos": "before"})
    assert {word.level for word in word_weights(model, PROMPTS)} == {4}


def test_a_model_without_selectors_says_so() -> None:
    with pytest.raises(ConfigError, match="no word selector"):
        word_weights(model_class("resnet").build(2, size="tiny"), PROMPTS)
