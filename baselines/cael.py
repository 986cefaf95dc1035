"""CAEL (Zhang et al., GenFace, arXiv 2402.02003): fine and coarse appearance and edges, related by cross-attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.cael_efficientnet import EfficientNet, is_efficientnet, load_efficientnet
from dfad_bench.core.contract import Card, DFADModel, Inputs, Output, WeightFiles
from dfad_bench.core.weights import load_into, load_state_dict, one_file
from dfad_bench.layers.sobel import edges
from dfad_bench.layers.transformer import PreNorm

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_COARSE_BLOCKS = 2  # of the second EfficientNet: 24 maps of 56 x 56
_EXPERTS = ("fg_mlp_head", "cg_mlp_head", "edge_mlp_head")


@dataclass(frozen=True)
class CAELConfig:
    """Sizes of the authors' network. `fine` is the width of the fine stream, `coarse` of the other two."""

    side: int = 224
    width: float = 1.0  # of the EfficientNets; 1 is B0
    depth: float = 1.0
    drop_path: float = 0.2  # stochastic depth of the EfficientNets
    momentum: float = 0.01  # of the running statistics of their norms, which take hundreds of steps to settle
    edge_widths: tuple[int, int, int] = (32, 64, 24)  # three convolutions of the first, two of the second, one
    fine: int = 192
    coarse: int = 384
    heads: int = 8
    head_dim: int = 64
    mlp_dim: int = 2048
    stages: int = 4
    fine_depth: int = 2  # transformer blocks a stage
    coarse_depth: int = 3
    edge_depth: int = 3
    cross_depth: int = 2  # of both cross-attentions
    dropout: float = 0.15

    @classmethod
    def tiny(cls) -> CAELConfig:
        return cls(
            side=96,
            width=0.25,
            depth=0.3,
            momentum=0.1,
            edge_widths=(4, 6, 4),
            fine=24,
            coarse=32,
            heads=2,
            head_dim=8,
            mlp_dim=48,
            stages=2,
            fine_depth=1,
            coarse_depth=1,
            edge_depth=1,
            cross_depth=1,
        )


