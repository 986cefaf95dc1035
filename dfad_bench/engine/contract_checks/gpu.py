"""What a model must and must not do on a GPU, asked of a fake one; see `engine.fake_gpu` for what that can tell."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dfad_bench.core.contract import DFADModel, LossTerm, loss_terms
from dfad_bench.engine.contract_checks.subject import Subject
from dfad_bench.engine.fake_gpu import CUDA, FakeGPU, GPUError

FLOAT32_SHARE = 0.05  # of the multiply-adds, with parameters under autocast; distances from centres are well below


def check_gpu(subject: Subject) -> str:
    """On a GPU every tensor is on it, a step waits for nothing, autocast holds, and nothing is float64."""
    return gpu_faults(subject, torch.bfloat16)


def gpu_faults(subject: Subject, autocast: torch.dtype | None) -> str:
    """The first fault of a model on a GPU under autocast to a format, or without; empty where there is none."""
    model, gpu = subject.build(), FakeGPU(autocast)
    batch = subject.batch()
    with gpu:
        there = batch.to(CUDA, non_blocking=True)
        gpu.take(model)
        found = next(_stage_faults(model.train(), there), "")
        if not found:
            try:
                model.eval()(there.inputs)
            except GPUError as error:
                found = f"in evaluation: {error}"
    return found or _format_faults(gpu)


def _stage_faults(model: DFADModel, batch: object) -> Iterator[str]:
    """What is wrong with the losses of each stage."""
    for stage in model.stages:
        said = stage.name in model.card.waits
        try:
            terms: dict[str, LossTerm] = loss_terms(model.terms(batch, stage.name))  # type: ignore[arg-type]  # a fake batch
        except GPUError as error:
            if not (said and error.waits):
                yield f"stage {stage.name}: {error}"
            continue
        if said:
            yield f"card.waits names stage {stage.name}, which waits for nothing"
        if here := [name for name, term in terms.items() if term.value.device.type != "cuda"]:
            yield f"stage {stage.name}: the loss {here[0]} is on the CPU"


def _format_faults(gpu: FakeGPU) -> str:
    """What is in a number format that it should not be in."""
    if gpu.float64:
        return gpu.float64[0]
    if gpu.autocast is None:
        return ""
    share = sum(gpu.float32_places.values()) / max(gpu.work, 1)
    if share > FLOAT32_SHARE:
        (place, _), name = gpu.float32_places.most_common(1)[0], str(gpu.autocast).removeprefix("torch.")
        return f"{share:.0%} of the multiply-adds under {name} are of parameters in float32, most at {place}"
    return ""
