"""What a model asks of its data, found out before any data are touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from dfad_bench.core.contract import DFADModel, Size, WeightFiles
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.registry import model_class
from dfad_bench.core.stages import Stage
from dfad_bench.views.identity import read_identity
from dfad_bench.views.provider import ViewProvider

LONGEST_CHANGE = 200  # characters of a text of `DFADModel.data_changes`, which boards repeat


@dataclass(frozen=True)
class Needs:
    """What a model asks for: views at test time and for training, prompts, weight files, stages, settings of views.

    And what it does where a face lacks a view.
    """

    views: tuple[str, ...] = ()
    training_views: tuple[str, ...] = ()
    prompts: bool = False
    weights: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = field(default=(), compare=False)
    view_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    missing_views: Mapping[str, str] = field(default_factory=dict)  # what it does for a face without a view, in words
    display: str = field(default="the model", compare=False)
    view_weights: tuple[str, ...] = ()  # views that start from the run's weight file
    images: bool = True  # whether it reads pixels, and not views alone
    named_weights: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by name, where it takes several files
    weights_origin: str = ""  # where to get what it starts from, where `weights` are not names in weights.yaml

    @property
    def all_views(self) -> tuple[str, ...]:
        """Views of either kind, each once."""
        return tuple(dict.fromkeys((*self.views, *self.training_views)))


def needs_of(
    model_name: str,
    num_generators: int,
    size: Size = "paper",
    options: Mapping[str, Any] | None = None,
    class_prompts: Sequence[Sequence[str]] = (),
) -> Needs:
    """What a model of these settings needs; a setting such as `use_gaze=false` may change it, so one is built.

    It is built on PyTorch's "meta" device, which holds no values, or on the CPU where it cannot be. The state of the
    random generators is as before afterwards.

    Args:
        model_name: a registered name.
        num_generators: classes of the attribution expert.
        size: "paper" or "tiny".
        options: the model's own settings.
        class_prompts: per class, its prompts coarse to fine.

    Raises:
        UnknownNameError: no such model.
        ConfigError: bad options.
    """
    model = _built(model_name, num_generators, size, options, class_prompts)
    data_changes_of(model)  # the record's, refused before anything is trained
    for name in ("needs", "needs_training"):
        if isinstance(getattr(model, name), str):
            raise ConfigError(f"{model.card.display}: {name} must be a tuple of names, got a text")
    return Needs(
        tuple(model.needs),
        tuple(model.needs_training),
        bool(model.needs_prompts),
        tuple(model.pretrained),
        tuple(model.stages),
        _view_settings(model),
        missing_views_of(model),
        model.card.display,
        view_weights_of(model),
        bool(model.needs_images),
        dict(model.pretrained_by_name),
        model.pretrained_origin,
    )


def shapes_of(
    model_name: str,
    num_generators: int,
    size: Size = "paper",
    options: Mapping[str, Any] | None = None,
    class_prompts: Sequence[Sequence[str]] = (),
) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's state, by name; arguments and errors as of `needs_of`."""
    model = _built(model_name, num_generators, size, options, class_prompts)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _built(
    model_name: str,
    num_generators: int,
    size: Size,
    options: Mapping[str, Any] | None,
    class_prompts: Sequence[Sequence[str]],
) -> DFADModel:
    """A model without values where its construction allows that."""
    kind = model_class(model_name)

    def build(device: str) -> DFADModel:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return kind.build(num_generators, size=size, class_prompts=class_prompts, options=dict(options or {}))

    try:
        return build("meta")
    except (NotImplementedError, RuntimeError):  # an operation that needs values
        return build("cpu")


def _view_settings(model: DFADModel) -> dict[str, dict[str, Any]]:
    given, named = model.view_settings, {*model.needs, *model.needs_training}
    if not isinstance(given, Mapping) or not all(isinstance(values, Mapping) for values in given.values()):
        raise ConfigError(f"{model.card.display}: view_settings must be a mapping of views to their settings")
    if unknown := sorted(set(given) - named):
        raise ConfigError(f"{model.card.display}: view_settings of {unknown[0]!r}, a view that it does not need")
    return {name: dict(values) for name, values in given.items()}


def view_weights_of(model: DFADModel) -> tuple[str, ...]:
    """The views of a model that start from the run's weight file.

    Raises:
        ConfigError: not a tuple of names of views that it needs.
    """
    given = model.view_weights
    if isinstance(given, str):
        raise ConfigError(f"{model.card.display}: view_weights must be a tuple of names, got a text")
    if unknown := sorted(set(given) - {*model.needs, *model.needs_training}):
        raise ConfigError(f"{model.card.display}: view_weights names {unknown[0]!r}, a view that it does not need")
    return tuple(given)


