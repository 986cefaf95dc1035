"""RepDFD (Lin et al., AAAI 2025): a learned border of the image, and texts with a face in them, reprogram CLIP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.clip_based import CLIPBased
from dfad_bench.core.contract import (
    Batch,
    Card,
    Inputs,
    LossTerm,
    Output,
    ParameterGroup,
    detection_term,
    expert_losses,
)
from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.clip_towers import clip_model, freeze
from dfad_bench.layers.text import token_ids
from dfad_bench.losses.contrastive import MAX_LOGIT_SCALE

FACE_DIM = 512  # of the view `face_embedding`
PLACEHOLDER = "*"  # the word in whose place the face stands
REAL, FAKE, GENERATORS = slice(0, 1), slice(1, 2), slice(2, None)  # places of the texts


@dataclass(frozen=True)
class RepDFDConfig:
    """Sizes of the paper, with the ViT-B/32 that GazeCLIP Table VII's count implies; its own default is ViT-L/14.

    `decides`: "experts" reads both experts off the image's feature, and the face enters training alone; "texts" is the
    paper's own decision: detection by the real and the fake text, attribution by a text a generator, with the face in
    each, so that nothing learns but the border. `border_lr` is the border's own rate, in units of normalised pixels;
    null is the recipe's.
    """

    architecture: str = "ViT-B-32-quickgelu"
    side: int = 224
    inner: int = 156  # 0.7 of the side: the image in the middle; the rest is the border
    tiny_towers: bool = False
    real_text: str = "a photo of a real face"
    fake_text: str = "a photo of a fake face of *"
    decides: Literal["experts", "texts"] = "experts"
    border_lr: float | None = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.inner < self.side or (self.side - self.inner) % 2:
            raise ValueError(f"inner must be below side {self.side} by an even number, got {self.inner}")
        if self.border_lr is not None and self.border_lr <= 0:
            raise ValueError(f"border_lr must be above 0 or null, got {self.border_lr}")

    @classmethod
    def tiny(cls) -> RepDFDConfig:
        return cls(side=128, inner=90, tiny_towers=True)


class Reprogramming(nn.Module):
    """The image in the middle, and around it a border that is learned from zero, the mean colour: (B, 3, side, side).

    Only the border is stored: 3 (side² - inner²) numbers, 77,520 at 224 and 156.
    """

    places: Tensor  # of the border's pixels in the flat picture

    def __init__(self, side: int, inner: int) -> None:
        super().__init__()
        self.side, self.around = side, (side - inner) // 2
        last = side - self.around
        inside = [self.around <= place < last for place in range(side)]
        border = [y * side + x for y in range(side) for x in range(side) if not (inside[y] and inside[x])]
        self.delta = nn.Parameter(torch.zeros(3, len(border)))
        self.register_buffer("places", torch.tensor(border), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, inner, inner)."""
        around = self.delta.new_zeros(3, self.side**2).index_copy(1, self.places, self.delta)
        return F.pad(images, [self.around] * 4) + around.unflatten(1, (self.side, self.side))


