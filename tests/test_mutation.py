"""The driver of mutation testing: which lines count as reached, what a fork imports, and what its end means."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from helpers.mutants import BROKEN, Mutant, Mutated, every_place, in_function, mutants, outcomes, statement_lines

SOURCE = '''"""A module."""

LIMIT = 3


def small(
    value: int | None,
    limit: int = 2,
) -> bool:
    if value is None or (
        value > limit + LIMIT
    ):
        return False
    return True
'''


def test_a_mutated_line_stands_for_its_statement() -> None:
    assert [statement_lines(SOURCE, line) for line in (3, 8, 11, 13)] == [
        range(3, 4), range(6, 10), range(10, 13), range(13, 14),
    ]  # fmt: skip


def test_defaults_and_constants_are_run_on_import() -> None:
    assert [in_function(SOURCE, line) for line in (3, 8, 10, 14)] == [False, False, True, True]


def test_one_module_is_imported_from_its_mutated_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mutated_here.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    mutant = Mutant("mutated_here.py", "NumberReplacer", 3, "LIMIT = 3", "LIMIT = 4", SOURCE.replace("= 3", "= 4"))
    monkeypatch.setattr(sys, "meta_path", [Mutated(tmp_path, mutant), *sys.meta_path])
    import mutated_here  # type: ignore[import-not-found]

    try:
        assert (mutated_here.LIMIT, mutated_here.small(6), mutated_here.small(7)) == (4, True, False)
    finally:
        del sys.modules["mutated_here"]
    assert Mutant("a/b/__init__.py", "x", 1, "", "", "").module == "a.b"


def test_the_end_of_a_fork_is_the_outcome() -> None:
    def fall_asleep() -> int:
        time.sleep(60)
        return 0

    jobs = [(lambda: 0, 20.0), (lambda: 1, 20.0), (fall_asleep, 0.3)]
    found = {place: outcome for place, outcome, _ in outcomes(jobs, 3)}
    assert found == {0: "survived", 1: "killed", 2: "timeout"}
    with pytest.raises(RuntimeError, match="broke before its tests"):
        list(outcomes([(lambda: BROKEN, 20.0)], 1))


def test_places_depend_on_the_seed_only_and_annotations_are_none(tmp_path: Path) -> None:
    pytest.importorskip("cosmic_ray", reason="needs the extra 'mutation'")
    (tmp_path / "toy.py").write_text(SOURCE, encoding="utf-8")
    places = every_place(tmp_path, ["toy.py"], 0)
    assert places == every_place(tmp_path, ["toy.py"], 0)
    assert places != every_place(tmp_path, ["toy.py"], 1)
    assert {line for *_, line in places} == {3, 8, 10, 11, 13, 14}  # not 7: an annotation
    made = list(mutants(tmp_path, places))
    assert len({mutant.source for mutant in made}) == len(made)
    assert all(mutant.before in SOURCE and mutant.before != mutant.after for mutant in made)
