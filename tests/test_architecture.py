"""Who may import whom, and who may write files: read off the syntax tree of every file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dfad_bench", "baselines", "gazeclip")
STDLIB = sys.stdlib_module_names

OF_API = (
    "core", "data", "engine", "explain", "export", "gaze", "inference", "ingest",
    "intake", "metrics", "parsing", "report", "sharing", "synthetic", "views",
)  # fmt: skip

# package -> (ours, anywhere in a file; third party, at module level). The longest matching package counts.
RULES: dict[str, tuple[set[str], set[str]]] = {
    "dfad_bench": ({"dfad_bench.cli"}, set()),  # __main__ only; what __init__ offers is below
    "dfad_bench.core": (set(), {"yaml"}),
    "dfad_bench.core.contract": ({"dfad_bench.core"}, {"torch"}),
    "dfad_bench.core.added_loss": ({"dfad_bench.core"}, {"torch"}),
    "dfad_bench.core.batch": ({"dfad_bench.core"}, {"torch"}),
    "dfad_bench.core.stages": ({"dfad_bench.core"}, {"torch"}),
    "dfad_bench.core.parallel": ({"dfad_bench.core"}, {"torch"}),
    "dfad_bench.metrics": (set(), {"numpy"}),
    "dfad_bench.layers": ({"dfad_bench.core"}, {"torch"}),
    "dfad_bench.losses": ({"dfad_bench.core"}, {"torch"}),
    "dfad_bench.data": ({"dfad_bench.core"}, {"numpy", "pandas", "pyarrow", "torch"}),
    # from a release to a manifest: only api, the commands, benchmarks and tests import it
    "dfad_bench.ingest": ({"dfad_bench.core", "dfad_bench.data"}, {"numpy", "pandas", "pyarrow"}),
    # without torch, and so without engine
    "dfad_bench.intake": ({"dfad_bench.core", "dfad_bench.data"}, {"numpy", "pandas", "pyarrow"}),
    "dfad_bench.synthetic": ({"dfad_bench.core"}, {"numpy", "pandas", "pyarrow"}),
    "dfad_bench.views": (
        {"dfad_bench.core", "dfad_bench.data", "dfad_bench.gaze", "dfad_bench.layers"},
        {"numpy", "pandas", "pyarrow", "torch"},
    ),
    "dfad_bench.gaze": (
        # the mirror check of a gaze network draws its faces
        {f"dfad_bench.{room}" for room in ("core", "metrics", "data", "synthetic")},
        {"numpy", "pandas", "torch"},
    ),
    "dfad_bench.engine": (
        {f"dfad_bench.{room}" for room in ("core", "data", "views")},
        {"numpy", "pandas", "torch", "yaml"},
    ),  # fmt: skip
    "dfad_bench.explain": ({"dfad_bench.core", "dfad_bench.layers"}, {"torch"}),
    # where reading and cropping meet trained weights; only api and the commands import it
    "dfad_bench.inference": (
        {f"dfad_bench.{room}" for room in ("core", "data", "engine", "explain", "gaze", "ingest", "views")},
        {"numpy", "pandas"},
    ),
    "dfad_bench.report": ({"dfad_bench.core", "dfad_bench.metrics"}, {"numpy", "pandas"}),
    # both draw from crops or maps, which only these packages turn into pictures
    "dfad_bench.report.figures.gaze": (
        {"dfad_bench.core", "dfad_bench.metrics", "dfad_bench.report", "dfad_bench.data", "dfad_bench.gaze"},
        {"numpy", "pandas"},
    ),
    "dfad_bench.report.figures.parsing": (
        {f"dfad_bench.{room}" for room in ("core", "metrics", "report", "data", "gaze", "parsing")},
        {"numpy", "pandas"},
    ),
    "dfad_bench.parsing": (
        # the statistics are those of gaze
        {"dfad_bench.core", "dfad_bench.data", "dfad_bench.gaze", "dfad_bench.views"},
        {"numpy", "pandas", "torch"},
    ),
    # of what comes from outside and what goes out; the hub's and the libraries' own clients on use only
    "dfad_bench.sharing": ({"dfad_bench.core", "dfad_bench.data"}, {"numpy", "pandas", "pyarrow"}),
    # a run as one file for other programs; `facts` and `runner` work without torch
    "dfad_bench.export": (
        {f"dfad_bench.{room}" for room in ("core", "data", "engine", "report", "synthetic", "views")},
        {"numpy", "pandas", "torch"},
    ),
    "dfad_bench.export.facts": ({"dfad_bench.core"}, set()),
    "dfad_bench.export.runner": ({"dfad_bench.core", "dfad_bench.export"}, {"numpy"}),
    # what `import dfad_bench` offers; only the commands and the package itself import it
    "dfad_bench.api": ({f"dfad_bench.{room}" for room in OF_API}, {"numpy"}),
    "dfad_bench.cli": ({"dfad_bench"}, {"click"}),
    "baselines": ({"dfad_bench.core", "dfad_bench.layers", "dfad_bench.losses"}, {"torch"}),
    "gazeclip": ({"dfad_bench.core", "dfad_bench.layers", "dfad_bench.losses"}, {"torch"}),
}
NAMES_ONLY = ("baselines", "gazeclip", "dfad_bench")  # their __init__ holds names and imports nothing
LAZY = "dfad_bench"  # its __init__ imports its names on first use, and for type checkers only
WRITERS = {"to_parquet", "to_csv", "to_json", "write_table", "write_text", "write_bytes", "savefig", "ParquetWriter"}
MODULE_WRITERS = {"torch": {"save"}, "np": {"save", "savez", "savez_compressed"}, "json": {"dump"}, "pickle": {"dump"}}


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@cache
def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or path.is_dir()


def rule(module: str) -> tuple[str, set[str], set[str]]:
    package = max((name for name in RULES if within(module, name)), key=len)
    ours, others = RULES[package]
    own = "dfad_bench.core" if within(package, "dfad_bench.core") else package
    return package, ours | {own}, others


def imported(
    tree: ast.Module, module: str, is_package: bool, known: Callable[[str], bool] = is_module
) -> Iterator[tuple[str, bool, int]]:
    """(name, runs when the file is imported, line) of every import; `from package import module` names the module."""

    def visit(node: ast.AST, running: bool) -> Iterator[tuple[str, bool, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, running, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                parts = module.split(".")[: len(module.split(".")) - child.level + is_package] if child.level else []
                base = ".".join([*parts, *([child.module] if child.module else [])])
                names = [f"{base}.{alias.name}" for alias in child.names]
                yield from ((name if known(name) else base, running, child.lineno) for name in names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from visit(child, False)
            elif not isinstance(child, ast.expr):  # no expression holds an import
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from visit(child, running and not inside)

    yield from visit(tree, True)


def complaints(text: str, module: str, is_package: bool = False) -> list[str]:
    """What in a file of that name breaks the rules."""
    return bad_imports(list(imported(ast.parse(text), module, is_package)), module, is_package)


def bad_imports(names: list[tuple[str, bool, int]], module: str, is_package: bool) -> list[str]:
    """Which of a module's imports, as `imported` gives them, break the rules."""
    package, ours, others = rule(module)
    found = []
    for name, running, line in names:
        top = name.split(".")[0]
        if top in PACKAGES:
            if is_package and module == LAZY and not running:
                continue
            if is_package and module in NAMES_ONLY:
                found.append(f"line {line}: {module}/__init__ holds names only, yet imports {name}")
            elif name != "dfad_bench" and not any(within(name, allowed) for allowed in ours):
                found.append(f"line {line}: {package} must not import {name}")
        elif running and top not in STDLIB and top not in others:
            found.append(f"line {line}: {package} imports {name} at module level; move it into the function")
    return found


