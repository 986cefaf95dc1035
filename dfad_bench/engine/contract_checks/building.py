"""What building a model must and must not do: card, stages, views, options, weights, both sizes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from dfad_bench.core.contract import Card, DFADModel
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.recipe import recipe_names
from dfad_bench.core.weights import weight_files
from dfad_bench.engine.contract_checks.isolation import no_network
from dfad_bench.engine.contract_checks.subject import GENERATORS, PROMPTS, Subject
from dfad_bench.engine.needs import view_weights_of
from dfad_bench.views.registry import check_needs, view_class, view_classes, view_names


def check_build(subject: Subject) -> str:
    """Builds at tiny size with random weights and no network; its stages have names of their own."""
    with no_network():
        model = subject.build()
    if not isinstance(model, DFADModel):
        return f"build gave a {type(model).__name__}, not a DFADModel"
    if not model.stages:
        return "no training stage"
    names = Counter(stage.name.casefold() for stage in model.stages)
    twice = [stage.name for stage in model.stages if names[stage.name.casefold()] > 1]
    return f"several stages are named {twice[0]!r}, apart from upper and lower case" if twice else ""


def check_card(subject: Subject) -> str:
    """The card is complete, and the weights and the recipe it names are there."""
    card = getattr(subject.cls, "card", None)
    if not isinstance(card, Card):
        return "no card"
    required = ("display", "paper", "idea", "added")
    if empty := [f.name for f in fields(card) if f.name in required and not getattr(card, f.name)]:
        return f"card fields are empty: {', '.join(empty)}"
    if card.task not in ("attribution", "detection", "both", "trivial"):
        return f"card.task is {card.task!r}"
    if unknown := [name for name in card.weights if name not in weight_files()]:
        return f"card.weights names {unknown[0]!r}, which is not in manifests/weights.yaml"
    if card.recipe is not None and card.recipe not in recipe_names():
        return f"card.recipe names {card.recipe!r}, which is not in manifests/recipes"
    if unknown := [name for name in card.waits if name not in {stage.name for stage in subject.model.stages}]:
        return f"card.waits names {unknown[0]!r}, which is no stage"
    if card.waits and not card.notes:
        return "card.waits names a stage, and card.notes does not say why it waits"
    if card.recipe is not None and card.no_recipe:
        return f"card.recipe names {card.recipe!r}, and card.no_recipe says why there is none"
    return "" if 1900 < card.year < 2100 else f"card.year is {card.year}"


def check_views(subject: Subject) -> str:
    """Every view the model needs, also with its yes-or-no options turned, is one that something makes as it asks."""
    known = view_names()
    for words, model in with_options_turned(subject):
        if unknown := [name for name in (*model.needs, *model.needs_training) if name not in known]:
            return f"needs the view {unknown[0]!r}{words}, which nothing makes; known: {', '.join(known)}"
        try:
            check_needs(model.needs, view_classes(model.needs))
        except ConfigError as error:
            return f"{error}{words}"
        if odd := _odd_settings(model):
            return f"view_settings {odd}{words}"
        if odd := _odd_weights(model):
            return f"view_weights {odd}{words}"
    return ""


def _odd_settings(model: DFADModel) -> str:
    """What is wrong with the settings of views that follow from the model's."""
    for name, values in model.view_settings.items():
        if name not in (*model.needs, *model.needs_training):
            return f"of {name!r}, a view that it does not need"
        settings = [field.name for field in fields(view_class(name).Settings)]
        if unknown := [key for key in values if key not in settings]:
            return f"of {name!r} hold {unknown[0]!r}; the view takes {', '.join(settings) or 'none'}"
        try:
            view_class(name).stand_in(values)
        except ConfigError as error:
            return f"do not fit: {error}"
    return ""


def _odd_weights(model: DFADModel) -> str:
    """What is wrong with the views that start from the run's weight file."""
    for name in view_weights_of(model):
        settings = {field.name for field in fields(view_class(name).Settings)}
        if lacking := sorted({"weights", "weights_sha256"} - settings):
            return f"names {name!r}, a view without the setting {lacking[0]!r}"
        if set(model.view_settings.get(name, {})) & {"weights", "weights_sha256"}:
            return f"and view_settings both say the weights of {name!r}; leave them to view_weights"
        if model.weight_names and name not in model.weight_names:
            return f"names {name!r}, and no file of weight_names has that name"
    return ""


def with_options_turned(subject: Subject) -> Iterator[tuple[str, DFADModel]]:
    """The model, and one for each yes-or-no option with the other value where it can be built so; "" or that option."""
    yield "", subject.model
    for name, value in _settings(subject).items():
        if isinstance(value, bool):
            try:
                model = _build_for_shapes(subject, {name: not value})
            except DFADError:
                continue
            yield f" with {name}={str(not value).lower()}", model


def _settings(subject: Subject) -> dict[str, Any]:
    """The settings of the tiny model; none for a model that builds itself without a `Config`."""
    if not hasattr(subject.cls, "Config"):
        return {}
    config = subject.cls.configure("tiny", None)
    return {field.name: getattr(config, field.name) for field in fields(config)}


def _build_for_shapes(subject: Subject, options: dict[str, Any]) -> DFADModel:
    """A tiny model that is asked for names and shapes only: without numbers, where it can be built so."""
    try:
        with torch.device("meta"):
            return subject.build(options=options)
    except (NotImplementedError, RuntimeError):
        return subject.build(options=options)


def check_options(subject: Subject) -> str:
    """An option the model does not have, or a value of the wrong type, is refused, not passed over."""
    options: dict[str, Any] = {"no_such_option": 1}
    options |= {name: object() for name in _settings(subject)}
    for name, value in options.items():
        try:
            subject.build(options={name: value})
        except DFADError:
            continue
        except Exception as error:
            return f"build does not check the type of the option {name} ({type(error).__name__}: {error})"
        what = "the unknown option" if name == "no_such_option" else "a value of no usable type for the option"
        return f"build accepts {what} {name}; check options strictly"
    return ""


def check_weights(subject: Subject) -> str:
    """Weights that do not fit are refused; a model that takes none says so."""
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file({"no.such.tensor": torch.zeros(1)}, path)
        names = subject.cls.weight_names
        given: Any = dict.fromkeys(names, path) if names else path
        try:
            subject.cls.build(GENERATORS, size="tiny", class_prompts=PROMPTS, weights=given)
        except DFADError:
            return ""
    return "build ignores `weights`: a file with one unknown tensor was accepted"


def check_paper_size(subject: Subject) -> str:
    """The published size can be built, as far as shapes tell (on torch's "meta" device, which holds no numbers)."""

    def build() -> None:
        subject.cls.build(GENERATORS, size="paper", class_prompts=PROMPTS, options=subject.options)

    try:
        with torch.device("meta"), no_network():
            build()
    except (NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error):
            raise
        with no_network():  # construction that looks at values
            build()
    return ""
