"""GE: from a gaze vector to gaze forgery traces (section III-C)."""

from __future__ import annotations

from torch import Tensor, nn

from dfad_bench.layers.clip_towers import freeze
from dfad_bench.layers.gaze_resnet import GazeResNet
from gazeclip.config import GazeCLIPConfig


class GazeEncoder(nn.Module):
    """I_f = I_g W_g with W_g of 2 x d and no bias, as printed.

    I_g comes from an estimator (ETH-XGaze in the paper). Frozen, it runs once per face and dataset, not once per step:
    `dfad gaze-extract` writes its vectors, and they arrive here as a view of the inputs. With `gaze_encoder` frozen or
    finetuned it is part of this module and reads normalised faces; finetuned, it learns (Table XIII).
    """

    def __init__(self, config: GazeCLIPConfig) -> None:
        super().__init__()
        self.estimator = GazeResNet(config.gaze_net) if config.gaze_online else None
        self.frozen = config.gaze_encoder == "frozen"
        if self.estimator is not None and self.frozen:
            freeze(self.estimator)
        self.W_g = nn.Linear(2, config.d, bias=False)

    def forward(self, gaze: Tensor) -> Tensor:
        """(B, 2) pitch and yaw in radians, or faces (B, 3, side, side) to estimate them of, to a token (B, 1, d)."""
        vectors = gaze if self.estimator is None else self.estimator(gaze)  # I_g
        return self.W_g(vectors).unsqueeze(1)

    def train(self, mode: bool = True) -> GazeEncoder:
        super().train(mode)
        if self.estimator is not None and self.frozen:
            self.estimator.eval()
        return self
