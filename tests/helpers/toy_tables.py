"""A published table of the toy models, in a folder to include, with the toy protocol and recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from helpers.included import write
from helpers.toy import RECIPE, toy_protocol, toys_registered

from dfad_bench.core.record import plain
from dfad_bench.core.resources import include

TABLE = "toy-table-01"
FLOW = "synthetic/synthetic-flow-a"
COLUMNS: list[dict[str, Any]] = [
    {"split": "Flow", "task": "attribution", "metric": "acc", "threshold": 0.9, "group": FLOW},
    {"split": "average", "task": "attribution", "metric": "acc", "threshold": 0.9},
    {"split": "average", "task": "detection", "metric": "auc"},
]
ROWS: list[dict[str, Any]] = [
    {"model": "toy", "printed": "Toy [1]", "cells": [50.0, 50.0, 75.0]},
    {"model": "toy", "printed": "Wide toy", "options": {"width": 12}, "cells": [60.0, 60.0, None]},
    {"model": "nobody", "printed": "Nobody [2]", "cells": [10.0, 10.0, 20.0]},
]
HEADS = {
    "name": "toy-table-02", "paper": "Toys", "table": "Table 2", "title": "Experts", "protocol": "toy",
    "columns": [
        {"split": "unseen", "task": "attribution", "metric": "acc", "threshold": 0.9, "heads": "attribution"},
        {"split": "unseen", "task": "attribution", "metric": "acc", "threshold": 0.9},
    ],
    "rows": [{"model": "toy", "printed": "Toy", "cells": [None, None]}],
}  # fmt: skip


def toy_tables(folder: Path) -> Path:
    """Write the folder to include; a recipe of one epoch is `toy_one`."""
    table = {
        "name": TABLE, "paper": "Toys (2026)", "table": "Table 1", "title": "Toys", "protocol": "toy",
        "columns": COLUMNS, "rows": ROWS,
    }  # fmt: skip
    recipe = {**plain(asdict(RECIPE)), "name": "toy_one", "epochs": 1}
    files = {"protocols/toy.yaml": plain(asdict(toy_protocol(changes=("1: first",)))), "recipes/toy_one.yaml": recipe}
    return write(folder, {**files, f"reported/{TABLE}.yaml": table, "reported/toy-table-02.yaml": HEADS})


@contextmanager
def toy_tables_included(folder: Path) -> Iterator[None]:
    """Have the toy models registered and their tables included, for a while."""
    with toys_registered(), include(toy_tables(folder)):
        yield
