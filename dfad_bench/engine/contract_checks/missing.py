"""Faces without a view: the model says what it does then, and does not read what stands in the view's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dfad_bench.core.contract import DFADModel, Inputs, ViewValue, loss_terms
from dfad_bench.core.errors import ConfigError
from dfad_bench.engine.contract_checks.building import with_options_turned
from dfad_bench.engine.contract_checks.subject import ROWS, Subject, differing, predict, rows_of
from dfad_bench.engine.needs import missing_views_of
from dfad_bench.views.registry import view_class

_LACKING = torch.arange(ROWS) % 3 == 1  # some faces of the checked batch


def check_missing_views(subject: Subject) -> str:
    """For each view that some faces may lack the model says what it does then; that is finite, and reads no filler."""
    for words, model in with_options_turned(subject):
        try:
            stated_views = missing_views_of(model)
        except ConfigError as error:
            return f"{error}{words}"
        for name in may_lack(model):
            if name not in stated_views:
                return (
                    f"needs the view {name!r}{words}, which some faces lack, and does not say what it does then: read"
                    f" `has({name!r})` of inputs or batch, and declare `missing_views`"
                )
    return _reads_filler(subject) or _losses_read_filler(subject)


def may_lack(model: DFADModel) -> list[str]:
    """The views of a model that some faces may have no value of."""
    return [name for name in dict.fromkeys((*model.needs, *model.needs_training)) if view_class(name).may_lack()]


def _reads_filler(subject: Subject) -> str:
    """Whether `forward` gives other results where another filler stands in the place of a missing view."""
    model = subject.build()
    for name in (name for name in may_lack(model) if name in model.needs):
        inputs = subject.batch().inputs
        outputs = [predict(model, lacking(inputs, name, filler)) for filler in (0, 1)]
        if not all(torch.isfinite(value).all() for value in vars(outputs[0]).values()):
            return f"gives NaN or infinity for faces without {name!r}"
        if changed := differing(*outputs):
            return f"reads what stands in {name!r} for faces that have none: {changed} changes with it"
        single = predict(model, rows_of(lacking(inputs, name, 0), slice(0, 1)))  # a face that has the view
        whole = predict(model, rows_of(inputs, slice(0, 1)))
        if changed := differing(single, whole):
            return f"treats a face that has {name!r} otherwise where others may lack it: {changed} changes"
    return ""


def _losses_read_filler(subject: Subject) -> str:
    """The same of `losses` in every stage, with the same global random numbers."""
    for name in may_lack(subject.model):
        for stage in subject.model.stages:
            found = []
            for filler in (0, 1):
                model, batch = subject.build().train(), subject.batch()
                if name in model.needs:
                    batch = replace(batch, inputs=lacking(batch.inputs, name, filler))
                if name in batch.views:
                    views = {**batch.views, name: _filled(batch.views[name], filler)}
                    batch = replace(batch, views=views, present={name: ~_LACKING})
                torch.manual_seed(0)
                terms = loss_terms(model.losses(batch, stage.name))
                found.append({key: term.value.detach() for key, term in terms.items()})
            if changed := [key for key, value in found[0].items() if not torch.equal(value, found[1][key])]:
                return f"loss {changed[0]!r} reads what stands in {name!r} for faces that have none"
    return ""


def lacking(inputs: Inputs, name: str, filler: int) -> Inputs:
    """The inputs with some faces without a view, in whose place stands one of two fillers."""
    views: Mapping[str, ViewValue] = {**inputs.views, name: _filled(inputs.views[name], filler)}
    return replace(inputs, views=views, present={**inputs.present, name: ~_LACKING})


def _filled(values: ViewValue, filler: int) -> ViewValue:
    """Values with zeros (an empty text), or ones (some text), in the place of those that faces lack."""
    if isinstance(values, Tensor):
        shape = (-1, *[1] * (values.ndim - 1))
        return torch.where(_LACKING.reshape(shape), torch.full_like(values, filler), values)
    return tuple(
        ("", "no text")[filler] if lacking_view else text
        for text, lacking_view in zip(values, _LACKING.tolist(), strict=True)
    )
