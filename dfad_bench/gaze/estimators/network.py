"""Shared code of all gaze networks: finding weights, preparing faces, running in batches, checking the outputs.

The file of a network holds its architecture, its card and, where they differ from the default, its input settings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor, nn

from dfad_bench.core.errors import ConfigError, WeightsError, quoted
from dfad_bench.core.files import content_hash, sha256_file
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.weights import find_weights
from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators import mirror
from dfad_bench.gaze.estimators.base import GazeCard, GazeFlag, GazeResult

VERSION = 1  # of everything below that changes numbers
Order = Literal["pitch_yaw", "yaw_pitch"]
Channel = Literal["rgb", "bgr"]
Norm = Literal["imagenet", "unit", "signed"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB


_SETTINGS = {"order": Order, "channel": Channel, "norm": Norm}
SETTING_WORDS = {word: key for key, kind in _SETTINGS.items() for word in get_args(kind)}  # words are unique
_VERDICTS: dict[str, mirror.Symmetry] = {}  # by fingerprint: a process checks the same weights once


def settings_of(words: str) -> dict[str, str]:
    """Settings from words separated by commas.

    >>> settings_of("yaw_pitch,bgr")
    {'order': 'yaw_pitch', 'channel': 'bgr'}

    Raises:
        ConfigError: an unknown word, or two words for the same setting.
    """
    found: dict[str, str] = {}
    for word in words.split(","):
        if word not in SETTING_WORDS or SETTING_WORDS[word] in found:
            raise ConfigError(f"estimator setting {quoted(word)}: known are {', '.join(SETTING_WORDS)}, one of a kind")
        found[SETTING_WORDS[word]] = word
    return found


class NetworkEstimator(ABC):
    """A gaze estimator that is a network with published weights.

    Subclasses set `name`, `card`, and write `load`; where they differ from ETH-XGaze also `prepare`, `decode` and the
    class attributes. Angles are in the frame of the prepared face: the normalised camera for patches.
    """

    name: ClassVar[str]
    card: ClassVar[GazeCard]
    version: ClassVar[int] = 1  # of the subclass: raised when a change of its code changes results
    default_order: ClassVar[Order] = "pitch_yaw"  # of the outputs of `decode`
    order_varies: ClassVar[bool] = False  # files of both orders are published: wrong order is swapped, not refused
    default_channel: ClassVar[Channel] = "rgb"
    default_norm: ClassVar[Norm] = "imagenet"
    batch_size: ClassVar[int] = 32  # faces in the network at once

    def __init__(
        self,
        weights: Path,
        *,
        order: Order | None = None,
        channel: Channel | None = None,
        norm: Norm | None = None,
    ) -> None:
        """A network with its weights.

        Args:
            weights: the file.
            order: order of the outputs; the mirror check then only adds a remark. None: as published, and checked.
            channel: channel order of the input; None: as the network was trained.
            norm: "imagenet" mean and deviation, "unit" 0 to 1, "signed" -1 to 1; None: as the network was trained.

        Raises:
            WeightsError: the file does not fit.
            ConfigError: no such order, channel or norm.
        """
        self.weights = Path(weights)
        self.order: Order = _check_choice("order", order or self.default_order, Order)
        self.order_given = order is not None
        self.channel: Channel = _check_choice("channel", channel or self.default_channel, Channel)
        self.norm: Norm = _check_choice("norm", norm or self.default_norm, Norm)
        self._device = torch.device("cpu")
        with collect_notices() as self._notices:
            self.network = self.load(self.weights).eval().requires_grad_(False)

    @classmethod
    def build(cls, weights: Path | None, **settings: Any) -> Self:
        """A new estimator; without `weights`, the first file named by the card that is under `$DFAD_WEIGHTS`.

        Args:
            weights: the file.
            settings: order, channel, norm; see the constructor.

        Raises:
            WeightsError: no file is found (says where to get it), or it does not fit.
            IntegrityError: another file than the published one.
        """
        return cls(weights or cls._find_weights(), **settings)

    @classmethod
    def _find_weights(cls) -> Path:
        missing: list[str] = []
        for name in cls.card.weights:
            try:
                return find_weights(name)
            except WeightsError as error:
                missing.append(str(error))
        others = f"; or use {', '.join(cls.card.weights[1:])}" if len(missing) > 1 else ""
        raise WeightsError(f"the estimator {cls.name} needs weights: {missing[0]}{others}")

    @abstractmethod
    def load(self, path: Path) -> nn.Module:
        """The network with the weights of `path`, float32 on the CPU.

        Raises:
            WeightsError: the file does not fit.
        """

    def prepare(self, crops: np.ndarray, landmarks: np.ndarray) -> normalize.Patches:
        """Faces as input of the network, uint8 RGB; not `ok` where they could only be resized."""
        return normalize.normalize(crops, landmarks)

    def decode(self, output: Any) -> Tensor:
        """The outputs of the network as (n, 2) radians in the order `default_order`, in the project's signs."""
        return output

    def settings(self) -> dict[str, Any]:
        """Further settings that change the results, for the fingerprint; JSON values."""
        return {}

    @cached_property
    def fingerprint(self) -> str:
        """64 hex of the weight file, the input settings, the requested order, and the rules of this file."""
        return content_hash(
            {
                "estimator": [self.name, self.version, VERSION],
                "weights": sha256_file(self.weights),
                "input": [self.channel, self.norm, normalize.FACE_MODEL_MM.tolist(), normalize.FOCAL_FACTOR],
                "boxes": list(normalize.BOX_SHARES),
                "order": [self.order if self.order_given else "checked", mirror.MARGIN, mirror.LEAST_SPREAD_RAD],
                "settings": self.settings(),
            }
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks for a reader of the results besides the card; runs the mirror check if it has not run yet.

        Raises:
            WeightsError: the outputs fail the mirror check.
        """
        return (*self._notices, *self._checked_order[1])

    def estimate(
        self,
        crops: np.ndarray,
        landmarks: np.ndarray,
        device: str = "cpu",
        *,
        source_scale: np.ndarray | None = None,
    ) -> GazeResult:
        """See `GazeEstimator.estimate`; `source_scale` is not needed. The first call checks the outputs' order.

        Raises:
            WeightsError: the outputs fail the mirror check.
        """
        self._move_to(device)
        order = self._checked_order[0]
        points = np.asarray(landmarks, dtype=np.float64)
        faces = self.prepare(crops, points)
        angles = self._run(faces.images)
        pitch, yaw = angles.T if order == "pitch_yaw" else angles[:, ::-1].T
        flags = np.where(faces.ok, GazeFlag.NONE, GazeFlag.NO_POSE | GazeFlag.RESIZED).astype(np.int16)
        head = faces.head_rad
        return GazeResult(pitch.copy(), yaw.copy(), faces.ok.astype(np.float64), flags, head[:, 0], head[:, 1])

    @cached_property
    def _checked_order(self) -> tuple[Order, tuple[str, ...]]:
        """The order of the outputs that is used, and remarks on it."""
        if self.fingerprint not in _VERDICTS:
            _VERDICTS[self.fingerprint] = mirror.check(lambda c, points: self._run(self.prepare(c, points).images))
        found = _VERDICTS[self.fingerprint]
        other: Order = "yaw_pitch" if self.order == "pitch_yaw" else "pitch_yaw"
        if found.fits(self.order):
            weak = f"the mirror check bears out {self.order} only weakly ({found})"
            return self.order, () if found.clear else (weak,)
        swapped = found.fits(other)
        if self.order_given:
            return self.order, (f"outputs taken as {self.order} as asked for, against the mirror check ({found})",)
        if swapped and self.order_varies:
            return other, (f"outputs swapped: the mirror check says {other}, not {self.order} ({found})",)
        named = other if swapped else self.order
        what = f"look like {other}, not {self.order}" if swapped else "do not behave as pitch and yaw in the mirror"
        raise WeightsError(
            f"{self.weights}: outputs of {self.card.display} {what} ({found}); the file is damaged or another"
            f" network's, or name the order yourself: --estimator {self.name}:{named}"
        )

    def _run(self, images: np.ndarray) -> np.ndarray:
        """(N, 2) float64 outputs, radians, of prepared faces, batch by batch."""
        parts = [np.empty((0, 2))]
        # TF32 would make a GPU's angles differ from a CPU's in the third digit
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(images), self.batch_size):
                output = self.network(self.tensor(images[start : start + self.batch_size]))
                parts.append(self.decode(output).double().cpu().numpy())
        return np.concatenate(parts)

    def tensor(self, images: np.ndarray) -> Tensor:
        """(n, 3, h, w) float32 on the device, in the network's channels and range, of (n, h, w, 3) uint8 RGB."""
        x = torch.from_numpy(np.ascontiguousarray(images)).to(self._device).permute(0, 3, 1, 2).float() / 255
        if self.norm == "imagenet":
            mean, std = (x.new_tensor(value).view(3, 1, 1) for value in (IMAGENET_MEAN, IMAGENET_STD))
            x = (x - mean) / std
        elif self.norm == "signed":
            x = x * 2 - 1
        return x.flip(1) if self.channel == "bgr" else x

    def _move_to(self, device: str) -> None:
        if torch.device(device) != self._device:
            self._device = torch.device(device)
            self.network.to(self._device)


def _check_choice(what: str, value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise ConfigError(f"{what}: must be one of {', '.join(get_args(kind))}, got {quoted(value)}")
    return value
