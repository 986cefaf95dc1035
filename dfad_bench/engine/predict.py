"""A model and rows to `predictions.parquet`: every face, every class probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.errors import DFADError, listed
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.run_outputs import Outputs, compact_embedding
from dfad_bench.data.dataset import FaceDataset, mixed_batches, prefetch
from dfad_bench.engine.devices import Place
from dfad_bench.engine.seeding import derived, seed_all

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 64


@dataclass(frozen=True)
class Predicted:
    """Predictions as a frame, and the logits and embeddings they were made of."""

    frame: pd.DataFrame
    outputs: Outputs


def predict(
    model: DFADModel,
    dataset: FaceDataset,
    source_keys: pd.Series,
    *,
    videos: pd.Series | None = None,
    place: Place,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> pd.DataFrame:
    """Class probabilities of every face; see `predict_outputs`."""
    return predict_outputs(
        model, dataset, source_keys, videos=videos, place=place, seed=seed, batch_size=batch_size, progress=progress
    ).frame


def predict_outputs(
    model: DFADModel,
    dataset: FaceDataset,
    source_keys: pd.Series,
    *,
    videos: pd.Series | None = None,
    place: Place,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> Predicted:
    """Class probabilities, logits and embedding of every face, the last incomplete batch included.

    Faces are predicted in a mixed order (`mixed_order`), so that no batch is of one group; rows come in the dataset's.

    Args:
        model: in whatever mode; evaluated in eval mode.
        dataset: the faces.
        source_keys: source of each face, for intervals by cluster.
        videos: video of each face, null for still images; a column of the result where there is any.
        place: device and precision of the forward pass; the softmax is taken in float64.
        seed: of the order, the same for every model; and for models that draw in evaluation.
        batch_size: faces a forward pass.
        progress: one step a batch.

    Returns:
        A frame with `sample_id, group, source_key, attribution_label, detection_label, p_0 ... p_{x-1}, p_fake`, and
        the outputs it was made of.

    Raises:
        DFADError: a prediction is NaN or inf.
    """
    import pandas as pd

    place.move(model)
    model.eval()
    seed_all(derived(seed, "predict"))
    logits, detection, embedding = _outputs(model, dataset, place, mixed_batches(dataset, batch_size, seed), progress)
    p, p_fake = logits.softmax(dim=1), detection.softmax(dim=1)[:, 1]
    bad = ~(torch.isfinite(p).all(dim=1) & torch.isfinite(p_fake))
    if bad.any():
        faces = listed(dataset.sample_ids[bad.numpy()], 5)
        what = "the weights are damaged" if place.precision == "fp32" else "train with --precision fp32"
        raise DFADError(f"{int(bad.sum())} predictions are NaN or inf (faces {faces}); {what}")
    columns = {f"p_{k}": p[:, k].float().numpy() for k in range(p.shape[1])}
    labels = {
        "sample_id": dataset.sample_ids,
        "group": dataset.groups,
        "source_key": source_keys.to_numpy(),
        "attribution_label": dataset.attribution.astype("int16"),
        "detection_label": dataset.detection.astype("int8"),
    }
    names = (labels["sample_id"], labels["group"], labels["source_key"], labels["attribution_label"])
    outputs = Outputs(*names, logits.float().numpy(), detection.float().numpy(), embedding)
    if videos is not None and videos.notna().any():
        labels["video"] = videos.to_numpy(dtype=object)
    return Predicted(pd.DataFrame({**labels, **columns, "p_fake": p_fake.float().numpy()}), outputs)


def _outputs(
    model: DFADModel, dataset: FaceDataset, place: Place, batches: Sequence[np.ndarray], progress: Progress
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Logits (N, x) and (N, 2), float64, and embeddings (N, d), in the order of the dataset."""
    order = np.concatenate(batches) if batches else np.arange(0)
    dataset.read_in(order)
    attribution, detection, embeddings = [], [], []
    progress.start("Predicting", len(batches))
    try:
        with torch.inference_mode(), place.autocast():
            for inputs in prefetch(dataset, batches, place.device, training=False):
                output = model(place.lay_out(inputs))
                attribution.append(place.exact(output.attribution_logits).cpu())
                detection.append(place.exact(output.detection_logits).cpu())
                embeddings.append(compact_embedding(output.embedding.float().cpu().numpy()))
                progress.advance()
    finally:
        progress.finish()
    back = np.argsort(order)
    at = torch.from_numpy(back)
    return torch.cat(attribution)[at], torch.cat(detection)[at], np.concatenate(embeddings)[back]
