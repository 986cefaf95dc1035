"""What a forward pass must and must not do."""

from __future__ import annotations

import inspect
from dataclasses import replace

import torch

from dfad_bench.core.contract import DFADModel, Output
from dfad_bench.engine.contract_checks.isolation import reseeded_generators, watched
from dfad_bench.engine.contract_checks.subject import (
    GENERATORS,
    ROWS,
    Subject,
    differing,
    pairs,
    predict,
)
from dfad_bench.engine.independence import dependence

_TOLERANCE = 1e-4  # other batch sizes and torch's fused kernels (which run without gradients only) round otherwise


def check_output(subject: Subject) -> str:
    """Logits and embedding have the promised shapes and hold no NaN; without `needs_images` they come from views.

    Where the model says that its logits are linear in its embedding, they are.
    """
    inputs = subject.batch().inputs
    model = subject.build()
    output = predict(model, inputs)
    for name, width in (("attribution_logits", GENERATORS), ("detection_logits", 2), ("embedding", None)):
        value = getattr(output, name)
        if value.ndim != 2 or value.shape[0] != ROWS or (width is not None and value.shape[1] != width):
            return f"{name} is {tuple(value.shape)}, expected ({ROWS}, {width or 'd'})"
        if not torch.isfinite(value).all():
            return f"{name} holds NaN or infinity"
    if wrong := _other_layer(model, output):
        return wrong
    if subject.model.needs_images:
        return ""
    changed = differing(output, predict(subject.build(), replace(inputs, images=torch.empty(ROWS, 3, 0, 0))))
    return f"needs_images is False, and {changed} changes where there are no images" if changed else ""


def _other_layer(model: DFADModel, output: Output) -> str:
    """What is wrong with `last_layer`, empty where nothing is."""
    layer = model.last_layer()
    if layer is None:
        return ""
    weight, bias = (values.detach() for values in layer)
    if weight.shape != (output.attribution_logits.shape[1], output.embedding.shape[1]):
        return f"last_layer() has weights {tuple(weight.shape)}, the embedding {output.embedding.shape[1]} numbers"
    found = float((output.embedding @ weight.T + bias - output.attribution_logits).detach().abs().max())
    return f"logits differ by {found:.2g} from last_layer() of the embedding; return None" if found > _TOLERANCE else ""


def check_rows_independent(subject: Subject) -> str:
    """In evaluation a face's result does not depend on the other faces of the batch."""
    model = subject.build()
    return str(dependence(lambda inputs: predict(model, inputs), subject.batch().inputs, _TOLERANCE) or "")


def check_deterministic(subject: Subject) -> str:
    """Two evaluations of one batch are equal, whatever the global random state."""
    model, inputs = subject.build(), subject.batch().inputs
    first = predict(model, inputs)
    torch.manual_seed(12345)
    changed = differing(first, predict(model, inputs))
    return f"differs between two runs: {changed}" if changed else ""


def check_inference_mode(subject: Subject) -> str:
    """Evaluation gives the same with gradients, without them, and in torch's inference mode."""
    model, inputs = subject.build().eval(), subject.batch().inputs
    expected = predict(model, inputs)
    for mode, words in ((torch.enable_grad(), "with gradients on"), (torch.inference_mode(), "in inference mode")):
        with mode:
            found = model(inputs)
        for name, a, b in pairs(expected, found):
            difference = float((a.detach() - b.detach()).abs().max())
            if difference > _TOLERANCE:
                return f"{name} differs by {difference:.2g} {words}"
    return ""


def check_label_blind(subject: Subject) -> str:
    """`forward` takes inputs only, and evaluating losses leaves nothing behind that changes it."""
    parameters = list(inspect.signature(subject.cls.forward).parameters)
    if parameters != ["self", "inputs"]:
        return f"forward takes ({', '.join(parameters)}), must take (self, inputs)"
    model, batch = subject.build().eval(), subject.batch()
    before = predict(model, batch.inputs)
    shifted = replace(batch, attribution=batch.attribution.roll(1), detection=batch.detection.roll(1))
    with torch.no_grad():
        model.terms(shifted, model.stages[-1].name)
    changed = differing(before, predict(model, batch.inputs))
    return f"labels seen by losses() in evaluation change {changed}" if changed else ""


def check_side_effects(subject: Subject) -> str:
    """Neither `forward` nor `losses` writes files, starts processes or reseeds the global random generators."""
    model, batch = subject.build(), subject.batch()

    def act() -> None:
        with torch.no_grad():
            model(batch.inputs)
            for stage in model.stages:
                model.terms(batch, stage.name)

    for training in (True, False):
        model.train(training)
        act()  # imports and caches of the first call do not count
        with watched() as seen:
            reseeded = reseeded_generators(act)
        if seen:
            return f"does more than compute: {seen[0]}"
        if reseeded:
            return f"reseeds the global generator of {reseeded[0]}; draw from it, or own one"
    return ""