class FaceTexts(nn.Module):
    """CLIP's frozen text tower over texts in which a placeholder's token is a face's embedding, through a fixed map.

    The map is a random linear layer without bias, entries of deviation 1/512, drawn once and stored; where tokens are
    wider than 512 the rest is zero.

    Args:
        clip: whose text tower.
        texts: the real and the fake text, then one a generator; the placeholder occurs once in each but the first.

    Raises:
        ConfigError: a text without placeholder, or with several.
    """

    tokens: Tensor  # (T, 77)
    faces: Tensor  # (T, 77) bool: where the face stands
    ends: Tensor  # (T,) place of the end token
    projection: Tensor  # (512, min(512, width))
    positional_embedding: nn.Parameter
    text_projection: nn.Parameter
    logit_scale: nn.Parameter

    def __init__(self, clip: Any, texts: Sequence[str]) -> None:
        super().__init__()
        word, rows = token_ids(PLACEHOLDER)[1], [token_ids(text) for text in texts]
        for text, row in zip(texts[1:], rows[1:], strict=True):
            if row.count(word) != 1:
                raise ConfigError(f"repdfd: the text must hold {PLACEHOLDER!r} once, as a word, got {text!r}")
        self.token_embedding, self.transformer = freeze(clip.token_embedding), freeze(clip.transformer)
        self.ln_final, self.word = freeze(clip.ln_final), word
        for name in ("positional_embedding", "text_projection", "logit_scale"):
            setattr(self, name, nn.Parameter(getattr(clip, name).detach(), requires_grad=False))
        width = clip.token_embedding.embedding_dim
        self.register_buffer("tokens", torch.tensor(rows), persistent=False)
        self.register_buffer("faces", torch.tensor([[t == word for t in row] for row in rows]), persistent=False)
        self.register_buffer("ends", torch.tensor([row.index(max(row)) for row in rows]), persistent=False)
        self.register_buffer("mask", clip.attn_mask.detach().clone(), persistent=False)
        self.register_buffer("projection", torch.randn(FACE_DIM, min(FACE_DIM, width)) / FACE_DIM)

    def face_token(self, embeddings: Tensor, present: Tensor) -> Tensor:
        """Face embeddings (B, 512) to tokens (B, width); of faces that have none, the placeholder's own token."""
        token = embeddings.to(self.projection.dtype) @ self.projection
        token = F.pad(token, (0, self.token_embedding.embedding_dim - token.shape[1]))
        return torch.where(present[:, None], token, self.token_embedding.weight[self.word])

    def forward(self, face: Tensor, chosen: slice) -> Tensor:
        """Tokens of faces (B, width) to the features (B, t, d) of the t chosen texts."""
        tokens, faces, ends = self.tokens[chosen], self.faces[chosen], self.ends[chosen]
        if chosen == REAL:  # the same for every face
            face = face[:1]
        x = torch.where(faces[None, :, :, None], face[:, None, None], self.token_embedding(tokens))  # (B, t, 77, w)
        x = x.flatten(0, 1) + self.positional_embedding
        x = self.ln_final(self.transformer(x, attn_mask=self.mask))
        last = x.unflatten(0, (-1, len(tokens)))[:, torch.arange(len(tokens), device=x.device), ends]
        features: Tensor = last @ self.text_projection
        return features

    def logits(self, image: Tensor, face: Tensor, chosen: slice) -> Tensor:
        """(B, t): scaled cosines of each image's feature (B, d) and its own texts; the scale is at most 100."""
        texts = F.normalize(self(face, chosen).float(), dim=-1)  # (B or 1, t, d)
        scale = self.logit_scale.float().clamp(max=MAX_LOGIT_SCALE).exp()
        return scale * (F.normalize(image.float(), dim=-1)[:, None] * texts).sum(dim=-1)


class TextExperts(nn.Module):
    """Both decisions by texts: an embedding [image feature, face token] to `Output`."""

    def __init__(self, texts: FaceTexts, dim: int) -> None:
        super().__init__()
        self.texts, self.dim = texts, dim

    def forward(self, embedding: Tensor) -> Output:
        image, face = embedding[:, : self.dim], embedding[:, self.dim :]
        return Output(self.texts.logits(image, face, GENERATORS), real_or_fake(self.texts, image, face), embedding)


def real_or_fake(texts: FaceTexts, image: Tensor, face: Tensor) -> Tensor:
    """(B, 2) logits of the real text and of the face's own fake text."""
    return torch.cat([texts.logits(image, face, REAL), texts.logits(image, face, FAKE)], dim=1)


