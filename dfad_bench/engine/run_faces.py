"""Chosen faces of manifests as a finished run reads them: pixels at its size, with the views it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfad_bench.core.contract import Inputs
from dfad_bench.core.labels import UNLABELLED, UNSEEN
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.prompts import class_prompts
from dfad_bench.engine.load import LoadedRun
from dfad_bench.engine.needs import needs_of, with_view_weights
from dfad_bench.views.provider import ViewProvider


@dataclass(frozen=True)
class RunFaces:
    """The faces that were found, by `sample_id`, as inputs of the run's model."""

    sample_ids: tuple[str, ...]
    dataset: FaceDataset

    def inputs(self, start: int, stop: int) -> Inputs:
        """The inputs of some of them, on the CPU."""
        return self.dataset.inputs(np.arange(start, min(stop, len(self.sample_ids))))


def run_faces(
    run: LoadedRun,
    sample_ids: Sequence[str],
    manifests: Sequence[Manifest],
    views: ViewProvider | None,
    *,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> RunFaces | None:
    """The faces of these names that are in the manifests; None where none is.

    Args:
        run: whose model reads them.
        sample_ids: of faces.
        manifests: where they may be.
        views: makes the views the model needs.
        progress: shows decoding.
    """
    config, protocol = run.config, run.protocol
    prompts = class_prompts(protocol, config.templates)
    needs = needs_of(config.model, protocol.num_generators, config.size, config.model_options, prompts)
    needs = with_view_weights(needs, None, config.views)
    wanted = set(sample_ids)
    frames = [one.frame(["sample_id", "dataset", "crop_sha256", "source_key"]) for one in manifests]
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"sample_id": []})
    rows = rows[rows["sample_id"].isin(wanted)].drop_duplicates("sample_id").reset_index(drop=True)
    if not len(rows):
        return None
    rows = rows.assign(group="", attribution_label=UNSEEN, detection_label=UNLABELLED, video=None)
    here = [one for one, frame in zip(manifests, frames, strict=True) if frame["sample_id"].isin(wanted).any()]
    store = CropStore.open(rows, here, protocol.image_size, cache="none", progress=progress)
    ids = rows["sample_id"].tolist()
    sources = {}
    if views is not None and needs.views:
        views.follow({name: values for name, values in needs.view_settings.items() if name in needs.views})
        sources = {name: views.source(name, ids, protocol.image_size) for name in needs.views}
    dataset = FaceDataset(rows, store, protocol, views=sources, images=needs.images)
    return RunFaces(tuple(ids), dataset)
