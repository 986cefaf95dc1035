from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dfad_bench.cli.main import dfad
from dfad_bench.engine.latency import timing_here


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(dfad, ["profile", *arguments])
    return result.exit_code, result.stdout if "--json" in arguments else result.output


def test_table_shows_ours_beside_the_published() -> None:
    code, output = run("--model", "dna_det", "--model", "clip")
    assert code == 0
    line = next(line for line in output.splitlines() if "DNA-Det" in line)
    assert line.split()[1:] == [
        "512",
        "6.32",
        "6.32",
        "5.90",
        "16.31",
        "5.90",
        "5.90",
        "0.00",
        "16.37",
        "16.37",
        "0.00",
    ]
    assert "CLIP: FLOPs -11.03: no whole number" in output


def test_json_holds_every_number() -> None:
    code, output = run("--model", "xception", "--json")
    assert code == 0
    (row,) = json.loads(output)["rows"]
    assert row["convention_params_m"] == pytest.approx(20.83, abs=0.01)
    assert row["macs"] == 4592915008
    assert row["published_seconds"] == 0.006
    assert row["seconds"] is None


@pytest.mark.heavy
def test_all_tiny_models() -> None:
    from dfad_bench.core.registry import model_names

    code, output = run("--all", "--size", "tiny", "--json")
    assert code == 0
    assert [row["model"] for row in json.loads(output)["rows"]] == model_names()


@pytest.mark.heavy
def test_a_setting_changes_the_model() -> None:
    code, output = run("--model", "gazeclip", "--set", "use_gaze=false", "--set", "levels=1", "--json")
    assert code == 0
    (changed,) = json.loads(output)["rows"]
    assert changed["params_inference"] == 204_405_069 - 12 * 4 * 768 * 768 - 2 * 768 - 768 * 1024 - 1024


def test_latency_names_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here in this process: starting others is tried in the tests of the engine."""
    monkeypatch.setattr("dfad_bench.engine.profile.timing_apart", lambda asked, minutes: timing_here(asked))
    code, output = run("--model", "clip", "--size", "tiny", "--latency", "--device", "cpu")
    assert code == 0
    words = " ".join(output.split())
    assert "Latency: median of a batch's passes, on cpu" in words
    code, output = run("--model", "clip", "--size", "tiny", "--latency", "--device", "cpu", "--json")
    (row,) = json.loads(output)["rows"]
    assert [cost["batch"] for cost in row["batches"]] == [1, 32]
    assert 0 < row["milliseconds_1"] == row["batches"][0]["seconds"] * 1000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "give --model NAME"),
        (("--all", "--model", "clip"), 2, "give --model NAME"),
        (("--all", "--set", "a=1"), 2, "--set goes with exactly one --model"),
        (("--all", "--minutes", "3"), 2, "--minutes goes with --latency"),
        (("--all", "--shares", "--out", "costs.json"), 2, "--out keeps profiles"),
        (("--model", "clip", "--set", "side"), 2, "'side' is not KEY=VALUE"),
        (("--model", "gazeclp"), 1, "Did you mean gazeclip"),
        (("--model", "gazeclip", "--set", "clip_sise=224"), 1, "did you mean 'clip_size'"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], code: int, message: str) -> None:
    found, output = run(*arguments)
    assert found == code
    assert message in output
    assert "Traceback" not in output
