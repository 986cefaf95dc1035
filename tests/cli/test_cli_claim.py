"""`dfad claim`: its table, its JSON, and wrong names."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from helpers.runs import run_facts, write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.cli.main import dfad

PROTOCOL = toy_protocol()


def claim(*words: object) -> Result:
    return CliRunner().invoke(dfad, ["claim", *map(str, words)])


def test_table_json_and_wrong_names(tmp_path: Path) -> None:
    frame = toy_predictions(PROTOCOL, 12)
    for heads in ("both", "detection"):
        for seed in range(2):
            facts = run_facts(PROTOCOL, frame, "0" * 64)
            config = {"model": "toy", "seed": seed, "heads": heads}
            parts = {"model": facts["model"] | {"heads": heads}, "run": facts["run"] | {"seed": seed, "config": config}}
            write_run(tmp_path / heads / str(seed), PROTOCOL, frame, resamples=0, **parts)
    words = [word for path in sorted(tmp_path.glob("*/*")) for word in ("--run", path)]
    result = claim("classes-ease-detection", *words, "--resamples", 100)
    assert result.exit_code == 0, result.output
    assert "Printed: BMRL, Table 7" in result.stdout
    assert "11 classes" in result.stdout or "eleven classes" in result.stdout
    facts = json.loads(claim("classes-ease-detection", *words, "--resamples", 100, "--json").stdout)
    assert {row["difference"] for row in facts["rows"]} == {0.0}
    assert {row["verdict"].split(":")[0] for row in facts["rows"]} == {"not testable"}
    wrong = claim("classes-ease-detecton", *words)
    assert (wrong.exit_code, "Did you mean classes-ease-detection" in wrong.stderr) == (1, True)
    lone = claim("dfacc-lifts", *words)
    assert (lone.exit_code, "no two runs differ in centre_loss alone" in lone.stderr) == (1, True)
