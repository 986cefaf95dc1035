"""The record of an import: valid by the schema for readers without Python, and no way to pass for a measured one."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
from helpers.runs import resealed

from dfad_bench.api.imports import ImportedRun, import_predictions
from dfad_bench.api.runs import leaderboards
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.imported import Imported, ModelCard
from dfad_bench.core.record import plain, read_record, write_record
from dfad_bench.core.strict import from_mapping
from dfad_bench.intake.settings import ImportSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ImportedRun:
    folder = tmp_path_factory.mktemp("small")
    frame = pd.DataFrame(
        {
            "file": [f"{k}.png" for k in range(24)], "label": ["real", "fake"] * 12,
            "generator": ["", "sdxl", "", "flux"] * 6, "p_fake": [k % 7 / 7 for k in range(24)],
        }
    )  # fmt: skip
    frame.to_csv(folder / "t.csv", index=False)
    return import_predictions(folder / "t.csv", folder / "run", ImportSettings(name="Theirs"))


def test_it_is_valid_by_the_schema(run: ImportedRun) -> None:
    schema = json.loads((resources.files("dfad_bench.core") / "result_record.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(plain(run.record), schema)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source.kind": "measured"}, "imported where, and only where"),
        ({"imported": None}, "imported where, and only where"),
        ({"source.kind": "measured", "imported": None}, "only an imported record may lack its seed"),
        ({"imported.used": 23}, "rows are those used, those unmatched and those left out"),
        ({"imported.rows": -1, "imported.used": -1}, "0 or more"),
    ],
)
def test_it_cannot_pass_for_a_measured_one(changes: dict[str, Any], message: str, run: ImportedRun) -> None:
    with pytest.raises(ConfigError, match=message):
        resealed(run.record, changes)


def test_one_that_invents_its_facts_is_a_row_of_its_own_and_is_contradicted(run: ImportedRun, tmp_path: Path) -> None:
    # all that is null, filled in by somebody who wants a measured row: the run's own facts say otherwise
    facts = {"seed": 0, "precision": "fp32", "world_size": 1, "steps": 9, "resumed": 0}
    made = {f"run.{name}": value for name, value in facts.items()}
    made |= {"source.kind": "measured", "imported": None, "model.params_total": 1, "model.params_trainable": 1}
    forged = resealed(run.record, made)
    for name in ("run.json", "predictions.parquet"):
        (tmp_path / name).write_bytes((run.folder / name).read_bytes())
    write_record(tmp_path / "record.json", forged)
    rows = [row for row in leaderboards([tmp_path])["imported"].rows if row["kind"] == "measured"]
    assert [row["checked"] for row in rows] == ["contradicted"]


def test_a_changed_count_is_found_on_reading(run: ImportedRun, tmp_path: Path) -> None:
    raw = plain(run.record)
    raw["imported"]["unknown"] = []
    (tmp_path / "record.json").write_text(json.dumps(raw))
    with pytest.raises(Exception, match="changed after it was written"):
        read_record(tmp_path / "record.json")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"name": " "}, "name is empty"),
        ({"name": "a", "seed": -1}, "seed must be 0 or more"),
        ({"name": "a", "notes": ["x" * 5000]}, "at most 4,000 characters"),
        ({"name": "a", "trained_on": ["x"] * 101}, "a list at most 100"),
        ({"name": "a", "layers": 3}, "unknown key 'layers'"),
    ],
)
def test_a_card_is_read_strictly(card: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(ModelCard, card, "card.yaml")


def test_a_function_has_no_format() -> None:
    assert Imported("m:f", None, None, "callable", 3, 3).format is None
