"""VPE: appearance encoder, gaze encoder and the transformer that joins them (section III-C)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.layers.conv_stem import conv_stack
from dfad_bench.layers.transformer import PreNormTransformer
from gazeclip.config import GazeCLIPConfig
from gazeclip.gaze_encoder import GazeEncoder


class AppearanceEncoder(nn.Module):
    """AE: stacked convolutions to a c x h x w map (512 x 7 x 7), flattened and projected to n = 1 token of width a.

    `n = chw / chw` is 1: the whole map becomes one token, as in CViT with a patch as large as the map.
    """

    def __init__(self, config: GazeCLIPConfig) -> None:
        super().__init__()
        self.size = config.ae_size
        self.features = conv_stack(3, config.ae_widths, config.ae_depths)
        side = config.ae_size // 2 ** len(config.ae_widths)
        self.proj = nn.Linear(config.ae_widths[-1] * side * side, config.a)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to I_tok^a, (B, 1, a)."""
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return self.proj(self.features(images).flatten(1)).unsqueeze(1)


class AGPM(nn.Module):
    """Appearance-gaze perception module: [class token || appearance token || gaze token] through the AGTE (equation 1).

    The gaze token is d wide and the others a, which the paper concatenates without saying how; `gaze_proj` bridges
    that, and the published parameter count has room for exactly this layer.
    """

    def __init__(self, config: GazeCLIPConfig) -> None:
        super().__init__()
        self.ae = AppearanceEncoder(config)
        self.gaze_proj = nn.Linear(config.d, config.a, bias=False) if config.use_gaze else None
        self.I_c = nn.Parameter(0.02 * torch.randn(1, 1, config.a))
        self.P_e = nn.Parameter(0.02 * torch.randn(1, 3 if config.use_gaze else 2, config.a))
        self.agte = PreNormTransformer(config.a, config.E, config.r, 2 * config.a, legacy_scale=config.legacy_scale)

    def forward(self, images: Tensor, gaze: Tensor | None, present: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) and I_f (B, 1, d) to I_g^ag, (B, a); nothing attends to the gaze of faces not `present` (B,).

        The class token of such a face is what it is without a third token, since positions are added to each.
        """
        tokens, mask = [self.I_c.expand(images.shape[0], -1, -1), self.ae(images)], None
        if self.gaze_proj is not None and gaze is not None:
            tokens.append(self.gaze_proj(gaze))
            mask = None if present is None else _hidden_gaze(present)
        return self.agte(torch.cat(tokens, dim=1) + self.P_e, mask)[:, 0]


def _hidden_gaze(present: Tensor) -> Tensor:
    """(B, 1, 1, 3) to add to the logits of [class, appearance, gaze]: 0, and -inf for the gaze of faces without one."""
    mask = torch.zeros(present.shape[0], 1, 1, 3, device=present.device)
    return mask.masked_fill(
        ~present[:, None, None, None] & (torch.arange(3, device=present.device) == 2), float("-inf")
    )


class VPE(nn.Module):
    """Visual perception encoder: GE, whose gaze traces the GIE uses too, and AGPM."""

    def __init__(self, config: GazeCLIPConfig) -> None:
        super().__init__()
        self.ge = GazeEncoder(config) if config.use_gaze else None
        self.agpm = AGPM(config) if config.use_agpm else None

    def forward(
        self, images: Tensor, gaze: Tensor | None, present: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Images (B, 3, H, W) and what `GazeEncoder` reads to I_g^ag (B, a) and I_f (B, 1, d); None where switched off.

        Faces not `present` (B,) have no gaze.
        """
        traces = self.ge(gaze) if self.ge is not None and gaze is not None else None
        return (self.agpm(images, traces, present) if self.agpm is not None else None), traces
