"""Which models the fast suite takes through the tests that are about every model."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest
from _pytest.mark.structures import ParameterSet

from dfad_bench.core.registry import model_names

# One of each kind, the cheapest of its kind: nothing to learn; a frozen text tower and prompts; two stages, batch norm
# and learned loss weights; a view, faces that lack it, and factors on frozen weights. Every other model is `heavy`
# (`make test-heavy`, which CI runs): one check of the contract takes seconds for some of them, and a new model is to
# add nothing to the fast suite. A model of a new kind may join them if one of the same kind leaves.
FAST_MODELS = ("always_fake", "clip", "dna_det", "gazeclip", "majority", "never_sure")


def every_model(names: Iterable[str] | None = None) -> list[ParameterSet]:
    """Parameters of a test that goes through the registered models, or those of `names`."""
    return some_fast(model_names() if names is None else sorted(names), FAST_MODELS)


def some_fast(names: Iterable[str], fast: Collection[str]) -> list[ParameterSet]:
    """Parameters of a test, all heavy but those of `fast`."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.heavy) for name in names]
