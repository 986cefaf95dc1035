from __future__ import annotations

import math

import pytest
import torch

from baselines.constant import AlwaysFake, Majority, NeverSure
from dfad_bench.core.contract import Batch, Inputs
from dfad_bench.core.errors import ConfigError

INPUTS = Inputs(torch.rand(5, 3, 8, 8))
BATCH = Batch(INPUTS, torch.tensor([0, 1, 1, 2, 1]), torch.tensor([0, 1, 1, 1, 1]))


def test_always_fake_is_sure_of_fake_and_of_nothing_else() -> None:
    output = AlwaysFake.build(11)(INPUTS)
    assert (output.detection_logits.softmax(1)[:, 1] > 0.999).all()
    assert torch.allclose(output.attribution_logits.softmax(1), torch.full((5, 11), 1 / 11))


def test_never_sure_is_below_every_threshold_above_chance() -> None:
    output = NeverSure.build(11)(INPUTS)
    assert float(output.attribution_logits.softmax(1).max()) == pytest.approx(1 / 11)
    assert float(output.detection_logits.softmax(1).max()) == 0.5
    assert float(NeverSure.build(4).losses(BATCH)["dfa"]) == pytest.approx(math.log(4))


def test_majority_answers_with_the_shares_it_counted_in_training_only() -> None:
    model = Majority.build(4).train()
    model.losses(BATCH)
    model.losses(BATCH)
    model.eval().losses(BATCH)
    probabilities = model(INPUTS).attribution_logits.softmax(1)[0]
    assert torch.allclose(probabilities, torch.tensor([3.0, 7.0, 3.0, 1.0]) / 14)  # counts 2, 6, 2, 0, plus one each
    assert torch.allclose(model(INPUTS).detection_logits.softmax(1)[0], torch.tensor([3.0, 9.0]) / 12)


@pytest.mark.parametrize("model", [AlwaysFake, NeverSure, Majority])
def test_constants_ignore_pictures_and_take_no_options(model: type) -> None:
    rows = model.build(3)(INPUTS).attribution_logits
    assert (rows == rows[0]).all()
    assert not list(model.build(3).parameters())
    with pytest.raises(ConfigError, match="unknown key 'depth'"):
        model.build(3, options={"depth": 2})
