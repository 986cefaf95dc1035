"""LIDA (CVPR 2026, arXiv 2603.10583): attribution as retrieval among enrolled faces, by the three lowest bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

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
    StageData,
    WeightFiles,
    attribution_term,
    detection_term,
)
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.parallel import gather_rows
from dfad_bench.core.weights import one_file
from dfad_bench.layers.resnet import load_resnet, resnet_trunk

LowBits = Literal["levels", "binary"]
Patch = Literal["whole", "max", "min"]
Space = Literal["sphere", "raw"]
PATCH = 32  # pixels
PRINTED_THRESHOLD = 0.85


@dataclass(frozen=True)
class LIDAConfig:
    """ResNet-50 without max pooling at 256; faces enrolled of each class: `shots`.

    Attributes:
        low_bits: "levels", the value of the three lowest bits times 36, as in the released code; "binary", 255 where
            any of them is set, as in the paper.
        patch: "whole", or the 32-pixel patch of the low-bit image with the largest or smallest sum of gradients.
        detection_weight: lambda of L_A + lambda L_D; 0.9 is the paper's best.
        temperature: tau, of cosines as logits; not printed.
        threshold: of the cosine with the prototype of real faces, below which a face is fake: "fitted" to the training
            faces' best balanced accuracy, when training ends; "printed", the 0.85 its authors chose by hand.
        centre_rate: alpha, of the centres' own steps; not printed.
        distance_space: where L_A measures distances: "sphere", between embeddings of length 1, which is where faces are
            retrieved; "raw", between embeddings as they are. The text leaves it open.
    """

    side: int = 256
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    shots: int = 10
    low_bits: LowBits = "levels"
    patch: Patch = "whole"
    detection_weight: float = 0.9
    temperature: float = 0.1
    threshold: Literal["fitted", "printed"] = "fitted"
    centre_rate: float = 0.5
    distance_space: Space = "sphere"

    @classmethod
    def tiny(cls) -> LIDAConfig:
        return cls(side=64, blocks=(1, 1, 1, 1), widths=(8, 8, 12, 16))


def low_bit_image(images: Tensor, low_bits: LowBits = "levels") -> Tensor:
    """(B, 3, H, W) in [0, 1] to its three lowest bits, in [0, 1] again: eight levels, or two.

    >>> low_bit_image(torch.tensor([0.0, 8.0, 9.0, 255.0]) / 255) * 255
    tensor([  0.,   0.,  36., 252.])
    """
    value = torch.remainder((images.float() * 255).round(), 8)
    return value * 36 / 255 if low_bits == "levels" else (value > 0).float()


def textured_patch(images: Tensor, patch: Patch) -> Tensor:
    """(B, C, H, W) to each image's patch (B, C, 32, 32) with the largest ("max") or smallest ("min") sum of gradients.

    Gradients are absolute differences of neighbours along x, y and both diagonals. Patches do not overlap; the first
    wins where two are equal.
    """
    rows, columns = images.shape[-2] // PATCH, images.shape[-1] // PATCH
    cut = images[..., : rows * PATCH, : columns * PATCH].unflatten(-2, (rows, PATCH)).unflatten(-1, (columns, PATCH))
    tiles = cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, n, C, 32, 32)
    inner, right, down = tiles[..., :-1, :-1], tiles[..., :-1, 1:], tiles[..., 1:, :-1]
    steps = (right - inner).abs() + (down - inner).abs() + (tiles[..., 1:, 1:] - inner).abs() + (right - down).abs()
    energy = steps.sum(dim=(2, 3, 4))
    best = energy.argmax(dim=1) if patch == "max" else energy.argmin(dim=1)
    return tiles[torch.arange(tiles.shape[0], device=tiles.device), best]


def fitted_threshold(likeness: Tensor, fake: Tensor) -> float:
    """Where real (0) and fake (1) faces are told apart with the best balanced accuracy, (n,) and (n,); a midpoint.

    Without faces of both kinds nothing can be fitted, and it is the printed one.

    >>> fitted_threshold(torch.tensor([0.9, 0.7, 0.5, 0.2]), torch.tensor([0, 0, 1, 1]))
    0.6
    """
    ordered, order = likeness.double().sort()
    is_fake = fake[order].double()
    reals, fakes = float((1 - is_fake).sum()), float(is_fake.sum())
    if not reals or not fakes:
        return PRINTED_THRESHOLD
    gain = (is_fake / fakes - (1 - is_fake) / reals).cumsum(0)  # of calling this face and all below it fake
    gain = gain.masked_fill(torch.cat([ordered[1:] == ordered[:-1], ordered.new_zeros(1, dtype=torch.bool)]), -1.0)
    best = int(gain.argmax())
    above = ordered[min(best + 1, len(ordered) - 1)]
    return round(float((ordered[best] + above) / 2), 7)


class Gallery(nn.Module):
    """Both experts as retrieval: the nearest enrolled face names the generator, the prototype of real faces the fakes.

    In training mode, and until faces are enrolled, class centres stand in for them. All of it is buffers.
    """

    centres: Tensor
    real: Tensor
    threshold: Tensor
    faces: Tensor
    enrolled: Tensor

    def __init__(self, dim: int, classes: int, shots: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_buffer("centres", F.normalize(torch.randn(classes, dim), dim=1))
        self.register_buffer("real", F.normalize(torch.randn(dim), dim=0))
        self.register_buffer("threshold", torch.tensor(PRINTED_THRESHOLD))
        self.register_buffer("faces", torch.zeros(classes, shots, dim))  # of length 1
        self.register_buffer("enrolled", torch.zeros(classes, shots, dtype=torch.bool))

    def forward(self, embedding: Tensor) -> Output:
        """(B, d) to cosines over the temperature; at the threshold a face is as likely real as fake."""
        rows = F.normalize(embedding.float(), dim=1)
        centres = rows @ F.normalize(self.centres, dim=1).T  # (B, x)
        nearest = torch.einsum("bd,xsd->bxs", rows, self.faces)
        nearest = nearest.masked_fill(~self.enrolled, -1.0).amax(dim=2)
        use = self.enrolled.any() & (not self.training)
        real = self.likeness(embedding) - self.threshold
        detection = torch.stack([real, torch.zeros_like(real)], dim=1)
        return Output(torch.where(use, nearest, centres) / self.temperature, detection / self.temperature, embedding)

    def likeness(self, embedding: Tensor) -> Tensor:
        """(B, d) to (B,) cosines with the prototype of real faces."""
        return F.normalize(embedding.float(), dim=1) @ F.normalize(self.real, dim=0)


class LIDA(DFADModel):
    """Low bits, a ResNet, and the nearest of a few enrolled faces; centres instead of a classifier's loss."""

    card = Card(
        display="LIDA",
        paper="LIDA: attribution of generated images as retrieval from low-bit planes, CVPR 2026 (arXiv 2603.10583)",
        year=2026,
        task="attribution",
        idea="The lowest bits carry the generator's fingerprint; the nearest of a few enrolled faces names it.",
        added="nothing: the cosine with the prototype of real faces is its own detector",
        deviations=(
            "its pre-training (ImageNet classes from low-bit photographs) is not run; --weights starts from its result",
            "temperature, centre rate, optimiser and learning rate are not printed: settings, and the recipe's values;"
            " recipe lida has the batch and length that are",
            "centres start at the means of the training faces and move after each step, by embeddings computed again",
            "the threshold of its detector is fitted to the training faces (threshold); the paper's was chosen by hand",
            "distances from centres are between embeddings of length 1 (distance_space), which the text leaves open",
        ),
        notes=(
            "Needs pixels as the generator left them: a crop that was resampled or stored as JPEG has the lowest bits"
            " of the resampler or the codec. Use a crop profile that does not scale (raw-256 for ready-made crops).",
            "10 faces of each class are enrolled (shots), drawn at random from the training faces when training ends.",
        ),
        reference_licence="Apache-2.0",
        weights=("lida_resnet50",),
        recipe="lida",
    )
    Config = LIDAConfig
    image_size = 256
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, num_generators: int, config: LIDAConfig) -> None:
        for name in ("shots", "temperature", "centre_rate"):
            if not 0 < (value := getattr(config, name)) <= 1000:
                raise ConfigError(
                    f"options of {self.card.display}: {name} must be above 0 and 1,000 or less, got {value:g}"
                )
        dim = 4 * config.widths[-1]
        super().__init__(dim, num_generators, side=config.side)
        self.config = config
        self.trunk = resnet_trunk(config.blocks, config.widths, bottleneck=True)
        self.trunk.add_module("maxpool", nn.Identity())
        self.experts: Gallery = Gallery(dim, num_generators, config.shots, config.temperature)

    @classmethod
    def expanded(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """In runs made before, `distance_space` has the name that the added loss has for its own."""
        if options.get("centre_space") not in get_args(Space):
            return options
        rest = {name: value for name, value in options.items() if name != "centre_space"}
        return {"distance_space": options["centre_space"], **rest}

    def load_weights(self, weights: WeightFiles) -> None:
        """A ResNet-50 of torchvision or timm: ImageNet's, or one pre-trained on low-bit images; `fc` is left out."""
        load_resnet(self.trunk, one_file(weights, self.card.display), "a ResNet-50 state dict")

    def embed(self, inputs: Inputs) -> Tensor:
        bits = low_bit_image(inputs.images, self.config.low_bits)  # before any resizing, which would mix the bits
        if self.config.patch != "whole":
            bits = textured_patch(bits, self.config.patch)
        return self.trunk(self.prepare(bits))  # (B, 2048)

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        """`dfa` is L_A, squared distance from the class centre; `dfd` is L_D, by the prototype of real faces.

        L_D is the mean over real faces of -log p and over fake ones of -log(1 - p), p = sigmoid(cos / tau).
        """
        output = self(batch.inputs)
        rows, gallery = self._placed(output.embedding), self.experts
        to_centre = (rows - gallery.centres[batch.attribution]).square().sum(dim=1).mean()
        logit, fake = gallery.likeness(rows) / self.config.temperature, batch.detection.float()
        cost = F.binary_cross_entropy_with_logits(logit, 1 - fake, reduction="none")
        kinds = [(cost * part).sum() / part.sum().clamp(min=1) for part in (1 - fake, fake)]
        weight = self.config.detection_weight
        return {"dfa": attribution_term(to_centre), "dfd": detection_term(kinds[0] + kinds[1], weight)}

    def before_stage(self, stage: str, data: StageData) -> None:
        """Centres start at the means of the training faces."""
        gallery = self.experts
        sums, reals = torch.zeros_like(gallery.centres), torch.zeros_like(gallery.real)
        counts, real_count = torch.zeros(len(sums), 1, device=sums.device), 0
        for batch in data.train():
            rows = self._rows(batch)
            sums.index_add_(0, batch.attribution, rows)
            counts.index_add_(0, batch.attribution, torch.ones(len(rows), 1, device=sums.device))
            reals += rows[batch.detection == 0].sum(dim=0)
            real_count += int((batch.detection == 0).sum())
        gallery.centres.copy_(torch.where(counts > 0, sums / counts.clamp(min=1), gallery.centres))
        if real_count:
            gallery.real.copy_(reals / real_count)

    def after_step(self, stage: str, batch: Batch) -> None:
        """c_j moves by alpha times the sum of (x_i - c_j) over its faces in the batch, over one more than they are."""
        rows = gather_rows(self._rows(batch))
        labels, detection = gather_rows(batch.attribution), gather_rows(batch.detection)
        gallery, rate = self.experts, self.config.centre_rate
        apart = torch.zeros_like(gallery.centres).index_add_(0, labels, rows - gallery.centres[labels])
        ones = torch.ones_like(labels)  # counted by adding: bincount reads the largest label first
        counts = torch.zeros_like(apart[:, 0], dtype=labels.dtype).index_add_(0, labels, ones)[:, None]
        gallery.centres += rate * apart / (1 + counts)
        real = detection == 0
        gallery.real += rate * ((rows - gallery.real) * real[:, None]).sum(dim=0) / (1 + real.sum())

    def before_prediction(self, data: StageData) -> None:
        """Enrols `shots` faces of each class, drawn without replacement from all training faces; fits the threshold."""
        gallery, shots = self.experts, self.config.shots
        likeness: list[Tensor] = []
        fake: list[Tensor] = []
        drawn = torch.full((len(gallery.faces), shots), -1.0)  # the largest numbers drawn so far, by class
        for batch in data.train():
            labels = batch.attribution.tolist()
            numbers = torch.rand(len(labels)).tolist()
            rows = F.normalize(self._rows(batch), dim=1)
            likeness.append(gallery.likeness(rows))
            fake.append(batch.detection)
            for row, label, number in zip(rows, labels, numbers, strict=True):
                place = int(drawn[label].argmin())
                if number > drawn[label, place]:
                    drawn[label, place] = number
                    gallery.faces[label, place] = row
        gallery.enrolled.copy_(drawn >= 0)
        if self.config.threshold == "fitted":
            gallery.threshold.fill_(fitted_threshold(torch.cat(likeness), torch.cat(fake)))

    def _placed(self, embedding: Tensor) -> Tensor:
        """(B, d) embeddings where centres are."""
        rows = embedding.float()
        return F.normalize(rows, dim=1) if self.config.distance_space == "sphere" else rows

    @torch.no_grad()
    def _rows(self, batch: Batch) -> Tensor:
        """(B, d) embeddings as at test time, where centres are; batch statistics are not touched."""
        training = self.training
        rows = self._placed(self.eval().embed(batch.inputs))
        self.train(training)
        return rows
