"""What holds for every function and class of the metrics and of scoring, and the numbers that the pages state."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

import dfad_bench.metrics
import dfad_bench.report
import dfad_bench.report.robustness
from dfad_bench.metrics import interval
from dfad_bench.report.compare import compare_runs
from dfad_bench.report.robustness.scores import build_robustness, score_robustness
from dfad_bench.report.run_record import build_record
from dfad_bench.report.score import numbers, score

ROOMS = (dfad_bench.metrics, dfad_bench.report, dfad_bench.report.robustness)
MODULES = sorted(
    f"{room.__name__}.{found.name}"
    for room in ROOMS
    for found in pkgutil.iter_modules(room.__path__)
    if not found.ispkg
)


def own(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Classes of a module, and the functions and methods that are written in it."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) == module.__name__:
            inside = vars(value) if inspect.isclass(value) else {}
            yield name, value
            yield from ((f"{name}.{key}", inner) for key, inner in inside.items() if written_in(inner, module))


def written_in(value: object, module: ModuleType) -> bool:
    """Whether this is a function of the module's file, and not one that `dataclass` made."""
    return isinstance(value, FunctionType) and value.__code__.co_filename == module.__file__


@pytest.mark.parametrize("name", MODULES)
def test_dataclasses_are_frozen(name: str) -> None:
    for place, value in own(import_module(name)):
        assert not is_dataclass(value) or value.__dataclass_params__.frozen, place  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MODULES)
def test_every_argument_can_be_named_and_flags_must_be(name: str) -> None:
    module = import_module(name)
    for place, value in own(module):
        for parameter in inspect.signature(value).parameters.values() if written_in(value, module) else ():
            assert parameter.kind is not parameter.POSITIONAL_ONLY, f"{place}: {parameter.name} cannot be named"
            flag = isinstance(parameter.default, bool) or parameter.annotation in (bool, "bool")
            private = value.__name__.startswith("_")
            assert private or not flag or parameter.kind is parameter.KEYWORD_ONLY, f"{place}: {parameter.name}"


def test_intervals_have_as_many_resamples_as_the_readme_of_the_room_says() -> None:
    expected = {score: 1000, numbers: 1000, build_record: 1000, compare_runs: 2000}
    expected |= {score_robustness: 200, build_robustness: 200}
    assert {f: inspect.signature(f).parameters["resamples"].default for f in expected} == expected
    assert {inspect.signature(f).parameters["seed"].default for f in (score, numbers, compare_runs)} == {0}


def test_a_comparison_has_as_many_resamples_by_command_and_in_python() -> None:
    from dfad_bench.api.runs import compare
    from dfad_bench.cli.compare import command

    of_command = {option.name: option.default for option in command.params}
    assert of_command["resamples"] == inspect.signature(compare).parameters["resamples"].default == 2000


def test_the_bootstrap_takes_the_memory_that_its_comments_state() -> None:
    """How many draws are made at once decides which numbers a seed gives, so records keep their intervals by it."""
    of_float, of_short = 8, 2  # bytes
    assert interval._CHUNK_CELLS * of_float == 32_000_000
    assert interval._BLOCK_CELLS * of_float == 8_000_000
    assert interval._KEPT_CELLS * of_short == 80_000_000


def test_a_record_says_how_many_resamples_it_was_made_with(tmp_path: Path) -> None:
    record = write_run(tmp_path / "run", toy_protocol(), toy_predictions(toy_protocol(), 8), resamples=27)
    assert {value.ci_resamples for value in record.metrics if value.ci_method == "bootstrap_t"} == {27}
    assert {value.ci_seed for value in record.metrics if value.ci_resamples} == {0}


def test_ways_to_deal_labels_are_counted_and_drawn_as_documented() -> None:
    from dfad_bench.metrics import permutation

    assert (permutation.MOST_ASSIGNMENTS, permutation.DRAWS) == (100_000, 9_999)
