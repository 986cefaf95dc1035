"""Hashes of protocols and datasets cover the included rows they use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.included import ROW, whole_folder, write

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.protocol import Group, Protocol, load_protocol
from dfad_bench.core.resources import include
from dfad_bench.ingest.sources.spec import load_dataset_spec


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return whole_folder(tmp_path / "mine")


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
        (load_protocol, "synthetic@1", "c447af7e2f236e62b6e79c0230daf0cd9a7362654c52a4d606bbcb69a2273ca2"),
        (load_dataset_spec, "df40", "b415d69f561d60ff4237766f907f080c92650a3878883f70397676d0280e2ef7"),
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
