"""What a run keeps beside its predictions: outputs of its faces, predictions of validation faces, the last layer.

Scores for "unseen" need logits and embeddings, those of some training faces among them; thresholds need validation
faces. All of it is made at the end of a training, by the weights that predict, in the same way as the predictions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_outputs import PARTS, LastLayer, Outputs, write_last_layer, write_outputs
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.data.select import Selection
from dfad_bench.engine.predict import Predicted

if TYPE_CHECKING:
    import pandas as pd

FACES_A_CLASS = 1000  # training faces whose outputs are kept: embeddings of all would be larger than the crops
_ROUNDING = {"fp32": 2e-3, "fp16": 2e-2, "bf16": 4e-2}  # of embeddings kept in float16, and of the forward pass
PredictRows = Callable[["pd.DataFrame", str], Predicted]


def keep_outputs(
    files: RunFolder,
    model: DFADModel,
    selection: Selection,
    tested: Predicted,
    predict_rows: PredictRows,
    *,
    seed: int,
    precision: str,
) -> list[Path]:
    """Write outputs of test faces, and of a training those of validation faces and of some training faces.

    Args:
        files: where to.
        model: with its trained weights.
        selection: the faces; of an evaluation it has test faces only.
        tested: the test faces, predicted.
        predict_rows: predicts rows of a part.
        seed: of the choice of training faces, the same for every model.
        precision: of the forward pass.

    Returns:
        The files that were written; those of an earlier call are gone.
    """
    remove_outputs(files)
    kept = [files.outputs("test")]
    write_outputs(kept[0], tested.outputs)
    if len(selection.validation):
        made = predict_rows(selection.validation, "validation")
        write_predictions(files.validation, made.frame)
        write_outputs(files.outputs("validation"), made.outputs)
        kept += [files.validation, files.outputs("validation")]
    if len(selection.train):
        outputs = predict_rows(faces_by_class(selection.train, seed), "train").outputs
        write_outputs(files.outputs("training"), outputs)
        kept.append(files.outputs("training"))
        layer = linear_layer(model)
        if layer is not None and layer.explains(_without_names(outputs), _ROUNDING[precision]):
            write_last_layer(files.last_layer, layer)
            kept.append(files.last_layer)
    return kept


def remove_outputs(files: RunFolder) -> None:
    """Delete what an earlier call kept: it is of other weights."""
    for path in (*map(files.outputs, PARTS), files.validation, files.last_layer):
        path.unlink(missing_ok=True)


def faces_by_class(rows: pd.DataFrame, seed: int, most: int = FACES_A_CLASS) -> pd.DataFrame:
    """At most `most` training faces of each class, chosen by the seeded hash of their `sample_id`, in their order."""

    def place(name: str) -> str:
        return hashlib.sha256(f"{seed}:outputs:{name}".encode()).hexdigest()

    places = rows["sample_id"].map(place)
    ranks = places.groupby(rows["attribution_label"].to_numpy()).rank(method="first")
    return rows[ranks.to_numpy() <= most].reset_index(drop=True)


def linear_layer(model: DFADModel) -> LastLayer | None:
    """The last layer as the model says it; None where it has none that is linear."""
    found = model.last_layer()
    if found is None:
        return None
    weight, bias = (values.detach().float().cpu().numpy() for values in found)
    return LastLayer(weight, bias)


def _without_names(outputs: Outputs) -> Outputs:
    """Embeddings of at most a thousand faces: enough to see whether a layer is what made the logits."""
    few = slice(0, 1000)
    return Outputs(*(np.asarray(values)[few] for values in vars(outputs).values()))
