from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dfad_bench.api import names
from dfad_bench.api.table_runs import table_runs
from dfad_bench.api.table_settings import TableSettings
from dfad_bench.cli.main import dfad
from dfad_bench.core.registry import model_names
from dfad_bench.core.resources import shipped_names
from dfad_bench.report.paper_items import item_names, measurable_table

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


def test_tables_need_what_the_settings_of_their_rows_need() -> None:
    """What a class names is not all: settings add views and files, and take them away."""
    needs = {row["name"]: row["needs"] for row in json.loads(run("tables", "--long", "--json"))["rows"]}
    assert "; views parsing; by row segface-convnext" in needs["bmrl-table-05"]
    assert needs["bmrl-table-06"].endswith("; views parsing (2 of 10)")
    assert "eth_xgaze (1 of 4); views gaze (2 of 4), gaze_patches (1 of 4)" in needs["gazeclip-table-13"]
    assert "views gaze (5 of 6)" in needs["gazeclip-table-06"]
    rows = {row["name"]: row for row in json.loads(run("weights", "--long", "--json"))["rows"]}
    assert "gazeclip" in rows["eth_xgaze"]["models"].split(", ")


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in item_names() if measurable_table(name)])
def test_needs_of_tables_are_those_of_their_runs(name: str) -> None:
    """Asked of tiny models, they hold for the runs that are planned at the paper's size."""
    table = measurable_table(name)
    assert table is not None
    runs = [one.needs for one in table_runs(table, TableSettings(), Path("tables")) if one.needs is not None]
    views = {view for needs in runs for view in needs.all_views}
    files = {rows[0] for needs in runs for rows in (needs.named_weights.values() or (needs.weights,)) if rows}
    said = {
        part.split(" ")[0]: part.split(" ", 1)[1] for part in names.KINDS["tables"].describe(name)["needs"].split("; ")
    }
    for what, wanted in (("weights", files), ("views", views)):
        assert {part.split(" (")[0] for part in said.get(what, "").split(", ") if part} == wanted
