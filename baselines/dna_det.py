"""DNA-Det (Yang et al., AAAI 2022): architecture traces, learned from crops; detection is added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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
    Output,
    ParameterGroup,
    Stage,
    WeightFiles,
    attribution_term,
    expert_losses,
)
from dfad_bench.core.weights import load_into, load_state_dict, one_file
from dfad_bench.layers.crops import random_crops
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


class DropoutExperts(nn.Module):
    """Both experts in DNA-Det's head form: dropout, then one linear layer each."""

    def __init__(self, dim: int, num_generators: int, dropout: float) -> None:
        super().__init__()
        self.attribution = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, num_generators))
        self.detection = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, 2))

    def forward(self, embedding: Tensor) -> Output:
        return Output(self.attribution(embedding), self.detection(embedding), embedding)


class DNADet(DFADModel):
    """Pre-trained to name 170 image transformations, then class-balanced crops with a contrastive loss.

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
            "optimiser and schedule are the recipe's in both stages (recipe dna_det has the paper's)",
            "a batch has the recipe's number of faces, spread over the classes; in the paper (and in recipe dna_det) it"
            " has that many of each class",
            "pre-training sees the training faces of the protocol and nothing else",
        ),
        reference="https://github.com/ICTMCG/DNA-Det",
    )
    Config = DNADetConfig
    image_size = 512
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    stages = (Stage("pretrain", validate=False), Stage("contrast", sampler="class_balanced"))

    def __init__(self, num_generators: int, config: DNADetConfig) -> None:
        dim = config.widths[-1]
        super().__init__(dim, num_generators, side=config.side)
        self.config = config
        first, second = type(self).stages
        self.stages = (replace(first, epochs=config.pretrain_epochs, batch_size=config.pretrain_batch), second)
        hidden, projected = config.projection
        self.backbone = SimpleCNN(config.widths)
        self.experts = DropoutExperts(dim, num_generators, config.dropout)
        self.transformation = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(dim, len(TRANSFORMATIONS)))
        self.projection = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, projected))
        self.auto_weight = AutoWeight(2)

    def load_weights(self, weights: WeightFiles) -> None:
        """The convolutions of a released state dict (`main.*`); heads are left out."""
        path = one_file(weights, self.card.display)
        read = load_state_dict(path, lambda state: "main.0.main.0.weight" in state)
        state = {key: value for key, value in read.items() if key.startswith("main.")}
        load_into(self.backbone, state, path, "a DNA-Det state dict")

    def embed(self, inputs: Inputs) -> Tensor:
        return self.backbone(self.prepare(inputs.images))  # (B, 512)

    def losses(self, batch: Batch, stage: str = "contrast") -> Mapping[str, Tensor | LossTerm]:
        """Stage "pretrain": `transformation`, no labels. Stage "contrast": `dfa`, `supcon`, `auto_weight`, `dfd`."""
        if stage == "pretrain":
            return {"transformation": self._transformation_loss(batch.inputs.images)}
        if not self.training:
            return expert_losses(self(batch.inputs), batch)
        crops = random_crops(self.prepare(batch.inputs.images), self.config.crops, self.config.crop)  # (B, n, 3, c, c)
        output = self.experts(self.backbone(crops.flatten(0, 1)))
        attribution = batch.attribution.repeat_interleave(self.config.crops)
        detection = batch.detection.repeat_interleave(self.config.crops)
        weight = self.auto_weight.weights()
        projected = self.projection(output.embedding)
        return {
            "dfa": attribution_term(F.cross_entropy(output.attribution_logits.float(), attribution), weight[0]),
            "supcon": attribution_term(
                supervised_contrastive(projected, attribution, self.config.temperature), weight[1]
            ),
            "auto_weight": attribution_term(self.auto_weight.penalty()),
            "dfd": F.cross_entropy(output.detection_logits.float(), detection),
        }

    def _transformation_loss(self, images: Tensor) -> Tensor:
        """A random part of each image is transformed, enlarged to `side` and cropped again; each crop is classified."""
        side = min(self.config.source_crop, *images.shape[-2:])
        parts = random_crops(images, 1, side)[:, 0]  # (B, 3, 128, 128)
        classes = torch.randint(len(TRANSFORMATIONS), (len(parts),))
        changed = torch.stack([transform(part, int(index)) for part, index in zip(parts, classes, strict=True)])
        crops = random_crops(self.prepare(changed), self.config.crops, self.config.crop)
        logits = self.transformation(self.backbone(crops.flatten(0, 1))).float()
        return F.cross_entropy(logits, classes.to(logits.device).repeat_interleave(self.config.crops))

    def parameters_of(self, stage: str) -> Iterable[nn.Parameter | ParameterGroup]:
        """The backbone in both stages; the transformation head first, experts and contrastive head after.

        The weights of the two losses learn at their own rate.
        """
        heads = [self.transformation] if stage == "pretrain" else [self.experts, self.projection]
        yield from (p for part in (self.backbone, *heads) for p in part.parameters() if p.requires_grad)
        if stage != "pretrain":
            yield ParameterGroup(tuple(self.auto_weight.parameters()), lr=self.config.auto_weight_lr)
