from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from helpers.toy import toy_manifests, toy_protocol, toys_registered

from dfad_bench.cli.main import dfad
from dfad_bench.core.record import plain, read_record


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Manifests, and the toy protocol as a user's own file."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("cli")
    toy_manifests(folder)
    (folder / "toy.yaml").write_text(yaml.safe_dump(plain(toy_protocol())))
    with toys_registered():
        yield folder


def run(work: Path, *arguments: str | Path, out: str = "run", model: str = "toy") -> Result:
    line = ["train", "--model", model, "--protocol", work / "toy.yaml", "--recipe", "quick", "--epochs", "1"]
    line += ["--manifest", work / "synthetic", "--manifest", work / "synthetic-outdoor", "--device", "cpu"]
    return CliRunner().invoke(dfad, [str(a) for a in (*line, "--out", work / out, "--quiet", *arguments)])


def test_trains_scores_and_prints_the_row_beside_the_trivial_ones(work: Path) -> None:
    result = run(work)
    assert result.exit_code == 0, result.output
    assert result.stdout.index("always fake, never sure") < result.stdout.index("  Toy ")
    record = read_record(work / "run" / "record.json")
    assert record.status == "complete"
    assert record.run.config["recipe"]["epochs"] == 1
    again = run(work)
    assert again.exit_code == 0
    assert "finished before with the same settings" in again.stderr
    assert again.stdout == result.stdout


def test_other_settings_in_the_same_folder_end_with_4(work: Path) -> None:
    assert run(work, out="other").exit_code == 0
    result = run(work, "--seed", "3", out="other")
    assert result.exit_code == 4
    assert result.output.startswith("Error: ")
    assert "other settings (seed)" in result.output
    assert "Traceback" not in result.output


def test_json_settings_heads_and_limits(work: Path) -> None:
    result = run(work, "--json", "--set", "width=4", "--heads", "attribution", "--max-steps", "2", out="limited")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["model"]["options"] == {"width": 4}
    assert record["status"] == "partial"
    nulls = {m["null_reason"] for m in record["metrics"] if m["task"] == "detection"}
    assert nulls == {"the detection expert was not trained"}
    assert "limit of 2 steps in all" in result.stderr


def test_mistakes_are_one_line(work: Path) -> None:
    cases = {
        "Did you mean toy": run(work, model="toyy", out="x"),
        "unknown key 'wid'": run(work, "--set", "wid=1", out="x"),
        "is not KEY=VALUE": run(work, "--set", "width", out="x"),
        "no device named": run(work, "--device", "tpu:1", out="x"),
        "no such manifest": run(work, "--manifest", str(work / "nowhere"), out="x"),
    }
    for message, result in cases.items():
        assert message in result.output, result.output
        assert result.exit_code in (1, 2)
        assert "Traceback" not in result.output


def test_a_mistake_leaves_a_folder_that_can_be_used(work: Path) -> None:
    assert run(work, "--set", "wid=1", out="mended").exit_code == 1
    assert run(work, "--set", "bad_step=1", out="mended").exit_code == 1  # nothing was learnt before it
    assert run(work, out="mended").exit_code == 0
    assert run(work, "--set", "width=4", out="mended").exit_code == 4


def test_options_that_do_nothing_are_named_or_refused(work: Path) -> None:
    result = run(work, "--estimator", "l2cs", "--gaze-weights", "x.pth", "--max-steps", "1", out="nothing")
    assert result.exit_code == 0
    assert "--estimator is not used: toy reads no gaze" in result.stderr
    assert "--gaze-weights is not used: toy reads no gaze" in result.stderr
    assert "is not used" not in run(work, "--max-steps", "1", out="nothing").stderr
    result = run(work, "--seed", "1", "--seeds", "2", out="both")
    assert (result.exit_code, "give one of them" in result.output) == (2, True)
    assert run(work, "--seed", "-1", out="both").exit_code == 2


def test_several_processes_are_of_one_launcher(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "x"}.items():
        monkeypatch.setenv(name, value)
    result = run(work, "--processes", "3", out="both")
    assert (result.exit_code, "torchrun has started 2; leave it out" in result.output) == (2, True)


def test_help_ends_with_an_example() -> None:
    for name in ("train", "evaluate", "leaderboard"):
        text = CliRunner().invoke(dfad, [name, "--help"]).output
        assert f"Example: dfad {name} --" in text


@pytest.mark.heavy
def test_several_seeds_are_several_runs_and_their_mean(work: Path) -> None:
    result = run(work, "--seeds", "3,5,4", out="seeds")
    assert result.exit_code == 0, result.output
    records = {seed: read_record(work / "seeds" / f"seed-{seed}" / "record.json") for seed in (3, 4, 5)}
    rows = json.loads((work / "seeds" / "seeds.json").read_text())["rows"]
    for row in rows:
        assert set(row["values"]) == {"3", "4", "5"}
    row = next(r for r in rows if (r["metric"], r["subset"], r["averaging"]) == ("seen_accuracy", "seen", "macro"))
    values = [
        next(
            m.value
            for m in records[seed].metrics
            if (m.metric, m.subset, m.averaging) == ("seen_accuracy", "seen", "macro")
        )
        for seed in (3, 4, 5)
    ]
    assert list(row["values"].values()) == values
    assert row["mean"] == pytest.approx(sum(values) / 3)
    assert row["sd"] == pytest.approx((sum((v - row["mean"]) ** 2 for v in values) / 2) ** 0.5)
    assert "Toy, protocol toy: 3 seeds" in result.stdout
    again = run(work, "--seeds", "3,4,5", "--json", out="seeds")
    assert again.stderr.count("finished before with the same settings") == 3
    assert len(json.loads(again.stdout)["rows"]) == len(rows)
    single = run(work, "--seed", "4", out="alone")
    assert single.exit_code == 0
    assert read_record(work / "alone" / "record.json").metrics == records[4].metrics
    for text in ("1,x", "1,1", "-1,2", ""):
        assert run(work, "--seeds", text, out="wrong").exit_code == 2


@pytest.mark.heavy
def test_the_weights_do_not_depend_on_the_cache(work: Path) -> None:
    hashes = set()
    for cache in ("disk", "ram", "gpu", "none"):
        result = run(work, "--cache", cache, out=f"cache-{cache}")
        assert result.exit_code == 0, result.output
        assert ("--cache gpu: no GPU in use" in result.stderr) == (cache == "gpu")
        hashes.add(read_record(work / f"cache-{cache}" / "record.json").model.checkpoint_sha256)
    assert len(hashes) == 1
