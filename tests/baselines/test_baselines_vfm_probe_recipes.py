"""Which paper each recipe of the probe is of."""

from __future__ import annotations

import pytest

from baselines.vfm_probe import VFMProbe
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.stage_plan import recipe_for
from dfad_bench.engine.augment import Augmenter


def test_the_authors_recipe_is_of_the_paper_that_the_card_names() -> None:
    """The recipe of stored features is another paper's, and says so."""
    own, other = recipe_for("author", "vfm_probe"), load_recipe("probe")
    assert own.name == "unifd"
    assert own.paper is not None
    assert own.paper.startswith("Ojha et al., CVPR 2023")
    assert "Ojha" in VFMProbe.card.paper
    assert (own.optimiser.name, own.optimiser.lr, own.optimiser.weight_decay, own.batch_size) == ("adamw", 1e-4, 0, 256)
    assert [item.name for item in own.augment] == ["gaussian_blur", "jpeg", "random_resized_crop", "horizontal_flip"]
    assert other.paper is not None
    assert "2602.01738" in other.paper
    assert any("2602.01738" in note and "recipe probe" in note for note in VFMProbe.card.notes)
    with pytest.raises(ConfigError, match="recipe unifd: augment: gaussian_blur .* --set cached=false"):
        Augmenter(own.augment, views=("features",), where="recipe unifd: augment")
