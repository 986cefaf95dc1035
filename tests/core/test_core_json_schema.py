"""JSON Schemas: what is shipped fits them, what is wrong does not, and the command prints them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from click.testing import CliRunner

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.json_schema import SCHEMAS, dataclass_schema, schema
from dfad_bench.core.strict import read_yaml

ROOT = Path(__file__).parents[2]
FILES = {
    "protocol": sorted((ROOT / "manifests" / "protocols").rglob("*.yaml")),
    "recipe": sorted((ROOT / "manifests" / "recipes").rglob("*.yaml")),
    "dataset": sorted((ROOT / "manifests" / "datasets").glob("*.yaml")),
    "reported": sorted((ROOT / "leaderboards" / "reported").glob("*-table-*.yaml")),
    "manifest": [ROOT / "tests" / "fixtures" / "earlier_manifest" / "manifest.json"],
    "record": [ROOT / "tests" / "fixtures" / "earlier_run" / "record.json"],
    "run-config": [ROOT / "tests" / "fixtures" / "earlier_run" / "config.yaml"],
}


def problems(name: str, value: Any) -> list[str]:
    found = jsonschema.Draft202012Validator(schema(name)).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one(name: str) -> None:
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["type"] == "object"
    assert found["$id"].startswith("dfad_bench/")


@pytest.mark.parametrize("name", FILES)
def test_what_is_shipped_fits_its_schema(name: str) -> None:
    assert FILES[name]
    for path in FILES[name]:
        value = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else read_yaml(path)
        if name == "run-config":
            value["recipe"]["stage_values"] = "keep"  # earlier settings are read with it
        assert problems(name, value) == [], path.name


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("protocol", {"unseeen": []}),
        ("protocol", {"version": "two"}),
        ("protocol", {"seen": [{"dataset": "x"}]}),
        ("protocol", {"split": "other"}),
        ("recipe", {"epochs": "many"}),
        ("dataset", {"name": None}),
        ("manifest", {"content_sha256": "0"}),
    ],
)
def test_what_is_wrong_does_not_fit(name: str, change: dict[str, Any]) -> None:
    path = FILES[name][0]
    value = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else read_yaml(path)
    assert problems(name, {**value, **change})


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    """One thing. Another sentence."""

    of: Colour
    pair: tuple[int, float]


@dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...]
    size: Literal["a", "b"] | None = None
    free: dict[str, int] = None  # type: ignore[assignment]  # its default is all that counts here


def test_a_dataclass_becomes_the_schema_it_is_read_by() -> None:
    found = dataclass_schema(Outer)
    assert found["required"] == ["name", "inner"]
    assert found["properties"]["size"] == {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}
    assert found["$defs"]["Inner"]["description"] == "One thing."
    check = jsonschema.Draft202012Validator(found)
    good = {"name": "x", "inner": [{"of": "red", "pair": [1, 0.5]}], "free": {"k": 1}}
    assert check.is_valid(good)
    for bad in (
        {"of": "blue", "pair": [1, 1]},
        {"of": "red", "pair": [1]},
        {"of": "red", "pair": [1, 2, 3]},
        {"of": "red"},
    ):
        assert not check.is_valid({**good, "inner": [bad]})


def test_the_command_prints_and_writes_it(tmp_path: Path) -> None:
    shown = CliRunner().invoke(dfad, ["schema", "board"])
    assert json.loads(shown.output) == schema("board")
    out = tmp_path / "board.json"
    assert CliRunner().invoke(dfad, ["schema", "board", "--out", str(out)]).exit_code == 0
    assert json.loads(out.read_text(encoding="utf-8")) == schema("board")
    wrong = CliRunner().invoke(dfad, ["schema", "bord"])
    assert (wrong.exit_code, "Did you mean board" in wrong.output) == (1, True)
    with pytest.raises(UnknownNameError):
        schema("../record")
    assert CliRunner().invoke(dfad, ["list", "schemas"]).output.split() == list(SCHEMAS)
