"""Forms of the two experts beside the contract's single linear layers; each maps an embedding (B, d) to `Output`."""

from __future__ import annotations

from torch import Tensor, nn

from dfad_bench.core.batch import Output


class NormExperts(nn.Module):
    """LayerNorm, then one linear layer each: ResNet, MFCLIP and BMRL."""

    def __init__(self, dim: int, num_generators: int) -> None:
        super().__init__()
        self.attribution = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_generators))
        self.detection = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2))

    def forward(self, embedding: Tensor) -> Output:
        return Output(self.attribution(embedding), self.detection(embedding), embedding)


class DropoutExperts(nn.Module):
    """Dropout, then one linear layer each: DNA-Det and CDAL, and CPL, whose layers have no bias."""

    def __init__(self, dim: int, num_generators: int, dropout: float, *, bias: bool = True) -> None:
        super().__init__()
        self.attribution = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, num_generators, bias=bias))
        self.detection = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, 2, bias=bias))

    def forward(self, embedding: Tensor) -> Output:
        return Output(self.attribution(embedding), self.detection(embedding), embedding)
