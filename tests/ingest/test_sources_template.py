from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.ingest.sources.template import Template


def test_a_template_takes_no_time_on_hostile_names():
    with pytest.raises(ValueError, match=r"put text between \{a\} and \{b\}"):
        Template("{a}{b}{c}{d}{e}{f}.png")
    began = time.monotonic()
    assert Template("{a}_{b}_{c}_{d}_{e}_{f}.png").match("_" * 100_000) is None
    assert Template("{a}_{b}.png").match("x/" * 5000 + "a_b.png") is None
    assert time.monotonic() - began < 1


word = st.text(st.characters(blacklist_characters="/_", blacklist_categories=("Cs", "Cc")), min_size=1, max_size=8)


@given(who=word, other=word, shot=st.integers(0, 9999))
def test_templates_take_apart_what_they_made(who: str, other: str, shot: int):
    template = Template("{split}/{who:word}_{shot:int}_by_{other:word}.{ext}")
    fields = {"split": "test", "who": who, "shot": f"{shot:02d}", "other": other, "ext": "png"}
    path = template.fill(fields)
    assert path is not None
    assert template.match(path) == fields


def test_a_field_used_twice_holds_one_text():
    template = Template("{a}/{a}_{b}.png")
    assert template.match("x/x_1.png") == {"a": "x", "b": "1"}
    assert template.match("x/y_1.png") is None
    assert template.fill({"a": "x", "b": None}) is None
    assert Template("README.md").match("readme.MD") == {}
