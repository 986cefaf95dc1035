"""Values that nothing can use are refused where they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import json_text, plain_path, read_json
from dfad_bench.core.plain import parse_json
from dfad_bench.core.strict import read_yaml

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**19), 10**19)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=12,
)


@given(values)
def test_what_we_write_is_read_back(value: object):
    assert parse_json(json_text(value)) == value
    assert parse_json(json.dumps(value)) == value  # with \\u escapes


BAD = {
    "half a surrogate pair": ('{"title": "\\ud83d"}', "no Unicode"),
    "half a pair as a key": ('{"\\uDC00": 1}', "no Unicode"),
    "an endless integer": ("[" + "9" * 5000 + "]", "an integer of 5000 digits"),
    "an integer beyond all": ("[1" + "0" * 400 + "]", "an integer of 401 digits"),
    "a float beyond all": ("[1e400]", "the number 1e400, which is too large"),
    "NaN": ('{"a": NaN}', "the number NaN"),
    "infinity": ("-Infinity", "the number -Infinity"),
    "a key twice": ('{"test": [], "train": [1], "train": [2]}', "the key 'train' occurs twice"),
    "a key twice below": ('[{"x": {"a": 1, "a": 1}}]', "the key 'a' occurs twice"),
    "nesting": ("[" * 100000, "recursion"),
    "nothing": ("", "Expecting value"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_json_is_one_line(tmp_path: Path, kind: str):
    text, error = BAD[kind]
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=error) as refused:
        read_json(tmp_path / "a.json")
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 400 + len(str(tmp_path))
    message.encode()


def test_other_programs_write_nan(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"original": NaN}')
    assert read_json(tmp_path / "a.json", constants=True)["original"] != 0


def test_a_folder_is_no_json(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_json(tmp_path)


BAD_YAML = [
    *("a: !!int", "a: !!int ''", "a: !!float", "a: !!bool", "a: !!bool maybe", "a: !!timestamp x", "b: !!int -"),
    *('title: "\\ud800"', '"\\udfff": 1', "a: 1" + "0" * 400, "a: " + "9" * 5000, "a: !!binary \u2603", "!!str [a]"),
    *("a: !!omap x", "a: !!pairs 1", "!!map [a]", "!!seq {a: b}", "? [a]\n: 1", "? {a: b}\n: 1"),
]


@pytest.mark.parametrize("text", BAD_YAML)
def test_bad_yaml_is_one_line(tmp_path: Path, text: str):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_yaml(tmp_path / "a.yaml", unicode_only=True)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 500 + len(str(tmp_path))
    message.encode()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\")))
def test_a_path_has_one_spelling(text: str):
    path = plain_path(text)
    assert plain_path(path) == path
    assert plain_path(text.replace("/", "//")) == path
    assert "//" not in path
    assert [part for part in text.split("/") if part not in ("", ".")] == [part for part in path.split("/") if part]
