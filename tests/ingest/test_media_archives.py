from __future__ import annotations

import gzip
import io
import random
import tarfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.attacks import changed_members
from helpers.dataset_trees import draw, pack
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.data.images import ImageRefused
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest import build as builder
from dfad_bench.ingest.build import BuildReport, build_manifest, deal_into_parts
from dfad_bench.ingest.media import archive, archive_formats
from dfad_bench.ingest.media.archive import members, read_member
from dfad_bench.ingest.media.archive_formats import member_name
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.archives import places

KINDS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")


def build(root: Path, out: Path, **options: object) -> BuildReport:
    settings = {"crop": "raw-256", "workers": 0, "shard_size": 4, **options}
    return build_manifest("extra", root, out, **settings)  # type: ignore[arg-type]


def tree(root: Path, count: int = 6) -> Path:
    for index in range(count):
        draw(root / "flux" / f"{index:02d}.png", index)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def png(tmp_path: Path) -> bytes:
    return draw(tmp_path / "one.png").read_bytes()


def tar_of(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def entry(name: str, data: bytes = b"x", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


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


@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize("share", [0.15, 0.5, 0.9])
def test_a_truncated_archive_gives_what_is_left(root: Path, tmp_path: Path, kind: str, share: float):
    tree(root, 12)
    draw(root / "vae/0.png")
    path = pack(root / "flux", root / f"flux{kind}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    report = build(root, tmp_path / "m")
    assert report.ignored == {"damaged archive": 1}
    assert report.ignored_examples["damaged archive"][0].startswith(f"flux{kind}: archive: ")
    flux = report.counts.get("flux", {})
    if kind == ".zip":  # its list is at the end
        assert not flux
    else:
        assert share * 12 - 3 <= flux.get("ok", 0) <= share * 12 + 1
        assert sum(flux.values()) - flux.get("ok", 0) <= 1  # the one that was cut
    assert report.counts["vae"] == {"ok": 1}


damage = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)


@given(kind=st.sampled_from([".tar", ".tar.gz", ".zip", ".tar.xz"]), damage=damage)
def test_random_damage_never_raises(
    tmp_path_factory: pytest.TempPathFactory, kind: str, damage: list[tuple[float, int]]
):
    folder = tmp_path_factory.mktemp("damage")
    path = pack(tree(folder / "in", 3), folder / f"a{kind}")
    content = bytearray(path.read_bytes())
    for share, value in damage:
        content[int(share * len(content))] = value
    path.write_bytes(bytes(content))
    found = []
    with suppress(ImageRefused):  # and nothing else
        found.extend(members(path))
    for member in found:
        with suppress(ImageRefused):
            assert read_member(path, member.name, member.position)


@pytest.mark.parametrize("kind", [".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
def test_a_flipped_bit_never_becomes_other_pixels(tmp_path: Path, kind: str):
    path = pack(tree(tmp_path / "in", 3), tmp_path / "data" / f"a{kind}")
    bits = random.Random(1).sample(range(8 * path.stat().st_size), 60)
    assert changed_members(path, bits) == []


def test_members_of_a_stream_with_a_wrong_checksum_are_refused(root: Path, tmp_path: Path):
    path = pack(tree(root / "flux"), root / "a.tar.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the checksum, behind everything
    path.write_bytes(bytes(content))
    report = build(root, tmp_path / "m")
    assert report.counts == {"flux": {"unreadable": 6}}
    assert report.reasons[0]["reason"].startswith(
        "in a damaged archive, any member of which may be altered (archive: CRC"
    )
    assert "a.tar.gz: archive: CRC check failed" in report.ignored_examples["damaged archive"][0]


@pytest.mark.parametrize("kind", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_stream_cut_behind_the_last_member_is_noticed(root: Path, tmp_path: Path, kind: str):
    path = pack(tree(root / "flux"), root / f"a{kind}")
    path.write_bytes(path.read_bytes()[:-5])
    found = []
    with pytest.raises(ImageRefused, match="ended before"):
        found.extend(members(path))
    assert len(found) == 6
    report = build(root, tmp_path / "m")
    assert (report.counts, report.ignored) == ({"flux": {"ok": 6}}, {"damaged archive": 1})


def test_an_archive_that_holds_nothing_is_reported(root: Path, tmp_path: Path):
    tree(root, 1)
    (root / "zeros.tar").write_bytes(bytes(10240))
    (root / "hole.tar").write_bytes(bytes(5 << 20))
    (root / "zeros.tar.gz").write_bytes(gzip.compress(bytes(5 << 20)))
    tar_of(root / "none.tar")
    with zipfile.ZipFile(root / "none.zip", "w"):
        pass
    report = build(root, tmp_path / "m")
    assert report.ignored == {"archive without a file in it": 3, "damaged archive": 2}
    assert report.ignored_examples["damaged archive"][0] == (
        "hole.tar: archive: over 4 MB of zero bytes behind its end mark"
    )


def test_a_file_that_is_one_hole_is_not_read_to_its_end(root: Path):
    root.mkdir(exist_ok=True)
    with (root / "hole.tar").open("wb") as file:
        file.truncate(1 << 36)  # takes no room on the disk
    began = time.monotonic()
    with pytest.raises(ImageRefused, match="zero bytes behind its end mark"):
        list(members(root / "hole.tar"))
    assert time.monotonic() - began < 5


def test_what_follows_the_end_mark_of_a_tar_is_reported(root: Path):
    path = pack(tree(root / "in"), root / "a.tar")
    content = path.read_bytes()
    path.write_bytes(content + content)  # as `cat` joins them; a file with a hole in it looks alike
    found = []
    with pytest.raises(ImageRefused, match="data behind its end mark"):
        found.extend(members(path))
    assert len(found) == 6


@pytest.mark.parametrize("size", [-1024, -512, -1, -(10**15)])
def test_a_negative_size_is_refused_at_once(root: Path, size: int):
    for name, pax in (("a.tar", False), ("b.tar", True)):
        info = tarfile.TarInfo("flux/a.png")
        if pax:
            info.pax_headers = {"size": str(size)}
        header = info.tobuf(tarfile.PAX_FORMAT) if pax else with_size(info.tobuf(tarfile.USTAR_FORMAT), size)
        (root / name).write_bytes(header + bytes(2048))
        began = time.monotonic()
        with pytest.raises(ImageRefused, match="bytes"):
            list(members(root / name))
        assert time.monotonic() - began < 2


def with_size(header: bytes, size: int) -> bytes:
    """A tar header with a size as base-256 number, which may be negative."""
    changed = bytearray(header)
    changed[124:136] = b"\xff" + (size + (1 << 88)).to_bytes(11, "big")
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def test_garbage_in_the_middle_of_a_tar_is_no_end(root: Path):
    path = pack(tree(root / "in"), root / "a.tar")
    content = bytearray(path.read_bytes())
    second = [i for i in range(0, len(content), 512) if content[i : i + 5] == b"flux/"][1]
    content[second : second + 512] = b"\x07" * 512
    path.write_bytes(bytes(content))
    found = []
    with pytest.raises(ImageRefused, match="damaged header"):
        found.extend(members(path))
    assert len(found) == 1


def test_links_devices_and_hostile_names(root: Path, tmp_path: Path):
    image = png(tmp_path)
    outside = tmp_path / "flux" / "secret.png"
    draw(outside)
    tar_of(
        root / "a.tar",
        entry("flux/ok.png", image),
        entry("flux/link.png", b"", type=tarfile.SYMTYPE, linkname=str(outside)),
        entry("flux/hard.png", b"", type=tarfile.LNKTYPE, linkname="flux/ok.png"),
        entry("flux/null.png", b"", type=tarfile.CHRTYPE),
        entry("flux/pipe.png", b"", type=tarfile.FIFOTYPE),
        entry("../flux/up.png", image),
        entry("/flux/absolute.png", image),
        entry("flux/ok.png", image),
        entry("flux/.hidden.png", image),
        entry("flux/inner.zip", image),
        entry("flux/b\udcff.png", image),
        entry("flux/new\nline 'q\" %s {x}.png", image),
    )
    report = build(root, tmp_path / "m")
    assert report.ignored == {
        "link or device in an archive": 4, "repeated name in an archive": 1, "hidden": 1, "archive in an archive": 1,
        "name that leads out of its archive": 2}  # fmt: skip
    rows = Manifest.open(tmp_path / "m").frame(status=None).set_index("origin")["status"].to_dict()
    assert rows == {
        "a.tar/flux/ok.png": "ok",
        "a.tar/flux/b\\xff.png": "ok",
        "a.tar/flux/new\nline 'q\" %s {x}.png": "ok",
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "flux", "m", "one.png"]


def test_zip_links_windows_names_and_passwords(root: Path, tmp_path: Path):
    image = png(tmp_path)
    with zipfile.ZipFile(root / "a.zip", "w") as packed:
        packed.writestr("train\\flux\\a.png", image)
        link = zipfile.ZipInfo("flux/link.png")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
        packed.writestr("__MACOSX/flux/._a.png", image)
        packed.writestr("flux/", b"")
        packed.writestr("flux/locked.png", image)
    content = bytearray((root / "a.zip").read_bytes())
    local, central = (
        content.rfind(b"flux/locked.png", 0, end) for end in (content.rfind(b"flux/locked.png"), len(content))
    )
    content[local - 30 + 6] |= 1
    content[central - 46 + 8] |= 1
    (root / "a.zip").write_bytes(bytes(content))
    report = build(root, tmp_path / "m")
    assert report.ignored == {"link or device in an archive": 1, "hidden": 1}
    rows = Manifest.open(tmp_path / "m").frame(status=None).set_index("origin")
    assert rows["status"].to_dict() == {"a.zip/train/flux/a.png": "ok", "a.zip/flux/locked.png": "unreadable"}
    assert rows.loc["a.zip/train/flux/a.png", "split"] == "train"
    assert "encrypted" in rows.loc["a.zip/flux/locked.png", "reason"]


def test_bombs_are_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive_formats, "_FREE", 1 << 20)
    monkeypatch.setattr(archive, "MAX_BYTES", 4 << 20)
    image = png(tmp_path)
    tar_of(
        root / "a.tar.gz",
        entry("flux/0.png", image),
        entry("flux/zeros.png", bytes(32 << 20)),
        entry("flux/2.png", image),
    )
    with zipfile.ZipFile(root / "b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("vae/zeros.png", bytes(3 << 20))
        packed.writestr("vae/large.png", bytes(70 << 20))
        packed.writestr("vae/0.png", image)
    report = build(root, tmp_path / "m")
    assert report.counts == {"flux": {"ok": 1, "unreadable": 1}, "vae": {"ok": 1, "too_large": 2}}
    assert "unpacks to more than 200 times its size" in report.ignored_examples["damaged archive"][0]


def test_endless_names_are_refused(root: Path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 3 << 30
    (root / "a.tar").write_bytes(info.tobuf() + bytes(4096))
    with pytest.raises(ImageRefused, match="a header of 3221225472 bytes"):
        list(members(root / "a.tar"))


def test_too_many_members(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive_formats, "MAX_MEMBERS", 3)
    for kind, before in ((".tar", 3), (".zip", 0)):
        path = pack(tree(root / "in", 5), root / f"a{kind}")
        found = []
        with pytest.raises(ImageRefused, match="more than 3 members"):
            found.extend(members(path))
        assert len(found) == before


@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".zip"])
def test_what_is_no_archive(root: Path, kind: str):
    (root / f"a{kind}").write_bytes(b"this is no archive" * 100)
    with pytest.raises(ImageRefused, match="unreadable: archive: "):
        list(members(root / f"a{kind}"))
    (root / f"b{kind}").write_bytes(b"")
    with pytest.raises(ImageRefused, match="unreadable: archive: "):
        list(members(root / f"b{kind}"))
    with pytest.raises(ImageRefused, match="No such file"):
        list(members(root / f"c{kind}"))


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
