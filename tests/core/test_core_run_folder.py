from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dfad_bench.core import run_folder
from dfad_bench.core.run_folder import CheckpointFolder, RobustnessFolder, RunFolder, SeedsFolder, not_a_run

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "dfad_bench" / "core" / "run_folder.py"
# a lock and weights have these endings elsewhere, too, and figures begin with the last
SHARED = {".lock", ".safetensors", "robustness-"}
NAMES = {value for key, value in vars(run_folder).items() if key.isupper() and isinstance(value, str)} - SHARED


def literals(text: str) -> list[tuple[int, str]]:
    """Every text of a file that is no docstring, parts of f-strings too, with its line."""
    tree = ast.parse(text)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def repeated(text: str) -> list[str]:
    """Names of files and folders of a run that a file writes down."""
    found: list[str] = []
    if not any(name in text for name in NAMES):
        return found
    for line, value in literals(text):
        parts = value.strip("/").split("/")
        if NAMES & set(parts):
            found.append(f"line {line}: {value!r}")
    return found


PACKAGES = ("dfad_bench", "baselines", "gazeclip")
OF_OTHERS = {
    ("dfad_bench/ingest/sources/hf_parquet.py", "state.json"),  # a file of Arrow data sets has that name, too
    ("dfad_bench/sharing/places.py", "model.safetensors"),  # and timm's weights on the hub
}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path != HOME)


def test_names_are_known() -> None:
    assert {"config.yaml", "run.json", "record.json", "checkpoint", "predictions.parquet", "seeds.json"} <= NAMES
    assert {"step-", "best-", "seed-"} <= NAMES


def test_no_other_module_repeats_a_name() -> None:
    found = {path.relative_to(ROOT).as_posix(): repeated(path.read_text(encoding="utf-8")) for path in MODULES}
    for path, name in OF_OTHERS:
        found[path] = [line for line in found[path] if not line.endswith(repr(name))]
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    ['run / "run.json"', 'folder / "checkpoint" / x', 'f"evaluations/{name}"', 'f"step-{n:08d}"', 'glob("cells/*")'],
)
def test_the_check_sees_an_offender(line: str) -> None:
    assert repeated(line)
    assert not repeated("def f():\n    'run.json'")


def test_paths_are_those_of_runs_made_before(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    evaluation = run.evaluation("df40", "0123456789abcdef")
    cells = evaluation.robustness("fedcba9876543210")
    expected = {
        run.config: "config.yaml", run.selection: "selection.parquet", run.trace: "trace.csv",
        run.predictions: "predictions.parquet", run.not_finite: "not_finite.json", run.facts: "run.json",
        run.record: "record.json", run.lock: ".lock", run.checkpoint.weights: "checkpoint/model.safetensors",
        run.checkpoint.model: "checkpoint/model.json", run.checkpoint.step(120): "checkpoint/step-00000120",
        run.checkpoint.best(7): "checkpoint/best-00000007.safetensors",
        evaluation.facts: "evaluations/df40-01234567/run.json",
        cells.record: "evaluations/df40-01234567/robustness-fedcba98/robustness.json",
        cells.settings: "evaluations/df40-01234567/robustness-fedcba98/settings.json",
        cells.cell("blur", 3): "evaluations/df40-01234567/robustness-fedcba98/cells/blur-3.parquet",
        SeedsFolder(tmp_path).run(3): "seed-3", SeedsFolder(tmp_path).summary: "seeds.json",
    }  # fmt: skip
    assert {path: path.relative_to(tmp_path).as_posix() for path in expected} == expected


def test_a_folder_that_is_no_run_is_named_with_what_to_give(tmp_path: Path) -> None:
    text = not_a_run(tmp_path, "record.json")
    assert text == (
        f"{tmp_path}: no record.json; not the folder of a finished run (`dfad train --out {tmp_path}` makes one)"
    )
    SeedsFolder(tmp_path).run(3).mkdir()
    assert (
        not_a_run(tmp_path) == f"{tmp_path}: holds runs of several seeds; give one of them, such as {tmp_path}/seed-3"
    )


def test_what_lies_beside_is_found_from_inside(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    evaluation = run.evaluation("toy", "0" * 64)
    cells = evaluation.robustness("1" * 64)
    cells.path.mkdir(parents=True)
    assert (cells.weights_beside, cells.selection_beside) == (None, None)
    assert run.robustness_records() == []
    run.checkpoint.path.mkdir()
    for path in (run.checkpoint.weights, evaluation.selection, cells.record):
        path.write_bytes(b"")
    assert cells.weights_beside == evaluation.weights_beside == run.checkpoint.weights
    assert cells.selection_beside == evaluation.selection
    assert run.selection_beside is None
    assert run.robustness_records() == [cells.record]
    assert isinstance(cells, RobustnessFolder)


def test_checkpoints_are_listed_oldest_first(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (100, 9, 20):
        folder.step(step).mkdir()
        folder.best(step).write_bytes(b"")
    folder.weights.write_bytes(b"")
    assert folder.steps() == [folder.step(step) for step in (9, 20, 100)]
    assert folder.bests() == [folder.best(step) for step in (9, 20, 100)]
