"""The Python the documentation shows runs, page by page, on a few synthetic faces; docs/api.md says what is public."""

from __future__ import annotations

import ast
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.open_runs import write_open_run
from helpers.synthetic import made_once, synthetic_tree
from helpers.toy import toy_protocol

import dfad_bench
from dfad_bench.core import contract
from dfad_bench.synthetic import synthesize

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = ("baselines", "benchmarks", "dfad_bench", "gazeclip", "leaderboards", "manifests", "tests")
# not the cards of manifests that a user has made in this folder
PAGES += sorted(
    path for room in ROOMS for path in (ROOT / room).rglob("README.md") if not (path.parent / "manifest.json").is_file()
)
API = ROOT / "docs" / "api.md"
TRAINING = (API, ROOT / "README.md")  # pages that train
PUBLIC_ROOMS = ("layers", "losses", "metrics")
_BLOCK = re.compile(r"^```python\n(.*?)^```|^\$? ?python -c \"(.*?)\"$", flags=re.DOTALL | re.MULTILINE)


def examples(text: str) -> list[tuple[int, str]]:
    """Line and code of every Python block and `python -c` line of a page, in order."""
    return [(text[: m.start()].count("\n") + 1, m[1] if m[1] is not None else m[2]) for m in _BLOCK.finditer(text)]


def entry_point_groups() -> set[str]:
    """The groups that are asked for, read off the code."""
    calls = [
        node
        for text in (path.read_text(encoding="utf-8") for path in (ROOT / "dfad_bench").rglob("*.py"))
        if "entry_points" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("entry_points")
    ]
    arguments = [argument for call in calls for argument in (*call.args, *(k.value for k in call.keywords))]
    texts = {a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return {text for text in texts if text.startswith("dfad_bench.")}


GROUPS = entry_point_groups()
SHOWN = [page for page in PAGES if examples(page.read_text(encoding="utf-8"))]


def names(cell: str) -> list[str]:
    return re.findall(r"`([A-Za-z_][\w.]*)`", cell)


def listed() -> dict[str, list[str]]:
    """Module -> names, as the tables of docs/api.md have them."""
    text = API.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(dfad_bench[\w.]+)` \| (`.*`) \|$", text, flags=re.MULTILINE)
    found = {module: names(cell) for module, cell in rows if module not in GROUPS}
    first = text[text.index("| import from `dfad_bench` |") :].split("\n\n")[0]
    return {"dfad_bench": [name for line in first.splitlines()[2:] for name in names(line)], **found}


@pytest.fixture(scope="module")
def work(tiny_manifests: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `make quickstart` leaves it."""
    folder = tmp_path_factory.mktemp("docs")
    synthetic_tree(folder / "quickstart" / "faces", per_group=6, seed=0)
    (folder / "quickstart" / "manifests").mkdir()
    for manifest in tiny_manifests:
        (folder / "quickstart" / "manifests" / manifest.name).symlink_to(manifest)
    shutil.copytree(made_once("tiny-unseen", _build_unseen), folder / "quickstart/manifests/synthetic-unseen")
    write_open_run(folder / "quickstart" / "runs" / "xception", toy_protocol(), resamples=20)
    return folder


def _build_unseen(out: Path) -> None:
    """One face of each stand-in that is only tested."""
    from dfad_bench.ingest.build import build_manifest

    synthesize(out.parent / "tiny-unseen-faces", per_group=1, unseen=True)
    build_manifest("synthetic-unseen", out.parent / "tiny-unseen-faces", out, workers=0)


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.heavy if page in TRAINING else ()) for page in SHOWN],
    ids=[page.relative_to(ROOT).as_posix() for page in SHOWN],
)
def test_python_of_the_page_runs(page: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.chdir(work)
    space: dict[str, Any] = {}
    for line, code in examples(page.read_text(encoding="utf-8")):
        exec(compile("\n" * line + code, str(page), "exec"), space)


def test_pages_with_python_are_found() -> None:
    assert SHOWN[:2] == [ROOT / "README.md", API]
    text = "a\n```python\nx = 1\n```\n```console\n$ python -c \"print('y')\"\n```\n"
    assert examples(text) == [(2, "x = 1\n"), (6, "print('y')")]
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:45]
    assert "```python" in first_screen
    assert "import dfad_bench as dfad" in first_screen


def test_public_names_are_on_the_page_and_importable() -> None:
    page = listed()
    assert sorted(page["dfad_bench"]) == sorted(dfad_bench.__all__)
    assert sorted(page["dfad_bench.core.contract"]) == sorted(contract.__all__)
    for module, found in page.items():
        assert found, module
        for name in found:
            assert hasattr(import_module(module), name), f"docs/api.md: {module} has no {name}"


@pytest.mark.parametrize("room", PUBLIC_ROOMS)
def test_every_module_of_a_public_room_is_on_the_page(room: str) -> None:
    files = {path.stem for path in (ROOT / "dfad_bench" / room).glob("*.py")} - {"__init__", "entry"}
    assert {f"dfad_bench.{room}.{name}" for name in files} <= listed().keys()


def test_entry_point_groups_are_on_the_page() -> None:
    assert "dfad_bench.models" in GROUPS
    text = API.read_text(encoding="utf-8")
    assert [group for group in GROUPS if f"| `{group}` |" not in text] == []
    assert "docs/api.md" in (ROOT / "README.md").read_text(encoding="utf-8")
