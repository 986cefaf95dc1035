"""Settings of views: from those of a run to a provider, and to the options of a command."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from dfad_bench.core.progress import Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.settings import ViewSettings
from dfad_bench.views.identity import read_identity
from dfad_bench.views.options import option_of
from dfad_bench.views.provider import ViewProvider
from dfad_bench.views.registry import view_class


def provide_views(manifests: Sequence[Manifest], views: ViewSettings, device: str, progress: Progress) -> ViewProvider:
    """What makes the views of the faces of some manifests."""
    return ViewProvider(manifests, views, device=device, progress=progress)


def unused_views(views: ViewSettings, needs: Sequence[str], model: str) -> list[str]:
    """A line for each given setting of a view that the model does not need."""
    return [
        f"{option_of(name, key)} is not used: {model} reads no {name}"
        for name, settings in views.items()
        if name not in needs
        for key in settings
    ]


def view_arguments(views: ViewSettings) -> list[str]:
    """The options of `dfad train` that say the same.

    >>> view_arguments({"parsing": {"classes": 11, "folder": "labels"}})
    ['--view', 'parsing.classes=11', '--view', 'parsing.folder="labels"']
    """
    pairs = [(name, key, value) for name, settings in views.items() for key, value in settings.items()]
    return [word for name, key, value in pairs for word in ("--view", f"{name}.{key}={json.dumps(value)}")]


def views_of_run(trained: Mapping[str, Any], asked: ViewSettings) -> ViewSettings:
    """The settings of views for evaluating a run: those asked for, else those it was trained with.

    Args:
        trained: `RunConfig.views` of the run. It holds settings and hashes, but no folders: a view that is read from
            files must be asked for.
        asked: settings by view.

    Raises:
        UnknownNameError: the run was trained with a view that is not registered here.
    """
    known = {}
    for name, identity in read_identity(trained).items():
        setting_names = {field.name for field in fields(view_class(name).Settings)}
        known[name] = {key: value for key, value in identity.items() if key in setting_names and value is not None}
    return {**known, **asked}
