"""Which parts of a face an answer follows from: attention rollout, Grad-CAM or gradients, by the architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dfad_bench.core.batch import Inputs, Label, Output
from dfad_bench.core.contract import DFADModel
from dfad_bench.core.errors import ConfigError
from dfad_bench.explain.grad_cam import find_layer, grad_cam, named_layer
from dfad_bench.explain.places import blind_margin
from dfad_bench.explain.rollout import find_chain, rollout, rollout_margin
from dfad_bench.explain.watched_pass import WatchedPass, undisturbed, watch

Method = Literal["auto", "grad_cam", "rollout", "saliency"]
METHOD_TITLES = {"grad_cam": "Grad-CAM", "rollout": "attention rollout", "saliency": "gradient"}
_CELLS = 16  # of a side, over which gradients of pixels are averaged: single ones are noise


@dataclass(frozen=True)
class HeatMaps:
    """Heat-maps of B faces.

    Attributes:
        maps: (B, H, W) float32 in [0, 1] at the size of the images, on the CPU: `raw` enlarged, each face by its own
            scale. Rollout starts at its least value, Grad-CAM at 0.
        raw: (B, h, w), a value a cell of the layer's map. Compare faces by these.
        method: "grad_cam", "rollout" or "saliency".
        layer: the module whose map it is; of a rollout, its last attention; of gradients, "pixels".
        task: the expert that was asked, "attribution" or "detection".
        classes: (B,), the class whose logit was asked. A rollout is the same for all.
        empty: (B,) bool, nothing speaks for the class: the map is 0.
    """

    maps: Tensor
    raw: Tensor
    method: str
    layer: str
    task: Label
    classes: Tensor
    empty: Tensor

    @property
    def title(self) -> str:
        """Method and layer in words: "Grad-CAM of trunk.layer4"."""
        return f"{METHOD_TITLES[self.method]} of {self.layer}"


def heat_maps(
    model: DFADModel,
    inputs: Inputs,
    *,
    task: Label = "attribution",
    classes: Tensor | int | None = None,
    method: Method = "auto",
    layer: str | None = None,
) -> HeatMaps:
    """Heat-maps of any model for a few faces; the model is afterwards as it was.

    Transformers over patches get attention rollout, others Grad-CAM, and models without a map of the picture (they read
    its frequencies) the size of the gradient by pixels (Simonyan et al., 2014). Gaze and other views stay as they are.
    The graph of the whole batch is held: give some 16 faces at a time.

    Args:
        model: in any mode, on any device; it is read in evaluation mode.
        inputs: images (B, 3, H, W) in [0, 1] and the views the model needs.
        task: the expert that is asked.
        classes: the class to explain, one or (B,); by default each face's answer.
        method: "auto", "grad_cam", "rollout" or "saliency".
        layer: the module whose map is weighed by Grad-CAM, as in `named_modules`; by default the last map of the whole
            picture that the answer follows from. With "auto" it means Grad-CAM.

    Raises:
        ConfigError: the model cannot be explained (one line says why), or the layer does not fit.
        UnknownNameError: no such layer.
    """
    if method in ("rollout", "saliency") and layer is not None:
        raise ConfigError(f"{METHOD_TITLES[method]} has no layer to choose; leave it out, or take grad_cam")
    if not model.needs_images:
        read = ", ".join(model.needs) or "nothing"
        raise ConfigError(
            f"{model.card.display} reads {read} instead of the picture, so there is no map of the picture"
            " (a VFM probe: train it with cached=false)"
        )
    with undisturbed(model):
        passed = watch(model, inputs)
        logits, chosen = asked_logits(passed.output, task, classes)
        if logits.grad_fn is None:
            raise ConfigError(f"{model.card.display}: its {task} follows from nothing a heat-map could show")
        return _mapped(model, passed, logits.sum(), task, chosen, "grad_cam" if layer else method, layer)


def asked_logits(output: Output, task: Label, classes: Tensor | int | None) -> tuple[Tensor, Tensor]:
    """(B,) logits of the classes that are asked for, and (B,) those classes; None: each face's largest.

    Raises:
        ConfigError: a class the expert does not have.
    """
    logits = output.attribution_logits if task == "attribution" else output.detection_logits
    if classes is None:
        chosen = logits.detach().argmax(dim=1)
    else:
        chosen = torch.as_tensor(classes, device=logits.device).expand(len(logits)).long()
    if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < logits.shape[1]:
        raise ConfigError(
            f"{task} has classes 0 to {logits.shape[1] - 1}, got {int(chosen.min())} to {int(chosen.max())}"
        )
    return logits.gather(1, chosen[:, None])[:, 0], chosen


def enlarged_maps(raw: Tensor, side: tuple[int, int], *, floor: bool = False, margin: int = 0) -> Tensor:
    """Maps (B, h, w) as (B, H, W) in [0, 1], bilinear, each divided by its largest value; a map of zeros stays one.

    Args:
        raw: values of 0 and more.
        side: H and W.
        floor: whether each map's least value becomes 0.
        margin: cells to leave out at each edge, which no pixel reaches.
    """
    cells = raw[:, margin : raw.shape[1] - margin, margin : raw.shape[2] - margin].float()
    if floor:
        cells = cells - cells.amin(dim=(1, 2), keepdim=True)
    largest = cells.amax(dim=(1, 2), keepdim=True)
    cells = cells / torch.where(largest > 0, largest, torch.ones_like(largest))
    return F.interpolate(cells[:, None], side, mode="bilinear", align_corners=False)[:, 0].clamp(0, 1)


def _mapped(
    model: DFADModel,
    passed: WatchedPass,
    score: Tensor,
    task: Label,
    classes: Tensor,
    method: Method,
    layer: str | None,
) -> HeatMaps:
    try:
        used, name, raw, margin = _found_map(passed, score, method, layer)
    except ConfigError as error:
        raise ConfigError(f"{model.card.display}: {error}") from error
    raw = raw.detach().float().cpu()
    side = (int(passed.images.shape[2]), int(passed.images.shape[3]))
    maps = enlarged_maps(raw, side, floor=used == "rollout", margin=margin)
    return HeatMaps(maps, raw, used, name, task, classes.cpu(), maps.amax(dim=(1, 2)) == 0)


def _found_map(passed: WatchedPass, score: Tensor, method: Method, layer: str | None) -> tuple[str, str, Tensor, int]:
    """Method, layer, values (B, h, w) of 0 and more, and cells at each edge that no pixel reaches."""
    if method in ("auto", "rollout"):
        if (chain := find_chain(passed, score)) is not None:
            return "rollout", chain.blocks[-1].module, rollout(chain, score), rollout_margin(passed, chain)
        if method == "rollout":
            raise ConfigError("no transformer over patches, so there is no rollout; take grad_cam")
    if method in ("auto", "grad_cam"):
        found = named_layer(passed, score, layer) if layer else find_layer(passed, score)
        if found is not None:
            return (
                "grad_cam",
                found.name,
                grad_cam(found.value, found.gradient),
                blind_margin(found.value, passed.images),
            )
        if method == "grad_cam":
            raise ConfigError("no layer has a map of the whole picture that the answer follows from; take saliency")
    return "saliency", "pixels", _pixel_gradients(passed.images, score), 0


def _pixel_gradients(images: Tensor, score: Tensor) -> Tensor:
    """(B, 16, 16): the mean size of the logit's gradient by the pixels of each cell, all colours added."""
    (found,) = torch.autograd.grad(score, images, retain_graph=True, allow_unused=True)
    if found is None or not found.any():
        raise ConfigError("the answer follows from no pixel by a gradient")
    return F.adaptive_avg_pool2d(found.abs().sum(dim=1, keepdim=True), _CELLS)[:, 0]
