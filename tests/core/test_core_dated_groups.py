"""Groups dealt to seen and unseen by release month: who is where, who is nowhere and why, and what the hash covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.record import plain
from dfad_bench.core.resources import include
from dfad_bench.core.shipped_files import protocol_provenance
from dfad_bench.core.strict import from_mapping

HEAD = """name: mine
version: 1
title: "Mine"
changes: ["1: first version"]
released: {seen: ..2021-12, unseen: 2022-01..2023-12}
seen:
  - {label: 0, generator: real, dataset: df40}
dated:
"""
GROUPS = """\
  - {generator: stylegan2, dataset: df40}
  - {generator: dit, dataset: df40, test: 7}
  - {generator: fs_vid2vid, dataset: df40}
  - {generator: midjourney, dataset: df40}
  - {generator: celeb_df, dataset: celeb_df}
  - {generator: flux, dataset: extra}
  - {generator: fsgan, dataset: df40}
"""


def write(folder: Path, text: str = HEAD + GROUPS) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_groups_stand_on_the_side_of_their_month_and_labels_go_on(tmp_path: Path) -> None:
    protocol = load_protocol(str(write(tmp_path)))
    assert [(g.key, g.label) for g in protocol.seen] == [("df40/real", 0), ("df40/stylegan2", 1), ("df40/fsgan", 2)]
    assert [(g.key, g.label, g.test) for g in protocol.unseen] == [("df40/dit", -1, 7)]


def test_who_cannot_be_placed_is_named_with_the_reason(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert load_protocol(str(path)).left_out == (
        "df40/fs_vid2vid: its month is not known",
        "df40/midjourney: several versions stand under one name",
        "celeb_df/celeb_df: its month is that of a data set, newer than the methods in it",
        "extra/flux: of 2024-08, in neither range of months",
    )
    said = CliRunner().invoke(dfad, ["check-manifest", "--protocol", str(path), "--json"])
    assert "df40/fs_vid2vid: its month is not known" in said.stdout
    text = " ".join(CliRunner().invoke(dfad, ["check-manifest", "--protocol", str(path)]).stdout.split())
    assert "left out by month: df40/fs_vid2vid: its month is not known; df40/midjourney" in text


def test_the_hash_is_that_of_the_groups(tmp_path: Path) -> None:
    """Written out by hand it is the same protocol; another month of a generator gives another one."""
    dated = load_protocol(str(write(tmp_path)))
    by_hand = HEAD.replace("released: {seen: ..2021-12, unseen: 2022-01..2023-12}\n", "").replace("dated:\n", "")
    by_hand += "  - {label: 1, generator: stylegan2, dataset: df40}\n  - {label: 2, generator: fsgan, dataset: df40}\n"
    by_hand += "unseen:\n  - {generator: dit, dataset: df40, test: 7}\n"
    assert load_protocol(str(write(tmp_path, by_hand))).sha256 == dated.sha256
    later = HEAD.replace("..2021-12, unseen: 2022-01", "..2019-10, unseen: 2019-11") + GROUPS
    assert load_protocol(str(write(tmp_path, later))).sha256 != dated.sha256


def test_a_record_has_plain_groups_and_reads_them_back(tmp_path: Path) -> None:
    dated = load_protocol(str(write(tmp_path)))
    again = from_mapping(Protocol, plain(dated), "record")
    assert (again, again.sha256) == (dated, dated.sha256)


def test_a_generator_of_ones_own_is_dealt_by_its_own_month(tmp_path: Path) -> None:
    (tmp_path / "own/protocols").mkdir(parents=True)
    row = "{display: My GAN, forgery: EFS, family: gan, released: 2023-05, released_source: V our paper}"
    (tmp_path / "own/taxonomy.yaml").write_text(f"my_gan: {row}\n", encoding="utf-8")
    write(tmp_path / "own/protocols", HEAD + GROUPS + "  - {generator: my_gan, dataset: extra}\n")
    with include(tmp_path / "own"):
        protocol = load_protocol("mine")
        assert protocol.unseen[-1].key == "extra/my_gan"
        assert "released" not in protocol.included_generators["my_gan"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2022-01..2023-12", "2021-12..", "released: seen ..2021-12 and unseen 2021-12.. share a month"),
        ("..2021-12", "..2021", "released: seen: '2021' is no month of a year"),
        ("..2021-12", "..1999-12", r"no generator of `dated` was released in ..1999-12 \(seen\): df40/stylegan2: of"),
        ("released: {seen: ..2021-12, unseen: 2022-01..2023-12}\n", "", "by which months the groups of `dated`"),
        ("seen: ..2021-12, ", "", "released: key 'seen' is missing"),
        ("{generator: dit,", "{generator: ditt,", r"dated\[1\]: 'ditt' is no generator of the taxonomy"),
        ("{generator: dit,", "{label: 1, generator: dit,", r"dated\[1\]: labels of dated groups follow"),
        ("{generator: fsgan, dataset: df40}", "{generator: stylegan2, dataset: genface}", "stylegan2 is seen twice"),
        ("dated:\n", "left_out: []\ndated:\n", "`left_out` is worked out"),
        ("dated:\n" + GROUPS, "dated: 7\n", "dated: must be a list of groups, got 7"),
        (GROUPS, "  - stylegan2\n", r"dated\[0\]: None is no generator"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in HEAD + GROUPS
    with pytest.raises(ConfigError, match=message) as caught:
        load_protocol(str(write(tmp_path, (HEAD + GROUPS).replace(old, new))))
    assert str(caught.value).startswith(str(tmp_path / "mine.yaml"))
    assert "\n" not in str(caught.value)


def test_other_files_and_other_kinds_of_yaml_are_as_they_were(tmp_path: Path) -> None:
    protocol = load_protocol("gazeclip-df40")
    assert (protocol.left_out, protocol.left_out_note, protocol.released) == ((), None, None)
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_protocol(str(write(tmp_path, "- 1\n")))


def test_families_of_a_protocol_are_in_its_hash_where_they_are_not_the_papers(tmp_path: Path) -> None:
    def of(line: str) -> Any:
        return load_protocol(str(write(tmp_path, HEAD.replace("title:", line + "title:") + GROUPS)))

    assert of("").sha256 == of("families: paper\n").sha256 != of("families: precise\n").sha256


def test_a_shipped_one_is_known_as_such_from_a_record() -> None:
    protocol = load_protocol("by-month")
    again = from_mapping(Protocol, plain(protocol), "record")
    assert protocol_provenance(again).origin == "shipped"
