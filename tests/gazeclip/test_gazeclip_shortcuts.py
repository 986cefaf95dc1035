"""What shortcuts leave out reaches no loss: outputs, losses and gradients are those of the literal computation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from dfad_bench.core.contract import Batch, Inputs
from gazeclip.model import GazeCLIP

ROWS = [
    ("a photo of a real face",) * 4,
    ("a photo of a fake face", "a photo of a swapped face", "a photo by a GAN", "the source of this photo is DDPM"),
    ("a photo of a fake face", "a photo of an entire face", "a photo by a diffusion model", "it is a rather long one"),
]


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Biases in front of a batch norm have no gradient but rounding, which in single precision is as large as some."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def results(**options: object) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Embedding and losses of three faces, one without a gaze; gradients of all that learns."""
    torch.manual_seed(0)
    model = GazeCLIP.build(3, size="tiny", options=options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # LoRA and AWS where they are not neutral
        for name, parameter in model.named_parameters():
            if name.endswith((".B.weight", ".D")):
                parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    images, gaze = torch.rand(3, 3, 64, 64, generator=generator), torch.randn(3, 2, generator=generator)
    labels = torch.arange(3)
    inputs = Inputs(images, {"gaze": gaze}, {"gaze": torch.tensor([True, True, False])})
    batch = Batch(inputs, labels, (labels > 0).long(), ROWS)
    losses = {name: getattr(term, "value", term) for name, term in model.losses(batch).items()}
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**losses, "embedding": model.embed(inputs)}, gradients


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask_padding": True, "levels": 2},
        {"aws_pos": "between", "gi_query": "all"},
        {"aws_pos": "after", "gi_query": "patch", "lora_lre": 2},
        {"aws_pos": "none", "context": 3},
    ],
)
def test_shortcuts_change_neither_losses_nor_gradients(options: dict[str, object]) -> None:
    fast, fast_gradients = results(**options)
    slow, slow_gradients = results(**options, shortcuts=False, gi_fast=False)
    for name, value in slow.items():
        assert torch.allclose(fast[name], value, rtol=1e-9, atol=1e-9), name
    for name, gradient in slow_gradients.items():
        found = fast_gradients.get(name)
        if found is None:  # dead query and key of the injector, words behind those that are read
            assert not gradient.any(), name
        else:
            assert torch.allclose(found, gradient, rtol=1e-9, atol=1e-9), name


def test_words_behind_the_last_one_read_are_left_out() -> None:
    torch.manual_seed(0)
    model = GazeCLIP.build(3, size="tiny")
    lengths: list[int] = []
    assert model.lre is not None
    model.lre.blocks[0].register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    model.language(ROWS)
    assert 231 < lengths[0] < 250
