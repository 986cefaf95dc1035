"""A model as a graph of arrays: uint8 crops and views in, probabilities out, all between them inside."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dfad_bench.core.contract import DFADModel, Inputs
from dfad_bench.core.errors import ConfigError, DFADError, cut
from dfad_bench.core.escape import one_line
from dfad_bench.export.facts import EMBEDDING, IMAGES, P_FAKE, P_GENERATOR, PRESENT, ViewInput
from dfad_bench.views.registry import example_views, view_class

TRACED_ROWS = 3  # faces a graph is captured with; one would broadcast
_OPERATOR = re.compile(r"(?:aten|prims|torchvision|quantized)(?:::|\.)\w+")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST, _DEEPEST = 300, 10


class ExportGraph(nn.Module):
    """(N, side, side, 3) uint8 RGB and views to p_fake (N,), class probabilities (N, x) and perhaps embeddings (N, d).

    Args:
        model: of a finished run.
        views: what it reads beside pixels.
        side: of the crops; None for a model that reads views alone, whose graph has no images.
        embedding: whether the embedding is a third output.
    """

    def __init__(self, model: DFADModel, views: tuple[ViewInput, ...], side: int | None, *, embedding: bool) -> None:
        super().__init__()
        self.model, self.views, self.side, self.gives_embedding = model.eval(), views, side, embedding

    @property
    def input_names(self) -> list[str]:
        """Of the arrays in, in order."""
        named = [[view.name] + ([view.name + PRESENT] if view.told_by == "mask" else []) for view in self.views]
        return ([IMAGES] if self.side else []) + [name for names in named for name in names]

    @property
    def output_names(self) -> list[str]:
        """Of the arrays out, in order."""
        return [P_FAKE, P_GENERATOR] + ([EMBEDDING] if self.gives_embedding else [])

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """The arrays of `input_names` to those of `output_names`."""
        given = dict(zip(self.input_names, arrays, strict=True))
        if self.side:
            images = given[IMAGES].permute(0, 3, 1, 2).contiguous().float() / 255  # as data.dataset hands them over
        else:
            images = next(iter(given.values())).new_zeros(arrays[0].shape[0], 3, 0, 0, dtype=torch.float32)
        views: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for view in self.views:
            values = given[view.name]
            if view.told_by == "nan":
                known = ~torch.isnan(values)
                views[view.name] = torch.where(known, values, torch.zeros_like(values))
                present[view.name] = known.flatten(1).all(dim=1)
            else:
                views[view.name] = values
            if view.told_by == "mask":
                present[view.name] = given[view.name + PRESENT]
        output = self.model(Inputs(images, dict(views), present))
        p_fake = output.detection_logits.float().softmax(dim=1)[:, 1]
        found = (p_fake, output.attribution_logits.float().softmax(dim=1))
        return (*found, output.embedding.float()) if self.gives_embedding else found

    def example(self, rows: int, *, missing: bool = True) -> tuple[Tensor, ...]:
        """Random arrays in, of `rows` faces; with `missing`, the last face lacks each view that faces may lack."""
        generator = torch.Generator().manual_seed(rows)
        given: list[Tensor] = []
        if self.side:
            shape = (rows, self.side, self.side, 3)
            given.append(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))
        for view in self.views:
            values = example_views((view.name,), rows, self.side or 1, generator, settings=self.model.view_settings)
            value = values[view.name]
            assert isinstance(value, Tensor)
            value, here = value.clone(), torch.ones(rows, dtype=torch.bool)
            here[-1] = not (missing and view.missing)
            if view.told_by == "nan":
                value[~here] = float("nan")
            given += [value, here] if view.told_by == "mask" else [value]
        return tuple(given)


def view_inputs(model: DFADModel, side: int, made_by: Mapping[str, Any] | None = None) -> tuple[ViewInput, ...]:
    """What a model reads beside pixels, as inputs of a graph.

    Args:
        model: whose.
        side: of the images it is given.
        made_by: by view, how the run made it (`views.identity`).

    Raises:
        ConfigError: a view of texts, which a graph cannot read.
    """
    found = []
    for name in model.needs:
        view = view_class(name).stand_in(model.view_settings.get(name))
        if view.dtype == "str":
            raise ConfigError(f"{model.card.display} cannot be exported: the view {name} is text, no array of numbers")
        missing = model.missing_views.get(name, "")
        told = "never" if not missing else "nan" if view.kind == "vector" and view.dtype == "float32" else "mask"
        made = (made_by or {}).get(name, {})
        shape = tuple(view.shape(side))
        found.append(ViewInput(name, shape, view.dtype, view.meaning, missing, told, dict(made)))  # type: ignore[arg-type]  # not str
    return tuple(found)


@contextmanager
def named_failures(model: DFADModel, form: str) -> Iterator[None]:
    """Whatever an exporter raises as one line that names the model, and the operator where the text has one.

    Raises:
        ConfigError: that line.
    """
    try:
        with warnings.catch_warnings(), _quiet_exporters():
            warnings.simplefilter("ignore")  # of tracers, about shapes that are fixed on purpose
            yield
    except DFADError:
        raise
    except Exception as error:  # exporters raise errors of many kinds
        raise ConfigError(f"{model.card.display} cannot be exported to {form}: {failure_words(error)}") from error


def failure_words(error: BaseException) -> str:
    """What went wrong, on one line, with the operator first.

    >>> failure_words(RuntimeError("no function for aten::svd, sorry"))
    'operator aten::svd: no function for aten::svd, sorry'
    """
    lines: list[str] = []
    seen: BaseException | None = error
    for _ in range(_DEEPEST):
        if seen is not None:
            lines += [line.strip() for line in _COLOUR.sub("", str(seen)).splitlines() if line.strip()]
            seen = seen.__cause__ or seen.__context__
    first = lines[0] if lines else type(error).__name__
    for line in reversed(lines):  # the cause behind all others names the operator best
        if found := _OPERATOR.search(line):
            return f"operator {found[0]}: {one_line(cut(first, _LONGEST))}"
    return one_line(cut(first, _LONGEST))


@contextmanager
def _quiet_exporters() -> Iterator[None]:
    """Without the lines that exporters log of what they did not fold."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
