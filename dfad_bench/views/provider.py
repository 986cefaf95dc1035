"""The views of a run: makes and stores what a model needs, and hands datasets one source a view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.batch import ViewValue
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.crop_batches import ResizedLandmarks, crop_batches
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.view_source import ViewSource, ViewValues
from dfad_bench.views.base import Faces, View, ViewTable
from dfad_bench.views.identity import kept_identity
from dfad_bench.views.registry import check_needs, view_class
from dfad_bench.views.sources import ComputedView, MappedView, hold_view
from dfad_bench.views.store import Maker, StoredImages, stored_images, stored_table
from dfad_bench.views.targets import TargetCrops

BATCH = 64  # faces in memory while a view is made
_SILENT = NoProgress()


class ViewProvider:
    """Makes views for the faces of some manifests.

    Args:
        manifests: whose faces.
        settings: per view its settings; views that are not named have their defaults.
        device: torch device of views that run a network; "auto" is the CPU, so that stored values are the same.
        progress: shows the views that are being made.
        views: views that are built already, by name, instead of registered ones.

    Raises:
        UnknownNameError: settings of a view that is not registered.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest],
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        device: str = "cpu",
        progress: Progress = _SILENT,
        views: Mapping[str, View] | None = None,
    ) -> None:
        self.manifests, self.progress = list(manifests), progress
        self.device = "cpu" if device == "auto" else device
        self._settings = {name: dict(values) for name, values in (settings or {}).items()}
        for name in self._settings:
            view_class(name)
        self._views: dict[str, View] = dict(views or {})
        self._given_views = frozenset(self._views)
        self._tables: dict[tuple[str, str], ViewTable] = {}
        self._arrays: dict[tuple[str, str, int], list[StoredImages]] = {}
        self._rows: dict[str, pd.DataFrame] = {}
        self._landmarks: ResizedLandmarks | None = None

    def view(self, name: str) -> View:
        """A view with its settings, built on first use.

        Raises:
            UnknownNameError: no such view.
            ConfigError: bad settings.
        """
        if name not in self._views:
            self._views[name] = view_class(name)(self._settings.get(name))
        return self._views[name]

    def follow(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Take settings of views that follow from a model's; views that were given whole stay as they are.

        Raises:
            ConfigError: another value was asked for.
        """
        for name, values in settings.items():
            asked = self._settings.get(name, {})
            for key, value in values.items():
                if key in asked and asked[key] != value:
                    instead = "give the file by --weights" if "weights" in key else "change the model's (--set)"
                    raise ConfigError(
                        f"view {name!r}: {key} {quoted(asked[key])} was asked for, but the model's settings say"
                        f" {quoted(value)}; leave it out, or {instead}"
                    )
            if name not in self._given_views and any(key not in asked for key in values):
                self._settings[name] = {**asked, **values}
                self._views.pop(name, None)

    def check(self, needs: Sequence[str], needs_training: Sequence[str]) -> None:
        """Refuse needs that cannot be met, before anything is made.

        Raises:
            UnknownNameError, ConfigError: no such view, bad settings, or a view for training only in `needs`.
        """
        kinds = {name: type(self.view(name)) for name in (*needs, *needs_training)}
        check_needs(needs, kinds)

    def identity(self, names: Sequence[str]) -> dict[str, Any]:
        """How the given views are made, as a run keeps it (`RunConfig.views`)."""
        return kept_identity({name: self.view(name).identity() for name in names})

    def substitutes(self, names: Sequence[str]) -> list[str]:
        """A line for each of the given views whose values only stand in the place of real ones."""
        return [f"view {name}: {words}" for name in names if (words := self.view(name).substitute())]

    def source(self, name: str, sample_ids: Sequence[str], side: int) -> ViewSource:
        """A view of the given faces for images of this side; stored ones are made now where they are not there.

        Raises:
            ConfigError: bad settings, missing files, or a view read from files that has none of the faces.
            DFADError: it cannot be made or stored.
        """
        view, ids = self.view(name), list(sample_ids)
        if not view.stored:
            return ComputedView(view, ids, lambda names, crops: self._from_crops(view, names, crops, side))
        whose = [(manifest, mine) for manifest in self.manifests if (mine := self._faces_of(manifest, ids))]
        source: ViewSource
        if view.kind == "image" or view.mapped:
            stored = [images for manifest, mine in whose for images in self._images(view, manifest, mine, side)]
            source = MappedView(view, stored, ids)
        else:
            source = hold_view(view, [self._table(view, manifest, side) for manifest, _ in whose], ids, side)
        if ids and not view.asks and not source.present.any():
            raise ConfigError(f"view {name!r}: none of the {len(ids)} faces is in the files it is read from")
        return source

    def live_view(self, name: str, sample_ids: Sequence[str], crops: np.ndarray, side: int) -> ViewValues:
        """A view made from other pixels of known faces, such as corrupted ones, as the model gets it.

        Args:
            name: of the view.
            sample_ids: the faces, whose landmarks are those they were cropped by.
            crops: (N, H, W, 3) uint8, of whatever size.
            side: of the images the model gets.

        Raises:
            ConfigError: the view is not made from crops alone.
        """
        view = self.view(name)
        self.check_live([name])
        made = self._from_crops(view, sample_ids, crops, side)
        if not view.may_lack() and not made.present.all():
            raise ConfigError(f"view {name!r}: no value for a corrupted face, and none may lack it")
        given: ViewValue = view.handed(made.values)
        return ViewValues(given if isinstance(given, tuple) else given.numpy(), made.present)

    def check_live(self, names: Sequence[str]) -> None:
        """Refuse views that cannot be made from corrupted crops.

        Raises:
            ConfigError: names the view and what to do.
        """
        for name in names:
            asks = self.view(name).asks
            if "crops" not in asks or "targets" in asks:
                raise ConfigError(
                    f"the model needs the view {name!r} of corrupted faces, and nothing makes it from their crops;"
                    " take the one of the faces as they are (--views-from clean)"
                )

    def check_clean(self, names: Sequence[str]) -> None:
        """Refuse views of the faces as they are, beside corrupted ones, where they belong to exact pixels.

        Raises:
            ConfigError: names the view and what to do.
        """
        for name in names:
            if self.view(name).exact_pixels:
                raise ConfigError(
                    f"the view {name!r} of the faces as they are would hide every corruption; have it made from the"
                    " corrupted crops (leave --views-from clean out)"
                )

    def _from_crops(self, view: View, names: Sequence[str], crops: np.ndarray, side: int) -> ViewValues:
        landmarks = scale = None
        if "landmarks" in view.asks:
            if self._landmarks is None:
                self._landmarks = ResizedLandmarks(self.manifests)
            landmarks, scale = self._landmarks.of(names, *crops.shape[1:3])
        rows = self._rows_of_all(view).loc[list(names)].reset_index()
        faces = Faces(tuple(names), side, self.device, rows, crops, landmarks, scale)
        return view.checked(view.make(faces), len(names), side)

    def _table(self, view: View, manifest: Manifest, side: int) -> ViewTable:
        key = (view.name, manifest.sha256)
        if key not in self._tables:
            own = view.stored_elsewhere(manifest, self.device, self.progress)
            maker = self._maker(view, manifest, side)
            self._tables[key] = own or stored_table(view, manifest, maker, self.progress)
        return self._tables[key]

    def _images(self, view: View, manifest: Manifest, names: list[str], side: int) -> list[StoredImages]:
        key = (view.name, manifest.sha256, side)
        known = self._arrays.get(key, [])  # checked once: hashing a large array takes seconds
        if not set(names) <= {name for images in known for name in images.sample_ids}:
            maker = self._maker(view, manifest, side)
            self._arrays[key] = known = stored_images(view, manifest, names, side, maker, self.progress)
        return known

    def _maker(self, view: View, manifest: Manifest, side: int) -> Maker:
        """Makes a view of faces of one manifest, batch by batch."""

        def make(left: Sequence[str]) -> Iterator[tuple[tuple[str, ...], ViewValues]]:
            columns = ["sample_id", "landmarks", "crop_affine", *view.columns]
            rows = manifest.frame(list(dict.fromkeys(columns))).set_index("sample_id").loc[list(left)]
            targets = TargetCrops(manifest, self.manifests, left, side) if "targets" in view.asks else None
            for faces in self._faces(view, manifest, rows, side):
                if targets is not None:
                    faces = targets.added_to(faces)
                yield faces.sample_ids, view.checked(view.make(faces), len(faces), side)

        return make

    def _faces(self, view: View, manifest: Manifest, rows: pd.DataFrame, side: int) -> Iterator[Faces]:
        """Batches of faces with what the view asks for; crops are only decoded for views that ask for them."""
        if "crops" not in view.asks:
            for begin in range(0, len(rows), BATCH):
                some = rows.iloc[begin : begin + BATCH]
                yield Faces(tuple(some.index), side, self.device, some.reset_index())
            return
        for batches in crop_batches(manifest, rows, BATCH):
            for batch in batches:
                names = tuple(batch.sample_ids.tolist())
                about = rows.loc[list(names)].reset_index()
                points = (batch.landmarks, batch.source_scale) if "landmarks" in view.asks else (None, None)
                yield Faces(names, side, self.device, about, batch.crops, *points)

    def _faces_of(self, manifest: Manifest, sample_ids: Sequence[str]) -> list[str]:
        if manifest.sha256 not in self._rows:
            self._rows[manifest.sha256] = manifest.frame(["sample_id"]).set_index("sample_id")
        known = self._rows[manifest.sha256].index
        return pd.Index(sample_ids).drop_duplicates().intersection(known).tolist()

    def _rows_of_all(self, view: View) -> pd.DataFrame:
        """Rows of every manifest with the columns a view asks for, indexed by `sample_id`."""
        key = f"columns of {view.name}"
        if key not in self._rows:
            columns = ["sample_id", *view.columns]
            frames = [manifest.frame(columns) for manifest in self.manifests]
            self._rows[key] = pd.concat(frames, ignore_index=True).set_index("sample_id")
        return self._rows[key]
