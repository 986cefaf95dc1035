"""Tables of names -> "module:attribute", resolved on use; nothing registers itself by being imported."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from dfad_bench.core.errors import DFADError, ShadowedPackageError, UnknownNameError

if TYPE_CHECKING:
    from dfad_bench.core.contract import DFADModel

_MODEL_PACKAGES = ("baselines", "gazeclip")


@cache
def model_table() -> dict[str, str]:
    """Every model's name -> "module:class": ours, then those of other distributions (`dfad_bench.models`).

    Raises:
        ShadowedPackageError: another package hides `baselines` or `gazeclip`.
        DFADError: two distributions register the same name.
    """
    table: dict[str, str] = {}
    for package in _MODEL_PACKAGES:
        module = import_module(package)
        if not hasattr(module, "DFAD_MODELS"):
            where = getattr(module, "__file__", None) or list(getattr(module, "__path__", ["?"]))[0]
            raise ShadowedPackageError(
                f"the package {package!r} at {where} is not dfad_bench's; remove or rename it (OpenAI Baselines"
                " installs the same name), or run from another folder"
            )
        table |= module.DFAD_MODELS
    return with_entry_points("model", table, "dfad_bench.models")


def with_entry_points(kind: str, ours: dict[str, str], group: str) -> dict[str, str]:
    """A name table with the entries that other distributions register under an entry point group.

    Args:
        kind: what the names stand for, for the message.
        ours: names to "module:attribute".
        group: of entry points, e.g. "dfad_bench.models".

    Raises:
        DFADError: a name is registered twice.
    """
    table = dict(ours)
    for entry in entry_points(group=group):
        if entry.name in table:
            raise DFADError(f"{kind} {entry.name!r} is registered twice: {table[entry.name]} and {entry.value}")
        table[entry.name] = entry.value
    return table


def model_names() -> list[str]:
    """Every registered model."""
    return sorted(model_table())


def model_class(name: str) -> type[DFADModel]:
    """The class of a registered model.

    Raises:
        UnknownNameError: with the nearest names.
    """
    return resolve("model", name, model_table())


def resolve(kind: str, name: str, table: dict[str, str]) -> Any:
    """The object that an entry of a name table points to.

    Raises:
        UnknownNameError: `name` is not in `table`.
        DFADError: its module has no such attribute.
    """
    if name not in table:
        raise UnknownNameError(kind, name, table)
    module, _, attribute = table[name].partition(":")
    found = import_module(module)
    if not hasattr(found, attribute):
        raise DFADError(f"{kind} {name!r} is registered as {table[name]}, and {module} has no {attribute!r}")
    return getattr(found, attribute)
