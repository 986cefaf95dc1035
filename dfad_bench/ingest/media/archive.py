"""Images inside tar and zip archives, read in place: nothing is ever unpacked to disk.

A zip allows random access. A tar is one long stream: its members are read in their order and the archive stays open
between them, so that a `tar.gz` is unpacked once, not once per member. Names inside archives are never used as paths;
links, devices and sparse files are not followed, and sizes are bounded before anything is held in memory.
"""

from __future__ import annotations

import atexit
import bz2
import gzip
import hashlib
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from dfad_bench.data.images import MAX_BYTES, ImageRefused, open_regular
from dfad_bench.ingest.media.base import Frame, Sampling
from dfad_bench.ingest.media.image import decode_known
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.base import printable_name

_UNPACKERS: dict[str, Callable[..., Any]] = {
    ".tar": open,  # not called: a plain tar is read as it is
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
}
SUFFIXES = (*_UNPACKERS, ".zip")
_BEGINNINGS = {b"PK": ".zip", b"\x1f\x8b": ".tar.gz", b"BZh": ".tar.bz2", b"\xfd7zXZ\x00": ".tar.xz"}
MAX_MEMBERS = 5_000_000
MAX_RATIO = 200  # unpacked over packed bytes; photographs hardly shrink at all
_FREE = 1 << 30  # bytes any archive may unpack to, whatever its ratio
_SMALL = 1 << 20  # bytes: of a name in a header; of a zip member whose ratio does not matter
_PADDING = 4 << 20  # zero bytes at the end of a tar; tar pads to 10 KiB unless told otherwise
# what the readers of archives raise on damaged or hostile input
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
    EOFError, OSError, ValueError, LookupError, OverflowError, NotImplementedError, RuntimeError,
)  # fmt: skip

_STREAM_DAMAGE = (zlib.error, lzma.LZMAError, OSError)  # of compressed data; gzip and bz2 raise OSError


class ChecksumRefused(ImageRefused):
    """The compressed data of an archive are damaged: any of its members may be."""


@dataclass(frozen=True)
class Member:
    """A file in an archive. `position` counts the members of a tar from 0; None in a zip.

    `special` says what it is if not a plain file ("link or device", ...), and is empty for files.
    """

    name: str
    size: int
    position: int | None
    special: str = ""


def is_archive(name: str) -> bool:
    """Whether a file name is that of an archive that can be read."""
    return name.lower().endswith(SUFFIXES)


def members(path: Path) -> Iterator[Member]:
    """All members of an archive but folders, in its order.

    A compressed tar is read to its end, where its checksum stands, behind the last member.

    Raises:
        ChecksumRefused: a compressed tar is damaged, so that nobody knows which of its members are as they were.
        ImageRefused: the archive is damaged or cut, or unpacks to far more than its size; earlier members can be read.
    """
    archive = _open(path)
    try:
        yield from archive.members()
        archive.check_rest()
    except _DAMAGE as error:
        raise _refusal(error, archive.has_damaged_stream()) from error
    finally:
        archive.close()


def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The one picture of an archive member.

    Raises:
        ImageRefused: the member cannot be read or decoded.
    """
    assert sample.member is not None  # by the adapter that found it
    data = read_member(sample.path, sample.member, sample.position)
    digest = hashlib.sha256(data).hexdigest()
    yield Frame(decode_known(data, digest, sample.member), digest, source_bytes=len(data))


def read_member(path: Path, name: str, position: int | None, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a member; the archive stays open for the next one.

    Args:
        path: the archive.
        name: the member, as `members` names it.
        position: its position, as `members` gives it.
        max_bytes: a larger member is refused.

    Raises:
        ImageRefused: `unreadable` (damaged, encrypted, missing) or `too_large`.
    """
    archive = _shelf.get(path)
    try:
        data = archive.read(Member(name, 0, position), max_bytes)
    except ImageRefused:
        raise
    except _DAMAGE as error:
        raise _refusal(error) from error
    except BaseException:  # the time limit interrupted it: the position in the stream is unknown
        _shelf.clear()
        raise
    if not data:
        raise ImageRefused("unreadable", "empty file")
    return data


