"""CLIP token by token: the towers' own features where they are read as CLIP reads them."""

from __future__ import annotations

import torch

from dfad_bench.layers.clip_tokens import ImageTokens, TextTokens
from dfad_bench.layers.clip_towers import clip_model
from dfad_bench.layers.text import tokenize


@torch.no_grad()
def test_the_class_token_and_the_end_token_are_what_clip_projects() -> None:
    torch.manual_seed(0)
    clip = clip_model(image_size=64, tiny=True).eval()
    images, tokens = torch.rand(3, 3, 64, 64), tokenize(["a face", "the model of this photo is DDPM"])
    image, text = ImageTokens(clip.visual), TextTokens(clip)
    found = image(images)
    assert found.shape == (3, 17, image.width)
    assert torch.allclose(found[:, 0] @ clip.visual.proj, clip.encode_image(images), atol=1e-5)
    words = text(tokens)
    assert words.shape == (2, 77, text.width)
    ends = torch.stack([row[int(ids.argmax())] for row, ids in zip(words, tokens, strict=True)])
    assert torch.allclose(ends @ clip.text_projection, clip.encode_text(tokens), atol=1e-5)
