"""A folder to include, with one file of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfad_bench.core.errors import DFADError
from dfad_bench.core.resources import include, shipped
from dfad_bench.core.strict import yaml_text

ROW = {"display": "Gen X", "forgery": "EFS", "family": "diffusion", "aliases": ["GenX-2"], "reference": "us, 2026"}
PROTOCOL: dict[str, Any] = {
    "name": "mine", "version": 1, "title": "Mine", "changes": ["1: first version"],
    "seen": [
        {"label": 0, "generator": "real", "dataset": "mine"}, {"label": 1, "generator": "gen_x", "dataset": "mine"},
    ],
    "unseen": [{"generator": "ddpm", "dataset": "genface"}],
}  # fmt: skip
DATASET = {
    "name": "mine", "version": 1, "title": "Mine", "licence": "CC0", "layout": "folders",
    "entries": [{"path": "{generator}/{image}.{ext}"}], "generators": {"x": "gen_x", "photographs": "real"},
}  # fmt: skip
COLUMN = {"split": "DDPM", "task": "attribution", "metric": "acc", "threshold": 0.9, "group": "genface/ddpm"}
TABLE: dict[str, Any] = {
    "name": "mine-table-01", "paper": "Us, 2026", "table": "Table 1", "title": "Ours", "protocol": "mine",
    "columns": [COLUMN, {**COLUMN, "split": "average", "group": None}],
    "rows": [{"model": "xception", "printed": "Xception", "cells": [50.0, 50.0]}],
}  # fmt: skip
FILES: dict[str, Any] = {
    "taxonomy.yaml": {"gen_x": ROW},
    "corruptions.yaml": {
        "version": 1,
        "corruptions": {
            "haze": {
                "title": "Haze", "values": [0.1, 0.2], "meaning": "share of grey", "paper_exact": False,
                "source": "us", "operator": "contrast",
            }
        },
    },
    "weights.yaml": {"mine": {"file": "mine.pth", "origin": "us", "licence": "CC0"}},
    "datasets/mine.yaml": DATASET,
    "protocols/mine.yaml": PROTOCOL,
    "recipes/mine.yaml": {"name": "mine", "epochs": 3},
    "reported/mine-table-01.yaml": TABLE,
}  # fmt: skip


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Write files (text, or values as YAML) below `folder`, which is returned."""
    for name, value in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else yaml_text(value), encoding="utf-8")
    return folder


def one_line(folder: Path, use: Callable[[], object]) -> str:
    """The message of the error that `use` raises with the folder included."""
    with pytest.raises(DFADError) as caught, include(folder):
        use()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def whole_folder(folder: Path) -> Path:
    """A folder to include with a file of every kind."""
    write(folder, FILES)
    for kind, name, own in (("crops", "raw-256", "mine"), ("prompts", "ftg-4", "mine")):
        text = (shipped("manifests") / kind / f"{name}.yaml").read_text(encoding="utf-8")
        write(folder, {f"{kind}/{own}.yaml": text.replace(f"name: {name}", f"name: {own}")})
    return folder
