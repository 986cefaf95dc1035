"""Views by name: those of `VIEWS`, then those of other distributions (entry points `dfad_bench.views`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from dfad_bench.core.batch import ViewValue
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.registry import resolve, with_entry_points
from dfad_bench.views import VIEWS

if TYPE_CHECKING:
    from dfad_bench.views.base import View


def view_table() -> dict[str, str]:
    """Every view's name and where it is.

    Raises:
        DFADError: a name is registered twice.
    """
    return with_entry_points("view", VIEWS, "dfad_bench.views")


def view_names() -> list[str]:
    """Every registered view."""
    return sorted(view_table())


def view_class(name: str) -> type[View]:
    """The class of a registered view.

    Raises:
        UnknownNameError: with the nearest names.
        ConfigError: what is registered is no view of that name.
    """
    from dfad_bench.views.base import View

    found = resolve("view", name, view_table())
    if not (isinstance(found, type) and issubclass(found, View)) or found.name != name:
        raise ConfigError(f"view {quoted(name)}: {view_table()[name]} is not a `View` whose name is {quoted(name)}")
    return found


def view_classes(names: Sequence[str]) -> dict[str, type[View]]:
    """The class of each of the given views.

    Raises:
        UnknownNameError: no such view.
    """
    return {name: view_class(name) for name in names}


def check_needs(needs: Sequence[str], kinds: Mapping[str, type[View]]) -> None:
    """Refuse a view for training only among those a model needs at test time.

    Args:
        needs: names of views that a model's `forward` gets.
        kinds: the class of each.

    Raises:
        ConfigError: `forward` would see it.
    """
    for name in needs:
        if kinds[name].when == "training":
            raise ConfigError(f"the view {quoted(name)} may be seen in training only: name it in `needs_training`")


def example_views(
    names: Sequence[str],
    rows: int,
    side: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, ViewValue]:
    """Random values of the given views, for checks and profiles of models; see `View.example`.

    `settings` are those of views that follow from the model's (`DFADModel.view_settings`).
    """
    views = {name: view_class(name).stand_in((settings or {}).get(name)) for name in names}
    return {name: view.example(rows, side, generator, device) for name, view in views.items()}
