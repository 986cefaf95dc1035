"""What a file says of itself: whole when read back, refused in one line when it cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dfad_bench.core.errors import ConfigError
from dfad_bench.export.facts import Band, ExportFacts, UnseenRule, ViewInput, facts_text, read_facts

FACTS = ExportFacts(
    model={"name": "gazeclip", "display": "GazeCLIP"},
    classes=("real", "stylegan2", "é\u202e"),
    side=64,
    views=(ViewInput("gaze", (2,), "float32", "pitch and yaw", "masked", "nan", {"fingerprint": "0" * 64}),),
    width=None,
    detection=Band(0.4, 0.6, "within 0.1 of 0.5"),
    unseen=UnseenRule(0.9, "the papers'"),
    protocol={"name": "synthetic"},
    run={"seed": 0},
    crops={},
    licence={"weights": "none"},
)


def test_facts_come_back_as_they_were() -> None:
    assert read_facts(facts_text(FACTS), "a.onnx") == FACTS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": []}, "0 classes"),
        ({"classes": ["x" * 300]}, "more than 200"),
        ({"side": 10**9}, "side"),
        ({"side": None, "views": []}, "view"),
        ({"format": 2}, "format 2"),
        ({"detection": {"low": 0.7, "high": 0.6, "rule": ""}}, "low and high"),
        ({"unseen": {"threshold": 1.5, "rule": ""}}, "threshold"),
        ({"views": [{"name": "../a", "shape": [2], "dtype": "float32", "meaning": ""}]}, "impossible"),
        ({"views": [{"name": "a", "shape": [1 << 30], "dtype": "float32", "meaning": ""}]}, "impossible"),
        ({"more": 1}, "more"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(change: dict[str, Any], words: str) -> None:
    text = json.dumps({**json.loads(facts_text(FACTS)), **change})
    with pytest.raises(ConfigError, match=words) as found:
        read_facts(text, "a.onnx")
    assert "\n" not in str(found.value)


BROKEN = (None, "", "[]", "{", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, "x" * (2 << 20))


@pytest.mark.parametrize("text", BROKEN, ids=map(str, range(len(BROKEN))))
def test_no_facts_are_refused_in_one_line(text: str | None) -> None:
    with pytest.raises(ConfigError, match=r"a\.onnx"):
        read_facts(text, "a.onnx")


def test_facts_that_no_reader_would_take_are_not_written() -> None:
    from dataclasses import replace

    with pytest.raises(ConfigError, match="characters"):
        facts_text(replace(FACTS, notes=("x" * (1 << 20),)))