class RepDFD(CLIPBased):
    """CLIP is frozen whole; the border learns, and both experts on the image's feature where they decide.

    Losses beside the experts': `reprogramming`, the cross-entropy over the real and the face's own fake text.
    """

    card = Card(
        display="Lin et al.",
        paper="K. Lin et al., Standing on the Shoulders of Giants: Reprogramming Visual-Language Model for General"
        " Deepfake Detection, AAAI 2025",
        year=2025,
        task="detection",
        idea="A learned border of the image and texts that hold the face turn a frozen CLIP into a detector.",
        added="both experts: one linear layer each on the image's feature; the real and the fake text stay as a loss"
        " (decides=texts: the texts decide, attribution by a text a generator)",
        deviations=(
            "ViT-B/32, which GazeCLIP Table VII's count implies; its own default is ViT-L/14 (architecture)",
            "face embeddings are a view (--view face_embedding.weights=FILE, of ArcFace's kind); without a file a"
            " stand-in that knows no identity is used, which run, record and boards name",
            "the border is added after normalisation and has a rate and a decay of its own, its paper's (border_lr)",
            "the words of both texts are ours (real_text, fake_text)",
            "starts from random weights unless weights are given; the paper starts from OpenAI's",
        ),
        notes=(
            "its own recipe is --recipe repdfd",
            "on a tiny random tower 64 faces are told apart (both heads 1.00 by L-BFGS), not in 400 steps of Adam: as"
            " all of CLIP is frozen only linear layers learn, on features that hardly differ",
        ),
        reference="https://github.com/KQL11/RepDFD",
        weights=("openai_clip_vit_b32", "openai_clip_vit_b32_archive", "openai_clip_vit_l14"),
        recipe="repdfd",
    )
    Config = RepDFDConfig
    image_size = 224
    reads_class_prompts = True
    missing_views = {"face_embedding": f"its texts keep the word {PLACEHOLDER!r} where a face would stand"}

    def __init__(
        self,
        num_generators: int,
        config: RepDFDConfig,
        weights: Path | None = None,
        class_prompts: Sequence[Sequence[str]] = (),
    ) -> None:
        clip = clip_model(config.architecture, config.side, weights, tiny=config.tiny_towers)
        by_text, dim = config.decides == "texts", clip.visual.output_dim
        width = clip.token_embedding.embedding_dim
        super().__init__(dim + width if by_text else dim, num_generators, side=config.side)
        if by_text and len(class_prompts) != num_generators:
            raise ConfigError("repdfd with decides=texts needs a prompt for each generator; check the prompt file")
        self.config = config
        self.needs, self.needs_training = (("face_embedding",), ()) if by_text else ((), ("face_embedding",))
        self.visual = freeze(clip.visual)
        self.reprogramming = Reprogramming(config.side, config.inner)
        generators = [f"{row[-1]}, the face of {PLACEHOLDER}" for row in class_prompts] if by_text else []
        texts = FaceTexts(clip, [config.real_text, config.fake_text, *generators])
        if by_text:
            self.experts = TextExperts(texts, dim)
        else:
            self.texts = texts

    def embed(self, inputs: Inputs) -> Tensor:
        """(B, d) image features, with the faces' tokens beside them where texts decide: (B, d + width)."""
        image: Tensor = self.visual(self.reprogrammed(inputs.images))
        experts = self._modules["experts"]  # itself, also while an added loss listens in its place
        if not isinstance(experts, TextExperts):
            return image
        face = self._face(experts.texts, inputs)
        return torch.cat([image, face.to(image.dtype)], dim=1)

    def reprogrammed(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1], reduced at once and not by way of `side`, to what CLIP sees."""
        inner = (self.config.inner,) * 2
        if images.shape[-2:] != inner:
            images = F.interpolate(images, inner, mode="bilinear", antialias=True, align_corners=False)
        mean, std = torch.tensor([self.mean, self.std], dtype=images.dtype)[:, :, None, None].to(
            images.device, non_blocking=True
        )
        shown: Tensor = self.reprogramming((images - mean) / std)
        return shown

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        """`dfa`, `dfd`; and `reprogramming` where experts decide.

        Raises:
            ConfigError: the view face_embedding is missing.
        """
        output = self(batch.inputs)
        losses: dict[str, Tensor | LossTerm] = dict(expert_losses(output, batch))
        if self.config.decides != "texts":
            logits = real_or_fake(self.texts, output.embedding, self._face(self.texts, batch))
            losses["reprogramming"] = detection_term(F.cross_entropy(logits, batch.detection))
        return losses

    def parameters_of(self, stage: str) -> Iterable[nn.Parameter | ParameterGroup]:
        """The border by its own AdamW, where it has a rate of its own; the experts as the recipe says."""
        rate, border = self.config.border_lr, self.reprogramming.delta
        yield border if rate is None else ParameterGroup((border,), lr=rate, weight_decay=2e-4, optimiser="adamw")
        yield from (p for name, p in self.named_parameters() if name.startswith("experts.") and p.requires_grad)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.visual.eval()
        return self

    @staticmethod
    def _face(texts: FaceTexts, given: Inputs | Batch) -> Tensor:
        """Tokens of the faces (B, width)."""
        embeddings = given.views.get("face_embedding")
        if not isinstance(embeddings, Tensor):
            raise ConfigError("repdfd needs the view 'face_embedding', (B, 512)")
        return texts.face_token(embeddings, given.has("face_embedding"))
