"""DNA-Det (Yang et al., AAAI 2022): architecture traces, learned from crops; detection is added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.dna_det_transforms import TRANSFORMATIONS, transform
from dfad_bench.core.contract import (
    Batch,
    Card,
    DFADModel,
    Inputs,
    LossTerm,
    ParameterGroup,
    Stage,
    WeightFiles,
    attribution_term,
    expert_losses,
)
from dfad_bench.core.weights import load_into, load_state_dict, one_file
from dfad_bench.layers.crops import random_crops
from dfad_bench.layers.experts import DropoutExperts
from dfad_bench.losses.auto_weight import AutoWeight
from dfad_bench.losses.supcon import supervised_contrastive


@dataclass(frozen=True)
class DNADetConfig:
    """Images are worked on at `side`; training sees `crops` crops of `crop` pixels each."""

    side: int = 512
    widths: tuple[int, ...] = (64, 128, 256, 512)
    dropout: float = 0.2
    crop: int = 64
    crops: int = 16
    source_crop: int = 128  # pre-training: the part of the image that is transformed, then resized to `side`
    projection: tuple[int, int] = (512, 128)  # contrastive head
    temperature: float = 0.07
    auto_weight_lr: float = 0.01  # rate of the weights of the two losses
    pretrain_epochs: int | None = 50  # None: as the recipe says
    pretrain_batch: int | None = 128
    pretrain_supcon: bool = True  # False: cross-entropy alone, as in runs made before it was a setting

    @classmethod
    def tiny(cls) -> DNADetConfig:
        widths, projection = (12, 24, 32, 48), (48, 32)
        return cls(side=128, widths=widths, crops=4, projection=projection, pretrain_epochs=2, pretrain_batch=None)


class ConvBlock(nn.Module):
    """Convolution, batch norm, LeakyReLU 0.2."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=1)
        self.main = nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.LeakyReLU(0.2))

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)


