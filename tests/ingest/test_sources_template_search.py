"""Hostile names are fitted to templates in no time, with the result of the regular expression."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.ingest.sources.template import Template

FIELDS = [f"{{{name}{kind}}}" for name in "abc" for kind in ("", ":int", ":word", ":path", ":number")]
PIECES = st.lists(
    st.tuples(st.sampled_from(["_", "/", "1", "x_", "__", ".", "ſ"]), st.sampled_from(FIELDS)), max_size=6
)
PATHS = st.text("_/1x.aSſK", max_size=14)


@given(
    pieces=PIECES, ending=st.sampled_from(["", ".{ext}", ".png", "_"]), path=PATHS, tail=st.sampled_from(["", ".png"])
)
def test_the_search_finds_what_the_regular_expression_finds(pieces: list, ending: str, path: str, tail: str):
    template = Template("".join(literal + field for literal, field in pieces) + ending)
    found = template._pattern.fullmatch(path + tail)
    assert template._search.fit(path + tail) == (found.groupdict() if found else None)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{a}_{b}_{c}_{d}_{e}_{f}.png", "_" * 251 + ".pnx"),
        ("{a:word}_{b}_{c}_{d}_{e}_{f}.png", "a_" * 125 + ".pnx"),
        ("{a}1{b:int}1{c:int}1{d:int}1{e:int}.{ext}", "1" * 250 + ".pnx"),
        ("{a:path}/{b:path}/{c:path}/{d:path}/{e}.png", "a/" * 2000 + ".pnx"),
        ("{a}_{b}_{c}_{d}/{a}.png", "_" * 250 + "/_.pnx"),
    ],
)
def test_no_name_that_fits_nearly_takes_long(text: str, path: str):
    began = time.process_time()
    assert Template(text).match(path) is None
    assert time.process_time() - began < 2  # a regular expression takes minutes to years


def test_a_long_name_that_fits_is_divided_as_ever():
    name = "_" * 251 + ".png"
    assert Template("{a}_{b}_{c}_{d}_{e}_{f}.png").match(name) == {**dict.fromkeys("abcde", "_"), "f": "_" * 241}
