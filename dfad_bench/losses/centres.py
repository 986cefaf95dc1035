"""Losses with a learned centre for each generator: DFACC (BMRL) and the contrastive-center loss it is compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.parallel import gather_rows

Start = Literal["sphere", "small"]


class Centres(nn.Module, ABC):
    """A learned centre c_k for each of `classes`, (classes, dim), and a loss that compares rows with them.

    Args:
        classes: number of generators.
        dim: of the rows.
        start: "sphere", random directions of length 1, as long as normalised embeddings; "small", normal numbers of
            deviation 0.02. Numbers of deviation 1 would make centres of length sqrt(dim), all of them far apart.
    """

    def __init__(self, classes: int, dim: int, *, start: Start = "sphere") -> None:
        super().__init__()
        drawn = torch.randn(classes, dim)
        self.centres = nn.Parameter(F.normalize(drawn, dim=1) if start == "sphere" else 0.02 * drawn)

    @abstractmethod
    def forward(self, rows: Tensor, labels: Tensor) -> Tensor:
        """(B, dim) rows and (B,) classes to a scalar; where a batch is split over processes, of all of its rows."""


class DFACC(Centres):
    """Deepfake attribution contrastive center loss: L_intra + factor L_inter (BMRL equations 4 to 7).

    `margin` (m) decides which generators are related: those whose centres are nearer than it. It is also how far
    apart their faces may stay without cost.
    """

    def __init__(
        self, classes: int, dim: int, *, margin: float = 0.7, factor: float = 0.5, start: Start = "sphere"
    ) -> None:
        super().__init__(classes, dim, start=start)
        self.margin, self.factor = margin, factor

    def forward(self, rows: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):  # differences of near rows need all digits
            rows, labels = gather_rows(rows).float(), gather_rows(labels)
            return self.intra(rows, labels) + self.factor * self.inter(rows, labels)

    def intra(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Equation 4: mean distance of each row from the centre of its generator."""
        return _root((rows - self.centres.float()[labels]).square().sum(dim=1)).mean()

    def inter(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Equations 5 to 7: pairs of two generators, 2 / (B (B - 1)) of their sum; 0 for a single row.

        Rows of related generators are drawn together down to the margin, those of others pushed apart. Which are
        related is read off the centres, which learn from `intra` alone.
        """
        count = len(rows)
        first, second = torch.triu_indices(count, count, 1, device=rows.device)
        apart = _distances(rows, rows)[first, second]
        related = _distances(self.centres.detach().float(), self.centres.detach().float()) < self.margin
        one, other = labels[first], labels[second]
        cost = torch.where(related[one, other], (apart - self.margin).clamp(min=0), -apart)
        return (cost * (one != other)).sum() * 2 / max(count * (count - 1), 1)


class ContrastiveCentre(Centres):
    """Contrastive-center loss (Qi and Su, ICIP 2017), BMRL's "vanilla" VCC.

    1/2 sum_u ||z_u - c_y||^2 / (sum_{j != y} ||z_u - c_j||^2 + 1), over the rows of the batch, as printed: a sum.
    """

    def forward(self, rows: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            rows, labels = gather_rows(rows).float(), gather_rows(labels)
            squared = _squared(rows, self.centres.float())  # (B, classes)
            own = squared.gather(1, labels[:, None])[:, 0]
            return (own / (squared.sum(dim=1) - own + 1)).sum() / 2


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """(n, d) and (m, d) to squared distances (n, m), never below 0."""
    return (a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T).clamp(min=0)


def _root(squared: Tensor) -> Tensor:
    """Square roots; where rows coincide 0, with gradient 0 instead of infinity."""
    apart = squared > 0
    return torch.where(apart, squared, 1.0).sqrt() * apart


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return _root(_squared(a, b))
