"""Damaged and hostile archives: what can be read is read, the rest is refused with a reason, in bounded time."""

from __future__ import annotations

import gzip
import random
import tarfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.archives import build, entry, png, tar_of, tree
from helpers.attacks import changed_members
from helpers.dataset_trees import draw, pack
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.data.images import ImageRefused
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.media import archive, archive_formats
from dfad_bench.ingest.media.archive import members, read_member


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


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
        with pytest.raises(ImageRefused, match="bytes|damaged header"):  # newer Pythons look at the header themselves
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
