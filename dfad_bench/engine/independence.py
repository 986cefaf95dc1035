"""Whether a face's answer depends on the other faces of its batch, which at test time it must not.

Statistics over a batch (BatchNorm left in training mode, a batch's mean) tell a model what kinds of faces are tested
together. Faces are predicted in a mixed order (`data.dataset.mixed_order`), so that this tells nothing of their
labels; and a model that lets it count is refused, since its numbers would be those of the batches, not of the faces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dfad_bench.core.contract import DFADModel, Inputs, Output
from dfad_bench.core.errors import DFADError, cut, quoted
from dfad_bench.engine.devices import Place, Precision
from dfad_bench.engine.interrupts import one_line

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.dataset import FaceDataset

# of the largest logit of a batch: batches of other sizes are summed in another order, which rounds otherwise. On the
# CPU the largest difference of the models here is 3e-6 in fp32; a unit in the last place is 1e-3 in fp16, 8e-3 in bf16
TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2}
LEAST_SCALE = 0.1  # logits that are all smaller, as of a model that has learnt nothing, count as this large
# larger ones as this: a class that is never named, at -1e6, would widen the tolerance of the others
MOST_SCALE = 300.0
# of a probability, between the predictions that count and others of the same faces; on GPUs batches of other sizes
# round otherwise, with TF32 to three digits
AGAIN: Mapping[Precision, float] = {"fp32": 0.01, "fp16": 0.03, "bf16": 0.1}
BATCHES, FACES, ALONE = 2, 16, 4  # real batches that are looked at, faces of each, and those of them also put alone
EXPERTS = ("attribution_logits", "detection_logits")


@dataclass(frozen=True)
class Dependence:
    """What changes with the other faces: which output of which row, by how much, and when."""

    row: int
    output: str
    difference: float
    allowed: float
    when: str

    def __str__(self) -> str:
        return f"{self.output} of row {self.row} changes by {self.difference:.2g} {self.when}"


def require_independent(model: DFADModel, dataset: FaceDataset, order: np.ndarray, place: Place) -> None:
    """Compare a few faces' answers alone, in a batch, and in another batch; 12 small forward passes.

    On a GPU they are computed without TF32, whose rounding differs between batch sizes.

    Args:
        model: on the device of `place`; put into eval mode.
        dataset: the faces that will be predicted.
        order: their row numbers, in the order in which they will be.
        place: device and precision.

    Raises:
        DFADError: an answer changes with the other faces of its batch, or cannot be computed for a face alone.
    """
    model.eval()
    dataset.read_in(order)

    def run(inputs: Inputs) -> Output:
        with torch.inference_mode(), place.autocast(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return model(place.lay_out(inputs))

    for begin in range(0, min(len(order), BATCHES * FACES), FACES):
        index = order[begin : begin + FACES]
        found = dependence(
            run, dataset.inputs(index, place.device), TOLERANCES[place.precision], scaled=True, outputs=EXPERTS
        )
        if found is not None:
            raise DFADError(_refusal(model, quoted(dataset.sample_ids[index[found.row]]), found, place))


def require_repeatable(
    model: DFADModel, dataset: FaceDataset, order: np.ndarray, frame: pd.DataFrame, place: Place
) -> None:
    """Predict a few faces again, eight in one batch, and compare with the predictions that were stored.

    What `require_independent` cannot see before: a model that learns from the test faces as it goes, or looks at its
    batch only where that is large.

    Args:
        model: in eval mode on the device of `place`, as it is after all faces were predicted.
        dataset: those faces.
        order: their row numbers, in the order in which they were predicted.
        frame: of `engine.predict.predict`, rows as in the dataset.
        place: device and precision.

    Raises:
        DFADError: an answer has changed.
    """
    places = [0, 1, 2, 3, len(order) // 2, len(order) // 2 + 1, len(order) - 2, len(order) - 1]
    index = order[sorted({place for place in places if 0 <= place < len(order)})]
    dataset.read_in(order)
    with torch.inference_mode(), place.autocast():
        output = model(place.lay_out(dataset.inputs(index, place.device)))
    again = [output.attribution_logits.double().softmax(dim=1), output.detection_logits.double().softmax(dim=1)[:, 1:]]
    columns = [name for name in frame if str(name).startswith("p_")]  # p_0 ... p_{x-1}, p_fake
    gaps = np.abs(torch.cat(again, dim=1).cpu().numpy() - frame[columns].to_numpy(dtype=float)[index])
    gaps = np.nan_to_num(gaps, nan=np.inf)
    row, column = np.unravel_index(np.argmax(gaps), gaps.shape)
    if gaps[row, column] > AGAIN[place.precision]:
        allowed, when = AGAIN[place.precision], "when predicted again, among fewer"
        what = Dependence(int(row), str(columns[column]), float(gaps[row, column]), allowed, when)
        raise DFADError(_refusal(model, quoted(dataset.sample_ids[index[row]]), what, place))


def dependence(
    run: Callable[[Inputs], Output],
    inputs: Inputs,
    tolerance: float,
    *,
    scaled: bool = False,
    outputs: Sequence[str] = (*EXPERTS, "embedding"),
) -> Dependence | None:
    """The first output that changes when a face alone, or half of the batch in reverse order, is computed.

    Args:
        run: the forward pass in evaluation.
        inputs: a batch; of one face nothing can be said.
        tolerance: largest difference.
        scaled: `tolerance` is of the largest value of the batch, its mean over the columns of each row taken off.
        outputs: fields of `Output` that are compared.
    """
    whole_batch = run(inputs)
    allowed = {name: tolerance * (_scale(getattr(whole_batch, name)) if scaled else 1) for name in outputs}
    count = len(inputs)
    half = list(range(count - 1, -1, -2))
    single_rows = sorted({round(k * (count - 1) / (ALONE - 1)) for k in range(ALONE)})
    parts = (
        [*(([row], "when it is alone") for row in single_rows), (half, "among fewer other faces")] if count > 1 else []
    )
    for rows, when in parts:
        part = _of_part(run, rows_of(inputs, rows), when)
        if isinstance(part, str):
            return Dependence(rows[0], part, float("inf"), 0.0, when)
        for name in outputs:
            differences = (
                getattr(whole_batch, name)[rows].double() - getattr(part, name).double()
            ).abs()  # (rows, columns)
            worst = differences.nan_to_num(0.0).amax(
                dim=1
            )  # what is no number is refused where predictions are looked at
            if float(worst.max()) > allowed[name]:
                return Dependence(rows[int(worst.argmax())], name, float(worst.max()), allowed[name], when)
    return None


def _of_part(run: Callable[[Inputs], Output], inputs: Inputs, when: str) -> Output | str:
    """The output of some faces of a batch; what fails, as words, where only the whole batch can be computed."""
    try:
        with one_line("while comparing faces alone and in a batch", "use a machine with more memory"):
            return run(inputs)
    except DFADError:
        raise
    except Exception as error:  # a model from outside may raise anything; the whole batch went through
        return cut(" ".join(f"{type(error).__name__}: {error}".split()), 120)


def _scale(logits: Tensor) -> float:
    """The largest logit, less the mean of its row, which no probability depends on."""
    centred = logits.double() - logits.double().mean(dim=1, keepdim=True)
    return min(max(float(centred.abs().nan_to_num(0.0, posinf=0.0).max()), LEAST_SCALE), MOST_SCALE)


def rows_of(inputs: Inputs, rows: slice | Sequence[int]) -> Inputs:
    """Some rows of a batch's inputs."""
    numbers = range(len(inputs))[rows] if isinstance(rows, slice) else rows
    views = {
        name: view[rows] if isinstance(view, Tensor) else tuple(view[row] for row in numbers)
        for name, view in inputs.views.items()
    }
    masks = {name: mask[rows] for name, mask in inputs.present.items()}
    return Inputs(inputs.images[rows], views, masks)


def _refusal(model: DFADModel, face: str, found: Dependence, place: Place) -> str:
    what = (
        f"{found.output.replace('_logits', ' logits')} of face {face} change by {found.difference:.2g} {found.when},"
        f" {found.allowed:.2g} is allowed in {place.precision}"
        if found.allowed
        else f"face {face} cannot be computed {found.when}: {found.output}"
    )
    return (
        f"{model.card.display}: answers depend on the other faces of the batch ({what}); nothing is predicted, the"
        " trained weights are kept: mend the model (BatchNorm in training mode? statistics over the batch?) and run the"
        " same command again"
    )
