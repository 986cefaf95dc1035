"""CPL (Sun et al., ICCV 2023): attribution that also learns from faces without labels, by votes and pseudo-labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.contract import (
    Batch,
    Card,
    DFADModel,
    Inputs,
    LossTerm,
    Output,
    Stage,
    WeightFiles,
    attribution_term,
)
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.parallel import gather_rows, is_split
from dfad_bench.core.weights import one_file
from dfad_bench.layers.experts import DropoutExperts
from dfad_bench.layers.resnet import load_resnet, resnet_trunk
from dfad_bench.losses.voting import margin_cross_entropy, negative_entropy, pair_loss, pseudo_label_loss, voted_pairs

_HIDDEN = -1  # label of a face without one


@dataclass(frozen=True)
class CPLConfig:
    """ResNet-50 and the paper's weights. `unlabelled` says where faces without labels come from, see the card."""

    side: int = 256
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    grid: int = 3  # parts along each side of the feature map
    dropout: float = 0.2
    margin: float = 0.2
    voting_weight: float = 0.5
    pseudo_weight: float = 0.5
    spread_weight: float = 1.0
    temperature: float = 1.0  # of the Gumbel softmax
    unlabelled: Literal["hidden", "protocol", "none"] = "hidden"
    hidden_share: float = 0.3  # "hidden": of the faces of an epoch
    ratio: float = 1.0  # "protocol": faces without labels for each with one

    def __post_init__(self) -> None:
        if not 0 < self.hidden_share < 1 or self.ratio <= 0:
            raise ConfigError("options of CPL: hidden_share must lie in (0, 1), ratio above 0")

    @classmethod
    def tiny(cls) -> CPLConfig:
        return cls(side=128, blocks=(1, 1, 1, 1), widths=(8, 12, 16, 24))


