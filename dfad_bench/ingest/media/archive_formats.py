"""Zip and tar files of unknown origin, member by member: bounded, and without following what is no plain file."""

from __future__ import annotations

import bz2
import gzip
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
from typing import IO, Any, BinaryIO

from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.sources.base import printable_name

UNPACKERS: dict[str, Callable[..., Any]] = {
    ".tar": open,  # not called: a plain tar is read as it is
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
}
MAX_MEMBERS = 5_000_000
MAX_RATIO = 200  # unpacked over packed bytes; photographs hardly shrink at all
_FREE = 1 << 30  # bytes any archive may unpack to, whatever its ratio
_SMALL = 1 << 20  # bytes: of a name in a header; of a zip member whose ratio does not matter
_PADDING = 4 << 20  # zero bytes at the end of a tar; tar pads to 10 KiB by default
# what the readers of archives raise on damaged or hostile input
DAMAGE = (
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


def member_name(name: str) -> str:
    r"""A name inside an archive as text: `/` between folders, no leading `./`, bytes that are no UTF-8 as `\xNN`.

    >>> member_name("./1/real/0/10.png"), member_name("train\\a.png")
    ('1/real/0/10.png', 'train/a.png')
    """
    text = printable_name(name.replace("\\", "/"))
    while text.startswith("./"):
        text = text[2:].lstrip("/")
    return text


class Zip:
    """A zip: its list at the end of the file says where each member is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._zip = file, zipfile.ZipFile(file)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            self._infos.setdefault(member_name(info.filename), info)  # of several with the same name, the first

    def members(self) -> Iterator[Member]:
        """All members but folders, in the order of the archive."""
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
        """The bytes of a member.

        Raises:
            ImageRefused: it is not there, or larger than `max_bytes`.
        """
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
        """Close the archive and its file."""
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
        self._stream, self._bytes_left = stream, max(_FREE, MAX_RATIO * packed)
        self.damaged = False

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._stream.read(size)
        except _STREAM_DAMAGE:
            self.damaged = True
            raise
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise ValueError(f"unpacks to more than {MAX_RATIO} times its size")
        return data


class Tar:
    """Reads a tar forwards. `_next` is the position of the next header."""

    def __init__(self, suffix: str, file: BinaryIO) -> None:
        self._packed, self._seekable = file, suffix == ".tar"
        self._unpacker = UNPACKERS[suffix]
        self._begin()

    def _begin(self) -> None:
        self._next_number, self._damage_reason = 0, ""
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
            self._next_number += 1
            yield header

    def members(self) -> Iterator[Member]:
        """All members but folders, in the order of the archive."""
        seen: set[str] = set()
        for header in self._headers():
            if header.isdir():
                continue
            if self._next_number > MAX_MEMBERS:
                raise ValueError(f"more than {MAX_MEMBERS} members")
            name = member_name(header.name)
            special = "repeated name" if name in seen else ""
            if not header.isreg() or header.issparse():
                special = "link or device"
            seen.add(name)
            yield Member(name, header.size, self._next_number - 1, special)

    def read(self, wanted: Member, max_bytes: int) -> bytes:
        """The bytes of a member.

        Raises:
            ImageRefused: it is not there, or larger than `max_bytes`.
        """
        assert wanted.position is not None
        if wanted.position < self._next_number:
            self._end()
            self._begin()
        if self._damage_reason:
            raise ImageRefused("unreadable", self._damage_reason)
        try:
            return self._forward(wanted, max_bytes)
        except DAMAGE as error:
            self._damage_reason = refusal(error).reason
            raise

    def check_rest(self) -> None:
        """Read what follows the end mark: nothing but a few zero bytes and, of a compressed tar, the checksum.

        Raises:
            OSError, EOFError, ValueError, zlib.error, lzma.LZMAError: the checksum is another, or the file is cut;
                there is more, as in a file that was only partly written.
        """
        zeros = 0
        raw_stream: Any = self._tar.fileobj  # holds what was read ahead
        while data := raw_stream.read(_SMALL):
            if data.count(0) != len(data):
                raise ValueError("data behind its end mark")
            zeros += len(data)
            if zeros > _PADDING:  # at once: a file with a hole costs its sender nothing
                raise ValueError(f"over {_PADDING >> 20} MB of zero bytes behind its end mark")

    def has_damaged_stream(self) -> bool:
        """After an error: whether the compressed data are not what was packed; False for a file that is cut."""
        if self._seekable:
            return False
        with suppress(*DAMAGE):
            while self._source.read(_SMALL):
                pass
        return bool(self._source.damaged)

    def _forward(self, wanted: Member, max_bytes: int) -> bytes:
        header = None
        for header in self._headers():  # noqa: B007  the last one is the wanted member's
            if self._next_number > (wanted.position or 0):
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
        """Close the archive and its file."""
        self._end()
        self._packed.close()


def refusal(error: BaseException, damaged_stream: bool = False) -> ImageRefused:
    """The error of a reader as the reason why the archive is refused."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    kind = ChecksumRefused if damaged_stream else ImageRefused
    return kind("unreadable", f"archive: {text}")