def with_view_weights(needs: Needs, weights: WeightFiles | None, kept: Mapping[str, Any] | None = None) -> Needs:
    """Needs whose views start from the weight files of a run.

    Args:
        needs: of the model.
        weights: the run's weight files; None: random weights.
        kept: how the views of a finished run were made (`RunConfig.views`), whose weights are taken: by their hash, so
            that stored values are found without the file.
    """
    found = {name: dict(values) for name, values in needs.view_settings.items()}
    for name in needs.view_weights:
        file = weights.get(name) if isinstance(weights, Mapping) else weights
        own: dict[str, Any] = {"weights": None if file is None else str(file)}
        if kept is not None:
            sha256 = read_identity(kept).get(name, {}).get("weights_sha256")
            own = {"weights_sha256": sha256} if sha256 else {"weights": None, "weights_sha256": None}
        elif file is None:
            own["weights_sha256"] = None
        found[name] = {**found.get(name, {}), **own}
    return replace(needs, view_settings=found)


def missing_views_of(model: DFADModel) -> dict[str, str]:
    """What a model says it does for a face without a view, by view.

    Raises:
        ConfigError: not texts by names of views that it needs.
    """
    given, named = model.missing_views, {*model.needs, *model.needs_training}
    whole = isinstance(given, Mapping) and all(isinstance(text, str) and text.strip() for text in given.values())
    if not whole:
        raise ConfigError(f"{model.card.display}: missing_views must be a mapping of views to what is done, in words")
    if unknown := sorted(set(given) - named):
        raise ConfigError(f"{model.card.display}: missing_views of {unknown[0]!r}, a view that it does not need")
    return dict(given)


def data_changes_of(model: DFADModel) -> tuple[str, ...]:
    """What a model says it hides or changes of its training faces: a line a stage that hides labels, and its texts.

    Raises:
        ConfigError: not a tuple of texts, or longer than a record's reader takes in.
    """
    given = model.data_changes
    if not isinstance(given, tuple) or not all(isinstance(text, str) and text.strip() for text in given):
        raise ConfigError(f"{model.card.display}: data_changes must be a tuple of texts")
    if any(len(text) > LONGEST_CHANGE for text in given):
        raise ConfigError(f"{model.card.display}: a text of data_changes has more than {LONGEST_CHANGE} characters")
    hides = (
        f"labels of {100 * stage.hidden_labels:g} % of the faces of an epoch, others in each, are hidden from the"
        f" losses of stage {stage.name}"
        for stage in model.stages
        if stage.hidden_labels
    )
    return (*hides, *given)


def without_view(needs: Needs, name: str, count: int, whose: str) -> str:
    """A line that says what a model does for the faces that lack a view.

    Args:
        needs: of the model.
        name: of the view.
        count: how many faces lack it.
        whose: of which faces, as in "300 test faces".

    Raises:
        ConfigError: the model does not say what it does then.
    """
    if name not in needs.missing_views:
        raise ConfigError(
            f"{count} of {whose} have no {name}, and {needs.display} does not say what it does then: have it declare"
            f" `missing_views` (dfad_bench/views/README.md), or use manifests all of whose faces have the view"
        )
    return f"{count} of {whose} have no {name}: {needs.missing_views[name]}"


def random_start(model: str, size: Size, needs: Needs, init: Mapping[str, Any]) -> list[str]:
    """A line where a model whose paper starts from pre-trained weights starts from random ones; not for tiny models.

    Args:
        model: a registered name.
        size: "paper" or "tiny".
        needs: of the model.
        init: what it starts from, see `RunConfig.init`; of a run that starts from another one, that one's counts.
    """
    while init["kind"] == "run":
        init = init["init"]
    lacking = [f"weights named {name}" for name in init.get("random", ())]
    if not needs.weights or size == "tiny" or not (lacking or init["kind"] == "random"):
        return []
    display = model_class(model).card.display
    first = {name: rows[0] for name, rows in needs.named_weights.items()}
    file = ",".join(f"{name}={row}" for name, row in first.items()) if len(first) > 1 else needs.weights[0]
    where = f"add --weights {file} (`dfad list weights --long` says where to get it)"
    if needs.weights_origin:
        where = f"add --weights FILE: {needs.weights_origin}"
    return [
        f"{display} starts from random {' and '.join(lacking) or 'weights'}, in its paper from pre-trained ones: its"
        " numbers do not compare with the"
        f" paper's; {where}"
    ]


def views_needed(needs: Needs, views: ViewProvider | None) -> ViewProvider:
    """The provider of a model that needs views, with the settings of views that follow from the model's.

    Raises:
        ConfigError: none was given, it cannot meet the model's needs, or was asked for other settings.
        UnknownNameError: the model needs a view that is not registered.
    """
    if views is None:
        raise ConfigError(f"the model needs the view {needs.all_views[0]!r}, and no views were given")
    views.follow(needs.view_settings)
    views.check(needs.views, needs.training_views)
    return views
