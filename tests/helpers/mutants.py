"""Mutants of source files by cosmic-ray's operators, and the tests that notice them, run in forked processes.

cosmic-ray itself starts one command a mutant: with the start-up of this project's libraries and all tests of a file,
that takes hours. Here the libraries are imported once, each mutant gets a fork in which one module is compiled from
the mutated source, and only the tests run that reach the mutated lines, the fastest first.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

OPERATORS = (
    "ReplaceBinaryOperator", "ReplaceComparisonOperator", "ReplaceUnaryOperator", "AddNot", "NumberReplacer",
    "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak", "ZeroIterationForLoop", "ExceptionReplacer", "RemoveDecorator",
)  # fmt: skip
# plain asserts: pytest would read the files of doctests from the disk to rewrite theirs, past the mutant
QUIET = (
    "-q", "-x", "--no-header", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist",
    "-m", "not slow and not gpu and not weights",
)  # fmt: skip
BROKEN = 70  # exit code of a fork that did not come to run its tests


@dataclass(frozen=True)
class Mutant:
    """One changed place: the file (from the root), the operator, the line, and the source around and after it."""

    file: str
    operator: str
    line: int
    before: str
    after: str
    source: str

    @property
    def module(self) -> str:
        """The name under which the file is imported."""
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def every_place(root: Path, files: Sequence[str], seed: int) -> list[tuple[str, str, int, int]]:
    """Places that can be mutated, as (file, operator, occurrence, line), in an order that depends on the seed only.

    One for each place and kind of change. Annotations are left out: they are never evaluated here.
    """
    from cosmic_ray.ast import get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    names = [name for name in operator_names() if name.split("/")[1].split("_")[0] in OPERATORS]
    choice = random.Random(seed)
    found = []
    for file in files:
        text = (root / file).read_text(encoding="utf-8")
        nodes, hidden = list(_nodes(get_ast(text))), _annotations(text)
        options: dict[tuple[Any, ...], list[tuple[str, int]]] = {}
        for name in names:
            operator = get_operator(name)()
            spans = (place for node in nodes for place in operator.mutation_positions(node))
            for occurrence, (start, end, *_) in enumerate(spans):
                if not any(first <= start and end <= last for first, last in hidden):
                    options.setdefault((start, name.split("_")[0]), []).append((name, occurrence))
        for (start, _), several in sorted(options.items()):
            found.append((file, *choice.choice(several), start[0]))
    choice.shuffle(found)
    return found


def mutants(root: Path, places: Iterable[tuple[str, str, int, int]]) -> Iterator[Mutant]:
    """The mutants of some places; changes that do not compile or change nothing are left out."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    for file, name, occurrence, line in places:
        text = (root / file).read_text(encoding="utf-8")
        mutated = mutate_code(text, get_operator(name)(), occurrence)
        if mutated is not None and mutated != text and _compiles(mutated):
            yield _mutant(file, name, line, text, mutated)


def _nodes(node: Any) -> Iterator[Any]:
    """A tree's nodes in the order in which cosmic-ray visits them."""
    yield node
    for child in getattr(node, "children", ()):
        yield from _nodes(child)


