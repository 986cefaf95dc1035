"""GazeCLIP: VPE and GIE see the image and its gaze, LRE the text while training, two experts decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from dfad_bench.core.contract import (
    Batch,
    Card,
    DFADModel,
    Inputs,
    LossTerm,
    ParameterGroup,
    Size,
    WeightFiles,
    attribution_term,
    detection_term,
    expert_losses,
)
from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.clip_towers import clip_model
from dfad_bench.layers.gaze_resnet import PATCH_SIDE, gaze_network_of
from dfad_bench.layers.text import row_keys, tokenize, unique_rows
from dfad_bench.losses.contrastive import INITIAL_LOGIT_SCALE, symmetric_infonce
from gazeclip.ablations import overrides_of
from gazeclip.config import PROMPT_TOKENS, GazeCLIPConfig
from gazeclip.gie import GIE
from gazeclip.lre import LRE
from gazeclip.vpe import VPE

PAPER = "GazeCLIP, arXiv 2603.29295"
CLIP_ROWS = ("openai_clip_vit_b32", "openai_clip_vit_b32_archive")
PATCHES = "gaze_patches"
MISSING_GAZE = {  # by `missing_gaze`, what is done for a face without a gaze
    "mask": "no gaze token is attended to and nothing is injected (missing_gaze=mask)",
    "zero": "taken to look straight ahead (missing_gaze=zero)",
}


class GazeCLIP(DFADModel):
    """I_v = I_ig W_ig + I_ag W_ag, read by the attribution and the detection expert (sections III-B to III-F).

    Losses: `dfd`, `dfa` (equations 5 and 6) and `cmc`, the contrastive loss against the prompts' embedding.
    The text tower exists only for `losses`; `forward` has no way to see text.
    """

    card: ClassVar[Card] = Card(
        display="GazeCLIP",
        paper=PAPER,
        year=2026,
        task="both",
        idea="Gaze vectors, which generators keep to different degrees, enter CLIP's image tower and a CNN's tokens.",
        added="nothing: both experts are its own",
        deviations=(
            "gaze vectors are computed once per face by a chosen estimator, not inside the forward pass",
            "CLIP's 77 text positions are repeated for the four prompts; the end token of the last prompt is read",
            "the contrastive loss compares I_v with the text (III-B), not I_ag (III-F), whose widths differ",
            "a linear layer takes the 768-wide gaze token to the 1024-wide appearance tokens",
        ),
        weights=CLIP_ROWS,
        recipe="default",
    )
    Config = GazeCLIPConfig
    image_size: ClassVar[int] = 256
    needs: tuple[str, ...] = ("gaze",)
    needs_prompts = True
    weight_rows: ClassVar[Mapping[str, tuple[str, ...]]] = {"clip": CLIP_ROWS, "gaze": ("eth_xgaze", "eth_xgaze_r18")}
    weight_names: ClassVar[tuple[str, ...]] = tuple(weight_rows)
    earlier_defaults: ClassVar[Mapping[str, Any]] = {"missing_gaze": "zero", "gi_fast": False, "shortcuts": False}
    earlier_tiny: ClassVar[Mapping[str, Any]] = {"N": 2}
    known_zero_gradient: ClassVar[tuple[str, ...]] = ("injector.W_que.weight", "injector.W_key.weight")
    preset: ClassVar[Mapping[str, Any]] = {}  # settings a named variant changes

    def __init__(self, num_generators: int, config: GazeCLIPConfig, weights: Path | None = None) -> None:
        super().__init__(config.s, num_generators, side=config.clip_size)
        self.config = config
        stored = config.use_gaze and not config.gaze_online
        self.needs = ("gaze",) if stored else (PATCHES,) if config.gaze_online else ()
        self.missing_views = {"gaze": MISSING_GAZE[config.missing_gaze]} if stored else {}
        self.view_settings = {PATCHES: {"side": config.gaze_side}} if config.gaze_online else {}
        self.needs_prompts = config.use_lre
        tiny = config.clip == "tiny"
        name = GazeCLIPConfig.clip if tiny else config.clip
        sizes: dict[str, Any] = {"tiny": tiny, "tiny_blocks": (config.N, config.L)}
        clip = clip_model(name, config.clip_size, weights, **sizes, option="clip")  # before any wrapping
        self.vpe = VPE(config)
        self.gie = GIE(clip.visual, config) if config.use_gie else None
        self.W_ig = nn.Linear(config.d, config.s, bias=False) if config.use_gie else None
        self.W_ag = nn.Linear(config.a, config.s, bias=False) if config.use_agpm else None
        self.lre = LRE(clip, config) if config.use_lre else None
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE)) if config.use_lre else None

    @classmethod
    def configure(cls, size: Size, options: Mapping[str, Any] | None) -> GazeCLIPConfig:
        """`options` are fields of `GazeCLIPConfig`; `variant` names a row of the paper's ablations to start from.

        Raises:
            ConfigError, UnknownNameError: a bad option, or no such variant.
        """
        changes = dict(options or {})
        variant = changes.pop("variant", None)
        preset = {**cls.preset, **(overrides_of(variant) if variant is not None else {})}
        config = GazeCLIPConfig().override(preset)
        if size == "tiny":
            blocks = changes.get("N")  # fewer leave room for fewer LoRAs, which is no contradiction of a row's name
            config = config.tiny(blocks) if isinstance(blocks, int) and blocks > 0 else config.tiny()
        return config.override(changes)

    @classmethod
    def assemble(
        cls,
        num_generators: int,
        config: GazeCLIPConfig,
        weights: WeightFiles | None,
        class_prompts: Sequence[Sequence[str]],
    ) -> Self:
        """`weights` is a CLIP ViT-B/32 state dict for both towers, or files named clip and gaze (an estimator inside).

        Prompts of classes are not used: text reaches this model through `losses` alone.

        Raises:
            ConfigError: a file for an estimator that is no part of the model.
        """
        files = weights if isinstance(weights, Mapping) else {"clip": weights} if weights is not None else {}
        model = cls(num_generators, config, files.get("clip"))
        if "gaze" not in files:
            return model
        if model.vpe.ge is None or model.vpe.ge.estimator is None:
            raise ConfigError(
                "weights named gaze are for gaze_encoder=frozen or finetuned; of stored gaze they are --gaze-weights"
            )
        model.vpe.ge.estimator.load(files["gaze"])
        return model

    @classmethod
    def options_of(cls, weights: WeightFiles) -> Mapping[str, Any]:
        """The network of a published file for the gaze estimator, and the side of the faces it was trained with."""
        file = weights.get("gaze") if isinstance(weights, Mapping) else None
        network = gaze_network_of(file) if file is not None else None
        return {"gaze_net": network, "gaze_side": PATCH_SIDE} if network is not None else {}

    @property
    def pretrained(self) -> tuple[str, ...]:
        """CLIP's weights, unless neither of its towers is used."""
        return self.card.weights if self.config.use_gie or self.config.use_lre else ()

    @property
    def pretrained_by_name(self) -> Mapping[str, tuple[str, ...]]:
        found = {"clip": self.pretrained, "gaze": self.weight_rows["gaze"] if self.config.gaze_online else ()}
        return {name: rows for name, rows in found.items() if rows}

    def parameters_of(self, stage: str) -> Iterable[nn.Parameter | ParameterGroup]:
        """All that learns; a gaze estimator that does is a group of its own, at `gaze_lr`."""
        estimator = self.vpe.ge.estimator if self.vpe.ge is not None else None
        own = [p for p in estimator.parameters() if p.requires_grad] if estimator is not None else []
        named = {id(parameter) for parameter in own}
        yield from (p for p in self.parameters() if p.requires_grad and id(p) not in named)
        if own:
            yield ParameterGroup(tuple(own), lr=self.config.gaze_lr)

    def embed(self, inputs: Inputs) -> Tensor:
        """Images (B, 3, H, W) and the gaze view (B, 2) to I_v (B, s)."""
        return self.traces(inputs)[0]

    def traces(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        """I_v (B, s), and I_ag W_ag (B, s), its part from the VPE.

        Raises:
            ConfigError: the gaze view is missing.
        """
        if missing := [name for name in self.needs if name not in inputs.views]:
            hint = " (pitch, yaw in radians); run `dfad gaze-extract` first" if missing == ["gaze"] else ""
            raise ConfigError(f"gazeclip needs the view {missing[0]!r}{hint}")
        gaze, present = self._gaze(inputs)
        appearance, gaze_token = self.vpe(inputs.images, gaze, present)
        parts = []
        mapped = self.W_ag(appearance) if self.W_ag is not None else None
        if mapped is not None:
            parts.append(mapped)
        if self.gie is not None and self.W_ig is not None:
            parts.append(self.W_ig(self.gie(self.prepare(inputs.images), gaze_token, present)))
        return torch.stack(parts).sum(dim=0), mapped

    def _gaze(self, inputs: Inputs) -> tuple[Tensor | None, Tensor | None]:
        """The gaze (B, 2), and where it is masked which faces have one; what stands for the others is never read.

        With an estimator inside: the faces it reads, (B, 3, side, side), which all have a gaze then.
        """
        if not self.config.use_gaze:
            return None, None
        gaze = inputs.views[self.needs[0]]
        if not isinstance(gaze, Tensor):
            raise TypeError(f"the view {self.needs[0]} must be a tensor, got {type(gaze).__name__}")
        if "gaze" not in inputs.present:
            return gaze, None
        present = inputs.has("gaze")
        known = torch.where(present[:, None], gaze, torch.zeros_like(gaze))
        return known, present if self.config.missing_gaze == "mask" else None

    def losses(self, batch: Batch, stage: str = "main") -> Mapping[str, Tensor | LossTerm]:
        """Equation 7's three terms; without LRE the first two.

        Raises:
            ConfigError: too few prompts per face.
        """
        embedding, appearance = self.traces(batch.inputs)
        losses = expert_losses(self.experts(embedding), batch)
        if self.lre is None or self.logit_scale is None:
            return losses
        # the first level only tells fake from real; the others name the type, the family and the generator
        term = detection_term if self.config.levels == 1 else attribution_term
        text, _ = self.language(batch.prompts)
        labels = row_keys([row[: self.config.levels] for row in batch.prompts])
        image = appearance if self.config.cmc_pair == "I_ag" and appearance is not None else embedding
        cmc = symmetric_infonce(
            image,
            text,
            self.logit_scale,
            targets=self.config.cmc_targets,
            labels=labels.to(image.device, non_blocking=True),
        )
        return {**losses, "cmc": term(cmc)}

    def language(self, prompts: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """T_g^l (B, s) of the faces' prompts, and (B,) numbers that are equal where the prompts are.

        A batch has as many different prompt rows as seen generators, at most: the tower runs on those and its
        result is gathered, which changes neither value nor gradient.
        """
        levels = self.config.levels
        if not prompts or any(len(row) < levels for row in prompts):
            raise ConfigError(f"gazeclip trains with {levels} prompts a face, coarse to fine; the batch has fewer")
        assert self.lre is not None
        distinct, index = unique_rows([row[:levels] for row in prompts])
        device = self.lre.P_l.device
        # the length of tokens is looked at, also where the model is counted without values
        with torch.device("cpu") if device.type == "meta" else nullcontext():
            tokens = tokenize([prompt for row in distinct for prompt in row])
        tokens = tokens.reshape(len(distinct), levels, PROMPT_TOKENS)
        text = self.lre(tokens.to(device, non_blocking=True), self.lre.used_length(tokens))
        return text[index.to(device, non_blocking=True)], index
