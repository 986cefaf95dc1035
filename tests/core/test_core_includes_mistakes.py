"""Included folders are checked as strictly as shipped data: one line, with file and key."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.included import COLUMN, FILES, ROW, TABLE, one_line, whole_folder, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfad_bench.core import includes
from dfad_bench.core.errors import DFADError
from dfad_bench.core.protocol import load_protocol, protocol_names
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.resources import include, included, shipped
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.core.weights import weight_files
from dfad_bench.data.corruptions.spec import corruptions
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.report.reported import reported_tables


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return whole_folder(tmp_path / "mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol/x.yaml": "a: 1"}, "protocol: not part of a folder to include (did you mean 'protocols'?"),
        ({"taxonmy.yaml": "a: 1"}, "taxonmy.yaml: not part of a folder to include (did you mean 'taxonomy.yaml'?"),
        ({"notes.txt": "x"}, "notes.txt: not part of a folder to include; it may hold corruptions.yaml"),
        ({"datasets/deep/x.yaml": "a: 1"}, "datasets/deep: must be a file NAME.yaml"),
        ({"datasets/x.yml": "a: 1"}, "datasets/x.yml: must be a file NAME.yaml"),
        ({"datasets/a b.yaml": "a: 1"}, "datasets/a b.yaml: must be a file NAME.yaml"),
        ({"recipes/default.yaml": "name: default"}, "recipes/default.yaml: the name 'default' is taken by "),
        ({"reported/efficiency.yaml": "name: x"}, "reported/efficiency.yaml: the name 'efficiency' is taken by "),
    ],
)
def test_a_folder_of_another_layout_is_refused(mine: Path, change: dict[str, Any], message: str) -> None:
    before = dict(os.environ)
    text = one_line(write(mine, change), protocol_names)
    assert message.lower() in text.lower()
    assert str(mine) in text
    assert dict(os.environ) == before


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'}: no such folder" in one_line(tmp_path / "nowhere", protocol_names)
    assert "nothing to include; it may hold" in one_line(tmp_path, protocol_names)
    (tmp_path / "file").touch()
    assert "must be a file NAME.yaml" in one_line(tmp_path / "file", protocol_names)
    odd = write(tmp_path / f"a{os.pathsep}b", FILES)
    assert "rename it" in one_line(odd, protocol_names)


def test_documents_may_lie_beside(mine: Path) -> None:
    write(mine, {"README.md": "x", ".git/config": "x", "datasets/README.md": "x", "LICENSE": "x"})
    with include(mine):
        assert "mine" in protocol_names()


@pytest.mark.parametrize("place", ["datasets/link.yaml", "taxonomy.yaml"])
def test_links_out_of_the_folder_are_refused(mine: Path, place: str) -> None:
    outside = write(mine.parent / "outside", {"secret.yaml": "a: 1"})
    (mine / place).unlink(missing_ok=True)
    (mine / place).symlink_to(outside / "secret.yaml")
    assert "a link out of" in one_line(mine, taxonomy)


def test_the_folder_itself_may_be_a_link(mine: Path) -> None:
    link = mine.parent / "link"
    link.symlink_to(mine)
    with include(link):
        assert included() == (mine,)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**ROW, "famliy": "gan"}, "gen_x: unknown key 'famliy'; did you mean 'family'"),
        ({**ROW, "forgery": "XX"}, "gen_x: forgery must be one of"),
        ({**ROW, "forgery": "none"}, "gen_x: forgery may be none (not known) only where the family is none, too"),
        ({**ROW, "attribution_label": -2}, "gen_x: attribution_label must be -1"),
        ({**ROW, "attribution_label": 3}, "gen_x: attribution_label 3 is that of 'latdiff' of "),
        ({**ROW, "aliases": ["x", "style-gan 2"]}, "gen_x: the name 'style-gan 2' is taken by 'stylegan2' of "),
        ({**ROW, "aliases": ["ＬＤＭ"]}, "gen_x: the name 'ＬＤＭ' is taken by 'latdiff' of "),  # noqa: RUF001
        ({**ROW, "aliases": ["-"]}, "gen_x: display and aliases need a letter or digit, got '-'"),
        ({**ROW, "display": "LDM"}, "gen_x: the name 'LDM' is taken by 'latdiff' of "),
        ({**ROW, "key": "other"}, "gen_x: unknown key 'key'"),
        ("text", "gen_x: must be a mapping, got 'text'"),
    ],
)
def test_bad_rows_name_file_and_key(mine: Path, row: Any, message: str) -> None:
    text = one_line(write(mine, {"taxonomy.yaml": {"gen_x": row}}), taxonomy)
    assert text.startswith(f"{mine / 'taxonomy.yaml'}: ")
    assert message in text


@pytest.mark.parametrize("key", ["real", "stylegan2", "Gen_X", "gen/x", "", 7])
def test_bad_keys_are_refused(mine: Path, key: Any) -> None:
    assert str(mine / "taxonomy.yaml") in one_line(write(mine, {"taxonomy.yaml": {key: ROW}}), taxonomy)


def test_two_rows_of_one_file_may_not_share_a_name(mine: Path) -> None:
    rows = {"gen_x": ROW, "gen_y": {**ROW, "display": "Y"}}
    text = one_line(write(mine, {"taxonomy.yaml": rows}), taxonomy)
    assert "gen_y: the name 'GenX-2' is taken by 'gen_x' of " in text


def test_clashes_of_corruptions_and_weights_name_both_files(mine: Path) -> None:
    row = FILES["corruptions.yaml"]["corruptions"]["haze"]
    write(mine, {"corruptions.yaml": {"version": 1, "corruptions": {"jpeg": row}}})
    text = one_line(mine, corruptions)
    assert "jpeg: the name is taken by" in text
    assert str(shipped("manifests") / "corruptions.yaml") in text
    write(mine, {"weights.yaml": {"l2cs_gaze360": {"file": "x", "origin": "y", "licence": "z"}}})
    known = next(iter(weight_files()))
    write(mine, {"weights.yaml": {known: {"file": "x", "origin": "y", "licence": "z"}}})
    assert f"{known}: {known!r} is taken by a row of {shipped('manifests')}" in one_line(mine, weight_files)
    write(mine, {"corruptions.yaml": {"version": 1, "corruptions": {"haze": {**row, "name": "x"}}}})
    assert "haze: unknown key 'name'" in one_line(mine, corruptions)
    for name in ("all", "a,b"):
        write(mine, {"corruptions.yaml": {"version": 1, "corruptions": {name: row}}})
        assert f"{name}: name {name!r} must be of letters" in one_line(mine, corruptions)
    write(mine, {"weights.yaml": "[1]"})
    assert "must map names to file, origin" in one_line(mine, weight_files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../../mine.pth"}, "mine: file '../../mine.pth' must be the name of a file"),
        ({"sha256": "00"}, "mine: sha256 '00' must be 64 lower-case hexadecimal digits"),
        ({"name": "x"}, "mine: unknown key 'name'"),
        ({"licence": None}, "mine: licence must be str"),
    ],
)
def test_bad_weight_rows_are_refused(mine: Path, change: dict[str, Any], message: str) -> None:
    row = FILES["weights.yaml"]["mine"] | change
    assert message in one_line(write(mine, {"weights.yaml": {"mine": row}}), weight_files)


@pytest.mark.parametrize(
    ("place", "change", "use", "message"),
    [
        ("datasets", {"layuot": "x"}, load_dataset_spec, "unknown key 'layuot'; did you mean 'layout'"),
        ("datasets", {"generators": {"x": "gen_z"}}, load_dataset_spec, "'gen_z' is not a key of the taxonomy"),
        ("datasets", {"name": "other"}, load_dataset_spec, "name 'other' must equal the file's name"),
        ("recipes", {"name": "other"}, load_recipe, "name 'other' must equal the file's name"),
        ("recipes", {"epochs": 0}, load_recipe, "epochs must be 1 or more"),
        ("protocols", {"image_size": "big"}, load_protocol, "image_size must be int, got 'big'"),
        ("protocols", {"unseen": [{"generator": "gen_z", "dataset": "d"}]}, load_protocol, "--include"),
        ("protocols", {"unseen": [{"generator": "LDM", "dataset": "d"}]}, load_protocol, "key 'latdiff', not 'LDM'"),
        ("protocols", {"unseen": [{"generator": "gen_x", "dataset": "d"}]}, load_protocol, "both seen and unseen"),
    ],
)
def test_bad_files_name_file_and_key(
    mine: Path, place: str, change: dict[str, Any], use: Callable[[str], object], message: str
) -> None:
    path = f"{place}/mine.yaml"
    text = one_line(write(mine, {path: FILES[path] | change}), lambda: use("mine"))
    assert text.startswith(str(mine / path))
    assert message in text
    with include(mine):
        problems = {file.path: file.problem for file in includes.check_included() if file.problem}
    assert problems[mine / path] == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": [{**COLUMN, "group": "genface/ddim"}], "rows": []}, "no unseen group 'genface/ddim'"),
        ({"rows": [{**TABLE["rows"][0], "cells": [50.0, 60.0]}]}, "printed 60.00, mean of its 1 cells 50.00"),
        ({"rows": [{**TABLE["rows"][0], "mismatch": "x"}]}, "`mismatch`, yet every printed average recomputes"),
        ({"rows": [{**TABLE["rows"][0], "cells": [50.0]}]}, "row 'Xception' has 1 cells for 2 columns"),
        ({"protocol": "nine"}, "no protocol named 'nine'. Did you mean mine"),
    ],
)
def test_bad_tables_are_refused(mine: Path, change: dict[str, Any], message: str) -> None:
    assert message in one_line(write(mine, {"reported/mine-table-01.yaml": TABLE | change}), reported_tables)


def test_bytes_that_are_no_text_are_one_line(mine: Path) -> None:
    (mine / "protocols" / "mine.yaml").write_bytes(b"name: \xff\xfe")
    assert "not readable as plain YAML" in one_line(mine, lambda: load_protocol("mine"))
    (mine / "taxonomy.yaml").write_bytes(b"\xff")
    assert "not readable as plain YAML" in one_line(mine, taxonomy)


ODD = st.sampled_from([None, True, -1, 10**30, 1.5, "", "{", "{x:zz}", "../x", "a\u2028b", [], {}, [[]], [{"a": 1}]])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_spoilt_file_is_one_line_wherever_it_is_spoilt(mine: Path, data: st.DataObject) -> None:
    """Any value in any place of any file: no crash, and no message over several lines."""
    name = data.draw(st.sampled_from(sorted(FILES)))
    spoilt = copy.deepcopy(FILES[name])
    inner: Any = spoilt
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inner[key], dict | list) or not inner[key] or data.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = data.draw(ODD)
    write(mine, {name: spoilt})
    try:
        with include(mine):
            problems = [file.problem for file in includes.check_included()]
    except DFADError as error:
        problems = [str(error)]
    finally:
        write(mine, {name: FILES[name]})
    assert not any("\n" in problem for problem in problems)
