"""Any image network of timm or open_clip as a backbone: pixels in, tokens or one vector out; nothing is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.errors import ConfigError, UnknownNameError, cut, quoted

FeatureKind = Literal["pooled", "cls", "avg", "cls+avg", "tokens"]
OPEN_CLIP = "open_clip:"  # before names of open_clip's architectures


@dataclass(frozen=True)
class Preset:
    """How a backbone wants its images, and where its published weights are.

    `mean` and `std` are of RGB in [0, 1]; a whole square crop is resized to `side`, with antialiasing, by
    `interpolation`: the crop margins of the libraries' own evaluation are left out, since face crops are cropped.
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"]
    origin: str


@dataclass(frozen=True)
class BackboneFacts:
    """Shapes of what a backbone gives: `tokens` positions of `width` numbers, the first `prefix` special tokens.

    `pooled` is the width of its own pooling (attention, class token or average, as the network was built). 0 tokens:
    none can be had (open_clip's CoCa).
    """

    name: str
    preset: Preset
    tokens: int
    width: int
    prefix: int
    pooled: int

    def shape(self, kind: FeatureKind) -> tuple[int, ...]:
        """Shape of a face's features.

        Raises:
            ConfigError: a class token of a network that has none.
        """
        if kind != "pooled" and not self.tokens:
            raise ConfigError(f"backbone {self.name} gives its pooled features only; take feature=pooled")
        if kind.startswith("cls") and not self.prefix:
            raise ConfigError(f"backbone {self.name} has no class token; take feature=avg or feature=pooled")
        shapes = {"pooled": (self.pooled,), "tokens": (self.tokens, self.width), "cls+avg": (2 * self.width,)}
        return shapes.get(kind, (self.width,))


