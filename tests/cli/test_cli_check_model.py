from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dfad_bench.cli.main import dfad
from dfad_bench.engine import model_contract
from dfad_bench.engine.model_contract import CHECKS


def test_table_names_every_check() -> None:
    result = CliRunner().invoke(dfad, ["check-model", "never_sure", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["check"] for row in rows] == list(CHECKS)
    assert {row["result"] for row in rows} == {"ok"}
    assert all("\n" not in row["detail"] and row["detail"].endswith(".") for row in rows)


def test_a_broken_model_ends_with_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model_contract.CHECKS, "card", lambda subject: "the card is blank")
    result = CliRunner().invoke(dfad, ["check-model", "never_sure"])
    assert result.exit_code == 1
    assert "the card is blank" in result.stdout
    assert result.stderr.strip() == "Error: never_sure breaks the contract: card"


def test_unknown_model_is_answered_with_near_names() -> None:
    result = CliRunner().invoke(dfad, ["check-model", "xcepton"])
    assert result.exit_code == 1
    assert "Did you mean xception" in result.stderr
