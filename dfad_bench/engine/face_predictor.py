"""A finished run that is opened once and predicts faces of no protocol, as many times as it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dfad_bench.core.labels import UNLABELLED, UNSEEN
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.data.prompts import class_prompts
from dfad_bench.data.view_source import ViewSource
from dfad_bench.engine.config import RunConfig, read_config
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.load import LoadedRun, load_run
from dfad_bench.engine.needs import Needs, needs_of, with_view_weights, without_view
from dfad_bench.engine.predict import Predicted, predict_outputs

NO_HALF = "trained in fp16, which needs a GPU: predicted in fp32, so numbers differ in the last digits"


@dataclass(frozen=True)
class FacePredictor:
    """The weights and settings of a run, what its model needs beside pixels, and where it computes."""

    loaded: LoadedRun
    files: RunFolder
    config: RunConfig
    needs: Needs
    place: Place
    warnings: tuple[str, ...] = ()

    @classmethod
    def open(cls, run: Path, device: str = "auto", *, other_precision: bool = False) -> FacePredictor:
        """Open a finished run.

        Args:
            run: its folder.
            device: where to compute: auto, cpu, cuda or cuda:N.
            other_precision: predict in fp32, and say so, where the device lacks the run's number format.

        Raises:
            ConfigError: not a finished run, no such device, or one that lacks the number format.
            IntegrityError: the weights are not what was written.
        """
        loaded, files, config = load_run(run, device=device), RunFolder(run), read_config(run)
        prompts = class_prompts(loaded.protocol, config.templates)
        needs = needs_of(config.model, loaded.protocol.num_generators, config.size, config.model_options, prompts)
        needs = with_view_weights(needs, None, config.views)
        on_cpu = place(device).device.type == "cpu"
        changed = other_precision and on_cpu and config.precision == "fp16"
        where = place(device, "fp32" if changed else config.precision, config.channels_last)
        return cls(loaded, files, config, needs, where, (f"{run}: {NO_HALF}",) if changed else ())

    def predict(
        self,
        rows: pd.DataFrame,
        store: CropStore,
        views: Mapping[str, ViewSource],
        progress: Progress = NoProgress(),  # noqa: B008  stateless
    ) -> tuple[Predicted, tuple[str, ...]]:
        """Predictions and outputs of some faces, in the order of the rows, and what a reader must know.

        Args:
            rows: `sample_id` and `source_key` of each.
            store: their crops, at the side of the protocol's images.
            views: a source of each view in `needs.views`, in the order of the rows.
            progress: shows predicting.

        Raises:
            ConfigError: faces lack a view, and the model does not say what it does then.
            DFADError: a prediction is NaN or infinite.
        """
        dataset = self.dataset(rows, store, views)
        lacking = dataset.without_view.items()
        lines = tuple(without_view(self.needs, name, count, f"{len(rows)} faces") for name, count in lacking)
        model, keys = self.loaded.model, rows["source_key"]
        made = predict_outputs(model, dataset, keys, place=self.place, seed=self.config.seed, progress=progress)
        return made, lines

    def dataset(self, rows: pd.DataFrame, store: CropStore, views: Mapping[str, ViewSource]) -> FaceDataset:
        """Some faces as batches are made of them; arguments as of `predict`."""
        rows = rows.assign(group="", attribution_label=UNSEEN, detection_label=UNLABELLED, video=None)
        return FaceDataset(rows, store, self.loaded.protocol, views=views, images=self.needs.images)
