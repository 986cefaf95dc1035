"""GE: from a gaze vector to gaze forgery traces (section III-C)."""

from __future__ import annotations

from torch import Tensor, nn


class GazeEncoder(nn.Module):
    """I_f = I_g W_g with W_g of 2 x d and no bias, as printed.

    I_g comes from a frozen estimator (ETH-XGaze in the paper). Being frozen, it runs once per face and dataset,
    not once per step: `dfad gaze-extract` writes its vectors, and they arrive here as a view of the inputs.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.W_g = nn.Linear(2, d, bias=False)

    def forward(self, gaze: Tensor) -> Tensor:
        """(B, 2) pitch and yaw in radians to one gaze token (B, 1, d)."""
        return self.W_g(gaze).unsqueeze(1)
