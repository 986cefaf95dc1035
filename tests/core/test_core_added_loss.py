"""A loss that any model takes beside its own: options, what it reads, and that the model itself is as without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.dna_det import DNADet
from baselines.xception import Xception
from dfad_bench.core import registry
from dfad_bench.core.added_loss import split_options
from dfad_bench.core.contract import Batch, Card, DFADModel, Inputs, loss_terms
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.engine.contract_checks.subject import prompts_of
from dfad_bench.engine.model_contract import check_model
from dfad_bench.engine.optimisers import parameter_groups


@dataclass(frozen=True)
class Config:
    """`centre_width` is the model's own, in spite of its name."""

    centre_width: int = 5

    @classmethod
    def tiny(cls) -> Config:
        return cls()


class Small(DFADModel):
    """One linear layer on the mean colour."""

    card = Card("Small", "none", 2026, "both", "colour", "both")
    Config = Config

    def __init__(self, num_generators: int, config: Config) -> None:
        super().__init__(config.centre_width, num_generators)
        self.layer = nn.Linear(3, config.centre_width)

    def embed(self, inputs: Inputs) -> Tensor:
        return self.layer(inputs.images.mean(dim=(2, 3)))


class Aloof(Small):
    """Its losses do without its experts."""

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        logits = self.layer(batch.inputs.images.mean(dim=(2, 3)))
        return {"dfa": F.cross_entropy(logits, batch.attribution), "dfd": logits.mean()}


def batch(side: int = 8) -> Batch:
    labels = torch.tensor([0, 1, 2, 1])
    images = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    return Batch(Inputs(images), labels, (labels > 0).long(), prompts_of(labels))


def build(kind: type[DFADModel], **options: Any) -> DFADModel:
    torch.manual_seed(0)
    return kind.build(3, size="tiny", options=options).train()


@pytest.mark.parametrize("space", ["feature", "probability"])
@pytest.mark.parametrize("name", ["dfacc", "vcc"])
def test_the_added_loss_reads_what_the_experts_read(name: str, space: str) -> None:
    model, data = build(Small, centre_loss=name, centre_space=space), batch()
    output = model(data.inputs)
    rows = F.normalize(output.embedding, dim=1) if space == "feature" else output.attribution_logits.softmax(1)
    terms = loss_terms(model.terms(data))
    assert set(terms) == {"dfa", "dfd", name}
    assert terms[name].labels == {"attribution"}
    assert torch.equal(terms[name].value, model.added_loss.loss(rows, data.attribution))
    assert torch.equal(terms["dfa"].value, model.losses(data)["dfa"])


def test_centres_learn_in_a_group_with_the_model_and_are_part_of_its_state() -> None:
    model = build(Small, centre_loss="dfacc")
    names = {id(p): name for name, p in model.named_parameters()}
    learning = [names[id(p)] for group in parameter_groups(model, "main") for p in group.parameters]
    assert sorted(learning) == sorted(names.values())
    assert "added_loss.loss.centres" in model.state_dict()
    build(Small, centre_loss="dfacc").load_state_dict(model.state_dict(), strict=True)


def test_weights_and_outputs_are_as_without_it() -> None:
    plain, added, data = build(Small), build(Small, centre_loss="vcc"), batch()
    own = {name: value for name, value in added.state_dict().items() if not name.startswith("added_loss.")}
    assert own.keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in own.items())
    assert torch.equal(added(data.inputs).attribution_logits, plain(data.inputs).attribution_logits)
    added.terms(data)
    assert "experts" not in added.__dict__  # nothing is left of the listening


def test_crops_count_as_their_face() -> None:
    """DNA-Det's experts read several crops a face, and its first stage does without them."""
    options = {"centre_loss": "dfacc", "crops": 3}
    model, data = build(DNADet, **options), batch(64)
    assert "dfacc" not in model.terms(data, "pretrain")
    seen: list[tuple[Tensor, Tensor]] = []
    model.added_loss.loss.register_forward_pre_hook(lambda _, given: seen.append(given))
    terms = loss_terms(model.terms(data, "contrast"))
    assert {"dfa", "dfd", "supcon", "dfacc"} <= set(terms)
    assert seen[0][1].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 1, 1, 1]
    groups = parameter_groups(model, "contrast")
    assert any(p is model.added_loss.loss.centres for p in groups[0].parameters)