def _annotations(text: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    nodes: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            nodes += [node.returns, *(arg.annotation for arg in every if arg is not None)]
        elif isinstance(node, ast.AnnAssign):
            nodes.append(node.annotation)
    known = [node for node in nodes if node is not None]
    return [((n.lineno, n.col_offset), (n.end_lineno or 0, n.end_col_offset or 0)) for n in known]


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _mutant(file: str, operator: str, line: int, text: str, mutated: str) -> Mutant:
    pairs = zip(text.splitlines(), mutated.splitlines(), strict=False)
    before, after = next(((a.strip(), b.strip()) for a, b in pairs if a != b), ("", ""))
    return Mutant(file, operator.removeprefix("core/"), line, before, after, mutated)


def statement_lines(text: str, line: int) -> range:
    """The lines of the innermost statement around a line; of a compound one, those of its head."""
    best = range(line, line + 1)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else (node.end_lineno or node.lineno)
            if node.lineno <= line <= max(end, node.lineno) and (best.start <= node.lineno or len(best) == 1):
                best = range(node.lineno, max(end, node.lineno) + 1)
    return best


def in_function(text: str, line: int) -> bool:
    """Whether a line is in the body of a function; other lines are run on import."""
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
    return any(node.body[0].lineno <= line <= (node.end_lineno or 0) for node in functions)


class Reach:
    """A pytest plugin that notes which tests reach which lines, and how many seconds of a processor they take.

    Lines of set-ups count for every test of the file: fixtures may be shared.
    """

    def __init__(self, coverage: Any) -> None:
        self.coverage, self.seconds = coverage, dict[str, float]()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        start = time.process_time()
        result = yield
        self.seconds[item.nodeid] = time.process_time() - start
        self.coverage.switch_context("")
        return result

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.coverage.switch_context(f"file:{item.nodeid.split('::')[0]}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        return (yield)


def tests_by_line(data: Any, root: Path, files: Sequence[str], seconds: Mapping[str, float]) -> dict[str, dict]:
    """From a file and a line of it to the tests that reach it, by coverage data with contexts of `Reach`."""
    of_file: dict[str, list[str]] = {}
    for test in seconds:
        of_file.setdefault(test.split("::")[0], []).append(test)
    found: dict[str, dict[int, set[str]]] = {}
    for file in files:
        lines = data.contexts_by_lineno(str(root / file))
        found[file] = {
            line: {
                test
                for context in contexts
                for test in (of_file.get(context[5:], []) if context.startswith("file:") else [context])
                if test in seconds
            }
            for line, contexts in lines.items()
        }
    return found


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> Any:
        return compile(self.source, self.path, "exec", dont_inherit=True)


class Mutated(importlib.abc.MetaPathFinder):
    """Imports one module from a mutated source."""

    def __init__(self, root: Path, mutant: Mutant) -> None:
        self.root, self.mutant = root, mutant

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:
        """The spec of the mutated module; None for all others."""
        if fullname != self.mutant.module:
            return None
        file = self.root / self.mutant.file
        folder = [str(file.parent)] if file.name == "__init__.py" else None
        loader = _Loader(fullname, str(file), self.mutant.source)
        return importlib.util.spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=folder)


def fork(run: Callable[[], int]) -> int:
    """Start `run` in a forked process of its own group, without output; returns its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        with contextlib.suppress(OSError):  # both do it: the group exists when either goes on
            os.setpgid(child, child)
        return child
    code = BROKEN
    try:
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        code = run()
    finally:
        os._exit(code)


def run_tests(
    root: Path, mutant: Mutant | None, stages: Iterable[Sequence[str]], temporary: Path, extra: Sequence[Any] = ()
) -> int:
    """Run tests in this process, with one module mutated; returns the first of pytest's exit codes that is not 0.

    A stage is run where those before it passed: collecting the files of all tests would take longer than most tests.
    """
    if mutant is not None:
        if mutant.module in sys.modules:
            raise RuntimeError(f"{mutant.module} is imported already")
        sys.meta_path.insert(0, Mutated(root, mutant))
    import hypothesis

    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
    options = (*QUIET, "--hypothesis-profile=mutants")
    os.chdir(root)
    for place, tests in enumerate(stages):
        arguments = [*options, f"--basetemp={temporary}-{place}", *tests]
        if tests and (code := int(pytest.main(arguments, plugins=[*extra]))):
            return code
    return 0


def outcomes(jobs: Sequence[tuple[Callable[[], int], float]], workers: int) -> Iterator[tuple[int, str, float]]:
    """Run jobs (function, seconds allowed) in forks: place, "survived", "killed" or "timeout", and seconds taken.

    Raises:
        RuntimeError: a fork broke before its tests.
    """
    waiting, running = list(enumerate(jobs))[::-1], dict[int, tuple[int, float, float]]()
    while waiting or running:
        while waiting and len(running) < workers:
            place, (run, allowed) = waiting.pop()
            running[fork(run)] = (place, time.monotonic(), allowed)
        for child, (place, start, allowed) in list(running.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            taken = time.monotonic() - start
            if not done and taken < allowed:
                continue
            if not done:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
            del running[child]
            if done and os.WIFEXITED(status) and os.WEXITSTATUS(status) == BROKEN:
                raise RuntimeError(f"the fork of job {place} broke before its tests")
            yield place, "timeout" if not done else "survived" if status == 0 else "killed", taken
        time.sleep(0.02)
