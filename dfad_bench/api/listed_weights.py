"""Weight files that models and gaze estimators know by name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from dfad_bench.api.kind import FROM, Kind, Row

if TYPE_CHECKING:
    from dfad_bench.core.weight_pins import Pin
    from dfad_bench.core.weights import WeightFile


def _weights() -> list[str]:
    from dfad_bench.core.weights import weight_files

    return list(weight_files())


def _weight_file(name: str) -> Row:
    from dfad_bench.core.errors import AbsentWeightsError, IntegrityError, WeightsError
    from dfad_bench.core.resources import origin, table_files
    from dfad_bench.core.strict import read_yaml
    from dfad_bench.core.weights import find_weights, weight_files

    row = weight_files()[name]
    present = "yes"
    try:
        find_weights(name)
    except IntegrityError:
        present = "not the published file" if row.sha256 else "not the file that was fetched"
    except AbsentWeightsError:
        present = "no"
    except WeightsError:
        present = "no weight file"
    pin = _pin(row)
    files = table_files("weights.yaml")
    return {
        "file": row.file,
        "models": ", ".join(_users_of_weights().get(name, ())),
        "licence": row.licence,
        "size": _stated_fact(row.size, pin.size if pin else None, ","),
        "sha256": _stated_fact(row.sha256, pin.sha256 if pin else None, ""),
        "present": present,
        "fetch": row.source or "by hand",
        "obtain": row.origin,
        "notes": row.notes or "",
        "origin": origin(next(path for path in files if name in (read_yaml(path) or {}))),
    }


def _pin(row: WeightFile) -> Pin | None:
    """What is pinned of a file beside it."""
    from dfad_bench.core.weight_pins import read_pins
    from dfad_bench.core.weights import place_of

    place = place_of(row)
    return read_pins(place.parent).get(row.file) if place is not None else None


def _stated_fact(published: int | str | None, pinned: int | str | None, form: str) -> str:
    """What the publisher says, else what was fetched here, else that nobody said it."""
    if published is not None:
        return format(published, form)
    return "unknown" if pinned is None else f"{pinned:{form}} (pinned here)"


@cache
def _users_of_weights() -> dict[str, list[str]]:
    """The models (by card or file), gaze estimators, views and commands that name a weight file."""
    from dfad_bench.core.registry import model_class, model_names
    from dfad_bench.gaze.estimators.build import estimator_class, estimator_table
    from dfad_bench.parsing.features import INCEPTION_WEIGHTS
    from dfad_bench.views.registry import view_class, view_names

    found: dict[str, list[str]] = {}
    kinds = {name: model_class(name) for name in model_names()}
    named = {
        name: tuple(dict.fromkeys([*kind.card.weights, *(row for rows in kind.weight_rows.values() for row in rows)]))
        for name, kind in kinds.items()
    }
    named |= {name: estimator_class(name).card.weights for name in sorted(estimator_table())}
    named |= {"parsing-fid": (INCEPTION_WEIGHTS,)}
    named |= {f"view {name}": view_class(name).weight_rows for name in view_names()}
    for name, files in named.items():
        for weights in files:
            found.setdefault(weights, []).append(name)
    return found


KINDS = {
    "weights": Kind(
        _weights,
        _weight_file,
        {
            "file": "File",
            "models": "Models, estimators, views",
            "licence": "Licence",
            "size": "Bytes",
            "sha256": "SHA-256",
            "present": "Under $DFAD_WEIGHTS",
            "fetch": "Fetched from",
            "obtain": "How to get it",
            "notes": "Notes",
            **FROM,
        },
    )
}
