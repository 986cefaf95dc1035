"""Several models in one table: a column a model (wide), or a column that names the model of a row (long)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.intake.prepared import PreparedImport
from dfad_bench.intake.settings import ImportSettings
from dfad_bench.intake.table import RawTable

MOST_MODELS = 500
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class ModelPart:
    """One model of a table: the folder of its run, how it is imported, and in a wide table its column."""

    folder: str
    settings: ImportSettings
    column: str | None


def models_of(table: RawTable, settings: ImportSettings) -> list[ModelPart]:
    """The models that are asked for, in the order of the table.

    Raises:
        ConfigError: both kinds are asked for, or none; a column that is not there; too many models; a name or card for
            all of them; or two whose names make the same folder.
    """
    wide, long = settings.models, settings.model_column
    if bool(wide) == bool(long):
        raise ConfigError("--models names a column a model, --model-column the column of their names: give one")
    if settings.name is not None or settings.model_card is not None:
        raise ConfigError("--name and --model-card are of one model, and here are several")
    if settings.layout == "dfwb":
        raise ConfigError(f"--layout {settings.layout} is of one model")
    if missing := [name for name in (*wide, *((long,) if long else ())) if name not in table.names]:
        raise ConfigError(f"{table.path}: no column {quoted(missing[0])}; it has {listed(table.names)}")
    names = list(dict.fromkeys(wide or [text for text in table.texts(str(long)) if text]))
    if not 1 <= len(names) <= MOST_MODELS:
        raise ConfigError(f"{table.path}: {len(names):,} models; 1 to {MOST_MODELS} are imported at once")
    parts: list[ModelPart] = []
    taken: dict[str, str] = {}
    for name in names:
        folder = _NOT_IN_NAMES.sub("_", name).strip(".")[:120]
        if not folder or folder.casefold() in taken:
            other = taken.get(folder.casefold())
            raise ConfigError(
                f"{table.path}: no folder for the model {quoted(name)}" + (f": {quoted(other)} has it" if other else "")
            )
        taken[folder.casefold()] = name
        one = replace(settings, models=(), model_column=None, name=name)
        one = replace(one, columns={**one.columns, "p_fake": name}) if wide else one
        one = replace(one, heads=one.heads or "detection") if wide else one
        one = one if wide else replace(one, only={**one.only, str(long): name})
        parts.append(ModelPart(folder, one, name if wide else None))
    return parts


def with_answers(table: RawTable, column: str) -> tuple[RawTable, dict[str, int]]:
    """The rows with a value in a column, and how many have none.

    Raises:
        ConfigError: no row has one.
    """
    texts = np.array([text.casefold() for text in table.texts(column)], dtype=object)
    mask = ~np.isin(texts, ("", "nan", "none", "null"))
    if not mask.any():
        raise ConfigError(f"{table.path}: column {quoted(column)} is empty")
    if mask.all():
        return table, {}
    return table.kept_rows(mask), {"rows without an answer": int((~mask).sum())}


def without_some(prepared: PreparedImport, without: dict[str, int], limit: float, where: str) -> PreparedImport:
    """The same import, whose faces without an answer count as missing.

    Raises:
        ConfigError: more than the share `limit` of them.
    """
    count = sum(without.values())
    total = len(prepared.frame) + count
    if count > limit * total:
        told = ", ".join(f"{n:,} {why}" for why, n in without.items())
        raise ConfigError(f"{where}: {told}, of {total:,}: more than --max-missing {limit:g}")
    return replace(prepared, expected=total) if count else prepared
