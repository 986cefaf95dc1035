"""Augmentation as recipes state it: random changes of the training faces of each batch, drawn face by face.

What is drawn for a face is a pure function of the step's seed and of the face's place in the whole batch. So it is the
same however a batch is split over processes, on whatever device, and in a resumed run; no global generator is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfad_bench.core.batch import Batch, ViewValue
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.recipe import Augmentation, require
from dfad_bench.core.registry import resolve
from dfad_bench.core.strict import from_mapping
from dfad_bench.engine.face_changes import Change, Draws
from dfad_bench.engine.seeding import derived

AUGMENTATIONS = {
    "horizontal_flip": "dfad_bench.engine.face_changes:HorizontalFlip",
    "random_resized_crop": "dfad_bench.engine.face_changes:RandomResizedCrop",
    "rotation": "dfad_bench.engine.face_changes:Rotation",
    "jpeg": "dfad_bench.engine.face_changes:Jpeg",
    "webp": "dfad_bench.engine.face_changes:Webp",
    "gaussian_blur": "dfad_bench.engine.face_changes:GaussianBlur",
    "gaussian_noise": "dfad_bench.engine.face_changes:GaussianNoise",
    "color_jitter": "dfad_bench.engine.face_changes:ColorJitter",
    "downscale": "dfad_bench.engine.face_changes:Downscale",
    "random_erasing": "dfad_bench.engine.face_changes:RandomErasing",
    "grayscale": "dfad_bench.engine.face_changes:Grayscale",
    "some_of": "dfad_bench.engine.augment:SomeOf",
}
Places = range | np.ndarray
Mirror = Callable[[ViewValue], ViewValue]


@dataclass(frozen=True)
class SomeOf(Change):
    """`count` of the changes `among`, each with its default settings, in random order, much as RandAugment does."""

    count: int = 2
    among: tuple[str, ...] = ("color_jitter", "gaussian_blur", "gaussian_noise", "grayscale", "downscale", "jpeg")

    def __post_init__(self) -> None:
        require(len(set(self.among)) == len(self.among), f"among lists a name twice: {quoted(list(self.among))}")
        require(
            1 <= self.count <= len(self.among), f"count must be 1 to {len(self.among)} (of `among`), got {self.count}"
        )
        changes = [make_change(name) for name in self.among if name != "some_of"]
        fixed = all(change.geometry == "none" for change in changes)
        require(fixed and len(changes) == len(self.among), "among takes changes that move no pixels, and not some_of")

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """The changed face."""
        for number in draws.order(len(self.among))[: self.count]:
            image = make_change(self.among[number])(image, draws)
        return image


class Augmenter:
    """The augmentations of a recipe, ready to be applied.

    Args:
        augmentations: `Recipe.augment`, applied in order.
        views: names of all views the model is given in training.
        mirrors: what flipping a face does to the values of each view (`FaceDataset.mirrors`); a view that is not in it
            is taken with its default settings.
        where: begins the error lines; usually names the recipe.

    Raises:
        UnknownNameError: no augmentation of that name.
        ConfigError: an unknown setting, a value out of range, or a change that moves pixels for a model whose views
            cannot follow it.
    """

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        *,
        views: Iterable[str] = (),
        mirrors: Mapping[str, Mirror] | None = None,
        where: str = "augment",
    ) -> None:
        self._mirrors = dict(mirrors or {})
        self._changes = [
            (item.probability, make_change(item.name, item.settings, f"{where}[{number}] ({item.name})"))
            for number, item in enumerate(augmentations)
        ]
        for name in views:
            if self._changes and (instead := exact_pixels(name)):
                raise ConfigError(
                    f"{where}: {augmentations[0].name} changes pixels, and the model's view {name!r} was made once, of"
                    f" the faces as they are; leave augmentation out of the recipe, or {instead}"
                )
        moved = [item.name for item, (_, change) in zip(augmentations, self._changes, strict=True)
                 if change.geometry == "other"]  # fmt: skip
        fixed = [name for name in views if not is_text_view(name)] if moved else []
        if fixed:
            raise ConfigError(
                f"{where}: {moved[0]} moves pixels, and the model's view {fixed[0]!r} cannot follow;"
                " leave it out of the recipe (horizontal_flip is possible)"
            )

    def __bool__(self) -> bool:
        return bool(self._changes)

    def __call__(self, batch: Batch, *, seed: int, rows: Places, unlabelled_rows: Places | None = None) -> Batch:
        """The batch with its faces changed; views follow flips.

        Args:
            batch: a batch, or this process's part of one.
            seed: of the step.
            rows: the place of each face of `batch` in the whole batch.
            unlabelled_rows: the same for its unlabelled faces; None: the whole batch's, in order.

        Raises:
            ValueError: not as many places as faces.
        """
        if not self:
            return batch
        images, flipped = self._changed(batch.inputs.images, derived(seed, "labelled"), rows)
        inputs = replace(batch.inputs, images=images, views=self._followed(batch.inputs.views, flipped))
        unlabelled = batch.unlabelled
        if unlabelled is not None:
            places = range(len(unlabelled)) if unlabelled_rows is None else unlabelled_rows
            images, turned = self._changed(unlabelled.images, derived(seed, "unlabelled"), places)
            unlabelled = replace(unlabelled, images=images, views=self._followed(unlabelled.views, turned))
        return replace(batch, inputs=inputs, views=self._followed(batch.views, flipped), unlabelled=unlabelled)

    def _followed(self, views: Mapping[str, ViewValue], flipped: Tensor) -> dict[str, ViewValue]:
        """The views of faces of which some are flipped."""
        if not flipped.any():
            return dict(views)
        return {name: _chosen(flipped, self._mirrored(name, values), values) for name, values in views.items()}

    def _mirrored(self, name: str, values: ViewValue) -> ViewValue:
        return self._mirrors[name](values) if name in self._mirrors else mirrored_view(name, values)

    def _changed(self, images: Tensor, seed: int, places: Places) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) changed images, and (B,) bool on the CPU, which of them are flipped."""
        if len(places) != len(images):
            raise ValueError(f"{len(places)} places for {len(images)} faces")
        generator = torch.Generator()
        changed, flipped = torch.empty_like(images), torch.zeros(len(images), dtype=torch.bool)
        for row, place in enumerate(places):
            image = images[row]
            for number, (probability, change) in enumerate(self._changes):
                draws = Draws(generator, derived(seed, int(place), number))
                if draws.unit() < probability:
                    image = change(image, draws)
                    flipped[row] ^= change.geometry == "mirror"
            changed[row] = image
        return changed, flipped


