"""Weights that the word selectors (AWS) of a model give the words of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.aws import AWS
from dfad_bench.layers.text import CONTEXT, token_ids, token_words


@dataclass(frozen=True)
class WordWeight:
    """The weight of one word: the row of its prompts, its level (1: coarse), its place there, the mean over blocks."""

    row: int
    level: int
    place: int
    word: str
    weight: float


def word_weights(model: nn.Module, prompts: Sequence[Sequence[str]]) -> list[WordWeight]:
    """The weight of every word of every prompt, from a model's selectors.

    A selector has a weight a position. One of 77 positions reads the finest prompt of a row, one of 77 a level reads
    the levels one after another.

    Args:
        model: any.
        prompts: rows of prompts, coarse to fine.

    Raises:
        ConfigError: the model has no word selector, or one of a length that no prompts have.
    """
    selectors = [module.D.detach().float().cpu() for module in model.modules() if isinstance(module, AWS)]
    if not selectors:
        raise ConfigError("the model has no word selector (AWS): all words count alike")
    lengths = {len(weights) for weights in selectors}
    levels = min(lengths) // CONTEXT
    if len(lengths) > 1 or not levels:
        raise ConfigError(f"word selectors of {min(lengths)} to {max(lengths)} places fit no prompts of {CONTEXT}")
    mean = torch.stack(selectors).mean(dim=0)
    found = []
    for row, several in enumerate(prompts):
        read = list(enumerate(several, start=1))[-1:] if levels == 1 else list(enumerate(several, start=1))[:levels]
        for number, (level, prompt) in enumerate(read):
            words = token_words(token_ids(prompt, cut=True))
            for place, word in enumerate(words):
                weight = float(mean[number * CONTEXT + 1 + place])  # behind the start token
                found.append(WordWeight(row, level, place, word, weight))
    return found
