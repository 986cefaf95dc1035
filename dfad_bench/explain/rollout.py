"""Attention rollout (Abnar and Zuidema, ACL 2020): attention of all blocks multiplied, to the tokens the experts read.

It is blind to the class: the same map for every answer of a model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfad_bench.explain.places import as_map, blind_margin, token_grid
from dfad_bench.explain.watched_pass import AttentionWeights, WatchedPass

_LEAST_BLOCKS = 2  # fewer are no transformer
_LEAST_SIDE = 3  # of the patches' square: smaller numbers of tokens are squares by chance


@dataclass(frozen=True)
class Chain:
    """The blocks of a transformer over patches, (B, heads, N, N) each, and the attention that pools its tokens.

    The last block may compute its class token alone, (B, heads, 1, N).
    """

    blocks: tuple[AttentionWeights, ...]
    pools: tuple[AttentionWeights, ...]
    prefix: int
    side: int


def find_chain(passed: WatchedPass, score: Tensor) -> Chain | None:
    """The transformer over patches with the most blocks that the logit follows from; the first of several; or None.

    Args:
        passed: of the model.
        score: scalar, the sum of the faces' asked logits.
    """
    groups: dict[tuple[str, int], list[AttentionWeights]] = {}
    for each in passed.attentions:
        count = each.weights.shape[3]
        grid = token_grid(count)
        if len(each.weights) == len(passed.images) and grid is not None and grid[1] >= _LEAST_SIDE:
            groups.setdefault((re.sub(r"\d+", "#", each.module), count), []).append(each)
    chains = []
    for (_, count), blocks in groups.items():
        grid = token_grid(count)
        square = all(each.weights.shape[2] == count for each in blocks[:-1])
        if grid is None or len(blocks) < _LEAST_BLOCKS or not square or _rows_read(blocks[-1], score) is None:
            continue
        others = [each for each in passed.attentions if all(each is not block for block in blocks)]
        chains.append(Chain(tuple(blocks), _pools(others, count, score), *grid))
    return max(chains, key=lambda chain: len(chain.blocks), default=None)


def rollout(chain: Chain, score: Tensor) -> Tensor:
    """How much of the tokens that are read comes from each patch, (B, side, side).

    Each block counts as (A + I) / 2, A the mean over heads, later blocks on the left. Read is what the pooling
    attention weighs; else the class token where the logit follows from it alone, else the mean over the patches.
    """
    weights = [each.weights.mean(dim=1) for each in chain.blocks]  # (B, q, N)
    joint = _with_residual(weights[0])
    for weight in weights[1:]:
        joint = _with_residual(weight) @ joint
    row = _read_row(chain, score, joint)
    return row[:, chain.prefix :].unflatten(1, (chain.side, chain.side))


def rollout_margin(passed: WatchedPass, chain: Chain) -> int:
    """Patches at the edge that no pixel reaches, where a map of as many patches is known."""
    for each in passed.modules:
        cells = as_map(each.value) if each.value.ndim == 4 else None
        if cells is not None and cells.shape[-1] == chain.side:
            return blind_margin(cells, passed.images)
    return 0


def _read_row(chain: Chain, score: Tensor, joint: Tensor) -> Tensor:
    """(B, N): the row of the rollout that the experts read, (B, q, N) being all rows."""
    prefix = chain.prefix
    if chain.pools:
        pooled = torch.stack([each.weights.mean(dim=(1, 2)) for each in chain.pools]).mean(dim=0)  # (B, k)
        rows = joint if pooled.shape[1] == joint.shape[1] else joint[:, prefix:]
        return (pooled[:, None] @ rows)[:, 0]
    read = _rows_read(chain.blocks[-1], score)
    if joint.shape[1] == 1 or (prefix and read is not None and not read[1:].any()):
        return joint[:, 0]
    return joint[:, prefix:].mean(dim=1)


def _with_residual(weight: Tensor) -> Tensor:
    """(B, q, N) to (A + I) / 2; of one query, that of the class token, its row alone."""
    eye = torch.eye(weight.shape[1], weight.shape[2], dtype=weight.dtype, device=weight.device)
    return (weight + eye) / 2


def _pools(others: Sequence[AttentionWeights], count: int, score: Tensor) -> tuple[AttentionWeights, ...]:
    """Attentions with queries of their own over the tokens (or the patches alone) that the logit follows from."""
    grid = token_grid(count)
    wide = (count,) if grid is None else (count, count - grid[0])
    fitting = [each for each in others if each.weights.shape[3] in wide and each.weights.shape[2] < min(wide)]
    return tuple(each for each in fitting if _rows_read(each, score) is not None)


def _rows_read(attention: AttentionWeights, score: Tensor) -> Tensor | None:
    """(q,) of True where the logit follows from a query's result; None: from none."""
    if not attention.rows.requires_grad or not score.requires_grad:
        return None
    (found,) = torch.autograd.grad(score, attention.rows, retain_graph=True, allow_unused=True)
    if found is None or not found.any():
        return None
    other = [dim for dim in range(found.ndim) if dim != attention.row_dim]
    return found.abs().sum(dim=other) > 0
