"""A parsing study of manifests: the maps of chosen faces, their features, and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from dfad_bench.core.device import find_device
from dfad_bench.core.errors import ConfigError, ManifestError
from dfad_bench.core.files import sha256_file
from dfad_bench.core.label_colours import CELEBAMASK_HQ
from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.gaze.backends import Distance, any_dimension, separate_dimensions
from dfad_bench.gaze.scopes import choose_rows
from dfad_bench.gaze.sources import with_videos
from dfad_bench.parsing.analysis import PLACE, ParsingReport, compare_maps
from dfad_bench.parsing.features import VectorsOf, inception_features, parts_of, root_shares
from dfad_bench.parsing.settings import ParsingStudySettings
from dfad_bench.views.parsing import STAND_IN
from dfad_bench.views.provider import ViewProvider

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.manifest import Manifest
    from dfad_bench.data.view_source import ViewSource
    from dfad_bench.views.base import View

RESAMPLES = 1000
_OF_MANIFEST = (
    "sample_id", "dataset", "generator", "forgery", "family", "detection_label", "source_key", "origin", "frame"
)  # fmt: skip
_BATCH = 64  # maps whose features are computed at once
_SILENT = NoProgress()
STAND_IN_NOTE = (
    "The maps are a stand-in's (landmarks and colour), not a face parser's: they show that the chain works, and"
    " say nothing of BMRL's claim."
)


@dataclass(frozen=True)
class ParsingStudy:
    """A report, the compared faces, and what was compared of them.

    Attributes:
        report: rows, groups, claims and notes.
        frame: a row a chosen face, `PLACE` its row in `vectors` or -1.
        vectors: (n, d) features.
        maps: the maps (1, side, side) of the faces with the given places.
        about: parser, features and their hashes, as plain values.
    """

    report: ParsingReport
    frame: pd.DataFrame
    vectors: np.ndarray
    maps: Callable[[Sequence[int]], np.ndarray]
    about: dict[str, Any]

    @property
    def is_stand_in(self) -> bool:
        """Whether no face parser made the maps."""
        return bool(self.about["parser"] == STAND_IN)


def study_parsing(
    manifests: Sequence[Manifest],
    view: Mapping[str, Any],
    settings: ParsingStudySettings,
    *,
    progress: Progress = _SILENT,
) -> ParsingStudy:
    """Compare the parsing maps of the faces of some manifests; maps that are not stored yet are made and stored.

    Of each generator, and of the real faces of each dataset, at most `settings.samples` are chosen by a hash of their
    id, and only their maps are made.

    Args:
        manifests: manifests of different datasets.
        view: settings of the view `parsing`.
        settings: of the study.
        progress: shows faces done.

    Raises:
        ConfigError: no manifest, or no parser.
        ManifestError: no real or no forged face with a map, or a face in two manifests.
        WeightsError: weights are missing or do not fit.
    """
    if not manifests:
        raise ConfigError("no manifest to study; give one or more, as `dfad build-manifest` makes them")
    provider = ViewProvider(manifests, {"parsing": dict(view)}, device=settings.device, progress=progress)
    vectors_of, distance, about = _features(provider.view("parsing"), settings)
    with collect_notices() as left_out:
        frame = chosen_faces(manifests, settings)
    source = provider.source("parsing", frame["sample_id"].tolist(), settings.side)
    present = np.flatnonzero(source.present)
    frame[PLACE] = np.where(source.present, np.cumsum(source.present) - 1, -1)

    def maps(places: Sequence[int]) -> np.ndarray:
        return _maps(source, present[np.asarray(places, dtype=int)])

    parts = []
    progress.start("features of parsing maps", len(present))
    for start in range(0, len(present), _BATCH):
        parts.append(vectors_of(_maps(source, present[start : start + _BATCH])[:, 0]))
        progress.advance(len(parts[-1]))
    progress.finish()
    vectors = np.concatenate(parts) if parts else np.zeros((0, 1))
    asked = {name: getattr(settings, name) for name in ("samples", "seed", "equal_n")}
    report = compare_maps(frame, vectors, distance, resamples=about["resamples"], **asked)
    report = replace(report, notes=(*report.notes, *left_out))
    return ParsingStudy(report, frame, vectors, maps, about)


def _features(parser: View, settings: ParsingStudySettings) -> tuple[VectorsOf, Distance, dict[str, Any]]:
    """What is compared of maps, and how; and plain values about it and the parser."""
    about = {"parser": None, **parser.identity(), "features": settings.features, "resamples": RESAMPLES}
    classes = parser.levels
    if settings.histogram == "parts" and classes != len(CELEBAMASK_HQ):
        raise ConfigError(f"histogram parts: of CelebAMask-HQ's {len(CELEBAMASK_HQ)} labels, the maps have {classes}")
    if settings.features == "inception":
        vectors_of, path = inception_features(settings.fid_weights, str(find_device(settings.device)))
        # resampling Gaussians of 2,048 dimensions would take hours
        about |= {"resamples": 0, "fid_weights": path.name, "fid_weights_sha256": sha256_file(path)}
        return vectors_of, any_dimension, about
    if settings.fid_weights is not None:
        raise ConfigError("fid_weights is a file of --features inception; leave it out")
    return lambda labels: root_shares(labels, parts_of(classes)), separate_dimensions, about


def chosen_faces(manifests: Sequence[Manifest], settings: ParsingStudySettings) -> pd.DataFrame:
    """A row a face whose map is needed, of known label: at most `samples` of a generator or of a dataset's reals.

    Raises:
        ManifestError: a face is in two of the manifests.
    """
    import pandas as pd

    from dfad_bench.data.processed import without_processed

    parts = []
    for manifest in manifests:
        rows = with_videos(without_processed(manifest.frame(_OF_MANIFEST), str(manifest.folder)))
        rows = rows[rows["detection_label"].isin((REAL, FAKE))]
        for _, of in rows.groupby(["detection_label", "generator"], observed=True):
            parts.append(choose_rows(of.sort_values("sample_id", kind="stable"), settings.samples, settings.seed))
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(_OF_MANIFEST))
    if frame["sample_id"].duplicated().any():
        raise ManifestError("a face is in two of the manifests; name each dataset once")
    return frame


def _maps(source: ViewSource, index: np.ndarray) -> np.ndarray:
    values = source.gather(index, _no_crops)
    assert not isinstance(values, tuple)  # texts
    found: np.ndarray = values.numpy()
    return found


def _no_crops() -> NoReturn:
    raise AssertionError("parsing maps are stored, not made from crops of a batch")
