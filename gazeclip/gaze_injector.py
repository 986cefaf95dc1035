"""GI: the image asks, the gaze answers (equations 2 and 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class GazeInjector(nn.Module):
    """I_add = softmax(Q K^T / sqrt(d / r)) V W_fc + I_query, Q of the image, K and V of the gaze (equations 2 and 3).

    Four matrices without bias and r heads. **One gaze token is one key, and a softmax over one key is 1**: the
    output is the query plus (gaze W_val) W_fc whatever W_que and W_key hold, and both get a gradient of zero.
    They are kept as printed, since the published parameter count holds them; `fast` skips them in the
    computation (the same result up to rounding).

    The printed scale, sqrt of r over d, is read as the usual sqrt(d / r), the width of a head.
    """

    def __init__(
        self,
        d: int,
        r: int,
        *,
        inner: int | None = None,
        query: Literal["cls", "patch", "all"] = "cls",
        fast: bool = False,
    ) -> None:
        super().__init__()
        inner = inner or d
        if inner % r:
            raise ValueError(f"inner width {inner} does not divide into {r} heads")
        self.r, self.query, self.fast = r, query, fast
        self.scale = (inner / r) ** -0.5
        self.W_que = nn.Linear(d, inner, bias=False)
        self.W_key = nn.Linear(d, inner, bias=False)
        self.W_val = nn.Linear(d, inner, bias=False)
        self.W_fc = nn.Linear(inner, d, bias=False)

    def forward(self, tokens: Tensor, gaze: Tensor, present: Tensor | None = None) -> Tensor:
        """I_tok (B, m+1, d), class token first, and I_f (B, 1, d) to I_ig (B, m+1, d).

        Tokens of faces that are not `present` (B,) stay as they are.
        """
        cls, patches = tokens[:, :1], tokens[:, 1:]
        if self.query == "cls":
            return torch.cat([cls + self._masked_answer(cls, gaze, present), patches], dim=1)
        if self.query == "patch":
            return torch.cat([cls, patches + self._masked_answer(patches, gaze, present)], dim=1)
        return tokens + self._masked_answer(tokens, gaze, present)

    def _masked_answer(self, asking: Tensor, gaze: Tensor, present: Tensor | None) -> Tensor:
        answer = self.answer(asking, gaze)
        return answer if present is None else torch.where(present[:, None, None], answer, torch.zeros_like(answer))

    def answer(self, asking: Tensor, gaze: Tensor) -> Tensor:
        """I_glo W_fc: (B, q, d) tokens that ask and (B, 1, d) gaze to (B, q, d); (B, 1, d) when `fast`."""
        if self.fast:
            return self.W_fc(self.W_val(gaze))
        q, k, v = (self._heads(x) for x in (self.W_que(asking), self.W_key(gaze), self.W_val(gaze)))
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)  # (B, r, q, 1), all ones
        return self.W_fc((weights @ v).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.r, -1)).transpose(1, 2)  # (B, t, inner) to (B, r, t, inner / r)