class SimpleCNN(nn.Module):
    """Four times a 4x4 convolution of stride 2 and a 3x3 one, then the mean: (B, 3, H, W) to (B, widths[-1])."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for before, after in zip((3, *widths[:-1]), widths, strict=True):
            blocks += [ConvBlock(before, after, 4, 2), ConvBlock(after, after, 3, 1)]
        self.main = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x).mean(dim=(2, 3))


class DNADet(DFADModel):
    """Pre-trained to name 170 image transformations, then class-balanced crops; both with a contrastive loss.

    Training crops are drawn from the global generator, which the training loop seeds. In evaluation mode (also
    for the validation loss) the whole image is seen, as in the paper.
    """

    card = Card(
        display="DNA-Det",
        paper="T. Yang et al., Deepfake Network Architecture Attribution, AAAI 2022",
        year=2022,
        task="attribution",
        idea="Architecture traces are global and consistent over patches; crops and a transformation task find them.",
        added="detection expert: dropout and one linear layer on the same 512 features, trained on the same crops",
        deviations=(
            "cross-entropy takes logits; the released code applies a softmax first",
            "optimiser, schedule and batch are the recipe's. The authors count the batch in images a class, and so"
            " the steps of their schedule: recipe dna_det (32 a class; 1e-4, times 0.9 every 500 steps) and, for 11"
            " classes, dna_det_11 (16; 1e-3; 2500); elsewhere a batch is of all classes together, as many of each, and"
            " the remainder of its rows is left out: at 11 classes of 10,000 an epoch of batches of 32 meets 75,636 of"
            " 110,000 faces, which the record states of each run",
            "pre-training sees the training faces of the protocol and nothing else",
            "the second quality of a double JPEG is twelve places on among the 24; the authors' 24 pairs are others",
            "crops are enlarged to 512 with antialiased bilinear filtering, after a transformation, too; the authors'"
            " filter is another",
        ),
        notes=("a step of pre-training waits for the device once: JPEG and OpenCV's filters run on the host",),
        waits=("pretrain",),
        reference="https://github.com/ICTMCG/DNA-Det",
        recipe="dna_det",
    )
    Config = DNADetConfig
    image_size = 512
    earlier_defaults: ClassVar[Mapping[str, Any]] = {"pretrain_supcon": False}
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    stages = (Stage("pretrain", validate=False), Stage("contrast", sampler="class_balanced"))

    def __init__(self, num_generators: int, config: DNADetConfig) -> None:
        dim = config.widths[-1]
        super().__init__(dim, num_generators, side=config.side)
        self.config = config
        first, second = type(self).stages
        self.stages = (replace(first, epochs=config.pretrain_epochs, batch_size=config.pretrain_batch), second)
        what = f"{config.crops} random crops of {config.crop} pixels a face"
        self.data_changes = (
            f"pre-training: {what}, changed by one of {len(TRANSFORMATIONS)} transformations",
            f"training: {what} in place of the whole face",
        )
        hidden, projected = config.projection
        self.backbone = SimpleCNN(config.widths)
        self.experts = DropoutExperts(dim, num_generators, config.dropout)
        self.transformation = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(dim, len(TRANSFORMATIONS)))
        self.projection = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, projected))
        self.auto_weight = AutoWeight(2)
        if config.pretrain_supcon:
            self.pretrain_auto_weight = AutoWeight(2)  # the second stage weighs its losses anew

    def load_weights(self, weights: WeightFiles) -> None:
        """The convolutions of a released state dict (`main.*`); heads are left out."""
        path = one_file(weights, self.card.display)
        read = load_state_dict(path, lambda state: "main.0.main.0.weight" in state)
        state = {key: value for key, value in read.items() if key.startswith("main.")}
        load_into(self.backbone, state, path, "a DNA-Det state dict")

    def embed(self, inputs: Inputs) -> Tensor:
        return self.backbone(self.prepare(inputs.images))  # (B, 512)

    def losses(self, batch: Batch, stage: str = "contrast") -> Mapping[str, Tensor | LossTerm]:
        """Stage "pretrain": `transformation`, and of the same classes `supcon` and `auto_weight`; no labels.

        Stage "contrast": `dfa`, `supcon`, `auto_weight`, `dfd`.
        """
        if stage == "pretrain":
            return self._transformation_losses(batch.inputs.images)
        if not self.training:
            return expert_losses(self(batch.inputs), batch)
        crops = random_crops(self.prepare(batch.inputs.images), self.config.crops, self.config.crop)  # (B, n, 3, c, c)
        output = self.experts(self.backbone(crops.flatten(0, 1)))
        attribution = batch.attribution.repeat_interleave(self.config.crops)
        detection = batch.detection.repeat_interleave(self.config.crops)
        weight = self.auto_weight.weights()
        return {
            "dfa": attribution_term(F.cross_entropy(output.attribution_logits.float(), attribution), weight[0]),
            "supcon": attribution_term(self._contrast(output.embedding, attribution), weight[1]),
            "auto_weight": attribution_term(self.auto_weight.penalty()),
            "dfd": F.cross_entropy(output.detection_logits.float(), detection),
        }

    def _transformation_losses(self, images: Tensor) -> dict[str, Tensor | LossTerm]:
        """A random part of each image is transformed, enlarged to `side` and cropped again; each crop is classified."""
        side = min(self.config.source_crop, *images.shape[-2:])
        parts = random_crops(images, 1, side)[:, 0]  # (B, 3, 128, 128)
        classes = torch.randint(len(TRANSFORMATIONS), (len(parts),))
        host = parts.cpu()  # the one wait of a step: JPEG and OpenCV's filters have no form on a device
        changed = torch.stack([transform(part, int(index)) for part, index in zip(host, classes, strict=True)])
        changed = changed.to(parts.device, non_blocking=True)
        crops = random_crops(self.prepare(changed), self.config.crops, self.config.crop)
        features = self.backbone(crops.flatten(0, 1))  # (B * n, 512)
        classes = classes.to(features.device, non_blocking=True).repeat_interleave(self.config.crops)
        named = F.cross_entropy(self.transformation(features).float(), classes)
        if not self.config.pretrain_supcon:
            return {"transformation": named}
        weight = self.pretrain_auto_weight.weights()
        return {
            "transformation": LossTerm(named, weight=weight[0]),
            "supcon": LossTerm(self._contrast(features, classes), weight=weight[1]),
            "auto_weight": self.pretrain_auto_weight.penalty(),
        }

    def _contrast(self, features: Tensor, classes: Tensor) -> Tensor:
        """The contrastive loss of all crops, (n, 512) and (n,), on its own projection."""
        return supervised_contrastive(self.projection(features), classes, self.config.temperature)

    def parameters_of(self, stage: str) -> Iterable[nn.Parameter | ParameterGroup]:
        """Backbone and contrastive head in both stages; the transformation head first, the experts after.

        The weights of a stage's losses learn at their own rate.
        """
        first, cross_entropy_only = stage == "pretrain", not self.config.pretrain_supcon
        heads = [self.transformation] if first else [self.experts]
        heads += [] if first and cross_entropy_only else [self.projection]
        yield from (p for part in (self.backbone, *heads) for p in part.parameters() if p.requires_grad)
        if not (first and cross_entropy_only):
            weights = self.pretrain_auto_weight if first else self.auto_weight
            yield ParameterGroup(tuple(weights.parameters()), lr=self.config.auto_weight_lr)
