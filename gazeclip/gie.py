"""GIE: CLIP's frozen image tower with a gaze injector in every block (section III-D)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.clip_towers import freeze
from dfad_bench.layers.lora import LoRA
from gazeclip.config import GazeCLIPConfig
from gazeclip.gaze_injector import GazeInjector


class GITB(nn.Module):
    """Gaze-aware image transformer block: x += MHA(x); x = GI(x, gaze); x += FF(x); then perhaps a LoRA.

    `block` is open_clip's own, weights loaded, frozen. Without injector and LoRA the output is that block's,
    bit for bit.
    """

    def __init__(self, block: Any, injector: GazeInjector | None, lora: LoRA | None, *, shortcuts: bool = True) -> None:
        super().__init__()
        self.block = freeze(block, token_major=shortcuts)
        self.injector = injector
        self.lora = lora

    def forward(
        self, x: Tensor, gaze: Tensor | None, present: Tensor | None = None, *, cls_only: bool = False
    ) -> Tensor:
        """(B, m+1, d) and (B, 1, d) to (B, m+1, d), or to the class token (B, 1, d); `present` as in `GazeInjector`."""
        block: Any = self.block
        read = block.ln_1(x)
        if cls_only:
            x = x[:, :1] + block.ls_1(block.attention(read[:, :1], read, read))
        else:
            x = x + block.ls_1(block.attention(q_x=read))
        if self.injector is not None and gaze is not None:
            x = self.injector(x, gaze, present)
        x = x + block.ls_2(block.mlp(block.ln_2(x)))
        return x if self.lora is None else self.lora(x)

    def train(self, mode: bool = True) -> GITB:
        super().train(mode)
        self.block.eval()
        return self


class GIE(nn.Module):
    """Patches + class token + positions -> N GITBs -> I_g^ig, the class token after CLIP's last norm.

    CLIP's own projection is left out: W_ig takes its place.

    Raises:
        ConfigError: the tower is not N blocks of width d.
    """

    def __init__(self, visual: Any, config: GazeCLIPConfig) -> None:
        super().__init__()
        blocks = list(visual.transformer.resblocks)
        width = visual.conv1.out_channels
        if (len(blocks), width) != (config.N, config.d):
            raise ConfigError(f"CLIP {config.clip!r} has {len(blocks)} image blocks of width {width}; set N and d so")
        self.shortcuts = config.shortcuts
        self.conv1 = freeze(visual.conv1)
        self.class_embedding = nn.Parameter(visual.class_embedding.detach(), requires_grad=False)
        self.P_i = nn.Parameter(visual.positional_embedding.detach().clone(), requires_grad=config.learn_positions)
        self.ln_pre, self.ln_post = freeze(visual.ln_pre), freeze(visual.ln_post)
        self.blocks = nn.ModuleList(
            GITB(block, self._injector(config), self._lora(config, j), shortcuts=config.shortcuts)
            for j, block in enumerate(blocks)
        )

    @staticmethod
    def _injector(config: GazeCLIPConfig) -> GazeInjector | None:
        if not config.injects:
            return None
        return GazeInjector(config.d, config.r, inner=config.gi_inner, query=config.gi_query, fast=config.gi_fast)

    @staticmethod
    def _lora(config: GazeCLIPConfig, j: int) -> LoRA | None:
        followed = j >= config.N - config.lora_gie
        return LoRA(config.d, config.lora_rank, config.lora_alpha) if followed else None

    def forward(self, images: Tensor, gaze: Tensor | None, present: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) at CLIP's size and I_f (B, 1, d) to I_g^ig (B, d); faces not `present` (B,) get no gaze."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)  # (B, m, d)
        cls = self.class_embedding.to(patches.dtype).expand(images.shape[0], 1, -1)
        x = torch.cat([cls, patches], dim=1) + self.P_i.to(patches.dtype)
        x = self.ln_pre(x)
        last = len(self.blocks) - 1
        for j, block in enumerate(self.blocks):  # nothing reads the patches of the last block
            x = block(x, gaze, present, cls_only=self.shortcuts and j == last)
        return self.ln_post(x[:, 0])

    def train(self, mode: bool = True) -> GIE:
        super().train(mode)
        for frozen in (self.conv1, self.ln_pre, self.ln_post):
            frozen.eval()
        return self