def member_name(name: str) -> str:
    r"""A name inside an archive as text: `/` between folders, no leading `./`, bytes that are no UTF-8 as `\xNN`.

    >>> member_name("./1/real/0/10.png"), member_name("train\\a.png")
    ('1/real/0/10.png', 'train/a.png')
    """
    text = printable_name(name.replace("\\", "/"))
    while text.startswith("./"):
        text = text[2:].lstrip("/")
    return text


class _Zip:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._zip = file, zipfile.ZipFile(file)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            self._infos.setdefault(member_name(info.filename), info)  # of several with the same name, the first

    def members(self) -> Iterator[Member]:
        if len(self._zip.infolist()) > MAX_MEMBERS:
            raise ValueError(f"more than {MAX_MEMBERS} members")
        for info in self._zip.infolist():
            name = member_name(info.filename)
            if info.is_dir() or name.endswith("/"):
                continue
            mode = info.external_attr >> 16
            plain = stat.S_IFMT(mode) in (0, stat.S_IFREG)
            repeated = "" if self._infos[name] is info else "repeated name"
            yield Member(name, info.file_size, None, repeated if plain else "link or device")

    def read(self, wanted: Member, max_bytes: int) -> bytes:
        info = self._infos.get(wanted.name)
        if info is None:
            raise ImageRefused("unreadable", "not in the archive any more")
        if info.file_size > max_bytes:
            raise ImageRefused("too_large", f"{info.file_size} bytes, at most {max_bytes}")
        if info.file_size > max(_SMALL, MAX_RATIO * info.compress_size):
            raise ImageRefused("too_large", f"{info.compress_size} bytes unpack to {info.file_size}")
        with self._zip.open(info) as stream:
            return stream.read(max_bytes + 1)[:max_bytes]

    def check_rest(self) -> None:
        """Nothing: every member has a checksum, which is checked when it is read."""

    def has_damaged_stream(self) -> bool:
        """False: what is damaged is one member, or the list."""
        return False

    def close(self) -> None:
        self._zip.close()
        self._file.close()


