"""Random changes of one face, as recipes name them (`engine.augment.AUGMENTATIONS`).

A change is a frozen dataclass of its settings, checked when it is made. Called with an image (3, H, W), RGB in [0, 1],
and the draws of its face, it gives an image of the same shape, range, type and device. Pairs of numbers are ranges,
both ends included, from which a value is drawn for each face.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from dfad_bench.core.errors import quoted
from dfad_bench.core.recipe import require

Geometry = Literal["none", "mirror", "other"]


class Draws:
    """Random numbers of one change of one face, from a generator that belongs to the caller.

    Args:
        generator: on the CPU, so that the numbers are the same on every device.
        seed: the state it is set to.
    """

    def __init__(self, generator: torch.Generator, seed: int) -> None:
        self._generator = generator.manual_seed(seed)

    def unit(self) -> float:
        """A number in [0, 1)."""
        return float(torch.rand((), dtype=torch.float64, generator=self._generator))

    def uniform(self, ends: tuple[float, float]) -> float:
        """A number between the ends."""
        return ends[0] + self.unit() * (ends[1] - ends[0])

    def whole_number(self, ends: tuple[int, int]) -> int:
        """A whole number between the ends, both included."""
        return min(ends[0] + int(self.unit() * (ends[1] - ends[0] + 1)), ends[1])

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape, type and device of a tensor."""
        return torch.randn(like.shape, generator=self._generator).to(like)

    def order(self, count: int) -> list[int]:
        """The numbers from 0 to `count`, shuffled."""
        return torch.randperm(count, generator=self._generator).tolist()


@dataclass(frozen=True)
class Change:
    """What all changes have; `geometry` says whether places in the image change, and so what views hold."""

    geometry: ClassVar[Geometry] = "none"

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        raise NotImplementedError


@dataclass(frozen=True)
class HorizontalFlip(Change):
    """Left and right exchanged."""

    geometry: ClassVar[Geometry] = "mirror"

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        return image.flip(-1)


@dataclass(frozen=True)
class RandomResizedCrop(Change):
    """A window with a share `scale` of the area and an aspect `ratio` (width by height), resized to the whole size.

    A window that would reach beyond the image is as wide or high as the image.
    """

    geometry: ClassVar[Geometry] = "other"
    scale: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)

    def __post_init__(self) -> None:
        _require_range("scale", self.scale, 0.01, 1)
        _require_range("ratio", self.ratio, 0.1, 10)

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        from torchvision.transforms.v2 import functional

        height, width = image.shape[-2:]
        tall, wide = _window(height, width, draws.uniform(self.scale), _log_uniform(self.ratio, draws))
        top, left = draws.whole_number((0, height - tall)), draws.whole_number((0, width - wide))
        return functional.resized_crop(image, top, left, tall, wide, [height, width], antialias=True).clamp(0, 1)


@dataclass(frozen=True)
class Rotation(Change):
    """Turned about the centre by up to `degrees`, either way; corners become black."""

    geometry: ClassVar[Geometry] = "other"
    degrees: float = 10.0

    def __post_init__(self) -> None:
        require(0 < self.degrees <= 180, f"degrees must lie in (0, 180], got {self.degrees:g}")

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional

        angle = draws.uniform((-self.degrees, self.degrees))
        return functional.rotate(image, angle, interpolation=InterpolationMode.BILINEAR).clamp(0, 1)


@dataclass(frozen=True)
class _Compression(Change):
    """Encoded in eight bits by Pillow at a `quality`, and decoded."""

    format: ClassVar[str]
    quality: tuple[int, int] = (40, 100)

    def __post_init__(self) -> None:
        _require_range("quality", self.quality, 1, 100)

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        from PIL import Image

        pixels = (image * 255).round().clamp(0, 255).to("cpu", torch.uint8).permute(1, 2, 0).numpy()
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, format=self.format, quality=draws.whole_number(self.quality))
            decoded = np.array(Image.open(file).convert("RGB"))
        return torch.from_numpy(decoded).permute(2, 0, 1).to(image).div_(255)


@dataclass(frozen=True)
class Jpeg(_Compression):
    """JPEG with a `quality` of 1 to 100, colours at half the resolution (4:2:0)."""

    format: ClassVar[str] = "JPEG"


@dataclass(frozen=True)
class Webp(_Compression):
    """Lossy WebP with a `quality` of 1 to 100."""

    format: ClassVar[str] = "WEBP"


