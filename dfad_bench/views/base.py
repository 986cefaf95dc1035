"""What every view is: what it gives a model for a face, when it may be seen, and how it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from dfad_bench.core.batch import ViewValue
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.files import content_hash
from dfad_bench.core.strict import from_mapping
from dfad_bench.data.view_source import ViewValues

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.core.progress import Progress
    from dfad_bench.data.manifest import Manifest

Kind = Literal["vector", "image", "text"]
Dtype = Literal["float32", "int64", "uint8", "str"]
Time = Literal["test", "training"]
Ask = Literal["crops", "landmarks", "targets"]
_DTYPES: dict[Kind, tuple[Dtype, ...]] = {
    "vector": ("float32", "int64"),
    "image": ("uint8", "float32"),
    "text": ("str",),
}


@dataclass(frozen=True)
class NoSettings:
    """The settings of a view that has none."""


@dataclass(frozen=True)
class Faces:
    """Some faces, with what a view asks for to be made of them; what it does not ask for is None."""

    sample_ids: tuple[str, ...]
    side: int  # of the images a model gets; image-shaped views usually have it
    device: str  # torch device for views that run a network
    rows: pd.DataFrame  # a row a face, in this order: `sample_id` and `View.columns` of the manifest
    crops: np.ndarray | None = None  # (N, H, W, 3) uint8 RGB, all of one size
    landmarks: np.ndarray | None = None  # (N, 5, 2) in crop pixels; nan where unknown
    source_scale: np.ndarray | None = None  # (N,) source pixels a crop pixel; nan where unknown
    targets: np.ndarray | None = None  # (N, side, side, 3) uint8: the real face each was made from; zeros where none
    has_target: np.ndarray | None = None  # (N,) bool

    def __len__(self) -> int:
        return len(self.sample_ids)


class View:
    """A named input beside the pixels. A subclass sets the class variables and writes `make`.

    Values of an image-shaped view are kept as uint8 and mapped into memory; where its `dtype` is float32 each batch is
    divided by 255. Vectors of which a face has thousands are mapped, too (`mapped`), and may be kept as float16
    (`array_dtype`). A model gets tensors (B, *shape), or B texts.

    Args:
        settings: fields of `Settings`, checked strictly.

    Raises:
        ConfigError: an unknown, missing or mistyped setting.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]  # what the values say, with units and signs
    kind: ClassVar[Kind]
    dtype: ClassVar[Dtype]  # as the model gets it: float32 or int64 vectors, uint8 or float32 images, str
    when: ClassVar[Time] = "test"  # "training": for losses only, never in `forward`
    stored: ClassVar[bool] = True  # kept beside the manifest; False: computed from the crops of each batch
    every_face: ClassVar[bool] = False  # True: `make` has a value for every face, so models need not expect otherwise
    mapped: ClassVar[bool] = False  # vectors are kept as images are: of the faces asked for, mapped into memory
    # not empty: values belong to exactly the pixels they were made of, so recipes that change pixels are refused, with
    # these words for what to do instead
    exact_pixels: ClassVar[str] = ""
    asks: tuple[Ask, ...] = ("crops",)  # may be set on the instance where it follows from its settings
    columns: ClassVar[tuple[str, ...]] = ()  # of the manifest, which `make` finds in `Faces.rows`
    Settings: ClassVar[type[Any]] = NoSettings
    stand_in_settings: ClassVar[Mapping[str, Any]] = {}  # for examples, where `Settings` has no default
    weight_rows: ClassVar[tuple[str, ...]] = ()  # names in manifests/weights.yaml of networks that may make the values
    version: ClassVar[int] = 1  # raised whenever the same faces and settings give other values

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.settings = from_mapping(
            self.Settings, dict(settings or {}), f"view {quoted(self.name)} (--view {self.name}.KEY=VALUE)"
        )
        if self.dtype not in _DTYPES[self.kind]:
            raise ConfigError(f"view {quoted(self.name)}: a view of kind {self.kind} cannot be {self.dtype}")
        if self.mapped and self.kind != "vector":
            raise ConfigError(f"view {quoted(self.name)}: `mapped` is for vectors; images are mapped, texts are not")
        if not self.stored and (self.kind == "text" or set(self.asks) - {"crops", "landmarks"}):
            raise ConfigError(f"view {quoted(self.name)}: only tensors made of crops can be computed in the batch")

    @classmethod
    def stand_in(cls, settings: Mapping[str, Any] | None = None) -> Self:
        """The view with default settings but those given; only `shape` and `example` can be asked of it."""
        return cls({**cls.stand_in_settings, **(settings or {})})

    @classmethod
    def may_lack(cls) -> bool:
        """Whether some faces may have no value; of views computed in the batch every face has one."""
        return cls.stored and not cls.every_face

    def shape(self, side: int) -> tuple[int, ...]:
        """Shape of a face's values for images of this side: (d,), (C, H, W), or () for texts."""
        raise NotImplementedError

    def make(self, faces: Faces) -> ViewValues:
        """Values of some faces, (N, *shape) or N texts; a face's values never depend on the others.

        Image-shaped values are uint8. Where a face has no value, say so in `present`.
        """
        raise NotImplementedError

    def files(self) -> str:
        """Hash of what `make` reads beside the manifest (weights, label maps, tables); empty where there is nothing.

        Raises:
            DFADError: they are missing or cannot be used.
        """
        return ""

    @cached_property
    def fingerprint(self) -> str:
        """Hash (64 hex) of everything that decides the values beside the manifest; stored values never mix."""
        return content_hash([self.name, self.version, self.public_settings(), self.files()])

    def public_settings(self) -> dict[str, Any]:
        """The settings, without where files lie on this machine: equal on every machine for equal values."""
        return asdict(self.settings)

    def substitute(self) -> str:
        """What stands in the place of the real values, in words, where no network or file gives those; else empty."""
        return ""

    def identity(self) -> dict[str, Any]:
        """What a run keeps about the view: it is opened only with views of the same identity."""
        words = self.substitute()
        return {**self.public_settings(), **({"substitute": words} if words else {}), "fingerprint": self.fingerprint}

    def stored_elsewhere(self, manifest: Manifest, device: str, progress: Progress) -> ViewTable | None:
        """The values of a manifest's faces from a table that the view keeps itself; None: it keeps none."""
        return None

    def mirrored(self, values: ViewValue) -> ViewValue:
        """What the values become when the face is flipped from left to right: images are flipped, others stay."""
        return values.flip(-1) if self.kind == "image" and isinstance(values, Tensor) else values

    def example(
        self, rows: int, side: int, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
    ) -> ViewValue:
        """Random values of the right kind, shape and dtype, for checks and profiles of models."""
        if self.kind == "text":
            return tuple(f"an example text of face {row}" for row in range(rows))
        shape = (rows, *self.shape(side))
        if self.dtype == "float32":
            return torch.rand(shape, generator=generator, device=device)
        dtype = torch.uint8 if self.dtype == "uint8" else torch.int64
        return torch.randint(0, self.levels, shape, generator=generator, device=device, dtype=dtype)

    @property
    def levels(self) -> int:
        """Integer values are below this number."""
        return 256

    def handed(self, values: np.ndarray | tuple[str, ...]) -> ViewValue:
        """Values of some faces as a model gets them."""
        if isinstance(values, tuple):
            return values
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        if self.dtype != "float32":
            return tensor
        return tensor.float().div_(255) if self.kind == "image" else tensor.float()

    def checked(self, made: ViewValues, count: int, side: int) -> ViewValues:
        """What `make` gave, once it is what the view says of itself; values of absent faces are zeros.

        Raises:
            ConfigError: another number of faces, shape or dtype, or a face without a value that should have one.
        """
        whose = f"view {quoted(self.name)}: `make` gave"
        if not isinstance(made, ViewValues) or not isinstance(made.values, np.ndarray | tuple):
            given = f"{type(made).__name__} of {type(made.values).__name__}" if isinstance(made, ViewValues) else made
            raise ConfigError(f"{whose} {given}, not ViewValues of a NumPy array or a tuple of texts")
        if len(made.values) != count or made.present.shape != (count,) or made.present.dtype != bool:
            raise ConfigError(f"{whose} {len(made.values)} values and a mask {made.present.shape} for {count} faces")
        if self.every_face and not made.present.all():
            raise ConfigError(f"{whose} no value for a face, and the view says that every face has one (`every_face`)")
        if isinstance(made.values, tuple):
            if self.kind != "text" or not all(isinstance(text, str) for text in made.values):
                raise ConfigError(f"{whose} a tuple that is not of texts, or is of a view of kind {self.kind}")
            return ViewValues(
                tuple(text if there else "" for text, there in zip(made.values, made.present, strict=True)),
                made.present,
            )
        wanted, dtype = (count, *self.shape(side)), self.array_dtype
        if self.kind == "text" or made.values.shape != wanted or made.values.dtype != dtype:
            raise ConfigError(f"{whose} {made.values.dtype} {made.values.shape}, not {dtype} {wanted}")
        values = made.values
        if not made.present.all():
            values = values.copy()
            values[~made.present] = 0
        if np.issubdtype(dtype, np.floating) and not np.isfinite(values).all():
            raise ConfigError(f"{whose} NaN or inf for a face that it says has a value")
        return ViewValues(values, made.present)

    @property
    def array_dtype(self) -> str:
        """The dtype of `make`'s arrays, as they are stored; of mapped vectors it may be float16."""
        return "uint8" if self.kind == "image" else self.dtype


@dataclass(frozen=True)
class ViewTable:
    """Values of named faces."""

    sample_ids: Sequence[str]
    values: ViewValues
