"""Every number of random records is what a second scorer says that shares no line with the first."""

from __future__ import annotations

import ast
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dfad_bench.core.files import read_json
from dfad_bench.metrics import METRICS
from dfad_bench.report.score import score

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SCORED = {name for name, metric in METRICS.items() if not metric.on.startswith("gaze")}


@pytest.fixture(scope="module")
def second() -> ModuleType:
    spec = importlib.util.spec_from_file_location("second_scores", BENCHMARKS / "second_scores.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_number_of_some_random_records_differs(second: ModuleType) -> None:
    tally = second.run(8, seed=1)
    assert tally.faults == []
    assert set(tally.compared) >= SCORED


def test_a_number_that_is_off_is_found(second: ModuleType) -> None:
    rng = np.random.default_rng(0)
    protocol = second.random_protocol(rng)
    frame = second.random_frame(rng, protocol)
    made = score(frame, protocol, resamples=0)
    place = next(k for k, v in enumerate(made.metrics) if v.value is not None)
    other = replace(made.metrics[place], value=(made.metrics[place].value or 0) + 1e-8)
    metrics = (*made.metrics[:place], other, *made.metrics[place + 1 :])
    tally = second.Tally()
    tally.compare_record("record", replace(made, metrics=metrics), frame, protocol)
    assert len(tally.faults) == 1
    tally = second.Tally()
    tally.compare_record("record", replace(made, metrics=made.metrics[1:]), frame, protocol)
    assert "only one scorer has" in tally.faults[0]


def test_it_is_short_and_imports_the_standard_library_only() -> None:
    text = (BENCHMARKS / "second_scorer.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {a.name for n in imports if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module) for n in imports if isinstance(n, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_the_committed_result_is_of_ten_thousand_records_and_every_metric() -> None:
    found = read_json(BENCHMARKS / "results" / "second_scores.json")
    assert found["records"] >= 10_000
    assert found["differences"] == 0
    assert max(found["largest_difference"].values()) <= found["tolerance"] == 1e-9
    assert set(found["compared"]) >= SCORED