def make_change(name: str, settings: Mapping[str, Any] | None = None, where: str = "augment") -> Change:
    """A change by name with the given settings, the others as by default.

    Raises:
        UnknownNameError: no such change.
        ConfigError: an unknown setting or a value out of range.
    """
    return from_mapping(resolve("augmentation", name, AUGMENTATIONS), dict(settings or {}), where)


def exact_pixels(name: str) -> str:
    """What to do instead of changing the pixels that a view was made of; empty where its values may stay."""
    from dfad_bench.views.registry import view_class, view_names

    return view_class(name).exact_pixels if name in view_names() else ""  # tests bring views that are not registered


def is_text_view(name: str) -> bool:
    """Whether a view is text, which no change of pixels touches."""
    from dfad_bench.views.registry import view_class

    return view_class(name).kind == "text"


def mirrored_view(name: str, values: ViewValue) -> ViewValue:
    """The values of a view for flipped faces."""
    from dfad_bench.views.registry import view_class

    return view_class(name).stand_in().mirrored(values)


def _chosen(flipped: Tensor, mirrored: ViewValue, values: ViewValue) -> ViewValue:
    if isinstance(values, Tensor) and isinstance(mirrored, Tensor):
        flipped = flipped.to(values.device)
        return torch.where(flipped.view(-1, *[1] * (values.dim() - 1)), mirrored, values)
    return tuple(one if flip else other for flip, one, other in zip(flipped.tolist(), mirrored, values, strict=True))
