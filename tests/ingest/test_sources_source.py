"""Collections within one dataset: the column `source`, and groups of a protocol by it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers.listing import TABLE, listed, own
from helpers.toy import toy_row, toy_rows
from helpers.trees import save

from dfad_bench.core.errors import ConfigError, ProtocolError
from dfad_bench.core.files import content_hash
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.manifest_parts import rows_hash
from dfad_bench.data.manifest_schema import SCHEMA, SOURCE
from dfad_bench.data.select import select
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.check import check_manifest, protocol_needs
from dfad_bench.ingest.sources.spec import load_dataset_spec

OWN = """
name: mine
version: 1
title: Mine
licence: mine
layout: folders
entries:
  - {path: "real/{collection}/{image}.{ext}", generator: real, source: "{collection}"}
  - {path: "{generator}/{image}.{ext}"}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index, name in enumerate(("real/rmfd/a", "real/rmfd/b", "real/lfw/a", "flux/a")):
        save(tmp_path / f"data/{name}.png", index)
    return tmp_path / "data"


def build(root: Path, out: Path, text: str = OWN) -> Manifest:
    own(out.parent, text)
    build_manifest(str(out.parent / "mine.yaml"), root, out, crop="raw-256", workers=0, shard_size=1)
    return Manifest.open(out)


def protocol(*seen: Group, **changes: object) -> Protocol:
    return Protocol("p", 1, "P", seen, train_per_group=1, test_per_group=1, validation_share=0, **changes)  # type: ignore[arg-type]


def test_one_folder_of_pictures_needs_one_file(root: Path, tmp_path: Path):
    manifest = build(root, tmp_path / "m")
    rows = manifest.frame().set_index("origin")
    assert rows[SOURCE].fillna("").to_dict() == {
        "real/rmfd/a.png": "rmfd", "real/rmfd/b.png": "rmfd", "real/lfw/a.png": "lfw", "flux/a.png": "",
    }  # fmt: skip
    assert all(SOURCE in pq.read_schema(path).names for path in manifest.parts), "every part has the same columns"
    facts = check_manifest(tmp_path / "m")
    assert facts.sources == {"rmfd": {"real": {"": 2}}, "lfw": {"real": {"": 1}}}
    groups = (Group("real", "mine", 0, source="rmfd"), Group("flux", "mine", 1))
    needs = {need.group: need.unsplit for need in protocol_needs(protocol(*groups), [facts])}
    assert needs == {"mine/real:rmfd": 2, "mine/flux": 1}


def test_manifests_without_sources_are_those_of_before(root: Path, tmp_path: Path):
    manifest = build(root, tmp_path / "m", OWN.replace(', source: "{collection}"', ""))
    assert all(pq.read_schema(path).equals(SCHEMA) for path in manifest.parts)
    assert list(manifest.frame().columns) == [name for name in SCHEMA.names if name != "image"]
    assert manifest.frame([SOURCE])[SOURCE].isna().all()
    columns = [name for name in SCHEMA.names if name != "image"]
    digests = sorted(
        bytes.fromhex(content_hash(row))
        for path in manifest.parts
        for row in pq.read_table(path, columns=columns).to_pylist()
    )
    assert manifest.sha256 == hashlib.sha256(b"dfad_manifest 1\n" + b"".join(digests)).hexdigest()
    assert check_manifest(tmp_path / "m").sources == {}


def test_the_source_counts_in_hashes_where_there_is_one(tmp_path: Path):
    rows = toy_rows("mine", ("real",))[:4]
    plain, told, other = (
        write_manifest(tmp_path / str(k), "mine", [row | extra for row in rows])
        for k, extra in enumerate(({}, {SOURCE: "a"}, {SOURCE: "b"}))
    )
    none = write_manifest(tmp_path / "none", "mine", [row | {SOURCE: None} for row in rows])
    assert rows_hash(none.parts) == plain.sha256
    assert len({plain.sha256, told.sha256, other.sha256}) == 3
    group = Group("real", "mine", 0)
    assert protocol(group).sha256 != protocol(Group("real", "mine", 0, source="a")).sha256


def test_groups_may_be_narrowed_to_a_source(tmp_path: Path):
    rows = [
        toy_row("mine", "real", split, identity, 0) | {SOURCE: source, "origin": f"{source}/{split}/{identity}.png"}
        for identity, (split, source) in enumerate((s, c) for s in ("train", "test") for c in ("rmfd", "lfw"))
    ]
    manifest = write_manifest(tmp_path / "m", "mine", rows)
    seen = (Group("real", "mine", 0, source="rmfd"), Group("real", "mine", 1, source="lfw"))
    chosen = select(protocol(*seen), [manifest])
    assert {key: len(test) for key, test in chosen.test.items()} == {"mine/real:rmfd": 1, "mine/real:lfw": 1}
    assert chosen.train.groupby("group").size().to_dict() == {"mine/real:rmfd": 1, "mine/real:lfw": 1}
    assert SOURCE not in chosen.rows.columns
    with pytest.raises(ProtocolError, match=r"mine \(real:nobody\): its manifest has no usable faces"):
        select(protocol(seen[0], Group("real", "mine", 1, source="nobody")), [manifest])


def test_a_group_and_a_part_of_it_are_refused():
    with pytest.raises(ValueError, match=r"mine/real:rmfd is part of mine/real, which is a group as well"):
        protocol(Group("real", "mine", 0), Group("real", "mine", 1, source="rmfd"))


def test_tables_and_metadata_tell_sources(root: Path, tmp_path: Path):
    (root / "list.csv").write_text("where,who,key,use\nreal/lfw/a.png,real,lfw,yes\n")
    spec = own(tmp_path, TABLE.replace('source_key: "k:{key}"', 'source: "{key}"'))
    assert [sample.source for sample in listed(spec, root).samples] == ["lfw"]
    (root / "metadata.csv").write_text("file_name,label,source\nflux/a.png,flux,web\n")
    found = {sample.origin: sample.source for sample in listed(load_dataset_spec("image_folder"), root).samples}
    assert found["flux/a.png"] == "web"


def test_a_source_that_appears_makes_every_part_again(root: Path, tmp_path: Path):
    def made() -> int:
        return build_manifest("image_folder", root, tmp_path / "m", crop="raw-256", workers=0, shard_size=1).parts_built

    assert made() == 4
    (root / "metadata.csv").write_text("file_name,label,source\nflux/a.png,flux,web\n")
    assert made() == 4
    assert made() == 0


def test_a_source_from_a_field_the_path_lacks_is_said(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'{place}' uses \['place'\]"):
        own(tmp_path, OWN.replace('source: "{collection}"', 'source: "{place}"'))