class CPL(DFADModel):
    """A ResNet's mean features through a batch norm (BNNeck) are the embedding; its parts vote in training only."""

    card = Card(
        display="CPL",
        paper="Z. Sun et al., Contrastive Pseudo Learning for Open-World DeepFake Attribution, ICCV 2023",
        year=2023,
        task="attribution",
        idea="Whole face and parts vote for faces of the same generator, also among faces whose labels are unknown.",
        added="detection expert: dropout and one linear layer without bias, as the attribution expert",
        deviations=(
            "unlabelled=hidden (default): the papers' protocols have no unlabelled faces, so the labels of 30 % of the"
            " faces of an epoch, drawn anew in each step, are not used. unlabelled=protocol takes the protocol's"
            " unlabelled part, unlabelled=none trains by the margin and detection alone",
            "classes are the seen generators; the paper adds one for each generator expected among unlabelled faces",
            "votes: whole face and each of nine parts, one each, for the nearest other face of the batch (of the same"
            " label where it has one); pseudo-labels count where most parts agree with the whole",
            "norms of parts use the batch's statistics and have no scale and shift, which nothing would train",
            "first stage only: no pre-training and no repeated rounds, as the benchmark trains every model once",
            "normalised with ImageNet's statistics; no augmentation but by its own recipe, cpl",
        ),
        weights=("imagenet_resnet50",),
        recipe="cpl",
    )
    Config = CPLConfig
    image_size = 256
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, num_generators: int, config: CPLConfig) -> None:
        dim = 4 * config.widths[-1]
        super().__init__(dim, num_generators, side=config.side)
        self.config = config
        hides, asks = config.unlabelled == "hidden", config.unlabelled == "protocol"
        share, ratio = config.hidden_share if hides else 0.0, config.ratio if asks else 0.0
        self.stages = (Stage("main", hidden_labels=share, unlabelled=ratio),)
        self.trunk = resnet_trunk(config.blocks, config.widths, bottleneck=True)
        self.neck = nn.BatchNorm1d(dim)
        self.part_norms = nn.BatchNorm1d(config.grid**2 * dim, affine=False, track_running_stats=False)
        self.experts = DropoutExperts(dim, num_generators, config.dropout, bias=False)

    def load_weights(self, weights: WeightFiles) -> None:
        """A ResNet-50 of torchvision or timm; `fc` is left out."""
        load_resnet(self.trunk, one_file(weights, self.card.display), "a ResNet-50 state dict")

    def embed(self, inputs: Inputs) -> Tensor:
        return self.neck(self._maps(inputs.images).mean(dim=(2, 3)))  # (B, 2048)

    def losses(self, batch: Batch, stage: str = "main") -> Mapping[str, Tensor | LossTerm]:
        """`dfa` (with the margin) and `dfd` of faces with labels; in training `voting`, `pseudo`, `spread` of all.

        Raises:
            ConfigError: an added loss would read labels that are hidden.
        """
        if not self.training or self.config.unlabelled == "none":
            return self._expert_terms(self(batch.inputs), batch.attribution, batch.detection)
        if self.added_loss is not None and self.config.unlabelled == "hidden":
            raise ConfigError(
                f"{self.card.display}: centre_loss reads the labels of all faces, some of which unlabelled=hidden"
                " hides; set unlabelled=none or unlabelled=protocol"
            )
        more = batch.unlabelled
        images = batch.inputs.images if more is None else torch.cat([batch.inputs.images, more.images])
        maps = self._maps(images)
        embedding, count = self.neck(maps.mean(dim=(2, 3))), len(batch)
        output = self.experts(embedding[:count])
        logits = output.attribution_logits
        known = torch.ones(count, dtype=torch.bool) if batch.hidden is None else ~batch.hidden  # on the host
        shown = known.nonzero()[:, 0].to(embedding.device, non_blocking=True)
        labels = torch.where(known.to(embedding.device, non_blocking=True), batch.attribution, _HIDDEN)
        if more is not None:
            logits = torch.cat([logits, self.experts(embedding[count:]).attribution_logits])
            labels = F.pad(labels, (0, len(more)), value=_HIDDEN)
        seen = Output(output.attribution_logits[shown], output.detection_logits[shown], output.embedding[shown])
        supervised = self._expert_terms(seen, batch.attribution[shown], batch.detection[shown])
        supervised = _weighed(supervised, labels[:count], len(shown))
        without = ~F.pad(known, (0, len(embedding) - count))
        return {**supervised, **self._open_terms(embedding, self._parts(maps), logits, labels, without)}

    def _maps(self, images: Tensor) -> Tensor:
        """(B, 2048, 8, 8)."""
        return self.trunk.forward_features(self.prepare(images))

    @torch.no_grad()
    def _parts(self, maps: Tensor) -> Tensor:
        """(B, 9, 2048): means of a grid of overlapping parts, each normalised over the batch."""
        parts = F.adaptive_avg_pool2d(maps.float(), self.config.grid).flatten(2).transpose(1, 2)  # (B, 9, 2048)
        return self.part_norms(parts.flatten(1)).unflatten(1, parts.shape[1:])

    def _expert_terms(self, output: Output, attribution: Tensor, detection: Tensor) -> dict[str, Tensor]:
        return {
            "dfa": margin_cross_entropy(output.attribution_logits.float(), attribution, self.config.margin),
            "dfd": F.cross_entropy(output.detection_logits.float(), detection),
        }

    def _open_terms(
        self, embedding: Tensor, parts: Tensor, logits: Tensor, labels: Tensor, without: Tensor
    ) -> dict[str, Tensor | LossTerm]:
        """The three losses over all faces of the batch, of all processes; `labels` is -1 where there is none.

        `without` has on the host which rows have no label: the device need not be asked how many there are.
        """
        whole, parts, labels = gather_rows(embedding.detach()), gather_rows(parts), gather_rows(labels)
        logits = gather_rows(logits.float())
        hidden = labels == _HIDDEN
        pairs = voted_pairs(whole, parts, hidden[:, None] | (labels[:, None] == labels[None]))
        probabilities = logits.softmax(dim=1)
        rows = gather_rows(without.long()).nonzero()[:, 0].to(logits.device, non_blocking=True)
        pseudo = pseudo_label_loss(logits[rows], pairs.agreed[rows], self.config.temperature)
        return {
            "voting": attribution_term(pair_loss(probabilities, pairs), self.config.voting_weight),
            "pseudo": attribution_term(pseudo, self.config.pseudo_weight),
            "spread": attribution_term(negative_entropy(probabilities), self.config.spread_weight),
        }


def _weighed(terms: dict[str, Tensor], labels: Tensor, shown: int) -> dict[str, Tensor]:
    """Means over the labels shown to this process, so weighed that with those of the others they make that of all.

    Args:
        terms: means over `shown` faces; of none a NaN, which counts as 0.
        labels: (b,) of this process's faces, -1 where hidden.
        shown: how many are not.
    """
    if not is_split():
        return terms
    everyone = gather_rows(labels)
    factor = shown * len(everyone) / (len(labels) * (everyone != _HIDDEN).sum())
    return {name: (value if shown else torch.nan_to_num(value)) * factor for name, value in terms.items()}
