"""Every command parses its options, calls one public function, and prints: read off the syntax tree of its file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dfad_bench
from dfad_bench.cli.main import COMMANDS

CLI = Path(dfad_bench.__file__).parent / "cli"
PARSING = {
    "dfad_bench.api.training:parse_weights",
    "dfad_bench.core:bounds.RESAMPLES",
    "dfad_bench.core.run_folder:runs_in",  # the runs that a folder of several seeds stands for
    "dfad_bench.ingest.plan:parse_shard",
    "dfad_bench.views.options:view_settings",
}
PRINTING = {
    "dfad_bench.core.errors:listed",
    "dfad_bench.core.errors:quoted",
    "dfad_bench.core.files:write_json",
    "dfad_bench.core.files:write_text",  # the --out of a table
    "dfad_bench.core.escape:json_text",
    "dfad_bench.core.record:plain",
    "dfad_bench.report.board_json:board_values",
    "dfad_bench.report.compare:comparison_tables",
    "dfad_bench.report.figures.gaze:figure_notes",
    "dfad_bench.report.table:render",
}
# commands that do one of several things, by their options
SEVERAL = {
    "doctor": {"dfad_bench.core.doctor:diagnose", "dfad_bench.ingest.survey:survey"},
    "evaluate": {
        *(f"dfad_bench.api.evaluation:{name}" for name in ("evaluate", "rescore", "robustness")),
        "dfad_bench.api.imports:evaluate_callable",
    },
    "import-predictions": {f"dfad_bench.api.imports:import_{name}" for name in ("models", "predictions")},
    "leaderboard": {
        "dfad_bench.api.runs:leaderboards", "dfad_bench.api.site:leaderboard_site",
        "dfad_bench.api.entries:verify_entries", "dfad_bench.api.entries:write_boards",
    },
    "predict": {"dfad_bench.api.predict:predict", "dfad_bench.api.predict_onnx:predict_onnx"},
    "profile": {f"dfad_bench.api.models:{name}" for name in ("profile_models", "profile_shares")},
    "reproduce": {f"dfad_bench.api.reproduce:{name}" for name in ("plan_table", "reproduce_table")},
    "scores": {
        "dfad_bench.api.by_value:scores_by",
        "dfad_bench.api.mistakes:mistakes", "dfad_bench.api.open_world:open_world",
        "dfad_bench.api.open_world:enrolment", "dfad_bench.api.open_world:draw_open_world",
        "dfad_bench.api.runs:draw_sweeps", "dfad_bench.api.runs:scores",
    },
    "weights": {
        "dfad_bench.api.names:list_names",
        *(f"dfad_bench.api.weights:{name}" for name in ("check_weights", "fetch_weights", "find_weight_place")),
    },
}  # fmt: skip


def called(text: str) -> set[str]:
    """Functions of other rooms that a file calls or hands on, and methods of their classes, as "module:name"."""
    tree = ast.parse(text)
    names = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dfad_bench")
        for alias in node.names
        if not (node.module or "").startswith("dfad_bench.cli")
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            owner = node.value.id
            if not owner.isupper():  # a constant
                found.add(f"{names[owner]}.{node.attr}")
        elif isinstance(node, ast.Name) and node.id in names and not node.id[0].isupper():
            found.add(names[node.id])
    whole = {name for name in found if any(other.startswith(f"{name}.") for other in found)}
    return found - whole  # of a module, what is used of it


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_calls_one_public_function(name: str) -> None:
    module = COMMANDS[name][0].partition(":")[0]
    text = (CLI / f"{module.rpartition('.')[2]}.py").read_text(encoding="utf-8")
    calls = called(text) - PARSING - PRINTING
    offered = {*dfad_bench._PUBLIC.values()}
    assert calls == SEVERAL[name] if name in SEVERAL else len(calls) == 1
    assert {call for call in calls if call not in offered and not call.startswith("dfad_bench.api.")} == set()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from dfad_bench.data.manifest import Manifest\nManifest.open(x)", {"dfad_bench.data.manifest:Manifest.open"}),
        ("from dfad_bench.data.manifest import Manifest\nx: Manifest = Manifest()", set()),
        ("from dfad_bench.core import skeleton\nskeleton.new(x)", {"dfad_bench.core:skeleton.new"}),
        ("from dfad_bench.api.runs import scores\nmap(scores, x)", {"dfad_bench.api.runs:scores"}),
        ("from dfad_bench.cli.train import show\nshow(x)", set()),
    ],
)
def test_calls_are_found_however_they_are_written(line: str, expected: set[str]) -> None:
    assert called(line) == expected