class Backbone(nn.Module):
    """A network with its preset. `network` keeps the library's own names, so that published files load.

    Args:
        name: as the user gave it.
        network: timm's, without classifier, or open_clip's image tower.
        preset: how it wants its images.
    """

    def __init__(self, name: str, network: Any, preset: Preset) -> None:
        super().__init__()
        self.name, self.preset = name, preset
        self.network = network

    @property
    def trunk(self) -> Any:
        """The network of timm, also where open_clip wraps one; None for open_clip's own towers."""
        if not self.name.startswith(OPEN_CLIP):
            return self.network
        return getattr(self.network, "trunk", None)

    @property
    def prefix(self) -> int:
        """How many tokens stand before those of the image: class token and registers."""
        if self.trunk is not None:
            return int(getattr(self.trunk, "num_prefix_tokens", None) or 0)
        return int(getattr(self.network, "class_embedding", None) is not None)

    def prepare(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] to what the network was trained on, (B, 3, side, side)."""
        preset, side = self.preset, (self.preset.side, self.preset.side)
        if images.shape[-2:] != side:
            images = F.interpolate(images, side, mode=preset.interpolation, antialias=True, align_corners=False)
            images = images.clamp(0, 1)  # bicubic overshoots
        mean, std = (images.new_tensor(values)[:, None, None] for values in (preset.mean, preset.std))
        return (images - mean) / std

    def features(self, images: Tensor, kind: FeatureKind) -> Tensor:
        """Prepared images to (B, d), or (B, N, d) for "tokens".

        "pooled" is timm's `forward_head(..., pre_logits=True)`, of open_clip the projected embedding, not normalised.
        """
        if kind == "pooled":
            return self._pooled(images)
        tokens = self._tokens(images)  # (B, N, d)
        if kind == "tokens":
            return tokens
        parts = {"cls": tokens[:, 0], "avg": tokens[:, self.prefix :].mean(dim=1)}
        return torch.cat([parts[part] for part in kind.split("+")], dim=1)

    def _pooled(self, images: Tensor) -> Tensor:
        if self.name.startswith(OPEN_CLIP):
            found = self.network(images)
            return found[0] if isinstance(found, tuple) else found
        return self.network.forward_head(self.network.forward_features(images), pre_logits=True)

    def _tokens(self, images: Tensor) -> Tensor:
        """After the last norm; positions of a map in rows."""
        if self.trunk is None:
            return _open_clip_tokens(self.network, images)
        found = self.trunk.forward_features(images)
        if not isinstance(found, Tensor) or found.ndim not in (3, 4):
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(f"backbone {self.name}: its features ({what}) are neither tokens nor a map")
        if found.ndim == 3:
            return found
        last = getattr(self.trunk, "output_fmt", "NCHW") == "NHWC"
        return found.flatten(1, 2) if last else found.flatten(2).transpose(1, 2)


def _open_clip_tokens(tower: Any, images: Tensor) -> Tensor:
    if not hasattr(tower, "transformer"):  # its ResNets
        found = tower.forward_intermediates(images, indices=1, intermediates_only=True, output_fmt="NCHW")
        return found["image_intermediates"][-1].flatten(2).transpose(1, 2)
    found = tower.forward_intermediates(
        images, indices=1, normalize_intermediates=True, intermediates_only=True, output_fmt="NLC",
        output_extra_tokens=True,
    )  # fmt: skip
    prefix = found.get("image_intermediates_prefix")
    tokens = found["image_intermediates"][-1]
    return tokens if prefix is None else torch.cat([prefix[-1], tokens], dim=1)


def build_backbone(name: str, side: int | None = None) -> Backbone:
    """A backbone with random weights, on torch's default device, in evaluation mode.

    Args:
        name: timm's ("vit_base_patch16_dinov3", with a tag behind a dot or without), or open_clip's behind
            "open_clip:" ("open_clip:ViT-B-16-SigLIP2", with a tag behind a slash or without).
        side: of its images, where not its own.

    Raises:
        UnknownNameError: no such network; names the nearest.
        ConfigError: it cannot be built for images of this side, or gives no features.
    """
    build = _open_clip if name.startswith(OPEN_CLIP) else _timm
    try:
        return build(name, side).eval()
    except (AssertionError, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, NotImplementedError) or "meta" in str(error):
            raise  # an operation without values
        at = f" for {side} pixels" if side else ""
        raise ConfigError(f"backbone {cut(name)}: cannot be built{at} ({_words(error)})") from error


def _timm(name: str, side: int | None) -> Backbone:
    import timm

    if not timm.is_model(name):
        raise _unknown_backbone(name)
    try:
        own = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{name.partition('.')[0]}.*")
        raise UnknownNameError("backbone", name, tags) from error
    sized: dict[str, Any] = {"img_size": side} if side and own is not None and own.fixed_input_size else {}
    network: Any = timm.create_model(name, pretrained=False, num_classes=0, **sized)
    config = timm.data.resolve_data_config(model=network)
    channels, height, width = config["input_size"]
    if channels != 3 or height != width or not hasattr(network, "forward_head"):
        raise ConfigError(f"backbone {name}: takes no square RGB images, or has no features before its classifier")
    about = network.pretrained_cfg
    published = about.get("hf_hub_id")
    origin = f"model.safetensors of https://huggingface.co/{published}" if published else about.get("url") or ""
    licence = f" ({about['license']})" if about.get("license") and origin else ""
    return Backbone(name, network, _preset(side or height, config, origin + licence))


def _open_clip(name: str, side: int | None) -> Backbone:
    import open_clip
    from open_clip.model import _build_vision_tower

    architecture, _, tag = name.removeprefix(OPEN_CLIP).partition("/")
    config = open_clip.get_model_config(architecture) if architecture in open_clip.list_models() else None
    if config is None:
        raise _unknown_backbone(name)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag and tag not in tags:
        raise UnknownNameError("backbone", name, [f"{OPEN_CLIP}{architecture}/{each}" for each in tags])
    published = open_clip.get_pretrained_cfg(architecture, tag or tags[0]) if tags else {}
    vision = {**config["vision_cfg"], "timm_model_pretrained": False}  # a text tower, and its tokenizer, are not built
    vision |= {"image_size": side} if side else {}
    network = _build_vision_tower(config["embed_dim"], vision, config.get("quick_gelu", False))
    size = network.image_size
    origin, hub = published.get("url") or "", published.get("hf_hub") or ""
    if hub:
        repository, _, file = hub.rpartition("/")
        origin = f"{file or 'open_clip_model.safetensors'} of https://huggingface.co/{repository}"
    clip = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD, "interpolation": "bicubic"}
    known = {key: value for key, value in published.items() if key in clip and value}
    return Backbone(name, network, _preset(size if isinstance(size, int) else size[0], {**clip, **known}, origin))


def _preset(side: int, config: Any, origin: str) -> Preset:
    mean, std = (tuple(float(value) for value in config[key]) for key in ("mean", "std"))
    return Preset(side, mean, std, "bilinear" if config["interpolation"] == "bilinear" else "bicubic", origin)  # type: ignore[arg-type]  # three values each


def _unknown_backbone(name: str) -> UnknownNameError:
    import open_clip
    import timm

    known = [*timm.list_models(), *(f"{OPEN_CLIP}{each}" for each in open_clip.list_models())]
    return UnknownNameError("backbone", name, known)


@lru_cache(maxsize=64)
def backbone_facts(name: str, side: int | None = None) -> BackboneFacts:
    """The shapes of a backbone, found without its numbers; arguments and errors as of `build_backbone`."""

    def found_on(device: str) -> BackboneFacts:
        with torch.device(device):
            backbone = build_backbone(name, side)
            preset = backbone.preset
            images = torch.zeros(1, 3, preset.side, preset.side)
        pooled = backbone.features(images, "pooled")
        if pooled.ndim != 2:
            raise ConfigError(f"backbone {name}: its pooled features have shape {tuple(pooled.shape[1:])}")
        try:
            count, width = backbone.features(images, "tokens").shape[1:]
        except (AttributeError, RuntimeError, ConfigError):
            count = width = 0
        return BackboneFacts(name, preset, count, width, backbone.prefix, pooled.shape[1])

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            return found_on("meta")
        except (NotImplementedError, RuntimeError):  # an operation that needs values
            return _checked_shapes(name, lambda: found_on("cpu"))


def _checked_shapes(name: str, find: Any) -> BackboneFacts:
    try:
        return find()
    except (AttributeError, RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(f"backbone {quoted(name)}: gives no features ({_words(error)})") from error


def _words(error: BaseException) -> str:
    return cut(" ".join(f"{type(error).__name__}: {error}".split()), 160)
