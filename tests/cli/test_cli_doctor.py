from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.dataset_trees import deepfakebench_json
from helpers.synthetic import synthetic_tree
from helpers.trees import save

from dfad_bench.cli.main import dfad
from dfad_bench.core import doctor
from dfad_bench.core.doctor import Finding


def run(*arguments: str) -> Result:
    return CliRunner().invoke(dfad, ["doctor", *arguments], catch_exceptions=False)


def test_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [Finding("version", "python", "3.11"), Finding("weights", "w", "not found", "absent", "its home")]
    monkeypatch.setattr(doctor, "diagnose", lambda: findings)
    result = run("--strict")
    assert result.exit_code == 0
    assert "all is well" in result.stdout
    assert "w: its home" not in result.stdout
    assert "published files: optional; `dfad doctor --long` says where to get each" in result.stdout
    assert "w: its home" in run("--long").stdout


def test_absent_weights_are_one_line_and_damaged_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = [Finding("weights", f"w{index}", "not found", "absent", "home") for index in range(30)]
    others = [Finding("weights", "bad", "not the published file", "problem", "get it"), Finding("include", "a", "ok")]
    findings = [Finding("weights", "DFAD_WEIGHTS", "not set", "absent", "set it"), *absent, *others]
    monkeypatch.setattr(doctor, "diagnose", lambda: findings)
    short, long = run().stdout, run("--long").stdout
    assert "30 absent" in short
    assert short.count("home") == 0
    assert long.count(": home") == 30
    for text in ("set it", "get it", "1 findings to check"):
        assert text in short
        assert text in long
    assert len(json.loads(run("--json").stdout)["findings"]) == 33


def test_machine_with_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda: [Finding("opencv", "cv2", "twice", "warning", "remove one")])
    assert run().exit_code == 0
    result = run("--strict", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "sound": False,
        "findings": [{"topic": "opencv", "name": "cv2", "value": "twice", "level": "warning", "hint": "remove one"}],
    }


def test_source_folder(tmp_path: Path) -> None:
    synthetic_tree(tmp_path / "faces")
    result = run("--dataset", "synthetic", "--root", str(tmp_path / "faces"), "--strict")
    assert result.exit_code == 0, result.output
    assert "as released, as far as is known" in result.stdout
    assert "synthetic-swap-gan" in result.stdout


def test_source_folder_with_gaps(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / "ffhq" / "images1024x1024" / f"{index:05d}.png", index)
    save(tmp_path / "ffhq" / "other" / "deep" / "x.png")
    arguments = ("--dataset", "ffhq", "--root", str(tmp_path / "ffhq"))
    result = run(*arguments)
    assert result.exit_code == 0
    assert "short by 69,997" in result.stdout
    assert "unknown: 1 files in other/deep/" in result.stdout
    assert "get it: download_ffhq.py" in result.stdout
    strict = run(*arguments, "--strict", "--json")
    assert strict.exit_code == 1
    found = json.loads(strict.stdout)
    assert found["complete"] is False
    assert found["coverage"][0]["generator"] == "real"
    assert found["coverage"][0]["lacking"] == 69_997


def test_dataset_and_root_go_together(tmp_path: Path) -> None:
    assert run("--dataset", "ffhq").exit_code == 2
    assert run("--root", str(tmp_path)).exit_code == 2


def test_a_wrong_root_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(dfad, ["doctor", "--dataset", "ffhq", "--root", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert result.stderr.strip().endswith("no such folder")


def test_a_list_of_deepfakebench(tmp_path: Path) -> None:
    index = deepfakebench_json(tmp_path / "list.json")
    result = run("--from-deepfakebench", str(index), "--root", str(tmp_path))
    assert result.exit_code == 0
    assert "missing: 7 files that list.json lists" in result.stdout
    assert run("--from-deepfakebench", str(index)).exit_code == 2
