"""BMRL (Zhang et al., 2025): image, noise and edge encoders, guided in training by face parsing and by prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.bmrl_variants import VARIANTS
from baselines.mfclip import EncoderConfig, TextEncoder, TokenEncoder
from dfad_bench.core.contract import Batch, Card, DFADModel, Inputs, LossTerm, attribution_term, expert_losses
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.label_colours import label_colours
from dfad_bench.core.variants import variant_settings
from dfad_bench.layers.conv_stem import appearance_stem, noise_stem
from dfad_bench.layers.experts import NormExperts
from dfad_bench.layers.richest_patch import richest_patch
from dfad_bench.layers.sobel import edges
from dfad_bench.layers.srm import SRM
from dfad_bench.layers.text import prompt_tokens, row_keys
from dfad_bench.losses.alignment import kl_alignment
from dfad_bench.losses.contrastive import INITIAL_LOGIT_SCALE, symmetric_infonce


@dataclass(frozen=True)
class BMRLConfig(EncoderConfig):
    """Sizes in the paper's letters where it has one (section 4.1), the switches of its ablations, open questions.

    `side` is its H and W, `dim` its d, the last of `appearance_widths`, which the edge and parsing stems have too, its
    c. The text gives all transformers "the same architecture as ATE"; the authors' networks have three blocks in those
    of noise and edges. `temperature` and `alpha` of `kl`: the paper gives no number and points to MFCLIP's.
    """

    edge_depth: int = 3
    Q: int = 6  # blocks of the parsing encoder
    L: int = 6  # blocks of the language encoder

    use_ae: bool = True  # Table 6
    use_ne: bool = True
    use_ee: bool = True
    use_pe: bool = True  # False trains without parsing, hence without `cpc`
    use_le: bool = True  # False trains without text, hence without `cmc` and `kl`
    use_kl: bool = True  # Table 8

    kd_ce: float = 0.5  # weight of the attribution loss that MFCLIP's code adds to `kl`; 0 is equation 12 as printed
    shared_scale: bool = (
        False  # True: one temperature for `cmc` and `cpc`, as in the journal version; the paper has two
    )

    def __post_init__(self) -> None:
        if not (self.use_ae or self.use_ne or self.use_ee):
            raise ValueError("use_ae, use_ne and use_ee cannot all be false: nothing would see the image")
        if self.side % 32:
            raise ValueError(f"side must be a multiple of 32, got {self.side}")

    @classmethod
    def tiny(cls) -> Self:
        return replace(super().tiny(), edge_depth=1, Q=1, L=1)


class GlobalEncoder(nn.Module):
    """A convolutional stem, then a transformer over its map as one token; the class token is I_g, (B, d)."""

    def __init__(self, stem: nn.Module, features: int, depth: int, config: BMRLConfig) -> None:
        super().__init__()
        self.stem = stem
        self.encoder = TokenEncoder(features, config, depth)

    def forward(self, images: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(self.stem(images))
        return encoded


def appearance_encoder(channels: int, depth: int, config: BMRLConfig) -> GlobalEncoder:
    """CViT's stem and a transformer: the appearance, edge and parsing encoders, (B, channels, side, side) to (B, d)."""
    widths = config.appearance_widths
    features = widths[-1] * (config.side // 32) ** 2
    return GlobalEncoder(appearance_stem(channels, widths), features, depth, config)


class MPVE(nn.Module):
    """Multi-perspective visual encoder: I_v = I_g^a + I_g^n + I_g^e, (B, 3, side, side) in [0, 1] to (B, d)."""

    def __init__(self, config: BMRLConfig) -> None:
        super().__init__()
        noise = config.noise_widths
        patch = noise[-1] * (config.side // 8) ** 2  # the richest tile has half the side, its stem stride 4
        self.ae = appearance_encoder(3, config.appearance_depth, config) if config.use_ae else None
        self.srm = SRM() if config.use_ne else None
        self.ne = GlobalEncoder(noise_stem(3, noise), patch, config.noise_depth, config) if config.use_ne else None
        self.ee = appearance_encoder(1, config.edge_depth, config) if config.use_ee else None

    def forward(self, images: Tensor) -> Tensor:
        parts = []
        if self.ae is not None:
            parts.append(self.ae(images))
        if self.ne is not None and self.srm is not None:
            parts.append(self.ne(self.srm(richest_patch(images))))
        if self.ee is not None:
            parts.append(self.ee(edges(images)))
        return torch.stack(parts).sum(dim=0)


class ParsingEncoder(nn.Module):
    """PE: the parsing map as a coloured picture P, then stem and Q blocks; in training only."""

    colours: Tensor

    def __init__(self, config: BMRLConfig) -> None:
        super().__init__()
        self.side = config.side
        self.encoder = appearance_encoder(3, config.Q, config)
        self.register_buffer("colours", torch.tensor(label_colours()) / 255, persistent=False)  # (256, 3)

    def coloured(self, labels: Tensor) -> Tensor:
        """Labels (B, 1, H, W) to P, (B, 3, side, side) in [0, 1]; labels are never mixed."""
        if labels.shape[-2:] != (self.side, self.side):
            labels = F.interpolate(labels.float(), (self.side, self.side), mode="nearest-exact")
        return self.colours[labels[:, 0].long()].permute(0, 3, 1, 2)

    def forward(self, labels: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(self.coloured(labels))  # P_g
        return encoded


class BMRL(DFADModel):
    """I_v is read by both experts; PE, LE and predictor exist for `losses` alone, and so does the parsing view."""

    card = Card(
        display="BMRL",
        paper="Y. Zhang et al., BMRL: Bi-Modal Guided Multi-Perspective Representation Learning for Zero-Shot Deepfake"
        " Attribution, 2025",
        year=2025,
        task="attribution",
        idea="Image, noise and edges are seen together; parsing maps and fine-grained prompts guide them in training.",
        added="detection expert: a second head of the attributor's form (LayerNorm and one linear layer)",
        deviations=(
            "noise and edge transformers have three blocks, as in the authors' code, not ATE's six (noise_depth,"
            " edge_depth)",
            "DFACC compares normalised embeddings with centres of their width; the paper writes class probabilities"
            " (centre_space)",
            "temperature and weight of kl, and the cross-entropy beside it, are MFCLIP's (temperature, alpha, kd_ce)",
            "text is read at the end token of the last prompt, the only one that has seen all four",
            "parsing maps have one pure colour a label on white, enlarged without mixing labels",
            "both experts are trained together; the paper trains one or the other (--heads)",
        ),
        recipe="bmrl",
    )
    Config = BMRLConfig
    image_size = 224
    added: ClassVar[Mapping[str, Any]] = {"centre_loss": "dfacc"}

    def __init__(self, num_generators: int, config: BMRLConfig) -> None:
        super().__init__(config.dim, num_generators, side=config.side)
        self.config = config
        self.needs_training = ("parsing",) if config.use_pe else ()
        self.missing_views = {"parsing": "left out of cpc"} if config.use_pe else {}
        self.needs_prompts = config.use_le
        self.mpve = MPVE(config)
        self.experts = NormExperts(config.dim, num_generators)
        self.pe = ParsingEncoder(config) if config.use_pe else None
        self.le = TextEncoder(config, config.L) if config.use_le else None
        self.predictor = nn.Linear(config.dim, config.dim) if config.use_le and config.use_kl else None
        needs_scale = config.use_le or (config.use_pe and config.shared_scale)
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE)) if needs_scale else None
        own = config.use_pe and not config.shared_scale
        self.parsing_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE)) if own else None  # 1 / tau, tau = 0.07

    @classmethod
    def expanded(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """`variant` names a row of the paper's ablations to start from.

        Raises:
            UnknownNameError: no such variant.
        """
        changes = dict(options)
        variant = changes.pop("variant", "full")
        return {**variant_settings("bmrl", variant, VARIANTS), **changes}

    def embed(self, inputs: Inputs) -> Tensor:
        visual: Tensor = self.mpve(self.prepare(inputs.images))  # I_v
        return visual

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        """Equation 12 but for `dfacc`, the added loss: `dfa`, `cmc`, `cpc`, `kl`; and `dfd`, and `kd_ce` with `kl`.

        Raises:
            ConfigError: the batch lacks prompts or parsing maps.
        """
        output = self(batch.inputs)
        losses: dict[str, Tensor | LossTerm] = dict(expert_losses(output, batch))
        if self.le is not None:
            losses |= self._language_losses(output.embedding, batch, losses["dfa"])
        if self.pe is not None:
            losses["cpc"] = self._parsing_loss(output.embedding, batch)
        return losses

    def _language_losses(self, visual: Tensor, batch: Batch, dfa: Tensor | LossTerm) -> dict[str, Tensor | LossTerm]:
        """`cmc`, and with a predictor `kl` and `kd_ce`."""
        config = self.config
        tokens, index = prompt_tokens(batch.prompts, config.levels, visual.device)
        assert self.le is not None
        text = self.le(tokens)[index]  # T_l, (B, d)
        labels = row_keys([row[: config.levels] for row in batch.prompts]).to(visual.device, non_blocking=True)
        cmc = symmetric_infonce(visual, text, self._scale("text"), targets=config.cmc_targets, labels=labels)
        found: dict[str, Tensor | LossTerm] = {"cmc": attribution_term(cmc)}
        if self.predictor is not None:
            kl = kl_alignment(self.predictor(visual), text, temperature=config.temperature, alpha=config.alpha)
            found["kl"] = attribution_term(kl)
            if config.kd_ce:
                assert isinstance(dfa, Tensor)
                found["kd_ce"] = attribution_term(dfa, config.kd_ce)
        return found

    def _parsing_loss(self, visual: Tensor, batch: Batch) -> Tensor:
        """`cpc` of the faces that have a parsing map; 0 where none has."""
        labels, has = batch.views.get("parsing"), batch.has("parsing")
        if not isinstance(labels, Tensor):
            raise ConfigError("bmrl trains on the view 'parsing', and the batch has none")
        assert self.pe is not None
        parsing = self.pe(labels * has[:, None, None, None])  # P_g, (B, d); of an empty map where there is none
        return symmetric_infonce(visual, parsing, self._scale("parsing"), present=has)

    def _scale(self, which: Literal["text", "parsing"]) -> Tensor:
        scale = self.parsing_scale if which == "parsing" and self.parsing_scale is not None else self.logit_scale
        assert scale is not None
        return scale
