"""`dfad synthesize`."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from dfad_bench.cli.main import dfad
from dfad_bench.synthetic import GENERATORS


def test_draws_a_tree_and_says_what_is_in_it(tmp_path: Path) -> None:
    out = tmp_path / "faces"
    arguments = ["synthesize", "--out", str(out), "--per-group", "2", "--test-share", "0.5", "--quiet"]
    first = CliRunner().invoke(dfad, [*arguments, "--json"])
    assert first.exit_code == 0, first.output
    rows = {row["generator"]: row for row in json.loads(first.stdout)["rows"]}
    assert set(rows) == {"real-studio", "real-outdoor", *GENERATORS}
    assert {(row["train"], row["test"]) for row in rows.values()} == {(1, 1)}
    assert rows["synthetic-flow-a"]["role"] == "unseen"
    assert len(list(out.rglob("*.png"))) == 2 * len(rows)
    again = CliRunner().invoke(dfad, arguments)
    assert again.exit_code == 0
    assert "synthetic-reenact-gan" in again.stdout


def test_other_settings_are_one_line(tmp_path: Path) -> None:
    out = tmp_path / "faces"
    CliRunner().invoke(dfad, ["synthesize", "--out", str(out), "--per-group", "2", "--quiet"])
    result = CliRunner().invoke(dfad, ["synthesize", "--out", str(out), "--per-group", "2", "--seed", "5", "--quiet"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "other settings (seed 0)" in result.stderr
