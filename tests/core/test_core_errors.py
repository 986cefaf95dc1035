"""Errors stay a few hundred characters long, whatever was in a file, and name the nearest of what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.api.names import KINDS
from dfad_bench.core import errors
from dfad_bench.core.errors import ConfigError, DFADError, UnknownNameError, cut, listed, quoted
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.strict import from_mapping
from dfad_bench.core.taxonomy import read_rows, taxonomy
from dfad_bench.data.corruptions.spec import Corruption
from dfad_bench.engine.settings import EvaluateSettings, TrainSettings
from dfad_bench.ingest.sources.spec import load_dataset_spec

LONG = "x" * 60_000
READERS = {"protocols": load_protocol, "recipes": load_recipe, "datasets": load_dataset_spec}
ROOT = Path(__file__).resolve().parents[2]


@given(st.one_of(st.text(), st.binary(), st.lists(st.integers()), st.just(LONG), st.just([LONG]), st.just({LONG: 1})))
def test_a_quoted_value_is_short_and_whole_where_it_is_short(value: object) -> None:
    text = quoted(value)
    assert len(text) < 900
    if len(repr(value)) <= 200:
        assert text == repr(value)
    assert len(listed([value] * 50)) < 50 * 20 * 20
    assert len(cut(str(value))) < 230


def test_both_ends_of_a_long_path_are_shown() -> None:
    shown = quoted("first/" + "a" * 500 + "/last.png")
    assert shown.startswith("'first/")
    assert "/last.png' (" in shown


def test_a_message_that_is_far_too_long_lacks_its_middle() -> None:
    error = ConfigError(f"file.yaml: {LONG}; do this")
    assert str(error).startswith("file.yaml: xxx")
    assert str(error).endswith("; do this")
    assert len(str(error)) < 3_000
    assert str(DFADError("short")) == "short"


def _long_values(value: object) -> list[object]:
    """The value with each of its leaves, keys and whole parts replaced by something long, one at a time."""
    found: list[object] = [LONG[:3_000], list(range(400))]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += [{**value, key: changed} for changed in _long_values(inner)]
    elif isinstance(value, list) and value:
        found += [[changed, *value[1:]] for changed in _long_values(value[0])]
    return found


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param("recipes", "quick"),
        pytest.param("protocols", "synthetic", marks=pytest.mark.heavy),
        pytest.param("datasets", "ffhq", marks=pytest.mark.heavy),
    ],
)
def test_no_settings_file_is_echoed_whole(kind: str, name: str, tmp_path: Path) -> None:
    source = next((ROOT / "manifests" / kind).glob(f"{name}*.yaml"), None)
    assert source is not None
    file = tmp_path / source.name
    said: list[str] = []
    for changed in _long_values(yaml.safe_load(source.read_text(encoding="utf-8"))):
        file.write_text(json.dumps(changed), encoding="utf-8")
        try:
            READERS[kind](str(file))
        except DFADError as error:
            said.append(re.sub(r"(Known|known|one of).*", "", error.args[0]).replace(str(file), ""))
    assert len(said) > 20
    assert max(map(len, said)) < 1_000, max(said, key=len)


@pytest.mark.parametrize("row", [LONG, {"display": LONG, "forgery": LONG, "family": "gan"}, {LONG: 1}, [LONG]])
def test_no_row_of_a_taxonomy_is_echoed_whole(row: object, tmp_path: Path) -> None:
    (tmp_path / "taxonomy.yaml").write_text(yaml.safe_dump({"mine": row}), encoding="utf-8")
    with pytest.raises(ConfigError) as found:
        read_rows(tmp_path / "taxonomy.yaml")
    assert len(str(found.value)) < 900


@pytest.mark.parametrize("settings", [TrainSettings, EvaluateSettings, Corruption])
def test_no_setting_is_echoed_whole(settings: type) -> None:
    for field in settings.__dataclass_fields__:
        for value in (LONG, [LONG], {LONG: 1}):
            with pytest.raises(ConfigError) as found:
                from_mapping(settings, {field: value, LONG: 1}, "file.yaml")
            assert len(str(found.value)) < 1_500


def test_an_unknown_generator_is_answered_with_the_nearest_and_the_command_that_lists_all() -> None:
    with pytest.raises(UnknownNameError) as found:
        taxonomy()["stylegam2"]
    assert "stylegan2" in str(found.value)
    assert "`dfad list generators` shows all" in str(found.value)
    assert len(str(found.value)) < 400


@given(st.text(max_size=20), st.sets(st.text(min_size=1, max_size=20), max_size=300))
def test_unknown_names_are_answered_in_one_short_line(name: str, known: set[str]) -> None:
    for kind in ("generator", "CLIP architecture"):
        assert len(str(UnknownNameError(kind, name, known))) < 1_500
    if len(known) <= 12:
        assert all(other in str(UnknownNameError("generator", name, known)) for other in known)


def test_a_long_list_without_a_command_shows_the_nearest() -> None:
    text = str(
        UnknownNameError("CLIP architecture", "ViT-B-33", [f"ViT-{a}-{n}" for a in "BLHg" for n in range(10, 40)])
    )
    assert "The nearest of 120: " in text
    assert "ViT-B-33" in text or "ViT-B-3" in text


def test_lists_that_errors_name_exist() -> None:
    coming = {"weights"} - set(KINDS)
    assert set(errors._LISTS.values()) <= set(KINDS) | coming


def test_listed_names_stay_on_one_line_and_are_counted() -> None:
    """A name from outside may be endless, or hold line breaks and escape codes."""
    shown = listed(["a\nb", LONG, "\x1b[2J", "last"], 3)
    assert shown.startswith("a\\nb, xxx")
    assert shown.endswith("(60,000 characters), \\x1b[2J and 1 more")
    assert len(shown) < 300
    assert listed(["a", 1], 2) == "a, 1"
    assert listed(range(3000), 1) == "0 and 2,999 more"
    assert listed([]) == ""
