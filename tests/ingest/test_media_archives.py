"""Members of archives give the faces that files give, in any order and by any number of workers."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from helpers.archives import KINDS, build, tree
from helpers.dataset_trees import draw, pack
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.data.images import ImageRefused
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest import build as builder
from dfad_bench.ingest.build import deal_into_parts
from dfad_bench.ingest.media import archive, archive_formats
from dfad_bench.ingest.media.archive import members, read_member
from dfad_bench.ingest.media.archive_formats import member_name
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.archives import places


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_members_give_the_crops_of_the_files(root: Path, tmp_path: Path, kind: str):
    build(tree(root), tmp_path / "plain")
    pack(root / "flux", root / f"flux{kind}", dot=kind == ".tar.gz")
    report = build(root, tmp_path / "packed")
    assert (report.counts, report.ignored) == ({"flux": {"ok": 6}}, {})
    columns = ["generator", "crop_sha256", "source_sha256", "source_bytes"]
    one, other = (Manifest.open(tmp_path / n).frame(columns) for n in ("plain", "packed"))
    assert one.sort_values(columns).values.tolist() == other.sort_values(columns).values.tolist()
    origins = Manifest.open(tmp_path / "packed").frame(["origin"])["origin"]
    assert sorted(origins) == [f"flux{kind}/{i:02d}.png" for i in range(6)]
    assert sorted(p.name for p in root.rglob("*")) == [f"flux{kind}"]


@pytest.mark.heavy
def test_workers_and_interruptions_change_no_byte(root: Path, tmp_path: Path):
    for name in ("flux", "vae"):
        for index in range(12):
            draw(root / name / f"{index}.png", index)
        pack(root / name, root / f"{name}.tar.gz")
    built = {}
    for name, workers in (("a", 0), ("b", 2)):
        build(root, tmp_path / name, workers=workers, shard_size=2)
        built[name] = {p.name: p.read_bytes() for p in (tmp_path / name).glob("part-*")}
    assert built["a"] == built["b"]
    (tmp_path / "b/part-00001.parquet").unlink()
    assert build(root, tmp_path / "b", shard_size=2).parts_built == 1
    assert {p.name: p.read_bytes() for p in (tmp_path / "b").glob("part-*")} == built["a"]


def test_a_tar_gz_is_unpacked_once_a_pass(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tree(root, 12)
    pack(root / "flux", root / "flux.tar.gz")
    opened = []

    def counting(path: Path, mode: str) -> gzip.GzipFile:
        opened.append(path)
        return gzip.open(path, mode)

    monkeypatch.setitem(archive_formats.UNPACKERS, ".tar.gz", counting)
    build(root, tmp_path / "m", shard_size=2)
    assert len(opened) == 2  # listing, cropping


def test_an_archive_is_one_part_unless_it_is_huge():
    def sample(name: str, position: int | None) -> RawSample:
        container = "a.tar.gz" if position is not None else "b.zip"
        return RawSample("d", "flux", None, f"{container}/{name}", Path(container), member=name, position=position)

    inside = [sample(f"{99 - i:02d}", i) for i in range(7)]
    parts = list(deal_into_parts(inside, 2))
    assert [[s.position for s in part] for part in parts] == [list(range(7))]
    inside = [sample(f"{99 - i:02d}", i) for i in range(20)]
    parts = list(deal_into_parts(inside, 2))
    assert [len(part) for part in parts] == [8, 8, 4]
    assert [s.position for part in parts for s in part] == list(range(20))
    assert builder._MOST_SHARDS == 4
    assert {len(part) for part in deal_into_parts([sample(str(i), None) for i in range(8)], 2)} == {2}


def test_members_in_any_order(root: Path):
    path = pack(tree(root / "in"), root / "a.tar.gz")
    found = list(members(path))
    contents = {m.name: read_member(path, m.name, m.position) for m in found}
    for member in [found[3], found[0], found[5], found[5], found[1]]:
        assert read_member(path, member.name, member.position) == contents[member.name]
    with pytest.raises(ImageRefused, match="not in the archive any more"):
        read_member(path, "flux/99.png", 2)


def test_a_time_limit_inside_an_archive_leaves_no_half_read_stream(root: Path, monkeypatch: pytest.MonkeyPatch):
    class Stop(BaseException):
        pass

    path = pack(tree(root / "in"), root / "a.tar.gz")
    found = list(members(path))
    first = read_member(path, found[0].name, found[0].position)

    def stop(self: object, wanted: object, max_bytes: int) -> bytes:
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(archive_formats.Tar, "_forward", stop)
        with pytest.raises(Stop):
            read_member(path, found[1].name, found[1].position)
    assert read_member(path, found[0].name, found[0].position) == first


def test_what_lies_unpacked_beside_its_archive_counts_once(root: Path, tmp_path: Path):
    tree(root / "twin")
    pack(root / "twin/flux", root / "flux.zip")
    tree(root)
    (root / "flux/05.png").unlink()
    report = build(root, tmp_path / "m")
    assert (report.counts, report.ignored) == ({"flux": {"ok": 6}}, {"also unpacked": 5})


@given(st.text(max_size=20))
def test_member_names_are_storable_text(name: str):
    text = member_name(name)
    assert text.encode().decode() == text
    assert member_name(text) == text
    assert "\\" not in text.replace("\\x", "").replace("\\u", "") or "\\" in name


def test_places_of_members():
    assert places("a/b.tar.gz", "c/d.png") == ("a/b.tar.gz/c/d.png", "a/b/c/d.png", "a/c/d.png")
    assert places("B.ZIP", "d.png") == ("B.ZIP/d.png", "B/d.png", "d.png")


@pytest.mark.parametrize("suffix", KINDS)
def test_an_archive_that_becomes_a_link_is_not_followed(
    root: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
):
    """Whenever it is replaced: before it is opened, or after its kind has been looked at."""
    path = pack(tree(tmp_path / "tree", 3), root / f"a{suffix}")
    found = list(members(path))
    elsewhere = path.rename(tmp_path / f"elsewhere{suffix}")
    path.symlink_to(elsewhere)
    # as if the link had come after a look at the path's kind: whoever asks sees the file it leads to
    with monkeypatch.context() as patched:
        patched.setattr(Path, "lstat", lambda self: self.stat())
        for act in (lambda: list(members(path)), lambda: read_member(path, found[0].name, found[0].position)):
            with pytest.raises(ImageRefused, match="a link, which is not followed"):
                act()


@pytest.mark.parametrize("suffix", KINDS)
def test_an_archive_that_is_open_is_read_to_its_end(root: Path, tmp_path: Path, suffix: str):
    """Backwards, too: a replaced file is another archive and not the rest of this one."""
    path = pack(tree(tmp_path / "tree", 3), root / f"a{suffix}")
    kept = archive._open(path)
    there = list(kept.members())
    path.unlink()
    path.write_bytes(b"something else")
    try:
        assert [len(kept.read(member, 1 << 20)) > 0 for member in there[::-1]] == [True] * 3
    finally:
        kept.close()