def test_a_model_that_does_without_its_experts_is_told() -> None:
    with pytest.raises(ConfigError, match=r"Small: its losses do not use `self.experts`, so centre_loss=dfacc"):
        build(Aloof, centre_loss="dfacc").terms(batch())


class Frozen(Small):
    """Its experts read features that do not learn."""

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs).detach()


def test_a_loss_that_would_move_nothing_but_its_centres_is_refused() -> None:
    model, data = build(Frozen, centre_loss="dfacc"), batch()
    with pytest.raises(ConfigError, match=r"Small: centre_loss=dfacc would teach the model nothing: .*=probability"):
        model.terms(data)
    with torch.no_grad():
        assert "dfacc" in model.terms(data)  # a loss that is only looked at
    model = build(Frozen, centre_loss="vcc", centre_space="probability")
    loss_terms(model.terms(data))["vcc"].value.backward()
    assert model.experts.attribution.weight.grad.any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"centre_loss": "dfac"}, "centre_loss must be one of none, dfacc, vcc, got 'dfac'"),
        ({"centre_los": "dfacc"}, "unknown key 'centre_los'; did you mean 'centre_loss'?"),
        ({"centre_margin": 0}, "centre_margin must be above 0, got 0"),
        ({"centre_lambda": -1}, "centre_lambda must be 0 or more, got -1"),
        ({"centre_space": "prob"}, "centre_space must be one of feature, probability"),
    ],
)
def test_bad_options_are_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Small, **options)
    assert words in str(caught.value)
    assert "options of Small" in str(caught.value)


def test_a_field_of_the_models_own_keeps_its_name() -> None:
    assert build(Small, centre_width=7, centre_loss="dfacc").added_loss.loss.centres.shape == (3, 7)


@dataclass(frozen=True)
class ShadowingConfig(Config):
    """`centre_space` is also the added loss's."""

    centre_space: str = "sphere"


class Shadowing(Small):
    """Nobody could set the added loss's `centre_space` of it."""

    Config = ShadowingConfig


@pytest.mark.parametrize("options", [{}, {"centre_loss": "dfacc"}, {"centre_space": "feature"}])
def test_a_field_with_the_name_of_an_option_of_every_model_is_refused(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="Small: its Config has a field centre_space, .* another name"):
        build(Shadowing, **options)
    monkeypatch.setattr(registry, "model_table", lambda: {"shadowing": f"{__name__}:Shadowing"})
    (found,) = [result for result in check_model("shadowing") if not result.ok]
    assert found.check == "build"
    assert "field centre_space" in found.detail


@pytest.mark.parametrize("name", model_names())
def test_every_model_takes_all_options_of_an_added_loss(name: str) -> None:
    kind = model_class(name)
    own, centres = split_options(
        {"centre_margin": 0.25, "centre_space": "probability"},
        getattr(kind, "Config", None), kind.added, kind.card.display,
    )  # fmt: skip
    assert not own
    assert (centres.centre_margin, centres.centre_space) == (0.25, "probability")


@pytest.mark.heavy
def test_a_compiled_model_is_heard_too() -> None:
    """What torch.compile makes of the experts does not matter: they are heard from outside."""
    model, data = build(Xception, centre_loss="dfacc"), batch(128)
    model.eval()
    expected = loss_terms(model.terms(data))["dfacc"].value
    model.experts.compile(backend="eager")
    for _ in range(2):
        assert torch.allclose(loss_terms(model.terms(data))["dfacc"].value, expected)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["xception", "dna_det", "clip"])
def test_models_with_dfacc_keep_the_contract(name: str) -> None:
    failed = [result for result in check_model(name, options={"centre_loss": "dfacc"}) if not result.ok]
    assert not failed, failed
