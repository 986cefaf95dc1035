"""Table XIII's gaze encoder: the estimator inside the model, frozen or learning, and the files it starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfad_bench.core.contract import Batch, Inputs, ParameterGroup, weighted_losses
from dfad_bench.core.errors import ConfigError, WeightsError
from dfad_bench.engine.needs import needs_of
from dfad_bench.engine.optimisers import parameter_groups
from dfad_bench.layers.gaze_resnet import GazeResNet
from gazeclip.model import GazeCLIP

PROMPTS = (("a photo of a real face",) * 4, ("a photo of a fake face", "a swapped face", "by a GAN", "DDPM"))


def tiny(**options: object) -> GazeCLIP:
    torch.manual_seed(0)
    return GazeCLIP.build(3, size="tiny", options=options)


def faces(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = Inputs(
        torch.rand(4, 3, 96, 96, generator=generator), {"gaze_patches": torch.rand(4, 3, 64, 64, generator=generator)}
    )
    labels = torch.arange(4) % 2
    return Batch(inputs, labels, labels, [PROMPTS[int(label)] for label in labels])


def test_what_it_reads_follows_from_the_setting() -> None:
    for encoder in ("frozen", "finetuned"):
        needs = needs_of("gazeclip", 3, "tiny", {"gaze_encoder": encoder})
        assert (needs.views, needs.view_settings) == (("gaze_patches",), {"gaze_patches": {"side": 64}})
        assert list(needs.named_weights) == ["clip", "gaze"]
    stored = needs_of("gazeclip", 3, "tiny")
    assert (stored.views, list(stored.named_weights)) == (("gaze",), ["clip"])
    paper = needs_of("gazeclip", 3, "paper", {"variant": "finetuned_ge"})
    assert paper.view_settings == {"gaze_patches": {"side": 224}}


def test_gradients_reach_a_learning_estimator_and_no_frozen_one() -> None:
    learning, frozen = (tiny(gaze_encoder=encoder).train() for encoder in ("finetuned", "frozen"))
    for model in (learning, frozen):
        sum(weighted_losses(model.losses(faces())).values()).backward()
    assert all(p.grad.abs().max() > 0 for p in learning.vpe.ge.estimator.parameters())
    assert all(p.grad is None and not p.requires_grad for p in frozen.vpe.ge.estimator.parameters())
    assert not frozen.vpe.ge.estimator.training
    assert frozen.vpe.ge.W_g.weight.grad.abs().max() > 0


def test_a_learning_estimator_is_a_group_of_its_own() -> None:
    model = tiny(gaze_encoder="finetuned", gaze_lr=1e-5)
    rest, own = parameter_groups(model, "main")
    assert isinstance(own, ParameterGroup)
    assert (rest.lr, own.lr) == (None, 1e-5)
    assert {id(p) for p in own.parameters} == {id(p) for p in model.vpe.ge.estimator.parameters()}
    assert len(parameter_groups(tiny(gaze_encoder="frozen"), "main")) == 1


@pytest.mark.heavy
@torch.no_grad()
def test_its_vector_takes_the_place_of_the_stored_one() -> None:
    inside, outside = tiny(gaze_encoder="frozen").eval(), tiny().eval()
    outside.load_state_dict({key: value for key, value in inside.state_dict().items() if ".ge.estimator." not in key})
    batch = faces()
    patches = batch.inputs.views["gaze_patches"]
    stored = Inputs(batch.inputs.images, {"gaze": inside.vpe.ge.estimator(patches)})
    assert torch.equal(inside.embed(batch.inputs), outside.embed(stored))
    turned = Inputs(batch.inputs.images, {"gaze_patches": patches.flip(-1)})
    assert not torch.allclose(inside.embed(turned), inside.embed(batch.inputs), atol=1e-5)


def test_weights_are_files_by_name(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = GazeResNet("tiny")
    torch.save(source.state_dict(), tmp_path / "gaze.pth")
    options = {"gaze_encoder": "finetuned"}
    model = GazeCLIP.build(3, size="tiny", options=options, weights={"gaze": tmp_path / "gaze.pth"})
    for name, value in source.state_dict().items():
        assert torch.equal(model.vpe.ge.estimator.state_dict()[name], value), name
    with pytest.raises(ConfigError, match=r"weights named gaze are for gaze_encoder=frozen or finetuned"):
        GazeCLIP.build(3, size="tiny", weights={"gaze": tmp_path / "gaze.pth"})
    with pytest.raises(ConfigError, match=r"no weights named 'gace'; it takes files named clip, gaze"):
        GazeCLIP.build(3, size="tiny", options=options, weights={"gace": tmp_path / "gaze.pth"})
    with pytest.raises(WeightsError, match="not a CLIP tiny state dict"):
        GazeCLIP.build(3, size="tiny", options=options, weights=tmp_path / "gaze.pth")


def test_a_published_file_says_its_network_and_its_side(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {key: (value.shape, value.dtype) for key, value in GazeResNet("resnet18").state_dict().items()}
    state = {key: torch.zeros((), dtype=dtype).expand(shape) for key, (shape, dtype) in shapes.items()}
    torch.save(state, tmp_path / "r18.pth")
    implied = GazeCLIP.options_of({"gaze": tmp_path / "r18.pth"})
    assert implied == {"gaze_net": "resnet18", "gaze_side": 224}
    assert GazeCLIP.options_of({"clip": tmp_path / "r18.pth"}) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gaze_encoder": "finetuned", "use_gaze": False}, "gaze_encoder finetuned needs use_gaze"),
        ({"gaze_lr": 0.1}, "gaze_lr must be above 0 and needs gaze_encoder=finetuned"),
        ({"gaze_encoder": "learned"}, "gaze_encoder must be one of stored, frozen, finetuned"),
    ],
)
def test_settings_that_contradict_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(**options)
