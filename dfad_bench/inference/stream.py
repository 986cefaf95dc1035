"""Samples in, faces and what runs make of them out, a bounded number of faces in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.run_outputs import Outputs
from dfad_bench.data.crop_batches import crop_landmarks
from dfad_bench.gaze.estimators.base import GazeEstimator
from dfad_bench.inference.faces import VIDEOS, FoundFace, SampleFaces, find_faces
from dfad_bench.inference.redeliveries import REDELIVERIES, redeliver
from dfad_bench.inference.run_faces import RunFaces, rows_of_crops
from dfad_bench.inference.settings import PredictSettings
from dfad_bench.ingest.crop.cropper import FaceCropper
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.shard import one_thread

if TYPE_CHECKING:
    from PIL import Image

FACES = 64  # that are predicted together
_SAMPLES = 64  # that wait for faces
_FRAMES_A_LIMIT = 8  # the time limit of a video is that of a picture for each so many frames, as in builds
_PIXELS = 1 << 26  # of pictures that are kept until they are done: 256 MB


@dataclass(frozen=True)
class RunOutput:
    """What one run makes of the faces of a chunk, in their order."""

    frame: pd.DataFrame  # p_0 ..., p_fake
    outputs: Outputs

    @property
    def probs(self) -> np.ndarray:
        """Class probabilities (n, x)."""
        names = [f"p_{k}" for k in range(self.outputs.logits.shape[1])]
        return self.frame[names].to_numpy(dtype=float)

    @property
    def p_fake(self) -> np.ndarray:
        """Probabilities of being forged (n,)."""
        return self.frame["p_fake"].to_numpy(dtype=float)


@dataclass(frozen=True)
class Chunk:
    """Some samples that are done.

    Attributes:
        samples: in the order in which they were named.
        outputs: of each run, a row a face; empty where there is no face.
        gaze: (n, 2) pitch and yaw of each face in radians, NaN where unknown; None where it was not asked for.
        redelivered: of each run, (n, ways) scores of each face in re-deliveries (`REDELIVERIES`), NaN where it was not
            found again; empty where they were not asked for.
        pictures: pictures with faces, by number of sample, where they were to be kept; frames of videos are not, they
            are read again (`faces.frames_again`).
        remarks: what a reader must know.
    """

    samples: tuple[SampleFaces, ...]
    outputs: tuple[RunOutput, ...] = ()
    gaze: np.ndarray | None = None
    redelivered: tuple[np.ndarray, ...] = ()
    pictures: dict[int, Image.Image] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def faces(self) -> list[FoundFace]:
        """All faces, sample by sample; the rows of `outputs` are theirs."""
        return [face for sample in self.samples for face in sample.faces]


def same_profile(runs: Sequence[RunFaces]) -> RunFaces:
    """The first of several runs, once faces are cropped alike for all of them.

    Raises:
        ConfigError: they are not.
    """
    first = runs[0]
    for other in runs[1:]:
        if other.profile.sha256 != first.profile.sha256:
            raise ConfigError(
                f"{first.folder} learnt from faces cropped by {first.profile.name}, {other.folder} by"
                f" {other.profile.name}: they cannot be asked about the same crops; ask one by one, or name one profile"
                " for all (--crop)"
            )
    return first


def predict_samples(
    samples: Iterable[RawSample],
    runs: Sequence[RunFaces],
    settings: PredictSettings,
    gaze: GazeEstimator | None = None,
    *,
    keep_pictures: bool = False,
) -> Iterator[Chunk]:
    """What runs make of the faces of samples, chunk by chunk, in the order of the samples.

    Args:
        samples: what to read.
        runs: opened runs whose crop profile is the same.
        settings: how to read.
        gaze: estimates the gaze of each face.
        keep_pictures: hold pictures with faces, but no frames of videos, until their chunk is done.

    Raises:
        ConfigError: runs of several crop profiles.
    """
    cropper = FaceCropper(same_profile(runs).profile)  # on the CPU, as manifests are made
    waiting, sampling = _Waiting(runs, gaze), settings.sampling
    times = 1 + len(REDELIVERIES) * settings.stability
    for sample in samples:
        seconds = settings.item_seconds * times * (1 + (sampling.weight(sample.medium) - 1) / _FRAMES_A_LIMIT)
        kept: list[Image.Image] = []
        with one_thread():  # as in builds: sums in another order would change the last bits of a box
            found = find_faces(
                sample, cropper, seconds=seconds, sampling=sampling, most=settings.most_faces,
                redeliver=partial(redeliver, cropper=cropper) if settings.stability else None,
                keep=kept.append if keep_pictures and sample.medium not in VIDEOS else None,
            )  # fmt: skip
        waiting.add(found, kept[0] if kept else None)
        if waiting.is_full:
            yield waiting.chunk()
    if waiting.samples:
        yield waiting.chunk()


class _Waiting:
    """Samples whose faces wait until there are enough to predict."""

    def __init__(self, runs: Sequence[RunFaces], gaze: GazeEstimator | None) -> None:
        self._runs, self._gaze = runs, gaze
        self.samples: list[SampleFaces] = []
        self._pictures: dict[int, Image.Image] = {}

    def add(self, found: SampleFaces, picture: Image.Image | None) -> None:
        """Add a sample that was read, and its picture where it is to be kept."""
        if picture is not None:
            self._pictures[len(self.samples)] = picture
        self.samples.append(found)

    @property
    def is_full(self) -> bool:
        """Whether they should be predicted now."""
        pixels = sum(picture.width * picture.height for picture in self._pictures.values())
        faces = sum(len(sample.faces) for sample in self.samples)
        return faces >= FACES or len(self.samples) >= _SAMPLES or pixels >= _PIXELS

    def chunk(self) -> Chunk:
        """The samples with what runs make of their faces; none are waiting then."""
        samples, pictures = tuple(self.samples), self._pictures
        self.samples, self._pictures = [], {}
        faces = [face for sample in samples for face in sample.faces]
        if not faces:
            return Chunk(samples, pictures=pictures)
        made = [run.outputs(faces) for run in self._runs]
        remarks = tuple(dict.fromkeys(line for _, _, lines in made for line in lines))
        outputs = tuple(RunOutput(frame, kept) for frame, kept, _ in made)
        gaze = None if self._gaze is None else estimate_gaze(self._gaze, faces)
        again = tuple(scores_again(run, faces) for run in self._runs) if faces[0].redelivered else ()
        return Chunk(samples, outputs, gaze, again, pictures, remarks)


def scores_again(run: RunFaces, faces: Sequence[FoundFace]) -> np.ndarray:
    """Scores (n, ways) of faces in re-deliveries of their pictures by one run; NaN where a face was not found again."""
    crops = [crop for face in faces for crop in face.redelivered]
    scores, places = np.full(len(crops), np.nan), [place for place, crop in enumerate(crops) if crop is not None]
    for begin in range(0, len(places), FACES):
        some = places[begin : begin + FACES]
        frame, _, _ = run.outputs_of_crops([crop for place in some if (crop := crops[place]) is not None])
        scores[some] = frame["p_fake"].to_numpy(dtype=float)
    return scores.reshape(len(faces), -1)


def estimate_gaze(estimator: GazeEstimator, faces: Sequence[FoundFace]) -> np.ndarray:
    """Pitch and yaw (n, 2) of each face in radians, by its crop and landmarks as in manifests; NaN where unknown."""
    landmarks, scale = crop_landmarks(rows_of_crops([face.crop for face in faces]))
    result = estimator.estimate(np.stack([face.crop.pixels for face in faces]), landmarks, "cpu", source_scale=scale)
    return np.stack([result.pitch_rad, result.yaw_rad], axis=1)