@dataclass(frozen=True)
class GaussianBlur(Change):
    """Blurred with a `sigma` in pixels, or with an odd `kernel` size in pixels.

    The kernel reaches three sigma. Where `kernel` is given it takes the place of `sigma`, which is then
    0.3 ((kernel - 1) / 2 - 1) + 0.8, as OpenCV has it for kernels without a sigma.
    """

    sigma: tuple[float, float] = (0.1, 2.0)
    kernel: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        _require_range("sigma", self.sigma, 0.05, 50)
        if self.kernel is not None:
            _require_range("kernel", self.kernel, 3, 99)
            require(all(end % 2 for end in self.kernel), f"kernel sizes must be odd, got {quoted(list(self.kernel))}")

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        from torchvision.transforms.v2 import functional

        if self.kernel is None:
            sigma = draws.uniform(self.sigma)
            size = 2 * math.ceil(3 * sigma) + 1
        else:
            size = 2 * draws.whole_number((self.kernel[0] // 2, self.kernel[1] // 2)) + 1
            sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8
        size = min(size, 2 * min(image.shape[-2:]) - 1)  # the border is reflected, which needs as many pixels
        return functional.gaussian_blur(image, [size, size], [sigma, sigma]).clamp(0, 1)


@dataclass(frozen=True)
class GaussianNoise(Change):
    """Independent normal noise on every value, with a standard deviation `std` (1 is the whole range)."""

    std: tuple[float, float] = (0.0, 0.05)

    def __post_init__(self) -> None:
        _require_range("std", self.std, 0, 1)

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        return (image + draws.uniform(self.std) * draws.normal(image)).clamp(0, 1)


@dataclass(frozen=True)
class ColorJitter(Change):
    """Brightness, contrast, then saturation times a factor each; (1, 1) leaves one as it is."""

    brightness: tuple[float, float] = (0.8, 1.2)
    contrast: tuple[float, float] = (0.8, 1.2)
    saturation: tuple[float, float] = (0.8, 1.2)

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            _require_range(name, getattr(self, name), 0, 10)

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        from torchvision.transforms.v2 import functional

        image = functional.adjust_brightness(image, draws.uniform(self.brightness))
        image = functional.adjust_contrast(image, draws.uniform(self.contrast))
        return functional.adjust_saturation(image, draws.uniform(self.saturation))


@dataclass(frozen=True)
class Downscale(Change):
    """Resized to a share `scale` of its side and back."""

    scale: tuple[float, float] = (0.5, 0.9)

    def __post_init__(self) -> None:
        _require_range("scale", self.scale, 0.01, 1)

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        from torchvision.transforms.v2 import functional

        sides, scale = list(image.shape[-2:]), draws.uniform(self.scale)
        small = functional.resize(image, [max(1, round(scale * side)) for side in sides], antialias=True)
        return functional.resize(small, sides, antialias=True).clamp(0, 1)


@dataclass(frozen=True)
class RandomErasing(Change):
    """A rectangle with a share `area` of the face and an aspect `ratio` (width by height) set to `fill`."""

    area: tuple[float, float] = (0.02, 0.2)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)
    fill: float = 0.0

    def __post_init__(self) -> None:
        _require_range("area", self.area, 0.001, 1)
        _require_range("ratio", self.ratio, 0.1, 10)
        require(0 <= self.fill <= 1, f"fill must lie in [0, 1], got {self.fill:g}")

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        height, width = image.shape[-2:]
        tall, wide = _window(height, width, draws.uniform(self.area), _log_uniform(self.ratio, draws))
        top, left = draws.whole_number((0, height - tall)), draws.whole_number((0, width - wide))
        image = image.clone()
        image[:, top : top + tall, left : left + wide] = self.fill
        return image


@dataclass(frozen=True)
class Grayscale(Change):
    """Luminance in all three channels."""

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        from torchvision.transforms.v2 import functional

        return functional.rgb_to_grayscale(image, num_output_channels=3).clamp(0, 1)


def _require_range(name: str, ends: tuple[float, float], least: float, most: float) -> None:
    require(
        least <= ends[0] <= ends[1] <= most,
        f"{name} must be two rising numbers from {least:g} to {most:g}, got {quoted(list(ends))}",
    )


def _log_uniform(ends: tuple[float, float], draws: Draws) -> float:
    return math.exp(draws.uniform((math.log(ends[0]), math.log(ends[1]))))


def _window(height: int, width: int, share: float, ratio: float) -> tuple[int, int]:
    """Height and width of a rectangle with a share of the area and an aspect ratio, at most the whole."""
    area = share * height * width
    tall, wide = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
    return min(max(tall, 1), height), min(max(wide, 1), width)
