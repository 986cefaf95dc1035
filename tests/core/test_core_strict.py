"""The strict YAML reader: plain data only, errors name file and key."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dfad_bench.core.bounds import WHOLE
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.strict import from_mapping, read_dataclass, read_yaml, yaml_text


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    label: int
    name: str = "x"


@dataclass(frozen=True)
class Outer:
    share: float
    inner: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (0, "")
    colour: Colour = Colour.RED
    mode: Literal["a", "b"] = "a"
    limit: int | None = None
    flag: bool = False
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.share < 0:
            raise ValueError(f"share must not be negative, got {self.share}")


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_reads_what_is_there(tmp_path: Path) -> None:
    path = written(tmp_path, "share: 1\ninner: [{label: 2}]\ncolour: blue\nlimit: null\nweights: {cmc: 1}\n")
    assert read_dataclass(Outer, path) == Outer(1.0, (Inner(2),), colour=Colour.BLUE, weights={"cmc": 1.0})
    assert isinstance(read_dataclass(Outer, path).share, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("share: 1\nshrae: 2\n", r"file\.yaml: unknown key 'shrae'; did you mean 'share'\?"),
        ("flag: true\n", r"file\.yaml: key 'share' is missing"),
        ("share: '1'\n", r"share must be float, got '1'"),
        ("share: true\n", r"share must be float, got True"),
        ("share: 1e999\n", r"share must be a finite number"),
        (f"share: 1{'0' * 400}\n", r"not readable as plain YAML \(an integer of more than 300 digits\)"),
        ("share: .nan\n", r"share must be float, got '\.nan'"),
        ("share: -1\n", r"file\.yaml: share must not be negative"),
        ("share: 1\nflag: 1\n", r"flag must be bool, got 1"),
        ("share: 1\nlimit: true\n", r"limit must be int, got True"),
        ("share: 1\nlimit: 1.5\n", r"limit must be int, got 1\.5"),
        ("share: 1\ninner: [{label: 1}, {label: x}]\n", r"inner\[1\]: label must be int, got 'x'"),
        ("share: 1\ninner: {label: 1}\n", r"inner must be a list"),
        ("share: 1\npair: [1]\n", r"pair must have 2 entries, got 1"),
        ("share: 1\ncolour: green\n", r"colour must be one of red, blue, got 'green'"),
        ("share: 1\nmode: c\n", r"mode must be one of a, b, got 'c'"),
        ("share: 1\nweights: {cmc: x}\n", r"weights\['cmc'\] must be float"),
        ("share: 1\nweights: [1]\n", r"weights must be a mapping"),
        ("- 1\n", r"must be a mapping, got list"),
        ("", r"must be a mapping, got NoneType"),
    ],
)
def test_error_names_place_and_expectation(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_dataclass(Outer, written(tmp_path, text))


def test_a_number_beyond_floats_is_refused_where_no_file_is_read() -> None:
    with pytest.raises(ConfigError, match="share must be a finite number, got one of 401 digits"):
        from_mapping(Outer, {"share": 10**400}, "options")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: *x\n", "aliases are not allowed"),
        ("a: 1\nb: {c: 1, c: 2}\n", r"line 2: duplicate keys \['c'\]"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("a: !mine 1\n", "could not determine a constructor"),
        ("[" * 41 + "]" * 41, "nested deeper than 40"),
        ("{a: " * 41 + "1" + "}" * 41, "nested deeper than 40"),
        ("[" * 500_000, "nested deeper than 40"),
        ("? [1]\n: 2\n", "unhashable"),
        ("a: 1\n---\nb: 2\n", "single document"),
        ("a: 'open\n", "not readable as plain YAML"),
        (b"a: \xff\xfe\n", "not readable as plain YAML"),
        ("a: " + "9" * 5000 + "\n", "not readable as plain YAML"),
        ("a: '" + "x" * (1 << 20) + "'\n", "more than the 1048576"),
    ],
)
def test_refuses_what_is_not_plain_data(tmp_path: Path, text: str | bytes, message: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(written(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - began < 20


def test_alias_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(ConfigError, match="aliases are not allowed"):
        read_yaml(written(tmp_path, "\n".join(lines)))


def test_base_sixty_is_text_and_fast(tmp_path: Path) -> None:
    began = time.perf_counter()
    assert read_yaml(written(tmp_path, "a: 12:30\nb: " + "1:" * 400_000 + "1\n"))["a"] == "12:30"
    assert time.perf_counter() - began < 20


def test_numbers(tmp_path: Path) -> None:
    text = "a: 1e-4\nb: -1.0E+3\nc: 10_000\nd: 0\ne: .5\nf: 007\ng: 0x1F\nh: -3\n"
    found = read_yaml(written(tmp_path, text))
    assert found == {"a": 1e-4, "b": -1000.0, "c": 10_000, "d": 0, "e": 0.5, "f": "007", "g": "0x1F", "h": -3}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        read_yaml(tmp_path)


outers = st.builds(
    Outer,
    share=st.floats(0, 1e12),
    inner=st.lists(st.builds(Inner, label=st.integers(-WHOLE, WHOLE), name=st.text(max_size=8)), max_size=3).map(tuple),
    pair=st.tuples(st.integers(-WHOLE, WHOLE), st.text(max_size=8)),
    colour=st.sampled_from(Colour),
    mode=st.sampled_from(["a", "b"]),
    limit=st.none() | st.integers(-WHOLE, WHOLE),
    flag=st.booleans(),
    weights=st.dictionaries(st.text(max_size=4), st.floats(-1e9, 1e9), max_size=3),
)


@example(Outer(share=0.0, pair=(0, "0e0")))
@example(Outer(share=0.0, weights={"a\x85b": 1.0}))
@given(outers)
def test_any_value_survives_yaml(tmp_path_factory: pytest.TempPathFactory, value: Outer) -> None:
    raw = asdict(value) | {"colour": value.colour.value, "pair": list(value.pair)}
    raw["inner"] = list(raw["inner"])
    path = tmp_path_factory.mktemp("round") / "value.yaml"
    path.write_text(yaml_text(raw), encoding="utf-8")
    assert read_dataclass(Outer, path) == value


# breaks of lines, other controls, and texts that look like numbers, booleans, dates, null, merge and value keys
ODD_TEXTS = [
    "\x85", "\u2028", "\u2029", "a\x85 b", " \u2028x", "\ufeff", "\ufffe", "\x00", "\x1b[0m", "\x7f", "\xa0", "\r",
    "a\r\nb", "\n", " \n x", "\t", " ", "", "1e5", "0e0", "-1.5", "1_000", "007", "0x1F", "12:30", ".nan", ".inf",
    "yes", "No", "true", "null", "~", "2020-01-01", "2001-12-14t21:59:43.10-05:00", "<<", "=",
    "---", "...", "- a", "? a", "a: b", "#", "&a", "*a", "!a",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD_TEXTS, ids=repr)
def test_odd_text_survives_yaml_as_key_and_value(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    value = {text: text, "list": [text, {text: [text]}], "long": f"{text} " * 40 + text}
    path.write_text(yaml_text(value), encoding="utf-8", newline="\n")
    assert read_yaml(path) == value


any_text = st.text(
    st.sampled_from("\x85\u2028\u2029\x00\n\r\t '\"#:-?,[]{}&*!|>%@<=~0123456789eE.+_ayesno") | st.characters()
)


@given(st.dictionaries(any_text, st.lists(any_text, max_size=2), max_size=3))
def test_any_text_survives_yaml(tmp_path_factory: pytest.TempPathFactory, value: dict[str, list[str]]) -> None:
    path = tmp_path_factory.mktemp("text") / "value.yaml"
    path.write_text(yaml_text(value), encoding="utf-8", newline="\n")
    assert read_yaml(path) == value


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-WHOLE, WHOLE) | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_anything_else_is_one_clear_error(raw: object) -> None:
    if isinstance(raw, dict) and raw.keys() <= Outer.__dataclass_fields__.keys() and "share" in raw:
        return
    with pytest.raises(ConfigError, match="^here: "):
        from_mapping(Outer, raw, "here")


def test_a_changed_file_is_read_again_and_what_was_read_is_the_callers_own(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("rows: [1, 2]\n")
    stamps = file.stat().st_atime_ns, file.stat().st_mtime_ns
    read_yaml(file)["rows"].append(3)
    assert read_yaml(file) == {"rows": [1, 2]}
    file.write_text("rows: [1, 4]\n")
    os.utime(file, ns=stamps)
    assert read_yaml(file) == {"rows": [1, 4]}
    for _ in range(2):
        file.write_text("rows: &a [1]\nmore: *a\n")
        with pytest.raises(ConfigError, match="a.yaml"):
            read_yaml(file)
