"""Names of functions, classes and attributes: a noun phrase, or verb and object."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfad_bench.api.gaze import GazeReport
from dfad_bench.core import parallel
from dfad_bench.gaze.study import GazeStudy

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dfad_bench", "gazeclip", "baselines", "benchmarks")

# Alone, none of these says what is meant: `kept` what, `short` of what? `kept_faces` and `short_groups` do. Participles
# that name what is done to an argument, as `sorted` does (`mirrored(image)`, `quoted(text)`), are no such words.
NEEDS_A_NOUN = frozenset(
    """
    abandoned again ahead alive all alone apart asked away bare began begun between blank both broken
    coming common covering cycled dead dealt declared done empty far fewer first fitting found given gone heard here
    inside integral kept known late learnt left live longer made meant misnamed missing named near next once one
    other outermost own ready resident rest rich said same settled short shown spaced still stored strongest taken
    there told tried trivial uncrowded unlike unused used visible wanted whole without
    """.split()  # noqa: SIM905
)
# a file without one of them as a name that is defined or set need not be parsed
MAY_LACK_A_NOUN = re.compile(rf"(?:\bdef\s+|\bclass\s+|\.\s*)_*(?:{'|'.join(sorted(NEEDS_A_NOUN))})_*\b", re.IGNORECASE)
EARLIER = {("dfad_bench/api/gaze.py", "short")}  # a public name, which warns that it has another one now


def names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(name, line) of every private or public function, method and class, and of every attribute of `self` that is set.

    Fields of dataclasses are left out: many are keys of files.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def nameless(text: str) -> list[tuple[str, int]]:
    """Those that are only a word that needs a noun."""
    if not MAY_LACK_A_NOUN.search(text):
        return []
    return [(name, line) for name, line in names(ast.parse(text)) if name.strip("_").lower() in NEEDS_A_NOUN]


@pytest.mark.parametrize("package", PACKAGES)
def test_names_of_functions_classes_and_attributes_have_a_noun(package: str) -> None:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        bad = nameless(path.read_text(encoding="utf-8"))
        found += [f"{place}:{line}: {name}" for name, line in bad if (place, name) not in EARLIER]
    assert found == [], "say what is kept, shown, missing, ...: a noun phrase, or verb and object"


@pytest.mark.parametrize(
    "text",
    [
        "def _kept(): ...",
        "async def told(): ...",
        "class _Whole: ...",
        "class A:\n    def short(self): ...",
        "class A:\n    def __init__(self):\n        self._again = 1",
        "def f(ctx):\n    ctx.own, x = 1, 2",
    ],
)
def test_a_name_without_a_noun_is_found(text: str) -> None:
    assert len(nameless(text)) == 1


@pytest.mark.parametrize(
    "text", ["def kept_faces(): ...", "def mirrored(image): ...", "kept = 1", "class A:\n    kept: int = 0"]
)
def test_nouns_transformations_and_local_variables_are_fine(text: str) -> None:
    assert nameless(text) == []


def test_an_earlier_public_name_works_and_names_the_new_one() -> None:
    with pytest.warns(DeprecationWarning, match="is now called gather_rows"):
        found = parallel.whole
    assert found is parallel.gather_rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not hasattr(parallel, "wholes")


def test_the_gaze_report_has_its_earlier_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfad_bench.api.gaze.short_tables", lambda facts: [facts])
    with pytest.warns(DeprecationWarning, match="is now called short_tables"):
        found = GazeReport({"rows": []}, [], GazeStudy({}, {}, {}, {}, {})).short
    assert found == [{"rows": []}]
