from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dfad_bench.api import names
from dfad_bench.cli.main import dfad
from dfad_bench.core.registry import model_names
from dfad_bench.core.resources import shipped_names

KINDS = list(names.KINDS)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(dfad, ["list", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("kind", KINDS)
def test_names_alone_are_lines_for_a_shell(kind: str) -> None:
    names = run(kind).splitlines()
    assert names
    assert all(name == name.strip() and " " not in name for name in names)


def test_names_are_the_registered_and_shipped_ones() -> None:
    assert run("models").splitlines() == model_names()
    for kind in ("protocols", "datasets", "recipes"):
        names = [name for name in run(kind).splitlines() if "@" not in name]  # earlier versions
        assert names == shipped_names("manifests", kind)


@pytest.mark.parametrize("kind", KINDS)
def test_json_long_describes_every_name(kind: str) -> None:
    rows = json.loads(run(kind, "--long", "--json"))["rows"]
    assert [row["name"] for row in rows] == run(kind).splitlines()
    assert all(len(row) > 2 for row in rows)
    short = json.loads(run(kind, "--json"))["rows"]
    assert short == [{"name": row["name"]} for row in rows]


def test_cards_say_what_a_model_needs_and_where_it_deviates() -> None:
    rows = {row["name"]: row for row in json.loads(run("models", "--long", "--json"))["rows"]}
    assert rows["gazeclip"]["needs"] == "gaze, prompts"
    assert rows["gazeclip_no_gaze"]["needs"] == "prompts"
    assert rows["gazeclip"]["display"] == "GazeCLIP"
    assert "linear layer" in rows["gazeclip"]["deviations"]


def test_long_protocols_count_their_groups() -> None:
    rows = {row["name"]: row for row in json.loads(run("protocols", "--long", "--json"))["rows"]}
    assert (rows["gazeclip-df40"]["seen"], rows["gazeclip-df40"]["unseen"]) == (11, 10)
    assert "gazeclip-df40" in run("protocols", "--long")


def test_weights_say_whose_they_are_and_whether_they_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    (tmp_path / "imagenet_xception.safetensors").write_bytes(b"x")
    (tmp_path / "face_landmarker.task").write_bytes(b"x")
    (tmp_path / "faze.pth.tar").write_bytes(b"<html>")
    rows = {row["name"]: row for row in json.loads(run("weights", "--long", "--json"))["rows"]}
    there = {name: row["present"] for name, row in rows.items() if row["present"] != "no"}
    assert there == {
        "imagenet_xception": "yes",
        "mediapipe_face_landmarker": "not the published file",
        "faze": "no weight file",
    }
    assert rows["imagenet_xception"]["models"] == "xception"
    assert {"clip", "de_fake", "gazeclip"} <= set(rows["openai_clip_vit_b32"]["models"].split(", "))
    assert rows["arcface_r100"]["models"] == "view face_embedding"
    assert all(row["file"] and row["licence"] and row["obtain"] and row["models"] for row in rows.values())


def test_long_crops_say_where_pixels_are_not_those_of_the_name() -> None:
    rows = {row["name"]: row for row in json.loads(run("crops", "--long", "--json"))["rows"]}
    assert {"dlib,", "MTCNN,"} <= set(rows["deepfakebench-256-1.3"]["notes"].split())
    assert "pixels are not" in " ".join(run("crops", "--long").split())


def test_unknown_kind_is_a_usage_error() -> None:
    result = CliRunner().invoke(dfad, ["list", "model"])
    assert result.exit_code == 2
    assert "'models'" in result.output


def test_listing_names_loads_no_torch() -> None:
    code = (
        "import sys; from dfad_bench.cli.main import dfad\n"
        "dfad.main(['list', 'models'], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "gazeclip" in done.stdout.splitlines()