class _Header(tarfile.TarInfo):
    """Refuses what the standard reader accepts: endless names, and garbage taken for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(archive)  # type: ignore[return-value]  # typeshed says TarInfo
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise ValueError("cut off: no end mark" if archive.offset else "empty file") from None
        except tarfile.HeaderError as error:
            raise ValueError(f"damaged header: {error}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        begin = archive.offset - tarfile.BLOCKSIZE
        names = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)
        if self.type in (*names, tarfile.SOLARIS_XHDTYPE) and self.size > _SMALL:
            raise ValueError(f"a header of {self.size} bytes")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]  # tarfile's hook for subclasses
        if min(self.size, member.size) < 0 or archive.offset <= begin:
            raise ValueError(f"a header of {min(self.size, member.size)} bytes")  # would be read for ever
        return member


class _Bounded:
    """A stream that raises once it has given far more bytes than its archive has.

    `damaged` becomes true where the compressed data are not what was packed, by their checksum or their form.
    """

    def __init__(self, stream: IO[bytes], packed: int) -> None:
        self._stream, self._left = stream, max(_FREE, MAX_RATIO * packed)
        self.damaged = False

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._stream.read(size)
        except _STREAM_DAMAGE:
            self.damaged = True
            raise
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"unpacks to more than {MAX_RATIO} times its size")
        return data


class _Tar:
    """Reads a tar forwards. `_next` is the position of the next header."""

    def __init__(self, suffix: str, file: BinaryIO) -> None:
        self._packed, self._seekable = file, suffix == ".tar"
        self._unpacker = _UNPACKERS[suffix]
        self._begin()

    def _begin(self) -> None:
        self._next, self._broken = 0, ""
        self._packed.seek(0)
        self._file: IO[bytes] = self._packed if self._seekable else self._unpacker(self._packed, "rb")
        try:
            source: Any = (
                self._file if self._seekable else _Bounded(self._file, os.fstat(self._packed.fileno()).st_size)
            )
            self._source = source
            mode: Any = "r:" if self._seekable else "r|"
            self._tar = tarfile.open(  # noqa: SIM115  stays open between members
                fileobj=source, mode=mode, tarinfo=_Header, encoding="utf-8", errors="surrogateescape"
            )
        except BaseException:
            if not self._seekable:
                self._file.close()
            raise

    def _headers(self) -> Iterator[tarfile.TarInfo]:
        while (header := self._tar.next()) is not None:
            self._tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps them all, a kilobyte each
            self._next += 1
            yield header

    def members(self) -> Iterator[Member]:
        seen: set[str] = set()
        for header in self._headers():
            if header.isdir():
                continue
            if self._next > MAX_MEMBERS:
                raise ValueError(f"more than {MAX_MEMBERS} members")
            name = member_name(header.name)
            special = "repeated name" if name in seen else ""
            if not header.isreg() or header.issparse():
                special = "link or device"
            seen.add(name)
            yield Member(name, header.size, self._next - 1, special)

    def read(self, wanted: Member, max_bytes: int) -> bytes:
        assert wanted.position is not None
        if wanted.position < self._next:
            self._end()
            self._begin()
        if self._broken:
            raise ImageRefused("unreadable", self._broken)
        try:
            return self._forward(wanted, max_bytes)
        except _DAMAGE as error:
            self._broken = _refusal(error).reason
            raise

    def check_rest(self) -> None:
        """Read what follows the end mark: nothing but a few zero bytes and, of a compressed tar, the checksum.

        Raises:
            OSError, EOFError, ValueError, zlib.error, lzma.LZMAError: the checksum is another, or the file is cut;
                there is more, as in a file that was only partly written.
        """
        zeros = 0
        rest: Any = self._tar.fileobj  # holds what was read ahead
        while data := rest.read(_SMALL):
            if data.count(0) != len(data):
                raise ValueError("data behind its end mark")
            zeros += len(data)
        if zeros > _PADDING:
            raise ValueError(f"{zeros} zero bytes behind its end mark")

    def has_damaged_stream(self) -> bool:
        """After an error: whether the compressed data are not what was packed; False for a file that is cut."""
        if self._seekable:
            return False
        with suppress(*_DAMAGE):
            while self._source.read(_SMALL):
                pass
        return bool(self._source.damaged)

    def _forward(self, wanted: Member, max_bytes: int) -> bytes:
        header = None
        for header in self._headers():  # noqa: B007  the last one is the wanted member's
            if self._next > (wanted.position or 0):
                break
        if header is None or member_name(header.name) != wanted.name or not header.isreg() or header.issparse():
            raise ImageRefused("unreadable", "not in the archive any more")
        if header.size > max_bytes:
            raise ImageRefused("too_large", f"{header.size} bytes, at most {max_bytes}")
        stream = self._tar.extractfile(header)
        assert stream is not None  # it is a plain file
        return stream.read()

    def _end(self) -> None:
        self._tar.close()
        if not self._seekable:
            self._file.close()

    def close(self) -> None:
        self._end()
        self._packed.close()


class _Shelf:
    """The one archive a process keeps open."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._archive: _Zip | _Tar | None = None

    def get(self, path: Path) -> _Zip | _Tar:
        try:
            facts = path.lstat()  # of a link that has taken its place: `_open` refuses it
        except OSError as error:
            raise ImageRefused("unreadable", error.strerror or type(error).__name__) from error
        key = (str(path), facts.st_size, facts.st_mtime_ns)
        if self._archive is None or key != self._key:
            self.clear()
            self._archive, self._key = _open(path), key
        return self._archive

    def clear(self) -> None:
        if self._archive is not None:
            with suppress(*_DAMAGE):
                self._archive.close()
        self._archive = None


_shelf = _Shelf()
atexit.register(_shelf.clear)


def _open(path: Path) -> _Zip | _Tar:
    try:
        file = open_regular(path)  # what is open cannot be replaced by a link any more
    except OSError as error:
        raise _refusal(error) from error
    try:
        suffix = _suffix(path, file)
        return _Zip(file) if suffix == ".zip" else _Tar(suffix, file)
    except BaseException as error:
        file.close()
        if isinstance(error, _DAMAGE):
            raise _refusal(error) from error
        raise


def _suffix(path: Path, file: BinaryIO) -> str:
    """Which archive a file is, by its name; one without an extension, to which a link led, by its first bytes."""
    if named := [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]:
        return max(named, key=len)
    head = file.read(6)
    file.seek(0)
    return next((suffix for begin, suffix in _BEGINNINGS.items() if head.startswith(begin)), ".tar")


def _refusal(error: BaseException, damaged_stream: bool = False) -> ImageRefused:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    kind = ChecksumRefused if damaged_stream else ImageRefused
    return kind("unreadable", f"archive: {text}")