class Attention(nn.Module):
    """Multi-head attention of (B, t, dim) tokens to themselves and, where given, to (B, n, dim) others after them."""

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, head_dim**-0.5
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * head_dim, bias=False)
        self.softmax = nn.Softmax(dim=-1)
        self.dropout = nn.Dropout(dropout)
        self.to_out = nn.Sequential(nn.Linear(heads * head_dim, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, t, dim) to (B, t, dim)."""
        read = x if context is None else torch.cat([x, context], dim=1)  # (B, t + n, dim)
        q = self.to_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, h, t, d)
        k, v = self.to_kv(read).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, h, t + n, d)
        weights = self.dropout(self.softmax(q @ k.transpose(-2, -1) * self.scale))
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class DroppedFeedForward(nn.Module):
    """Linear, GELU, linear, with dropout after both."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        drops = [nn.Dropout(dropout) for _ in range(2)]
        self.net = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), drops[0], nn.Linear(hidden, dim), drops[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class StreamTransformer(nn.Module):
    """Pre-norm blocks of one stream and a final norm, (B, t, dim) in and out."""

    def __init__(self, dim: int, depth: int, config: CAELConfig) -> None:
        super().__init__()
        heads, head_dim, dropout = config.heads, config.head_dim, config.dropout

        def block() -> nn.ModuleList:
            attention = PreNorm(dim, Attention(dim, heads, head_dim, dropout))
            return nn.ModuleList([attention, PreNorm(dim, DroppedFeedForward(dim, config.mlp_dim, dropout))])

        self.layers = nn.ModuleList([block() for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        for attention, mlp in (tuple(layer.children()) for layer in self.layers):
            x = x + attention(x)
            x = x + mlp(x)
        return self.norm(x)


class CrossAttention(nn.Module):
    """A class token reads itself and another stream's patches, in their width: (B, 1, dim) in and out."""

    def __init__(self, dim: int, other: int, config: CAELConfig) -> None:
        super().__init__()
        self.project_in: nn.Module = nn.Identity() if dim == other else nn.Linear(dim, other)
        self.fn = PreNorm(other, Attention(other, config.heads, config.head_dim, config.dropout))
        self.project_out: nn.Module = nn.Identity() if dim == other else nn.Linear(other, dim)

    def forward(self, token: Tensor, patches: Tensor) -> Tensor:
        return self.project_out(self.fn(self.project_in(token), patches))


class CrossTransformer(nn.Module):
    """`cross_depth` layers of two cross-attentions each; what a token is given there is added to it."""

    def __init__(self, pairs: tuple[tuple[int, int], tuple[int, int]], config: CAELConfig) -> None:
        super().__init__()

        def layer() -> nn.ModuleList:
            return nn.ModuleList([CrossAttention(dim, other, config) for dim, other in pairs])

        self.layers = nn.ModuleList([layer() for _ in range(config.cross_depth)])


class MultiGrainedAttention(CrossTransformer):
    """The class tokens of the fine and the coarse stream read each other's patches."""

    def __init__(self, config: CAELConfig) -> None:
        super().__init__(((config.fine, config.coarse), (config.coarse, config.fine)), config)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1 + n, dim) of each stream, the same with new class tokens."""
        a, b = fine[:, :1], coarse[:, :1]
        for of_fine, of_coarse in (tuple(layer.children()) for layer in self.layers):
            a, b = a + of_fine(a, coarse[:, 1:]), b + of_coarse(b, fine[:, 1:])
        return torch.cat([a, fine[:, 1:]], dim=1), torch.cat([b, coarse[:, 1:]], dim=1)


class AppearanceEdgeAttention(CrossTransformer):
    """The class token of the edge stream reads fine and coarse patches."""

    def __init__(self, config: CAELConfig) -> None:
        super().__init__(((config.coarse, config.fine), (config.coarse, config.coarse)), config)

    def forward(self, edge: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
        """(B, 1 + n, dim) of the edge stream with a new class token."""
        token = edge[:, :1]
        for of_fine, of_coarse in (tuple(layer.children()) for layer in self.layers):
            token = token + of_fine(token, fine[:, 1:]) + of_coarse(token, coarse[:, 1:])
        return torch.cat([token, edge[:, 1:]], dim=1)


class AppearanceEdgeTransformer(nn.Module):
    """Stages of a transformer a stream, then both cross-attentions: (B, 2, dim) of each stream in and out."""

    def __init__(self, config: CAELConfig) -> None:
        super().__init__()
        fine, coarse = config.fine, config.coarse

        def stage() -> nn.ModuleList:
            return nn.ModuleList(
                [
                    StreamTransformer(fine, config.fine_depth, config),
                    StreamTransformer(coarse, config.coarse_depth, config),
                    StreamTransformer(coarse, config.edge_depth, config),
                    MultiGrainedAttention(config),
                    AppearanceEdgeAttention(config),
                ]
            )

        self.layers = nn.ModuleList([stage() for _ in range(config.stages)])

    def forward(self, fine: Tensor, coarse: Tensor, edge: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        for stage in self.layers:
            of_fine, of_coarse, of_edge, grained, crossed = stage.children()
            fine, coarse, edge = of_fine(fine), of_coarse(coarse), of_edge(edge)
            fine, coarse = grained(fine, coarse)
            edge = crossed(edge, fine, coarse)
        return fine, coarse, edge


class FlatMap(nn.Module):
    """(B, C, H, W) to (B, 1, H * W * C), pixel by pixel."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(1)[:, None]


class Embedder(nn.Module):
    """A feature map becomes one token behind a class token, with positions and dropout: (B, 2, dim)."""

    def __init__(self, features: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.to_patch_embedding = nn.Sequential(FlatMap(), nn.Linear(features, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, 2, dim))
        self.dropout = nn.Dropout(dropout)

    def tokens(self, maps: Tensor) -> Tensor:
        """Class token and map token."""
        token = self.to_patch_embedding(maps)
        tokens = torch.cat([self.cls_token.expand(token.shape[0], -1, -1), token], dim=1)
        return self.dropout(tokens + self.pos_embedding)


class ImageEmbedder(Embedder):
    """Maps of an EfficientNet, whole or cut after some blocks; (B, 3, side, side) in."""

    def __init__(self, config: CAELConfig, dim: int, blocks: int | None) -> None:
        network = EfficientNet(config.width, config.depth, config.drop_path, blocks, config.momentum)
        super().__init__(network.width * (config.side // (4 if blocks else 32)) ** 2, dim, config.dropout)
        self.efficient_net = network

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(self.efficient_net(images))


class EdgeEmbedder(Embedder):
    """Six convolutions on the edge image, (B, 1, side, side) in; pooled after three and after six."""

    def __init__(self, config: CAELConfig) -> None:
        first, second, last = config.edge_widths
        super().__init__(last * (config.side // 4) ** 2, config.coarse, config.dropout)
        layers: list[nn.Module] = []
        before = 1
        for number, width in enumerate((first, first, first, second, second, last)):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if number % 3 == 2 else []
            before = width
        self.features = nn.Sequential(*layers)

    def forward(self, edge_image: Tensor) -> Tensor:
        return self.tokens(self.features(edge_image))


class SummedExperts(nn.Module):
    """Both experts in CAEL's head form: the sum of LayerNorm and linear layer on each stream's class token."""

    def __init__(self, dims: tuple[int, ...], num_generators: int) -> None:
        super().__init__()
        self.dims = dims
        self.attribution = _heads(dims, num_generators)
        self.detection = _heads(dims, 2)

    def forward(self, embedding: Tensor) -> Output:
        parts = embedding.split(self.dims, dim=1)
        sums = [
            torch.stack([head(part) for head, part in zip(heads.children(), parts, strict=True)]).sum(dim=0)
            for heads in (self.attribution, self.detection)
        ]
        return Output(sums[0], sums[1], embedding)


def _heads(dims: tuple[int, ...], classes: int) -> nn.ModuleDict:
    forms = [nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes)) for dim in dims]
    return nn.ModuleDict(dict(zip(_EXPERTS, forms, strict=True)))


class CAEL(DFADModel):
    """The class tokens of the fine, coarse and edge streams, one after another, are the embedding."""

    card = Card(
        display="CAEL",
        paper="Y. Zhang et al., GenFace: A Large-Scale Fine-Grained Face Forgery Benchmark and Cross Appearance-Edge"
        " Learning, 2024 (arXiv 2402.02003)",
        year=2024,
        task="detection",
        idea="Fine and coarse appearance and edges are three streams of tokens that attend to each other.",
        added="a second triple of heads of the same form (LayerNorm and one linear layer a stream, summed)",
        deviations=(
            "position tables have the two rows that are used; the authors' have 1025 and 17",
            "both layers of the appearance-edge attention count, one after the other, and what they read from fine and"
            " coarse patches is added; in the authors' code only the last layer's result survives",
            "a class token attends to itself and the other stream's patches, with the residual around the projections,"
            " as in vit-pytorch's CrossViT",
            "EfficientNets carry no layers that are not called (classifiers, the coarse one's later blocks)",
            "images are normalised with ImageNet's statistics, for the EfficientNets' weights",
            "no augmentation, as the benchmark trains every model",
        ),
        reference="https://github.com/Jenine-321/GenFace",
        weights=("imagenet_efficientnet_b0",),
        recipe="cael",
    )
    Config = CAELConfig
    image_size = 224

    def __init__(self, num_generators: int, config: CAELConfig) -> None:
        dims = (config.fine, config.coarse, config.coarse)
        super().__init__(sum(dims), num_generators, side=config.side)
        self.fg_image_embedder = ImageEmbedder(config, config.fine, None)
        self.cg_image_embedder = ImageEmbedder(config, config.coarse, _COARSE_BLOCKS)
        self.edge_embedder = EdgeEmbedder(config)
        self.multi_grained_appea_edge_transformer = AppearanceEdgeTransformer(config)
        self.experts = SummedExperts(dims, num_generators)

    def load_weights(self, weights: WeightFiles) -> None:
        """An EfficientNet-B0 of ImageNet, for both appearance streams, or a whole CAEL by the authors' names."""
        path = one_file(weights, self.card.display)
        state = load_state_dict(path, lambda names: "fg_image_embedder.cls_token" in names or is_efficientnet(names))
        if is_efficientnet(state):
            for embedder in (self.fg_image_embedder, self.cg_image_embedder):
                load_efficientnet(embedder.efficient_net, state, path)
            return
        kept = [name for name in self.state_dict() if name.startswith("experts.")]
        whole = _network_tensors(state, self.state_dict())
        load_into(self, whole, path, "an EfficientNet-B0 or CAEL state dict", keep=kept)

    def embed(self, inputs: Inputs) -> Tensor:
        images = self.prepare(inputs.images)  # resized, in [0, 1]
        mean, std = torch.tensor([_MEAN, _STD], dtype=images.dtype)[:, :, None, None].to(
            images.device, non_blocking=True
        )
        normalised = (images - mean) / std
        streams = self.multi_grained_appea_edge_transformer(
            self.fg_image_embedder(normalised), self.cg_image_embedder(normalised), self.edge_embedder(edges(images))
        )
        return torch.cat([tokens[:, 0] for tokens in streams], dim=1)  # (B, 192 + 384 + 384)


def _network_tensors(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A whole network without heads and uncalled layers, its position tables cut to the rows that are used."""
    found = {}
    for name, value in state.items():
        uncalled = ".efficient_net." in name and name not in own
        if not uncalled and not name.startswith(_EXPERTS):
            found[name] = value[:, :2] if name.endswith("pos_embedding") else value
    return found
