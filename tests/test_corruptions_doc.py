"""The numbers of docs/corruptions.md and of `compared` are those of the committed measurement."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from helpers.scripts import benchmark

from dfad_bench.data.corruptions.codec import CLIP
from dfad_bench.data.corruptions.spec import corruptions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    return benchmark("corruption_parity")


def test_tables_are_the_printed_ones(parity: ModuleType) -> None:
    text = (ROOT / "docs" / "corruptions.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- begin: .*? -->\n(.*?)<!-- end -->", text, flags=re.DOTALL)
    assert shown is not None
    assert shown[1].strip() == parity.report(parity.read_json(parity.RESULT)).strip()


def test_what_is_called_the_papers_was_measured_beside_their_source(parity: ModuleType) -> None:
    measured = parity.read_json(parity.RESULT)["reference"]["operators"]
    exact = {row.name for row in corruptions().values() if row.paper_exact}
    assert exact == set(measured)
    for name, row in measured.items():
        assert abs(row["ours"] - row["reference"]) < 0.2, name  # dB
        assert name in parity.RANDOM or row["largest"] <= 1, name  # grey levels


def test_compared_quotes_the_measured_difference(parity: ModuleType) -> None:
    video = parity.read_json(parity.RESULT)["video"]
    assert video["best"] == CLIP
    for name, length in (("video_compression", "1"), ("video_compression_clip", str(CLIP))):
        apart = [row[length] - row["in_clip"] for row in video["by_severity"]]
        low, high = (f"{value:+.2f}" for value in (min(apart), max(apart)))
        assert f"{low} to {high} dB" in corruptions()[name].compared, (low, high)
        assert corruptions()[name].paper_exact is False
