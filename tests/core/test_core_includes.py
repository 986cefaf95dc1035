"""Included folders: seen by every look-up, checked as strictly as shipped data, covered by hashes."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfad_bench.core import includes, resources
from dfad_bench.core.errors import ConfigError, DFADError, UnknownNameError
from dfad_bench.core.protocol import Group, Protocol, load_protocol, protocol_names
from dfad_bench.core.recipe import load_recipe, recipe_names
from dfad_bench.core.resources import INCLUDE, SHIPPED, include, included, origin, shipped, shipped_names, yaml_files
from dfad_bench.core.strict import yaml_text
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.core.weights import find_weights, weight_files
from dfad_bench.data.corruptions.spec import choose, corruptions
from dfad_bench.data.prompts import load_prompts, prompts_for
from dfad_bench.ingest.crop.cropper import load_crop_profile
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.report.reported import reported_scores, reported_tables

ROW = {"display": "Gen X", "forgery": "EFS", "family": "diffusion", "aliases": ["GenX-2"], "reference": "us, 2026"}
PROTOCOL: dict[str, Any] = {
    "name": "mine", "version": 1, "title": "Mine", "changes": ["1: first version"],
    "seen": [
        {"label": 0, "generator": "real", "dataset": "mine"}, {"label": 1, "generator": "gen_x", "dataset": "mine"},
    ],
    "unseen": [{"generator": "ddpm", "dataset": "genface"}],
}  # fmt: skip
DATASET = {
    "name": "mine", "version": 1, "title": "Mine", "licence": "CC0", "layout": "folders",
    "entries": [{"path": "{generator}/{image}.{ext}"}], "generators": {"x": "gen_x", "photographs": "real"},
}  # fmt: skip
COLUMN = {"split": "DDPM", "task": "attribution", "metric": "acc", "threshold": 0.9, "group": "genface/ddpm"}
TABLE: dict[str, Any] = {
    "name": "mine-table-01", "paper": "Us, 2026", "table": "Table 1", "title": "Ours", "protocol": "mine",
    "columns": [COLUMN, {**COLUMN, "split": "average", "group": None}],
    "rows": [{"model": "xception", "printed": "Xception", "cells": [50.0, 50.0]}],
}  # fmt: skip
FILES: dict[str, Any] = {
    "taxonomy.yaml": {"gen_x": ROW},
    "corruptions.yaml": {
        "version": 1,
        "corruptions": {
            "haze": {
                "title": "Haze", "values": [0.1, 0.2], "meaning": "share of grey", "paper_exact": False,
                "source": "us", "operator": "contrast",
            }
        },
    },
    "weights.yaml": {"mine": {"file": "mine.pth", "origin": "us", "licence": "CC0"}},
    "datasets/mine.yaml": DATASET,
    "protocols/mine.yaml": PROTOCOL,
    "recipes/mine.yaml": {"name": "mine", "epochs": 3},
    "reported/mine-table-01.yaml": TABLE,
}  # fmt: skip


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, value in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else yaml_text(value), encoding="utf-8")
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = write(tmp_path / "mine", FILES)
    for kind, name, own in (("crops", "raw-256", "mine"), ("prompts", "ftg-4", "mine")):
        text = (shipped("manifests") / kind / f"{name}.yaml").read_text(encoding="utf-8")
        write(folder, {f"{kind}/{own}.yaml": text.replace(f"name: {name}", f"name: {own}")})
    return folder


def test_every_look_up_sees_an_included_folder(mine: Path) -> None:
    before = protocol_names()
    with include(mine):
        assert included() == (mine,)
        assert taxonomy()["genx 2"].key == "gen_x"
        assert load_dataset_spec("mine").generator_of("X") == "gen_x"
        assert load_protocol("mine").groups[1].taxon.display == "Gen X"
        assert protocol_names() == sorted([*before, "mine"])
        assert load_recipe("mine").epochs == 3
        assert "mine" in recipe_names()
        assert load_crop_profile("mine").size == 256
        assert load_prompts("mine").name == "mine"
        assert prompts_for(taxonomy()["gen_x"])[3].endswith("Gen X")
        assert [row.name for row in choose(["haze"], corruptions())] == ["haze"]
        assert weight_files()["mine"].file == "mine.pth"
        assert [score.printed for score in reported_scores("mine")] == ["Xception"]
        assert origin(yaml_files("manifests", "recipes")["mine"]) == str(mine)
        assert origin(yaml_files("manifests", "recipes")["quick"]) == SHIPPED
        assert [file.problem for file in includes.check_included()] == [""] * 9
    assert INCLUDE not in os.environ
    assert "gen_x" not in taxonomy()
    assert protocol_names() == before == shipped_names("manifests", "protocols")
    assert len(reported_tables()) == len(shipped_names("leaderboards", "reported")) - 1  # efficiency is the profiler's


def test_near_names_include_them(mine: Path) -> None:
    with include(mine):
        for look_up, kind in ((load_protocol, "protocol"), (load_recipe, "recipe"), (load_dataset_spec, "dataset")):
            with pytest.raises(UnknownNameError, match=f"no {kind} named 'mime'. Did you mean mine"):
                look_up("mime")
        with pytest.raises(UnknownNameError, match=r"Did you mean gen_x\?.* come with `dfad --include DIR`"):
            taxonomy()["gen_xx"]
        with pytest.raises(UnknownNameError, match="Did you mean haze"):
            choose(["hazy"], corruptions())
        with pytest.raises(UnknownNameError, match="Did you mean mine"):
            find_weights("mime")


def test_relative_folders_are_resolved_once(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    with include("mine"):
        monkeypatch.chdir("/")
        assert os.environ[INCLUDE] == str(mine)
        assert "gen_x" in taxonomy()
    monkeypatch.chdir(mine.parent)
    monkeypatch.setenv(INCLUDE, "mine")
    assert included() == (mine,)
    monkeypatch.chdir("/")
    assert included() == (mine,)


def test_a_folder_given_twice_counts_once(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INCLUDE, str(mine))
    with include(mine, mine.parent / "." / "mine"):
        assert included() == (mine,)


def test_processes_that_are_started_see_them(mine: Path) -> None:
    code = "from dfad_bench.core.taxonomy import taxonomy; print(taxonomy()['gen_x'].display)"
    with include(mine):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Gen X"


def test_files_are_read_anew_by_every_include(mine: Path) -> None:
    with include(mine):
        assert taxonomy()["gen_x"].family.value == "diffusion"
    write(mine, {"taxonomy.yaml": {"gen_x": {**ROW, "family": "gan"}}})
    with include(mine):
        assert taxonomy()["gen_x"].family.value == "gan"


# --- mistakes ---------------------------------------------------------------------------------------------------


def one_line(folder: Path, use: Callable[[], object]) -> str:
    with pytest.raises(DFADError) as caught, include(folder):
        use()
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    assert "no such folder" in one_line(tmp_path / "file", protocol_names)
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
        ({**ROW, "forgery": "none"}, "gen_x: forgery must be none for real and unlabelled faces, and for no others"),
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


def test_names_that_differ_by_case_are_one_name(mine: Path) -> None:
    write(mine, {"recipes/Quick.yaml": "name: Quick"})
    text = one_line(mine, recipe_names)
    assert "recipes/Quick.yaml: the name 'Quick' is taken by " in text
    assert text.endswith("quick.yaml; rename one")


def test_two_folders_may_not_share_a_name(mine: Path) -> None:
    for place in ("protocols/mine.yaml", "recipes/mine.yaml"):
        other = write(mine.parent / "other", {place: FILES[place]})
        with pytest.raises(ConfigError) as caught, include(mine, other):
            protocol_names()
        assert str(mine / place) in str(caught.value)
        assert str(other / place) in str(caught.value)
        shutil.rmtree(other)
    rows = {"gen_y": {**ROW, "display": "Y", "aliases": ["gen-x"]}}
    other = write(mine.parent / "other", {"taxonomy.yaml": rows})
    with pytest.raises(ConfigError, match=f"{other}/taxonomy.yaml: gen_y: .* 'gen_x' of {mine}"), include(mine, other):
        taxonomy()


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


# --- hashes -----------------------------------------------------------------------------------------------------


def hashes(mine: Path, row: dict[str, Any]) -> tuple[str, str]:
    write(mine, {"taxonomy.yaml": {"gen_x": row}})
    with include(mine):
        return load_protocol("mine").sha256, load_dataset_spec("mine").sha256


@pytest.mark.parametrize(
    "change", [{"family": "gan"}, {"forgery": "FS"}, {"prompt": "X"}, {"display": "X"}, {"attribution_label": 11}]
)
def test_hashes_cover_the_included_rows(mine: Path, change: dict[str, Any]) -> None:
    first, second = hashes(mine, ROW), hashes(mine, ROW | change)
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert hashes(mine, ROW | {"reference": "elsewhere"}) == first


def test_hashes_of_what_uses_no_included_row_stay(mine: Path) -> None:
    names = ("gazeclip-df40", "synthetic")
    before = [load_protocol(name).sha256 for name in names]
    folders, looked_up = load_dataset_spec("synthetic").sha256, load_dataset_spec("image_folder").sha256
    with include(mine):
        assert [load_protocol(name).sha256 for name in names] == before
        assert load_dataset_spec("synthetic").sha256 == folders
        assert load_dataset_spec("image_folder").sha256 != looked_up  # folder names may now mean included generators
        assert load_protocol("synthetic").included_generators == {}
        assert set(load_protocol("mine").included_generators) == {"gen_x"}
    write(mine, {"taxonomy.yaml": {"gen_x": ROW, "gen_y": {**ROW, "display": "Y", "aliases": []}}})
    with include(mine):
        with_more = load_protocol("mine").sha256
    write(mine, {"taxonomy.yaml": {"gen_x": ROW}})
    with include(mine):
        assert load_protocol("mine").sha256 == with_more, "rows a protocol does not use are none of its business"


@pytest.mark.parametrize(
    ("load", "name", "digest"),
    [
        (load_protocol, "gazeclip-df40", "8dfe549dc4ea94122b9ea8283c375c4daeb604291abb1d94548d583f19fb14f8"),
        (load_protocol, "bmrl-robustness", "1d732c5c248855805b404645c9b5421f5757e26f64d18b3636f78cab89de37ab"),
        (load_protocol, "synthetic", "c447af7e2f236e62b6e79c0230daf0cd9a7362654c52a4d606bbcb69a2273ca2"),
        (load_dataset_spec, "df40", "9239c276fc2f59a1495e48dd02ca54955958517bf16da73417ecc6d242aa5304"),
        (load_dataset_spec, "image_folder", "d43073852aef155ce39fc3f9e59c2ff83c99174792835398a4ed843bb1ffdd29"),
    ],
)
def test_shipped_hashes_are_those_of_before_there_were_includes(load: Callable[[str], Any], name: str, digest: str):
    """Runs and manifests made before still open; a new version of the file comes with a new digest here."""
    assert load(name).sha256 == digest


def test_a_protocol_cannot_be_hashed_without_its_generators(mine: Path) -> None:
    with include(mine):
        assert Protocol("p", 1, "P", (Group("gen_x", "d", 0),)).sha256
    with pytest.raises(UnknownNameError, match="no generator named 'gen_x'.*--include"):
        _ = Protocol("p", 1, "P", (Group("gen_x", "d", 0),)).sha256


def test_cached_results_belong_to_the_folders_they_were_made_with(mine: Path) -> None:
    calls = []

    @resources.per_include
    def look(name: str) -> tuple[Path, ...]:
        calls.append(name)
        return included()

    assert look("a") == look("a") == ()
    with include(mine):
        assert look("a") == look("a") == (mine,)
    assert look("a") == ()
    assert calls == ["a", "a"]