def unsafe_writes(text: str) -> list[str]:
    """Calls that write a file, unless they write to the temporary of `atomic_path` or the handle of `atomic_write`."""
    return bare_writes(list(ast.walk(ast.parse(text))))


def bare_writes(nodes: list[ast.AST]) -> list[str]:
    """The same of all nodes of a file."""
    writing = [node for node in nodes if isinstance(node, ast.Call) and _writes(node)]
    if not writing:
        return []
    safe = {
        item.optional_vars.id
        for node in nodes
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and "atomic_" in ast.unparse(item.context_expr)
    }
    found = []
    for node in writing:
        words = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        if not words & safe and "devnull" not in ast.unparse(node):
            found.append(f"line {node.lineno}: {ast.unparse(node)[:80]} goes round core.files")
    return found


def _writes(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name) and function.id != "open":
        return function.id in WRITERS - {"write_text"}  # core.files.write_text is the way
    owner = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
    name = function.attr if isinstance(function, ast.Attribute) else "open"
    if name == "open":
        arguments = [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
        modes = [a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        return any(set(mode) <= set("rwxabt+") and set(mode) & set("wxa+") for mode in modes)
    return (name in WRITERS and owner != "files") or name in MODULE_WRITERS.get(owner, set())


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> tuple[str, bool]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package else parts), is_package


@dataclass(frozen=True)
class Reading:
    """What the tests ask of a file, found in one pass over its syntax tree."""

    lines: int
    imports: list[tuple[str, bool, int]]
    writes: list[str]
    functions: list[str]


@cache
def reading(path: Path) -> Reading:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    imports = list(imported(tree, *module_of(path)))
    return Reading(len(text.splitlines()), imports, bare_writes(nodes), functions_too_long(nodes, text))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_and_writes(path: Path) -> None:
    module, is_package = module_of(path)
    found = bad_imports(reading(path).imports, module, is_package)
    if module != "dfad_bench.core.files":
        found += reading(path).writes
    assert not found, f"{path.relative_to(ROOT)}: {'; '.join(found)}"


def import_graph(files: dict[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """Which of the given modules (name -> text, is a package) each imports, for types and in functions too."""
    graph = {}
    for module, (text, is_package) in files.items():
        names = {name for name, _, _ in imported(ast.parse(text), module, is_package, files.__contains__)}
        graph[module] = (names & files.keys()) - {module}
    return graph


@cache
def graph_of_sources() -> dict[str, set[str]]:
    """`import_graph` of all our files."""
    paths = {module_of(path)[0]: path for path in sources()}
    found = {module: {name for name, _, _ in reading(path).imports} for module, path in paths.items()}
    return {module: (names & paths.keys()) - {module} for module, names in found.items()}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other (strongly connected components of two or more)."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(start: str, edges: dict[str, set[str]], into: list[str]) -> None:
        waiting = [(start, iter(sorted(edges[start])))]
        seen.add(start)
        while waiting:
            node, rest = waiting[-1]
            following = next((n for n in rest if n not in seen), None)
            if following is None:
                into.append(node)
                waiting.pop()
            else:
                seen.add(following)
                waiting.append((following, iter(sorted(edges[following]))))

    for node in sorted(graph):
        if node not in seen:
            visit(node, graph, order)
    backwards: dict[str, set[str]] = {node: set() for node in graph}
    for node, targets in graph.items():
        for target in targets:
            backwards[target].add(node)
    seen.clear()
    found = []
    for node in reversed(order):
        if node not in seen:
            group: list[str] = []
            visit(node, backwards, group)
            if len(group) > 1:
                found.append(sorted(group))
    return found


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(graph_of_sources()) == []


@pytest.mark.parametrize(
    "first",
    [
        "from dfad_bench.core.b import B",
        "def f():\n    from dfad_bench.core import b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import dfad_bench.core.b",
    ],
)
def test_a_circle_is_found_however_it_is_written(first: str) -> None:
    files = {
        "dfad_bench.core.a": (first, False),
        "dfad_bench.core.b": ("from dfad_bench.core.c import C", False),
        "dfad_bench.core.c": ("from .a import A", False),
        "dfad_bench.core.d": ("from dfad_bench.core import a", False),
    }
    assert circles(import_graph(files)) == [["dfad_bench.core.a", "dfad_bench.core.b", "dfad_bench.core.c"]]


def long_functions(text: str) -> list[str]:
    """Functions of more than 40 lines, without docstrings, comments and blank lines."""
    return functions_too_long(list(ast.walk(ast.parse(text))), text)


def functions_too_long(nodes: list[ast.AST], text: str) -> list[str]:
    """The same of all nodes of a file."""
    lines = text.splitlines()
    found = []
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) is not None else None
            own = set(range(node.lineno, (node.end_lineno or 0) + 1))
            if docstring is not None:
                own -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
            code = [k for k in own if lines[k - 1].strip() and not lines[k - 1].lstrip().startswith("#")]
            if len(code) > 40:
                found.append(f"{node.name} has {len(code)} lines")
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_are_short(path: Path) -> None:
    assert reading(path).lines <= 400, f"{path.relative_to(ROOT)}: over 400 lines; divide it by subject"
    assert reading(path).functions == [], path.relative_to(ROOT)


def test_a_long_function_is_found_whatever_its_docstring() -> None:
    short = 'def f():\n    """A\n' + "\n" * 90 + '    """\n' + "    # why\n" * 30 + "    x = 1\n" * 39
    assert long_functions(short) == []
    assert long_functions(f"class A:\n    async def g(self):\n{'        x = 1' + chr(10)}" + "        x = 1\n" * 40)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("baselines.toy", "from dfad_bench.cli import main"),
        ("baselines.toy", "def f():\n    import gazeclip.model"),
        ("gazeclip.toy", "from baselines.xception import Xception"),
        ("dfad_bench.core.toy", "from dfad_bench.data import manifest"),
        ("dfad_bench.core.toy", "import torch"),
        ("dfad_bench.core.toy", "def f():\n    from dfad_bench import cli"),
        ("dfad_bench.metrics.toy", "from ..core import errors"),
        ("dfad_bench.report.toy", "import dfad_bench.engine.fit"),
        ("dfad_bench.engine.toy", "from dfad_bench.report import score"),
        ("dfad_bench.data.toy", "try:\n    import cv2\nexcept ImportError:\n    cv2 = None"),
        ("dfad_bench.cli.toy", "import numpy as np"),
        ("dfad_bench.api.toy", "from dfad_bench.cli import options"),
        ("dfad_bench.engine.toy", "def f():\n    from dfad_bench.ingest import build"),
        ("dfad_bench.engine.toy", "from dfad_bench.api import runs"),
        ("baselines.toy", "class A:\n    import timm"),
    ],
)
def test_the_check_sees_an_offender(module: str, text: str) -> None:
    assert complaints(text, module)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("dfad_bench.data.toy", "def f():\n    import cv2"),
        ("dfad_bench.core.toy", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("dfad_bench.ingest.sources.toy", "from dfad_bench.data import manifest\nimport pandas as pd"),
        ("dfad_bench.metrics.toy", "from . import openset"),
        ("dfad_bench.cli.toy", "def f():\n    from dfad_bench.engine import fit\n    import rich"),
    ],
)
def test_the_check_lets_the_others_pass(module: str, text: str) -> None:
    assert complaints(text, module) == []


@pytest.mark.parametrize(
    "line",
    [
        "open(p, 'w')",
        "p.open('wb')",
        "p.open(mode='a')",
        "p.write_text('x')",
        "frame.to_parquet(p)",
        "torch.save(x, p)",
    ],
)
def test_the_check_sees_a_bare_write(line: str) -> None:
    assert unsafe_writes(line)
    assert unsafe_writes(f"with atomic_path(q) as t:\n    {line}")
    assert unsafe_writes(f"with atomic_path(q) as p:\n    {line}") == []


@pytest.mark.parametrize("line", ["open(p)", "p.open('rb')", "write_text(p, 'x')", "files.write_text(p, 'x')"])
def test_reading_and_our_own_writers_are_fine(line: str) -> None:
    assert unsafe_writes(line) == []
