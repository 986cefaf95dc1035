from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dfad_bench.engine.macs import count_work, without_fused_attention
from dfad_bench.engine.thop_convention import thop_count


def thop(model: nn.Module, *shape: int) -> tuple[int, int]:
    count = thop_count(model.eval(), lambda: model(torch.rand(1, *shape)))
    return count.parameters, count.operations


@pytest.mark.parametrize(
    ("module", "shape", "parameters", "operations"),
    [
        (nn.Conv2d(3, 8, 5, padding=2), (3, 10, 10), 608, 8 * 100 * 3 * 25),
        (nn.Conv2d(4, 8, 3, stride=2, groups=2), (4, 9, 9), 152, 8 * 16 * 2 * 9),
        (nn.Linear(6, 5), (7, 6), 35, 7 * 5 * 6),
        (nn.BatchNorm2d(4), (4, 3, 3), 8, 4 * 36),
        (nn.BatchNorm2d(4, affine=False), (4, 3, 3), 0, 2 * 36),
        (nn.LayerNorm(6), (7, 6), 12, 4 * 42),
        (nn.Softmax(dim=-1), (5, 6), 0, 5 * (3 * 6 - 1)),
        (nn.Softmax(dim=1), (5, 6), 0, 6 * (3 * 5 - 1)),
        (nn.AvgPool2d(2), (4, 6, 6), 0, 36),
        (nn.AdaptiveAvgPool2d(1), (4, 6, 6), 0, 4 * 37),
        (nn.ReLU(), (4,), 0, 0),
    ],
)
def test_rule_of_each_layer(module: nn.Module, shape: tuple[int, ...], parameters: int, operations: int) -> None:
    assert thop(nn.Sequential(module), *shape) == (parameters, operations)


def test_only_exact_classes_that_are_called_count() -> None:
    class Own(nn.Linear):
        pass

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.never, self.own = nn.Linear(4, 4), nn.Linear(4, 4), Own(4, 4)
            self.raw = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.layer_norm(self.own(self.twice(self.twice(x))) * self.raw, (4,))

    assert thop(Net(), 4) == (20, 2 * 16)


def test_multi_head_attention_is_invisible_to_the_convention_and_visible_to_the_truth() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.rand(1, 5, 8)

    def run() -> object:
        return attention(x, x, x, need_weights=False)

    assert (thop_count(attention, run).parameters, thop_count(attention, run).operations) == (0, 0)
    work = count_work(attention, run)
    assert work.macs == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8  # four projections; logits and their product with the values
    assert work.parameters == sum(p.numel() for p in attention.parameters())


def test_hooks_are_removed() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    thop(model, 2)
    assert not model[0]._forward_hooks


def test_multiply_adds_of_a_convolution_and_a_product() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x).flatten(2)  # (1, 8, 36)
            return y @ y.transpose(1, 2)

    net = Net()
    assert count_work(net, lambda: net(torch.rand(1, 3, 6, 6))).macs == 8 * 36 * 27 + 8 * 36 * 8


def test_parameters_used_are_seen_in_frozen_parts_too() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.head, self.idle = nn.Linear(3, 3), nn.Linear(3, 2), nn.Linear(3, 100)
            self.token = nn.Parameter(torch.ones(5, 3))
            self.loose = nn.Parameter(torch.ones(7))

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.frozen(x) + self.token[0]
            return self.head(x)

    net = Net()
    assert count_work(net, lambda: net(torch.rand(1, 3))).parameters == 12 + 8 + 15


@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu"])
def test_clip_image_tower_by_hand(name: str) -> None:
    from dfad_bench.layers.clip_towers import clip_model

    with torch.device("meta"):
        visual = clip_model(name).visual.eval()
        image = torch.rand(1, 3, 224, 224)
    tokens, d = 50, 768
    block = 12 * tokens * d * d + 2 * tokens * tokens * d  # qkv, out and MLP; both attention products
    by_hand = 49 * d * 3 * 32 * 32 + 12 * block + d * 512
    assert count_work(visual, lambda: visual(image)).macs == by_hand
    assert round(by_hand / 1e9, 5) == 4.40881


def test_meta_device_counts_the_same_as_the_cpu() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()

    works = []
    for device in ("meta", "cpu"):
        with torch.device(device):
            model, x = build(), torch.rand(1, 3, 6, 6)
        works.append((count_work(model, lambda m=model, x=x: m(x)), thop_count(model, lambda m=model, x=x: m(x))))
    assert works[0] == works[1]


def test_fused_attention_is_switched_back_on() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    inside: list[bool] = []

    def fails() -> None:
        with without_fused_attention():
            inside.append(torch.backends.mha.get_fastpath_enabled())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert inside == [False]
    assert torch.backends.mha.get_fastpath_enabled() == before
