"""What there is to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dfad_bench.api import listed_code, listed_files, listed_tables, listed_weights
from dfad_bench.api.listed_generators import GeneratorFilter, filtered_names
from dfad_bench.core.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from dfad_bench.report.table import Table

_ORDER = ("models", "views", "protocols", "datasets", "generators", "estimators", "metrics")
_ALL = {**listed_code.KINDS, **listed_files.KINDS, **listed_weights.KINDS, **listed_tables.KINDS}
KINDS = {name: _ALL[name] for name in (*_ORDER, *(name for name in _ALL if name not in _ORDER))}


def list_names(kind: str, *, described: bool = False, only: GeneratorFilter | None = None) -> Table:
    """What there is of a kind: shipped, from included folders, and from other distributions.

    Args:
        kind: "models", "views", "protocols", "datasets", "generators", "estimators", "metrics", "figures", "recipes",
            "prompts", "crops", "corruptions", "weights", "schemas", "reported", "tables" (of the papers: what
            each needs, and its command).
        described: what each one is and where it comes from, not its name alone.
        only: of the kind "generators", those that are wanted.

    Returns:
        A row a name, in the column `name`. Notes say what a filter leaves out for want of facts.

    Raises:
        UnknownNameError: no such kind, or no such family or type of forgery in `only`.
        ConfigError: `only` for another kind, or a bad range of months in it.
        DFADError: a file that cannot be read, where it is described.
    """
    from dfad_bench.report.table import Column, Table

    if kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    listed = KINDS[kind]
    if only and kind != "generators":
        raise ConfigError(f"--family, --type, --released and --in-manifest are of generators, not of {kind}")
    names, notes = filtered_names(only) if only else (listed.names(), [])
    rows: list[Mapping[str, Any]] = [{"name": name, **(listed.describe(name) if described else {})} for name in names]
    titles = listed.titles if described else {}
    columns = (Column("name", "Name", "text"), *(Column(key, title, "text") for key, title in titles.items()))
    return Table(kind.capitalize(), columns, rows, tuple(notes))


def list_models() -> list[str]:
    """Names of all models: ours and those of other distributions (entry points `dfad_bench.models`)."""
    return KINDS["models"].names()


def list_protocols() -> list[str]:
    """Names of all protocols."""
    return KINDS["protocols"].names()


def list_datasets() -> list[str]:
    """Names of all datasets whose layout is known."""
    return KINDS["datasets"].names()
