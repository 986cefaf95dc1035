"""A finished run that faces are put to: how its faces were cropped, what its model reads, and what it makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, UnknownNameError, cut, listed
from dfad_bench.core.escape import one_line
from dfad_bench.core.labels import FAKE
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_outputs import Outputs
from dfad_bench.data.crop_profiles import CropMade
from dfad_bench.data.crop_storage import resized_pixels
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.view_source import ViewSource
from dfad_bench.engine.checkpoint import read_finished
from dfad_bench.engine.face_predictor import FacePredictor
from dfad_bench.engine.load import trained_faces
from dfad_bench.explain.heat_maps import HeatMaps, heat_maps
from dfad_bench.inference.faces import FoundFace
from dfad_bench.ingest.crop.cropper import Crop, CropProfile, load_crop_profile
from dfad_bench.views.loose import check_loose, loose_source
from dfad_bench.views.provider import ViewProvider

_COLUMNS = ("sample_id", "landmarks", "crop_affine", "width", "height")  # what is known of a face


@dataclass(frozen=True)
class RunFaces:
    """An opened run that predicts loose faces.

    Attributes:
        predictor: its weights.
        profile: how the faces it learnt from were cropped, or as asked for.
        views: builds what its model reads beside pixels.
        learnt: hashes of the pixels of the faces it was trained on; empty where it does not say.
        warnings: what a reader must know.
    """

    predictor: FacePredictor
    profile: CropProfile
    views: ViewProvider
    learnt: frozenset[str] = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.predictor.files.path

    @property
    def checkpoint_sha256(self) -> str:
        """Hash of its weights."""
        return str(read_finished(self.predictor.files.checkpoint.path)["sha256"])

    @classmethod
    def open(
        cls, run: Path, views: Mapping[str, Mapping[str, Any]], *, device: str = "auto", crop: str | None = None
    ) -> RunFaces:
        """Open a finished run for loose faces.

        Args:
            run: its folder.
            views: settings of views, by view.
            device: where to compute.
            crop: crop profile by name or path, in place of that of its training faces.

        Raises:
            ConfigError: not a finished run; a view that is not made from crops; or a crop profile that is not stated,
                not here, or has another content here.
            IntegrityError: weights that are not what was written.
        """
        predictor = FacePredictor.open(run, device, other_precision=True)
        profile, lines = profile_of_run(run, read_facts(predictor.files.facts), crop)
        needs, provider = predictor.needs, ViewProvider([], views, device=device)
        provider.follow({name: values for name, values in needs.view_settings.items() if name in needs.views})
        check_loose(provider, needs.views, _COLUMNS, f"{run}: {needs.display}")
        lines += provider.substitutes(needs.views)
        try:
            learnt = frozenset(trained_faces(predictor.files)[1])
        except ConfigError as error:
            learnt = frozenset()
            lines.append(str(error))
        return cls(predictor, profile, provider, learnt, (*predictor.warnings, *lines))

    def outputs(
        self, faces: Sequence[FoundFace], progress: Progress = NoProgress()  # noqa: B008  stateless
    ) -> tuple[pd.DataFrame, Outputs, tuple[str, ...]]:  # fmt: skip
        """Predictions, outputs and remarks for some faces, in their order; see `FacePredictor.predict`."""
        return self.outputs_of_crops([face.crop for face in faces], progress)

    def outputs_of_crops(
        self, crops: Sequence[Crop], progress: Progress = NoProgress()  # noqa: B008  stateless
    ) -> tuple[pd.DataFrame, Outputs, tuple[str, ...]]:  # fmt: skip
        """The same of crops."""
        made, lines = self.predictor.predict(*self._prepared_faces(crops), progress)
        return made.frame, made.outputs, lines

    def heat_maps(self, crops: Sequence[Crop]) -> HeatMaps:
        """Where the detection expert finds what speaks for forged; see `explain.heat_maps`.

        Raises:
            ConfigError: the model cannot be explained.
        """
        dataset = self.predictor.dataset(*self._prepared_faces(crops))
        place, model = self.predictor.place, self.predictor.loaded.model
        place.move(model)
        inputs = place.lay_out(dataset.inputs(np.arange(len(crops)), place.device))
        return heat_maps(model, inputs, task="detection", classes=FAKE)

    def _prepared_faces(self, crops: Sequence[Crop]) -> tuple[pd.DataFrame, CropStore, dict[str, ViewSource]]:
        side, needs, rows = self.predictor.loaded.protocol.image_size, self.predictor.needs, rows_of_crops(crops)
        pixels = [crop.pixels for crop in crops]
        store = CropStore(np.stack([resized_pixels(each, side) for each in pixels]), rows["sample_id"].tolist())
        return rows, store, {name: loose_source(self.views, name, rows, pixels, side) for name in needs.views}


def rows_of_crops(crops: Sequence[Crop]) -> pd.DataFrame:
    """What is known of each face, in the columns of a manifest; names are numbers."""
    names = [str(number) for number in range(len(crops))]
    return pd.DataFrame(
        {
            "sample_id": names,
            "source_key": names,
            "landmarks": [_stored_numbers(crop.landmarks) for crop in crops],
            "crop_affine": [_stored_numbers(crop.affine) for crop in crops],
            "width": [crop.pixels.shape[1] for crop in crops],
            "height": [crop.pixels.shape[0] for crop in crops],
        }
    )


def _stored_numbers(values: Sequence[float] | None) -> np.ndarray | None:
    """Numbers as manifests keep them, in single precision, so that what is made of them is the same to the last bit."""
    return None if values is None else np.asarray(values, dtype=np.float32)


def profile_of_run(run: Path, facts: Mapping[str, Any], asked: str | None) -> tuple[CropProfile, list[str]]:
    """How faces are to be cropped for a run, and a warning where that is not how its training faces were.

    Args:
        run: its folder, for messages.
        facts: what it states of itself.
        asked: a profile by name or path.

    Raises:
        ConfigError: it names no profile, or several; or the one it names is not here, or has another content.
    """
    made = [about for about in (facts["manifest"].get("made") or {}).values() if "crop" in about]
    known = list(dict.fromkeys((str(about["crop"]), str(about.get("crop_sha256"))) for about in made))
    if asked is not None:
        profile = load_crop_profile(asked)
        alike = not known or any(profile.sha256 == sha256 for _, sha256 in known)
        stated = listed(_described(*one) for one in known)
        return profile, [] if alike else [
            f"{run}: learnt from faces cropped by {stated}, and these are cropped by {profile.name} (--crop): its"
            " thresholds hold for faces cropped alike only"
        ]
    if len(known) != 1:
        why = "does not say how its faces were cropped" if not known else (
            f"learnt from faces cropped in several ways ({listed(_described(*one) for one in known)})"
        )  # fmt: skip
        raise ConfigError(f"{run}: {why}; say how these are to be: --crop NAME (`dfad list crops`)")
    (name, sha256), more = known[0], "its file by --crop PATH crops as it did"
    try:
        profile = load_crop_profile(name)
    except (UnknownNameError, ConfigError) as error:
        raise ConfigError(
            f"{run}: learnt from faces cropped by {one_line(cut(name, 80))}, and {error} {more}"
        ) from error
    if profile.sha256 != sha256:
        stated = _described(name, sha256)
        raise ConfigError(f"{run}: learnt from faces cropped by {stated}, which has another content here; {more}")
    return profile, []


def _described(name: str, sha256: str) -> str:
    return f"{CropMade(name, None, sha256, {})} (sha256 {one_line(sha256[:8])})"
