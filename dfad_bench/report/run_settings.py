"""What a run was trained with, but for one setting: the runs that a claim about that setting pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import content_hash
from dfad_bench.core.record import ResultRecord

HEADS, CENTRE_LOSS = "heads", "centre_loss"
_CENTRE = "centre_"  # options that belong to the added loss
_OF_PLACE = ("seed", "device", "init", "extended")  # another seed or machine is no other way to train
_NONE = "none"


def setting_of(record: ResultRecord, setting: str) -> str:
    """The value of a setting in a run: `heads`, or an option with what its model sets by default."""
    if setting == HEADS:
        return str(record.model.heads)
    return str(_options(record).get(setting, _NONE))


def settings_without(record: ResultRecord, setting: str) -> str:
    """Hash of all settings of a run but its seed and one setting (with the options that belong to it)."""
    return content_hash(_others(record, setting))


def differing_settings(one: ResultRecord, other: ResultRecord, setting: str) -> list[str]:
    """Names of settings that differ between two runs beside that one."""
    sides = [_others(record, setting) for record in (one, other)]
    return sorted(name for name in sides[0].keys() | sides[1].keys() if sides[0].get(name) != sides[1].get(name))


def _others(record: ResultRecord, setting: str) -> dict[str, Any]:
    config = record.run.config
    found = {key: value for key, value in config.items() if key not in (*_OF_PLACE, "options", "implied", HEADS)}
    found |= {f"option {key}": value for key, value in _options(record).items() if not _belongs(key, setting)}
    found["weights"] = dict(record.model.init)
    found["model"] = record.model.name
    return found | ({} if setting == HEADS else {HEADS: record.model.heads})


def _belongs(option: str, setting: str) -> bool:
    return option == setting or (setting == CENTRE_LOSS and option.startswith(_CENTRE))


def _options(record: ResultRecord) -> dict[str, Any]:
    """Options of a run with what a variant's name stands for, and with the added loss its model has by default."""
    from dfad_bench.core.registry import model_class

    given = {key: record.run.config.get(key) for key in ("implied", "options")}
    options = {key: value for some in given.values() if isinstance(some, Mapping) for key, value in some.items()}
    try:
        kind = model_class(record.model.name)
        return {**kind.added, **kind.expanded(options)}
    except DFADError:
        return options  # of a model that is not installed here, as the record has them
