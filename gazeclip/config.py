"""Every size of GazeCLIP in the paper's letters, and every question the paper leaves open as a named setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from dfad_bench.core.strict import from_mapping
from dfad_bench.layers.gaze_resnet import PATCH_SIDE, GazeNetwork

PROMPT_TOKENS = 77  # CLIP's context: one level of the text prompts


@dataclass(frozen=True)
class GazeCLIPConfig:
    """Section IV-A's sizes, then the switches of the ablations, then the open questions (`gazeclip/README.md`).

    `N`, `L`, `d` and `s` are those of the CLIP architecture named by `clip`; another CLIP needs them changed too.
    `m` (patches) and `t` (text tokens) follow from `clip_size` and `levels`: 64 and 308 by default.
    """

    E: int = 6  # blocks of the appearance-gaze transformer (AGTE)
    L: int = 12  # text blocks (TRTB)
    N: int = 12  # image blocks (GITB)
    a: int = 1024  # width of appearance and gaze tokens
    d: int = 768  # width of image tokens
    s: int = 512  # width of text tokens, and of the embedding both experts read
    r: int = 8  # heads of the gaze injector and of the AGTE
    lora_rank: int = 8
    lora_alpha: float = 32.0
    clip: str = "ViT-B-32-quickgelu"  # open_clip's name, or "tiny"
    patch: int = 32  # pixels a patch side, as in `clip`

    use_agpm: bool = True  # Table VI
    use_gaze: bool = True  # Tables VI and XIII: False drops the gaze token and the injectors
    use_gie: bool = True  # Table VI
    use_lre: bool = True  # Table VI: False trains without text, hence without `cmc`
    use_gi: bool = True  # Table XIII: False keeps the gaze token, drops the injectors
    aws_pos: Literal["before", "between", "after", "none"] = "before"  # Tables IV and IX
    gi_query: Literal["cls", "patch", "all"] = "cls"  # Table X
    missing_gaze: Literal["mask", "zero"] = "mask"  # a face without a gaze: no gaze token, or looking straight ahead
    gaze_encoder: Literal["stored", "frozen", "finetuned"] = "stored"  # Table XIII: estimator outside, inside, learning
    gaze_net: GazeNetwork = "resnet50"  # the estimator inside: as published, ptgaze's ResNet-18, or "tiny"
    gaze_side: int = PATCH_SIDE  # pixels of the normalised faces it reads
    gaze_lr: float | None = None  # of a learning estimator; null: as all else
    levels: int = 4  # Table XI: prompts L1 to L<levels>
    context: int = 0  # Table XI, LP: learned context vectors behind the last prompt; 16 in its row
    lora_gie: int = 2  # Table XII: the last so many GITBs are followed by a LoRA
    lora_lre: int = 1  # Table XII: likewise TRTBs

    clip_size: int = 256  # pixels CLIP sees: 256 gives m = 64 as printed, 224 is what the weights were trained at
    ae_size: int = 224  # pixels the appearance encoder sees: 224 gives its printed 7 x 7 map
    ae_widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    ae_depths: tuple[int, ...] = (3, 3, 3, 4, 4)
    gi_inner: int = 768  # width of query, key and value: d as printed, or 512 (eight heads of 64)
    gi_fast: bool = True  # skip W_que and W_key, which cannot matter with one gaze token; same output
    shortcuts: bool = True  # leave out what no loss depends on: same output and gradients up to rounding
    legacy_scale: bool = False  # AGTE: divide logits by sqrt(a), as CViT's code does, instead of sqrt(a / r)
    cmc_pair: Literal["I_v", "I_ag"] = "I_v"  # what is compared with the text: III-B says I_v, III-F says I_ag
    cmc_targets: Literal["diag", "multi"] = "diag"  # "multi" spreads the target over equal captions: same value
    mask_padding: bool = False  # True hides the zeros behind each prompt, which CLIP's text tower attends to
    text_projection: bool = True  # CLIP's own projection after the pooled text token
    learn_positions: bool = False  # P_i and P_l learn, as III-D and III-E call them; frozen as the rest of CLIP

    def __post_init__(self) -> None:
        if not (self.use_agpm or self.use_gie):
            raise ValueError("use_agpm and use_gie cannot both be false: nothing would see the image")
        if self.clip_size % self.patch:
            raise ValueError(f"clip_size {self.clip_size} is no multiple of the patch side {self.patch}")
        if self.ae_size % 2 ** len(self.ae_widths):
            raise ValueError(f"ae_size {self.ae_size} is no multiple of {2 ** len(self.ae_widths)}")
        if not 1 <= self.levels <= 4:
            raise ValueError(f"levels must be 1 to 4, got {self.levels}")
        if not 0 <= self.context <= PROMPT_TOKENS:
            raise ValueError(f"context must be 0 to {PROMPT_TOKENS}, got {self.context}")
        if not (0 <= self.lora_gie <= self.N and 0 <= self.lora_lre <= self.L):
            raise ValueError(f"lora_gie must be 0 to {self.N} and lora_lre 0 to {self.L}")
        if self.gi_inner % self.r or self.a % self.r:
            raise ValueError(f"gi_inner {self.gi_inner} and a {self.a} must divide into r = {self.r} heads")
        if self.use_lre and self.cmc_pair == "I_ag" and not self.use_agpm:
            raise ValueError("cmc_pair I_ag needs use_agpm")
        if self.gaze_encoder != "stored" and not self.use_gaze:
            raise ValueError(f"gaze_encoder {self.gaze_encoder} needs use_gaze")
        if self.gaze_lr is not None and not (self.gaze_lr > 0 and self.gaze_encoder == "finetuned"):
            raise ValueError(f"gaze_lr must be above 0 and needs gaze_encoder=finetuned, got {self.gaze_lr}")

    @property
    def m(self) -> int:
        """Patches of the image CLIP sees."""
        return (self.clip_size // self.patch) ** 2

    @property
    def t(self) -> int:
        """Text tokens: `levels` prompts of 77, and the learned context."""
        return self.levels * PROMPT_TOKENS + self.context

    @property
    def gaze_online(self) -> bool:
        """Whether the gaze estimator is part of the model."""
        return self.use_gaze and self.gaze_encoder != "stored"

    @property
    def injects(self) -> bool:
        """Whether image blocks carry a gaze injector."""
        return self.use_gie and self.use_gaze and self.use_gi

    def tiny(self, blocks: int = 4) -> GazeCLIPConfig:
        """The same modules at toy widths, with the same switches; with N = 4 the rows of Table XII differ."""
        return replace(
            self,
            E=2,
            L=2,
            N=blocks,
            a=64,
            d=32,
            s=32,
            r=4,
            clip="tiny",
            patch=16,
            clip_size=64,
            ae_size=128,
            ae_widths=(8, 16, 16, 32, 32),
            ae_depths=(1, 1, 1, 1, 1),
            gi_inner=32,
            gaze_net="tiny",
            gaze_side=64,
            lora_gie=min(self.lora_gie, blocks),
            lora_lre=min(self.lora_lre, 2),
        )

    def override(self, options: Mapping[str, Any]) -> GazeCLIPConfig:
        """This configuration with some settings changed.

        Raises:
            ConfigError: an unknown setting (the nearest is offered), a wrong type, or settings that contradict.
        """
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return from_mapping(GazeCLIPConfig, {**own, **options}, "gazeclip settings")
