"""The numbers of docs/scaling.md are those its command prints from the committed measurement."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from helpers.scripts import benchmark

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def estimate() -> ModuleType:
    return benchmark("scaling_estimate")


def test_tables_are_the_printed_ones(estimate: ModuleType) -> None:
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- begin: .*? -->\n(.*?)<!-- end -->", text, flags=re.DOTALL)
    assert shown is not None
    measured = estimate.load()
    assert shown[1].strip() == estimate.report(measured).strip()


def test_costs_grow_with_faces_and_limits_are_sorted(estimate: ModuleType) -> None:
    measured = estimate.load()
    for name, cost in estimate.costs(measured).items():
        assert cost(2_000_000) == pytest.approx(2 * cost(1_000_000)), name
        assert cost(1) > 0, name
    faces = [float(str(row["faces"]).split()[0].replace(",", "")) for row in estimate.limits(measured).rows]
    assert faces == sorted(faces)
