"""Images inside tar and zip archives, read in place: nothing is ever unpacked to disk.

A zip allows random access. A tar is one long stream: its members are read in their order and the archive stays open
between them, so that a `tar.gz` is unpacked once, not once per member. Names inside archives are never used as paths;
links, devices and sparse files are not followed, and sizes are bounded before anything is held in memory.
"""

from __future__ import annotations

import atexit
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from dfad_bench.data.images import MAX_BYTES, ImageRefused, open_regular
from dfad_bench.ingest.media.archive_formats import DAMAGE, UNPACKERS, Member, Tar, Zip, refusal
from dfad_bench.ingest.media.base import Frame, Sampling
from dfad_bench.ingest.media.image import decode_known
from dfad_bench.ingest.sample import RawSample

SUFFIXES = (*UNPACKERS, ".zip")
_BEGINNINGS = {b"PK": ".zip", b"\x1f\x8b": ".tar.gz", b"BZh": ".tar.bz2", b"\xfd7zXZ\x00": ".tar.xz"}


def is_archive(name: str) -> bool:
    """Whether a file name is that of an archive that can be read."""
    return name.lower().endswith(SUFFIXES)


def members(path: Path) -> Iterator[Member]:
    """All members of an archive but folders, in its order.

    A compressed tar is read to its end, where its checksum stands, behind the last member.

    Raises:
        ChecksumRefused: a compressed tar is damaged, so that any of its members may differ from what was packed.
        ImageRefused: the archive is damaged or cut, or unpacks to far more than its size; earlier members can be read.
    """
    archive = _open(path)
    try:
        yield from archive.members()
        archive.check_rest()
    except DAMAGE as error:
        raise refusal(error, archive.has_damaged_stream()) from error
    finally:
        archive.close()


def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The one picture of an archive member.

    Raises:
        ImageRefused: the member cannot be read or decoded.
    """
    assert sample.member is not None  # set by the adapter that found the sample
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
    if (data := _shelf.member_read_last(name, position, max_bytes)) is not None:
        return data
    try:
        data = archive.read(Member(name, 0, position), max_bytes)
    except ImageRefused:
        raise
    except DAMAGE as error:
        raise refusal(error) from error
    except BaseException:  # the time limit interrupted it: the position in the stream is unknown
        _shelf.clear()
        raise
    if not data:
        raise ImageRefused("unreadable", "empty file")
    _shelf.keep_member(name, position, data)
    return data


class _Shelf:
    """The one archive a process keeps open, and the member that was read last: a tar would go back to its beginning."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._last_member: tuple[str, int | None, bytes] | None = None
        self._archive: Zip | Tar | None = None

    def get(self, path: Path) -> Zip | Tar:
        try:
            facts = path.lstat()  # of a link that has taken its place: `_open` refuses it
        except OSError as error:
            raise ImageRefused("unreadable", error.strerror or type(error).__name__) from error
        key = (str(path), facts.st_size, facts.st_mtime_ns)
        if self._archive is None or key != self._key:
            self.clear()
            self._archive, self._key = _open(path), key
        return self._archive

    def keep_member(self, name: str, position: int | None, data: bytes) -> None:
        self._last_member = (name, position, data)

    def member_read_last(self, name: str, position: int | None, max_bytes: int) -> bytes | None:
        """The bytes of a member of the open archive where it was read last."""
        if self._last_member is None or self._last_member[:2] != (name, position):
            return None
        return self._last_member[2] if len(self._last_member[2]) <= max_bytes else None

    def clear(self) -> None:
        self._last_member = None
        if self._archive is not None:
            with suppress(*DAMAGE):
                self._archive.close()
        self._archive = None


_shelf = _Shelf()
atexit.register(_shelf.clear)


def _open(path: Path) -> Zip | Tar:
    try:
        file = open_regular(path)  # what is open cannot be replaced by a link any more
    except OSError as error:
        raise refusal(error) from error
    try:
        suffix = _suffix(path, file)
        return Zip(file) if suffix == ".zip" else Tar(suffix, file)
    except BaseException as error:
        file.close()
        if isinstance(error, DAMAGE):
            raise refusal(error) from error
        raise


def _suffix(path: Path, file: BinaryIO) -> str:
    """Which archive a file is, by its name; one without an extension, to which a link led, by its first bytes."""
    if named := [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]:
        return max(named, key=len)
    head = file.read(6)
    file.seek(0)
    return next((suffix for begin, suffix in _BEGINNINGS.items() if head.startswith(begin)), ".tar")
