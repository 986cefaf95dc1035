"""Prompts to CLIP tokens, offline; the vocabulary is part of the open_clip package."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from dfad_bench.core.errors import ConfigError

CONTEXT = 77  # tokens per prompt
VOCABULARY = 49408


@cache
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=CONTEXT)


@lru_cache(maxsize=4096)
def token_ids(prompt: str, cut: bool = False) -> tuple[int, ...]:
    """The 77 numbers of one prompt; see `tokenize`."""
    tokenizer = _tokenizer()
    words = tokenizer.encode(prompt)
    if cut:
        words = words[: CONTEXT - 2]
    tokens = (tokenizer.sot_token_id, *words, tokenizer.eot_token_id)
    if len(tokens) > CONTEXT:
        raise ConfigError(f"prompt of {len(tokens)} tokens, CLIP takes {CONTEXT}; shorten it: {prompt[:60]!r}...")
    return tokens + (0,) * (CONTEXT - len(tokens))


def token_words(tokens: Sequence[int]) -> list[str]:
    """The words of the numbers of one prompt between start and end token, and "(end)" for the end token.

    >>> token_words(token_ids("a fake face"))
    ['a', 'fake', 'face', '(end)']
    """
    tokenizer = _tokenizer()
    end = list(tokens).index(tokenizer.eot_token_id)
    return [tokenizer.decode([token]).strip() for token in tokens[1:end]] + ["(end)"]


def tokenize(prompts: Sequence[str], *, cut: bool = False) -> Tensor:
    """(n, 77) int64: start token, the prompt, end token, zeros. The end token is the row's largest id.

    Args:
        prompts: texts.
        cut: leave out what is beyond 75 tokens, as CLIP's own code does; for captions, which nobody wrote by hand.

    Raises:
        ConfigError: a prompt is longer than 75 tokens.
    """
    rows = [token_ids(prompt, cut) for prompt in prompts]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(prompts), CONTEXT)


def unique_rows(prompts: Sequence[Sequence[str]]) -> tuple[list[tuple[str, ...]], Tensor]:
    """The distinct rows of `prompts` in order of first appearance, and for each row its index among them.

    A batch has at most one distinct row per seen generator, so text towers run on the distinct rows only;
    gathering by the index gives the same values and gradients as running every row.

    >>> unique_rows([("a", "b"), ("c", "d"), ("a", "b")])
    ([('a', 'b'), ('c', 'd')], tensor([0, 1, 0]))
    """
    place: dict[tuple[str, ...], int] = {}
    index = [place.setdefault(tuple(row), len(place)) for row in prompts]
    return list(place), torch.tensor(index, dtype=torch.int64)


def prompt_tokens(prompts: Sequence[Sequence[str]], levels: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Tokens of the distinct rows of prompts (n, levels, 77), and for each row its index among them (B,).

    Raises:
        ConfigError: a row has fewer than `levels` prompts.
    """
    if min(map(len, prompts), default=0) < levels:
        raise ConfigError(f"the model trains on {levels} prompts a face, the batch has fewer; check the prompt file")
    distinct, index = unique_rows([row[:levels] for row in prompts])
    tokens = tokenize([prompt for row in distinct for prompt in row]).unflatten(0, (len(distinct), levels))
    return tokens.to(device, non_blocking=True), index.to(device, non_blocking=True)


def row_keys(prompts: Sequence[Sequence[str]]) -> Tensor:
    """(B,) numbers that are equal exactly where rows of prompts are equal, the same in every process.

    >>> keys = row_keys([("a", "b"), ("c", "d"), ("a", "b")])
    >>> bool(keys[0] == keys[2] != keys[1])
    True
    """
    texts = ("\0".join(row).encode() for row in prompts)
    keys = [int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1 for text in texts]
    return torch.tensor(keys, dtype=torch.int64)
